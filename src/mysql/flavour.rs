//! Flavour (MySQL including Percona Server, or MariaDB) and version of a server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::util::error::{Error, Result};

/// The oldest supported MySQL.
pub const OLDEST_MYSQL: Version = Version::new(8, 0, 11);
/// The oldest supported MariaDB.
pub const OLDEST_MARIADB: Version = Version::new(10, 5, 0);

/// Family of servers with the same clients and dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// MySQL, Percona Server, and hosted builds of them.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::MySql => "MySQL",
            Flavour::MariaDb => "MariaDB",
        })
    }
}

/// `major.minor.patch`, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// 8 of 8.0.36.
    pub major: u16,
    /// 0 of 8.0.36.
    pub minor: u16,
    /// 36 of 8.0.36.
    pub patch: u16,
}

impl Version {
    /// A version from its numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Version {
            major,
            minor,
            patch,
        }
    }

    /// The release series, within which servers and clients are interchangeable: `8.0`, `10.11`.
    pub fn series(self) -> (u16, u16) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = ();

    /// Parses the three numbers at the start of `text`, and ignores what follows.
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            part[..digits].parse::<u16>().map_err(|_| ())
        });
        let mut next = || numbers.next().unwrap_or(Err(()));
        Ok(Version::new(next()?, next()?, next()?))
    }
}

/// Flavour and version of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerVersion {
    /// MySQL or MariaDB.
    pub flavour: Flavour,
    /// Numeric version.
    pub version: Version,
    /// `@@version`.
    pub text: String,
    /// `@@version_comment`.
    pub comment: String,
}

impl ServerVersion {
    /// Parses `@@version` and `@@version_comment`; `None` if the version is not numeric.
    pub fn parse(version: &str, comment: &str) -> Option<Self> {
        let mariadb = [version, comment]
            .iter()
            .any(|text| text.to_ascii_lowercase().contains("mariadb"));
        // Older versions of MariaDB add the prefix 5.5.5, for replicas that support only one digit.
        let real = match version.strip_prefix("5.5.5-") {
            Some(rest) if mariadb => rest,
            _ => version,
        };
        Some(ServerVersion {
            flavour: if mariadb {
                Flavour::MariaDb
            } else {
                Flavour::MySql
            },
            version: real.parse().ok()?,
            text: version.to_owned(),
            comment: comment.to_owned(),
        })
    }

    /// Refuses (exit 9) a server older than the supported versions.
    pub fn check_supported(&self) -> Result<()> {
        let oldest = match self.flavour {
            Flavour::MySql => OLDEST_MYSQL,
            Flavour::MariaDb => OLDEST_MARIADB,
        };
        if self.version >= oldest {
            return Ok(());
        }
        Err(Error::refused(format!(
            "the server is {self} ({}); drctl supports {} {oldest} and later",
            self.text, self.flavour
        ))
        .hint("upgrade it"))
    }

    /// Whether this is MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.flavour == Flavour::MariaDb
    }

    /// Whether both have the same flavour and release series.
    pub fn same_series(&self, other: &ServerVersion) -> bool {
        (self.flavour, self.version.series()) == (other.flavour, other.version.series())
    }
}

impl fmt::Display for ServerVersion {
    /// `MariaDB 10.11.19`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flavour, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_version_strings_are_parsed() {
        for (version, comment, flavour, numbers) in [
            (
                "10.11.19-MariaDB-0+deb12u1",
                "Debian 12",
                Flavour::MariaDb,
                (10, 11, 19),
            ),
            ("5.5.5-10.6.5-MariaDB-log", "", Flavour::MariaDb, (10, 6, 5)),
            (
                "11.4.2-MariaDB-ubu2404",
                "mariadb.org binary distribution",
                Flavour::MariaDb,
                (11, 4, 2),
            ),
            (
                "10.5.12-log",
                "managed MariaDB",
                Flavour::MariaDb,
                (10, 5, 12),
            ),
            ("9.7.4", "(Debian)", Flavour::MySql, (9, 7, 4)),
            (
                "8.0.36-28",
                "Percona Server (GPL), Release 28",
                Flavour::MySql,
                (8, 0, 36),
            ),
            (
                "8.4.0",
                "MySQL Community Server - GPL",
                Flavour::MySql,
                (8, 4, 0),
            ),
            ("5.5.5-m3", "MySQL", Flavour::MySql, (5, 5, 5)),
            // Recorded from documentation: hosted servers and other builds.
            (
                "10.11.6-MariaDB-log",
                "managed by https://aws.amazon.com/rds/",
                Flavour::MariaDb,
                (10, 11, 6),
            ),
            ("8.0.35", "Source distribution", Flavour::MySql, (8, 0, 35)),
            ("8.0.31-google", "(Google)", Flavour::MySql, (8, 0, 31)),
            (
                "8.0.36-azure",
                "MySQL Community Server (GPL)",
                Flavour::MySql,
                (8, 0, 36),
            ),
            (
                "8.0.33-25.1",
                "Percona XtraDB Cluster (GPL), Release rel25, Revision 0c56202, WSREP version 26.1.4.3",
                Flavour::MySql,
                (8, 0, 33),
            ),
            (
                "8.4.2-2",
                "Percona Server (GPL), Release 2, Revision 3b6ee79f",
                Flavour::MySql,
                (8, 4, 2),
            ),
            (
                "10.6.17-13-MariaDB-enterprise-log",
                "MariaDB Enterprise Server",
                Flavour::MariaDb,
                (10, 6, 17),
            ),
            (
                "5.5.5-10.5.25-MariaDB-1:10.5.25+maria~ubu2004",
                "mariadb.org binary distribution",
                Flavour::MariaDb,
                (10, 5, 25),
            ),
        ] {
            let found = ServerVersion::parse(version, comment).unwrap();
            assert_eq!(found.flavour, flavour, "{version}");
            let v = found.version;
            assert_eq!((v.major, v.minor, v.patch), numbers, "{version}");
        }
    }

    #[test]
    fn a_server_that_is_too_old_is_refused() {
        for (version, comment, name) in [
            (
                "5.6.24",
                "MySQL Community Server (GPL)",
                Some("MySQL 5.6.24"),
            ),
            (
                "5.7.44-log",
                "MySQL Community Server (GPL)",
                Some("MySQL 5.7.44"),
            ),
            (
                "5.7.44-48-57",
                "Percona XtraDB Cluster (GPL)",
                Some("MySQL 5.7.44"),
            ),
            (
                "8.0.4-rc-log",
                "MySQL Community Server (GPL)",
                Some("MySQL 8.0.4"),
            ),
            ("8.0.36-28", "Percona Server (GPL), Release 28", None),
            ("5.5.68-MariaDB", "MariaDB Server", Some("MariaDB 5.5.68")),
            ("5.5.5-10.3.39-MariaDB-log", "", Some("MariaDB 10.3.39")),
            ("10.4.34-MariaDB", "", Some("MariaDB 10.4.34")),
            ("10.5.12-log", "managed MariaDB", None),
            ("5.5.5-10.6.5-MariaDB-log", "", None),
            ("11.8.2-MariaDB-ubu2404", "", None),
        ] {
            let refused = ServerVersion::parse(version, comment)
                .unwrap()
                .check_supported();
            match name {
                None => refused.unwrap(),
                Some(name) => {
                    let error = refused.unwrap_err();
                    assert_eq!(error.outcome().code(), 9);
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
    }

    #[test]
    fn text_without_a_version_is_not_parsed() {
        for text in ["", "MariaDB", "8", "8.0", "8.x.1", "-8.0.1", "99999.0.1"] {
            assert_eq!(ServerVersion::parse(text, ""), None, "{text}");
        }
    }
}
