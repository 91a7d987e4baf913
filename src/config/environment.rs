//! `DRCTL_*` variables that drctl does not read.
//!
//! A misspelt variable is a setting that is silently missing, so it causes a warning. It is not an error:
//! Kubernetes sets variables for each Service of the namespace, and those of a Service named `drctl` or
//! `drctl-serve` begin with `DRCTL_`. They are recognised by the form of name and value.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use crate::config::keys;
use crate::util::error::{Error, Result};

/// Prefix of all variables.
const PREFIX: &str = "DRCTL_";

/// Variables without a key.
const OTHERS: &[&str] = &[
    "DRCTL_CONFIG",
    "DRCTL_STORE",
    "DRCTL_CONFIRM",
    "DRCTL_RESTORE",
    "DRCTL_LOG",
    "DRCTL_LOG_FORMAT",
    // Read only by debug builds: see panics.rs.
    #[cfg(debug_assertions)]
    crate::util::panics::INJECT,
];

/// Variables that name the moment of a restore, each as the option of its name.
pub const MOMENTS: [&str; 5] = [
    "DRCTL_RESTORE_TO",
    "DRCTL_RESTORE_TO_GTID",
    "DRCTL_RESTORE_BEFORE_GTID",
    "DRCTL_RESTORE_TO_POSITION",
    "DRCTL_RESTORE_BEFORE_STATEMENT",
];

/// A variable that drctl does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Name of the variable. Its value may be a secret.
    pub name: String,
    /// The most similar known variable.
    pub nearest: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unknown { name, nearest } = self;
        write!(
            f,
            "unknown variable {name} ignored; did you mean {nearest}?"
        )
    }
}

/// Variables of an environment that begin with `DRCTL_` and are unknown, sorted by name. An empty variable
/// counts as not set.
///
/// # Errors
/// `Usage`: the value of one is not UTF-8, and would be ignored.
pub fn unknown(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Unknown>> {
    let mut unknown = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let Some(value) = value.to_str() else {
            return Err(
                Error::usage(format!("the value of the variable {name} is not UTF-8"))
                    .hint("encode it in UTF-8; a password can also be in a file"),
            );
        };
        if value.is_empty() || known().any(|one| one == name) || is_of_service(name, value) {
            continue;
        }
        unknown.push(Unknown {
            name: name.to_owned(),
            nearest: nearest(name),
        });
    }
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(unknown)
}

fn known() -> impl Iterator<Item = String> {
    let of_keys = keys::all().map(|key| keys::variable(&key.path));
    of_keys.chain(OTHERS.iter().chain(&MOMENTS).map(|name| (*name).to_owned()))
}

fn nearest(name: &str) -> String {
    let mut renamed = keys::RENAMED.iter();
    if let Some((_, current)) = renamed.find(|(old, _)| keys::variable(old) == name) {
        return keys::variable(current);
    }
    let distance = |one: &String| strsim::damerau_levenshtein(name, one);
    known().min_by_key(distance).unwrap_or_default()
}

/// Whether Kubernetes sets the variable for a Service: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_NAME`, `X_PORT`, `X_PORT_80_TCP`, `X_PORT_80_TCP_PROTO`, `_PORT` and `_ADDR`.
fn is_of_service(name: &str, value: &str) -> bool {
    let is_port = || value.parse::<u16>().is_ok();
    let is_address = || value.parse::<IpAddr>().is_ok();
    let is_protocol = |text: &str| ["tcp", "udp", "sctp"].contains(&text);
    let is_url = || {
        let parts = value.split_once("://");
        parts.is_some_and(|(protocol, address)| is_protocol(protocol) && address.contains(':'))
    };
    if name.ends_with("_SERVICE_HOST") {
        return is_address();
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_port();
    }
    if name.ends_with("_PORT") && is_url() {
        return true;
    }
    // The name of a Service may itself contain `_PORT`.
    name.match_indices("_PORT").any(|(at, word)| {
        let Some(rest) = name[at + word.len()..].strip_prefix('_') else {
            return false;
        };
        let mut parts = rest.splitn(3, '_');
        let is_number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = parts.next().unwrap_or_default().to_ascii_lowercase();
        let fits = match parts.next() {
            None => is_url(),
            Some("PROTO") => is_protocol(value),
            Some("PORT") => is_port(),
            Some("ADDR") => is_address(),
            Some(_) => false,
        };
        is_number && is_protocol(&protocol) && fits
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Vec<Unknown> {
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        unknown(variables).unwrap()
    }

    #[test]
    fn a_typo_is_led_to_the_variable_that_was_meant() {
        for (name, nearest) in [
            ("DRCTL_BACKUP_CHURN", "DRCTL_BACKUP_IGNORE_DDL_ON"),
            ("DRCTL_BAKCUP_LEVEL", "DRCTL_BACKUP_LEVEL"),
            ("DRCTL_SOURCE_PASSWORDFILE", "DRCTL_SOURCE_PASSWORD_FILE"),
            ("DRCTL_STORES", "DRCTL_STORE"),
            ("DRCTL_LOGFORMAT", "DRCTL_LOG_FORMAT"),
        ] {
            let found = of(&[(name, "x")]);
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].nearest, nearest);
            assert!(!found[0].to_string().contains('x'), "{}", found[0]);
        }
    }

    #[test]
    fn known_empty_and_foreign_variables_cause_no_warning() {
        let all: Vec<String> = known().collect();
        let all: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(of(&all), []);
        assert_eq!(
            of(&[("DRCTL_TYPO", ""), ("PATH", "x"), ("XDRCTL_", "x")]),
            []
        );
    }

    #[test]
    fn variables_of_services_are_recognised_by_their_form() {
        let services = ["DRCTL", "DRCTL_SERVE", "DRCTL_PORT_80", "DRCTL_MY_PORT"];
        for service in services {
            let set = [
                ("_SERVICE_HOST", "10.96.0.7"),
                ("_SERVICE_HOST", "fd00::7"),
                ("_SERVICE_PORT", "9898"),
                ("_SERVICE_PORT_HTTP_METRICS", "9898"),
                ("_PORT", "tcp://10.96.0.7:9898"),
                ("_PORT", "tcp://[fd00::7]:9898"),
                ("_PORT_9090_TCP", "tcp://10.96.0.7:9090"),
                ("_PORT_9090_TCP_PROTO", "tcp"),
                ("_PORT_9090_TCP_PORT", "9090"),
                ("_PORT_9090_TCP_ADDR", "10.96.0.7"),
                ("_PORT_53_UDP", "udp://10.96.0.7:53"),
                ("_PORT_53_SCTP_ADDR", "fd00::7"),
            ];
            for (name, value) in set {
                assert_eq!(of(&[(&format!("{service}{name}"), value)]), [], "{name}");
            }
        }
        for (name, value) in [
            ("DRCTL_SOURCE_PORT", "3306"),
            ("DRCTL_SERVICE_HOST", "db.example"),
            ("DRCTL_PORT", "9898"),
            ("DRCTL_PORT_9090_TCP_ADDR", "db.example"),
            ("DRCTL_PORT_X_TCP_ADDR", "10.96.0.7"),
            ("DRCTL_PORT_9090_HTTP_ADDR", "10.96.0.7"),
        ] {
            assert_eq!(of(&[(name, value)]).len(), 1, "{name}={value}");
        }
    }

    #[test]
    fn no_key_has_a_name_that_kubernetes_sets() {
        for name in known() {
            for value in ["10.96.0.7", "80", "tcp", "tcp://10.96.0.7:80"] {
                assert!(!is_of_service(&name, value), "{name}={value}");
            }
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused() {
        let odd = OsString::from_vec(vec![b'p', 0xff]);
        let set = [(OsString::from("DRCTL_SOURCE_PASSWORD"), odd)];
        let error = unknown(set.into_iter()).unwrap_err().to_string();
        assert!(
            error.contains("DRCTL_SOURCE_PASSWORD is not UTF-8"),
            "{error}"
        );
    }
}
