//! Address of a server: `mysql://user@host:3306`, `mysql://user@localhost/?socket=/path`.
//!
//! URLs appear in command lines, logs and manifests, so they must not contain a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{Error, Result};

/// MySQL's registered port.
pub const DEFAULT_PORT: u16 = 3306;

/// Address of a server and name of the account, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Name of the account, decoded.
    pub user: String,
    /// Address of the server.
    pub endpoint: Endpoint,
    /// Encryption of the connection.
    pub tls: Tls,
    /// PEM file of certificate authorities for [`Tls::Verify`]; `None` in all other cases.
    pub ca: Option<PathBuf>,
    /// Client certificate, for accounts that require one (`REQUIRE X509`).
    pub identity: Option<Identity>,
}

/// Client certificate and private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// File of the certificate, followed by its chain.
    pub cert: PathBuf,
    /// File of the private key, without passphrase.
    pub key: PathBuf,
}

impl ServerUrl {
    /// Whether to try TLS. Sockets are never encrypted.
    pub fn tries_tls(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp { .. }) && self.tls != Tls::Disabled
    }

    /// The same address with another account.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> ServerUrl {
        user.clone_into(&mut self.user);
        self
    }
}

/// Address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP, also for `localhost`, which other clients take for a socket.
    Tcp {
        /// Host name or address; IPv6 without brackets.
        host: String,
        /// Port number.
        port: u16,
    },
    /// A Unix socket.
    Socket(PathBuf),
}

/// Encryption of a TCP connection. Sockets are never encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// `tls=disabled`: never.
    Disabled,
    /// `tls=preferred`, the default: if the server supports it, without verification.
    #[default]
    Preferred,
    /// `tls=required`: always, without verification.
    Required,
    /// `tls=verify`: always; the certificate must match the host and be signed by `ca`.
    Verify,
}

impl Tls {
    const WORDS: [(&'static str, Tls); 4] = [
        ("disabled", Tls::Disabled),
        ("preferred", Tls::Preferred),
        ("required", Tls::Required),
        ("verify", Tls::Verify),
    ];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|w| w.1 == self).map_or("", |w| w.0)
    }
}

impl FromStr for ServerUrl {
    type Err = Error;

    /// Parses a URL. Errors are usage errors (exit 2) and do not contain the text, which may contain a password.
    fn from_str(text: &str) -> Result<Self> {
        let url = url::Url::parse(text)
            .map_err(|e| Error::usage(format!("invalid server URL: {e}")).hint(SHAPE_HINT))?;
        if url.scheme() != "mysql" && url.scheme() != "mariadb" {
            return Err(Error::usage(format!(
                "the server URL starts with {}://, not mysql://",
                url.scheme()
            ))
            .hint(SHAPE_HINT));
        }
        if url.password().is_some() {
            return Err(Error::usage(
                "the server URL contains a password, which command lines and logs show",
            )
            .hint(
                "remove it and set DRCTL_SOURCE_PASSWORD_FILE or DRCTL_SOURCE_PASSWORD \
                         (DRCTL_INTO_PASSWORD… for a restore)",
            ));
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(Error::usage("the server URL contains a path or a fragment")
                .hint("remove it; schemas are selected in the configuration"));
        }
        let user = decode(url.username())?;
        if user.is_empty() {
            return Err(Error::usage("the server URL has no user").hint(SHAPE_HINT));
        }

        let (mut socket, mut tls, mut ca) = (None, None, None);
        let (mut cert, mut private) = (None, None);
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "socket" => socket = Some(absolute("socket", &value)?),
                "ca" => ca = Some(absolute("ca", &value)?),
                "cert" => cert = Some(absolute("cert", &value)?),
                "key" => private = Some(absolute("key", &value)?),
                "tls" => {
                    let found = Tls::WORDS.iter().find(|w| w.0 == value);
                    tls = Some(found.map(|w| w.1).ok_or_else(|| {
                        Error::usage(format!("unknown value tls={value} in the server URL"))
                            .hint("use disabled, preferred, required or verify")
                    })?);
                }
                _ => {
                    return Err(
                        Error::usage(format!("unknown option {key} in the server URL"))
                            .hint("the options are socket, tls, ca, cert and key"),
                    );
                }
            }
        }
        let tls = match (tls, &ca) {
            (None, Some(_)) => Tls::Verify,
            (Some(Tls::Verify), None) => {
                return Err(Error::usage("the server URL has tls=verify without ca")
                    .hint("add &ca=/path/to/authorities.pem"));
            }
            (Some(tls), Some(_)) if tls != Tls::Verify => {
                return Err(
                    Error::usage("the server URL has a ca that would not be used")
                        .hint("use tls=verify with it"),
                );
            }
            (tls, _) => tls.unwrap_or_default(),
        };

        let identity = match (cert, private) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            _ => {
                return Err(Error::usage("the server URL has only one of cert and key")
                    .hint("a client certificate and its private key belong together"));
            }
        };
        // Without TLS no certificate is sent, and `preferred` may fall back to cleartext.
        if identity.is_some() && !matches!(tls, Tls::Required | Tls::Verify) {
            return Err(Error::usage(
                "the server URL has a cert, but the connection may be unencrypted",
            )
            .hint("use tls=required, or ca=/path/to/authorities.pem with it"));
        }

        let endpoint = match socket {
            Some(path) => {
                if url.port().is_some() || !matches!(url.host_str(), None | Some("localhost")) {
                    return Err(Error::usage(
                        "the server URL has both a socket and a remote host or port",
                    )
                    .hint("write mysql://user@localhost/?socket=/path"));
                }
                if matches!(tls, Tls::Required | Tls::Verify) {
                    return Err(Error::usage(
                        "the server URL has TLS for a socket, which is never encrypted",
                    )
                    .hint("remove tls"));
                }
                Endpoint::Socket(path)
            }
            None => {
                let host = decode(url.host_str().unwrap_or_default())?;
                if host.is_empty() {
                    return Err(Error::usage("the server URL has no host").hint(SHAPE_HINT));
                }
                let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
                Endpoint::Tcp {
                    host: bare.unwrap_or(&host).to_owned(),
                    port: url.port().unwrap_or(DEFAULT_PORT),
                }
            }
        };
        Ok(ServerUrl {
            user,
            endpoint,
            tls,
            ca,
            identity,
        })
    }
}

impl fmt::Display for ServerUrl {
    /// The canonical form of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mysql://{}@{}", encode(&self.user), self.endpoint)?;
        let mut separator = match self.endpoint {
            Endpoint::Tcp { .. } => "/?",
            Endpoint::Socket(_) => "&",
        };
        if self.tls != Tls::default() {
            write!(f, "{separator}tls={}", self.tls.word())?;
            separator = "&";
        }
        if let Some(ca) = &self.ca {
            write!(f, "{separator}ca={}", encode_path(ca))?;
            separator = "&";
        }
        if let Some(Identity { cert, key }) = &self.identity {
            let (cert, key) = (encode_path(cert), encode_path(key));
            write!(f, "{separator}cert={cert}&key={key}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Endpoint {
    /// `host:port`, `[::1]:port` or `localhost/?socket=/path`, as in the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Socket(path) => write!(f, "localhost/?socket={}", encode_path(path)),
        }
    }
}

const SHAPE_HINT: &str = "write mysql://user@host:3306 or mysql://user@localhost/?socket=/path";

/// The characters to escape in a URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn encode_path(path: &Path) -> String {
    const PATH: &AsciiSet = &PLAIN.remove(b'/');
    utf8_percent_encode(&path.to_string_lossy(), PATH).to_string()
}

fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Error::usage("the server URL is not UTF-8 when decoded"))?;
    // A control character could break out of an option file or a log line.
    if decoded.chars().any(char::is_control) {
        return Err(Error::usage("the server URL contains a control character"));
    }
    Ok(decoded.into_owned())
}

fn absolute(option: &str, value: &str) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    if !path.is_absolute() || value.chars().any(char::is_control) {
        return Err(Error::usage(format!(
            "{option}={} in the server URL is not an absolute path",
            value.escape_default()
        )));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn parse(text: &str) -> ServerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn invalid_urls_are_usage_errors_without_the_password() {
        for text in [
            "",
            "host",
            "http://u@h",
            "mysql://h",
            "mysql://u:hunter2@h",
            "mysql://u:@h/",
            "mysql://u@",
            "mysql://u@h/shop",
            "mysql://u@h:99999",
            "mysql://u@h/?tls=maybe",
            "mysql://u@h/?tls=verify",
            "mysql://u@h/?tls=required&ca=/ca.pem",
            "mysql://u@h/?password=hunter2",
            "mysql://u@h/?tls=required&cert=/c.pem",
            "mysql://u@h/?tls=required&key=/k.pem",
            "mysql://u@h/?cert=/c.pem&key=/k.pem",
            "mysql://u@h/?tls=required&cert=c.pem&key=/k.pem",
            "mysql://u@h/?socket=/s",
            "mysql://u@localhost:3307/?socket=/s",
            "mysql://u@localhost/?socket=relative",
            "mysql://u@localhost/?socket=/s&tls=required",
            "mysql://u%0Apassword=x@h",
            "mysql://u%FF@h",
        ] {
            // The parser drops an empty password, which is no secret.
            if text == "mysql://u:@h/" {
                assert_eq!(parse(text).user, "u");
                continue;
            }
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage, "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn host_port_and_user_are_decoded() {
        assert_eq!(
            parse("mysql://back%40up@db.example:3307"),
            ServerUrl {
                user: "back@up".into(),
                endpoint: Endpoint::Tcp {
                    host: "db.example".into(),
                    port: 3307
                },
                tls: Tls::Preferred,
                ca: None,
                identity: None,
            }
        );
        assert_eq!(
            parse("mysql://u@[fe80::1]").endpoint,
            Endpoint::Tcp {
                host: "fe80::1".into(),
                port: DEFAULT_PORT
            }
        );
    }

    #[test]
    fn socket_and_ca_are_options() {
        let url = parse("mysql://root@localhost/?socket=/run/my%20sql.sock");
        assert_eq!(url.endpoint, Endpoint::Socket("/run/my sql.sock".into()));
        let url = parse("mysql://u@h/?ca=/ca.pem");
        assert_eq!((url.tls, url.ca), (Tls::Verify, Some("/ca.pem".into())));
    }

    #[test]
    fn urls_round_trip() {
        for text in [
            "mysql://u@h:3306",
            "mysql://a%20b@[::1]:1",
            "mysql://u@localhost/?socket=/a%26b",
            "mysql://u@localhost/?socket=/s&tls=disabled",
            "mysql://u@h:3306/?tls=verify&ca=/c%3Da.pem",
            "mysql://u@h:3306/?tls=required&cert=/c.pem&key=/k.pem",
            "mysql://u@h:3306/?tls=verify&ca=/a.pem&cert=/c.pem&key=/k.pem",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }
}
