//! Login of a client program by an option file in memory, which no other user can read.
//!
//! It is the only option file that the program reads, contains only the group `[client]`, and does not survive a crash.
//! Passwords may contain any character but NUL.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::mysql::url::{Endpoint, Tls};
use crate::mysql::{Flavour, ServerConfig};
use crate::{Error, Result};

/// Maximum length of a line in an option file that all clients can read, bytes.
const MAX_OPTION_LINE_BYTES: usize = 4000;

/// An option file in memory that only processes of this user can open. Programs open it through `/proc`, so each reads
/// it from its start.
#[derive(Debug)]
pub struct Login(OwnedFd);

impl Login {
    /// The login for `config`. `encrypted`: whether our own connection uses TLS, which decides `tls=preferred`.
    pub fn new(config: &ServerConfig, flavour: Flavour, encrypted: bool) -> Result<Login> {
        Login::write(&options(config, flavour, encrypted)?)
    }

    fn write(text: &str) -> Result<Login> {
        let failed = |error: std::io::Error| {
            Error::unexpected("cannot create the option file of the client").because(error)
        };
        let fd = rustix::fs::memfd_create("drctl-login", rustix::fs::MemfdFlags::CLOEXEC)
            .map_err(|error| failed(error.into()))?;
        // It is created with mode 0777, and clients ignore world-writable files.
        rustix::fs::fchmod(&fd, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .map_err(|error| failed(error.into()))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(Login(file.into()))
    }

    /// The option for the program; it must be the first argument.
    pub fn argument(&self) -> String {
        format!(
            "--defaults-file=/proc/{}/fd/{}",
            std::process::id(),
            self.0.as_raw_fd()
        )
    }
}

/// Text of the option file.
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
            if config.allows_cleartext(encrypted) {
                line("enable-cleartext-plugin", "1")?;
            }
            if !encrypted {
                // caching_sha2_password without TLS needs the server's public key, as did our own login.
                line("get-server-public-key", "1")?;
            }
        }
        Flavour::MariaDb => {
            line("ssl", if encrypted { "1" } else { "0" })?;
            // The default is on since 11.4, and refuses self-signed certificates.
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

/// One `key="value"` line, with the value escaped.
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
    use crate::mysql::Role;
    use crate::util::secret::Secret;

    fn config(url: &str, password: &str) -> ServerConfig {
        ServerConfig {
            url: url.parse().unwrap(),
            password: Some(Secret::new(password)),
            client_dir: None,
            role: Role::Source,
        }
    }

    #[test]
    fn a_value_cannot_break_out_of_its_line() {
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
    fn the_login_uses_the_protocol_and_tls_of_our_own_connection() {
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
        let file = Login::write("[client]\n").unwrap();
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
