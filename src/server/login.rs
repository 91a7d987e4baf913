//! How a client program logs in without anybody looking on: an option file in memory.
//!
//! It holds the `[client]` group alone, it is the only file that the program reads, and a crash
//! leaves nothing of it behind. Passwords may hold anything but NUL.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use super::url::{Endpoint, Tls};
use super::{Flavour, ServerConfig};
use crate::{Error, Result};

/// The most bytes of one line of an option file that every client reads whole.
const MAX_OPTION_LINE_BYTES: usize = 4000;

/// An option file that only this user's processes can open, and that no crash leaves behind.
///
/// It is memory, not disk: programs open it anew through `/proc`, so each reads it from its start.
#[derive(Debug)]
pub struct Login(OwnedFd);

impl Login {
    /// The login of `config`. `encrypted`: whether our own connection found TLS, which settles what
    /// `tls=preferred` means.
    pub fn new(config: &ServerConfig, flavour: Flavour, encrypted: bool) -> Result<Login> {
        Login::hold(&options(config, flavour, encrypted)?)
    }

    fn hold(text: &str) -> Result<Login> {
        let failed = |error: std::io::Error| {
            Error::unexpected("hold the login of the client in memory").because(error)
        };
        let fd = rustix::fs::memfd_create("drctl-login", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        // It is born 0777, and clients ignore a file that the world could write.
        rustix::fs::fchmod(&fd, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .map_err(|error| failed(error.into()))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Login(file.into()))
    }

    /// What the program's first argument must be.
    pub fn argument(&self) -> String {
        format!(
            "--defaults-file=/proc/{}/fd/{}",
            std::process::id(),
            self.0.as_raw_fd()
        )
    }
}

/// The lines of the `[client]` group that log a program in. `encrypted`: whether our own
/// connection found TLS, which settles what `tls=preferred` means.
fn options(config: &ServerConfig, flavour: Flavour, encrypted: bool) -> Result<String> {
    let mut text = String::from("[client]\n");
    let mut line = |key: &str, value: &str| -> Result<()> {
        text.push_str(&option_line(key, value)?);
        Ok(())
    };
    line("user", &config.url.user)?;
    line(
        "password",
        config.password.as_ref().map_or("", |p| p.reveal()),
    )?;
    match &config.url.endpoint {
        Endpoint::Tcp { host, port } => {
            line("protocol", "tcp")?;
            line("host", host)?;
            line("port", &port.to_string())?;
        }
        Endpoint::Socket(path) => {
            line("protocol", "socket")?;
            line("socket", &path.to_string_lossy())?;
        }
    }
    let verify = config.url.tls == Tls::Verify;
    match flavour {
        Flavour::MySql => {
            let mode = match (encrypted, verify) {
                (true, true) => "VERIFY_IDENTITY",
                (true, false) => "REQUIRED",
                (false, _) => "DISABLED",
            };
            line("ssl-mode", mode)?;
            if config.sends_cleartext(encrypted) {
                line("enable-cleartext-plugin", "1")?;
            }
            if !encrypted {
                // caching_sha2_password in the clear needs the server's key, as our own login did.
                line("get-server-public-key", "1")?;
            }
        }
        Flavour::MariaDb => {
            line("ssl", if encrypted { "1" } else { "0" })?;
            // On by default from 11.4 on, where it would refuse a self-signed certificate.
            line("ssl-verify-server-cert", if verify { "1" } else { "0" })?;
        }
    }
    if let Some(ca) = &config.url.ca {
        line("ssl-ca", &ca.to_string_lossy())?;
    }
    if let Some(identity) = &config.url.identity {
        line("ssl-cert", &identity.cert.to_string_lossy())?;
        line("ssl-key", &identity.key.to_string_lossy())?;
    }
    Ok(text)
}

/// One `key="value"` line, escaped so that every value comes out as it went in.
fn option_line(key: &str, value: &str) -> Result<String> {
    let mut line = format!("{key}=\"");
    for c in value.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            '"' => line.push_str("\\\""),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\0' => return Err(Error::usage(format!("the {key} holds a NUL byte"))),
            c => line.push(c),
        }
    }
    line.push_str("\"\n");
    if line.len() > MAX_OPTION_LINE_BYTES {
        return Err(Error::usage(format!(
            "the {key} is longer than the client programs can read"
        )));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::server::{Role, Secret};

    fn config(url: &str, password: &str) -> ServerConfig {
        ServerConfig {
            url: url.parse().unwrap(),
            password: Some(Secret::new(password)),
            client_dir: None,
            role: Role::Source,
        }
    }

    #[test]
    fn a_login_cannot_break_out_of_its_line() {
        assert_eq!(
            option_line("password", "a\"b'c\\d#e\nf\tg;h ").unwrap(),
            "password=\"a\\\"b'c\\\\d#e\\nf\\tg;h \"\n"
        );
        for bad in ["a\0b".to_owned(), "x".repeat(5000)] {
            let error = option_line("password", &bad).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage);
            assert!(!error.to_string().contains(&bad));
        }
    }

    #[test]
    fn a_login_says_socket_or_tcp_and_as_much_tls_as_our_own_connection_found() {
        let socket = options(
            &config("mysql://u@localhost/?socket=/s", "p"),
            Flavour::MariaDb,
            false,
        )
        .unwrap();
        assert!(
            socket.contains("protocol=\"socket\"\nsocket=\"/s\"\nssl=\"0\""),
            "{socket}"
        );
        let tcp = options(&config("mysql://u@localhost", "p"), Flavour::MySql, true).unwrap();
        assert!(
            tcp.contains(
                "protocol=\"tcp\"\nhost=\"localhost\"\nport=\"3306\"\nssl-mode=\"REQUIRED\"\n"
            ),
            "{tcp}"
        );
        for (url, flavour, encrypted) in [
            ("mysql://u@h", Flavour::MySql, true),
            ("mysql://u@h/?tls=required", Flavour::MySql, true),
            ("mysql://u@h/?ca=/ca.pem", Flavour::MySql, false),
            ("mysql://u@h/?ca=/ca.pem", Flavour::MariaDb, true),
        ] {
            let other = options(&config(url, "p"), flavour, encrypted).unwrap();
            assert!(!other.contains("cleartext"), "{url}: {other}");
        }
        let verified = options(
            &config("mysql://u@h/?ca=/ca.pem", "p"),
            Flavour::MySql,
            true,
        )
        .unwrap();
        assert!(
            verified
                .contains("VERIFY_IDENTITY\"\nenable-cleartext-plugin=\"1\"\nssl-ca=\"/ca.pem\""),
            "{verified}"
        );
    }

    #[test]
    fn the_option_file_is_private_and_reads_from_its_start_each_time() {
        use std::os::unix::fs::PermissionsExt;
        let file = Login::hold("[client]\n").unwrap();
        let argument = file.argument();
        let path = argument.strip_prefix("--defaults-file=").unwrap();
        for _ in 0..2 {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "[client]\n");
        }
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
