//! The schemas of a server that are nobody's data: its own, and the one of drctl.
//!
//! Whose a schema is, is asked of one server, [`Own`], since the rule is the server's: where
//! `lower_case_table_names` is 0, `mysql` is the server's and `MYSQL` somebody's data. What was tried
//! (MySQL 9.7, MariaDB 10.11) stands at each arm of [`Own::owner`].

use std::collections::BTreeMap;

use super::{Connection, Flavour, ServerVersion};
use crate::Result;

/// The one that marks a server as half restored.
pub const MARKER: &str = "drctl_restore";

/// The server's own schemas that every server has, as servers spell them.
pub const SYSTEM: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

/// What names the directories of MariaDB's data directory that are no schemas of its making.
const DIRECTORY: &str = "#mysql50#";

/// Whose a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Somebody's data.
    User,
    /// The server: it is there before anybody uses it.
    Server,
    /// Nobody in particular, but no dump program can carry it, for this reason.
    Unreachable(&'static str),
}

/// Which schemas are a server's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    flavour: Flavour,
    /// Whether names of schemas differ by more than case alone (`lower_case_table_names` is not 0).
    fold: bool,
    /// Whether the NDB engine is there.
    ndb: bool,
}

impl Own {
    /// Asks a server.
    pub async fn of(connection: &mut Connection, version: &ServerVersion) -> Result<Own> {
        let variables: Vec<(String, String)> = connection
            .rows(
                "SHOW GLOBAL VARIABLES WHERE variable_name IN ('lower_case_table_names', 'ndbinfo_version')",
            )
            .await?;
        Ok(Own::from_variables(
            version,
            &variables.into_iter().collect(),
        ))
    }

    /// Of a server whose global variables are known, names in lower case.
    pub fn from_variables(version: &ServerVersion, variables: &BTreeMap<String, String>) -> Own {
        let lower = variables.get("lower_case_table_names");
        Own {
            flavour: version.flavour,
            fold: lower.is_some_and(|value| value != "0"),
            // By this the dump programs know it too.
            ndb: variables.contains_key("ndbinfo_version"),
        }
    }

    /// Whether names of schemas and tables differ by more than case alone.
    pub fn folds(&self) -> bool {
        self.fold
    }

    /// Whose a schema of the server is.
    pub fn owner(&self, schema: &str) -> Owner {
        let folded = schema.to_ascii_lowercase();
        let exact = self.fold || folded == schema;
        match folded.as_str() {
            "mysql" | "sys" if exact => Owner::Server,
            // Any spelling of it is this very schema: CREATE DATABASE answers 1044.
            "information_schema" => Owner::Server,
            "performance_schema" if exact => Owner::Server,
            // MySQL refuses to create it, MariaDB to put anything into it.
            "performance_schema" => Owner::Unreachable("no table can be made in it"),
            "ndbinfo" if self.ndb && exact => Owner::Server,
            "ndbinfo" if self.ndb => Owner::Unreachable("mysqldump takes it for NDB's ndbinfo"),
            // MariaDB refuses such a name in CREATE DATABASE (1102), to MySQL 8.0 it is one like any other.
            _ if self.flavour == Flavour::MariaDb && schema.starts_with(DIRECTORY) => {
                Owner::Unreachable("it is a directory that the server took for a schema")
            }
            _ => Owner::User,
        }
    }

    /// Whether nothing may be restored into a schema of this name on this server.
    pub fn is_closed(&self, schema: &str) -> bool {
        let marker = match self.fold {
            true => schema.eq_ignore_ascii_case(MARKER),
            false => schema == MARKER,
        };
        marker || self.owner(schema) != Owner::User
    }
}

/// Whether no archive may hold a schema of this name, whatever server it was made of.
pub fn is_closed_anywhere(schema: &str) -> bool {
    schema == MARKER || SYSTEM.contains(&schema)
}

/// Own schemas of a server that is only thought of.
#[cfg(test)]
pub fn own(version: &str, fold: bool, ndb: bool) -> Own {
    let version = ServerVersion::parse(version, "").expect("a version");
    let mut variables = BTreeMap::from([(
        "lower_case_table_names".to_owned(),
        u8::from(fold).to_string(),
    )]);
    if ndb {
        variables.insert("ndbinfo_version".into(), "525060".into());
    }
    Own::from_variables(&version, &variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_the_servers_by_its_exact_name_unless_the_server_folds_names() {
        let (exact, folding) = (own("9.7.4", false, false), own("9.7.4", true, false));
        for name in ["mysql", "sys"] {
            let capitals = name.to_uppercase();
            assert_eq!(exact.owner(name), Owner::Server);
            assert_eq!(exact.owner(&capitals), Owner::User);
            assert_eq!(folding.owner(&capitals), Owner::Server);
            assert!(!exact.is_closed(&capitals) && folding.is_closed(&capitals));
        }
        for name in ["information_schema", "INFORMATION_SCHEMA"] {
            assert_eq!(exact.owner(name), Owner::Server);
        }
        assert_ne!(exact.owner("Performance_Schema"), Owner::User);
        for name in ["drctl", "mysql_innodb_cluster_metadata", "mysqlx", "sys2"] {
            for own in [exact, folding] {
                assert_eq!(own.owner(name), Owner::User, "{name}");
            }
        }
    }

    #[test]
    fn what_is_a_schema_of_the_servers_depends_on_what_the_server_has() {
        let with_ndb = own("9.7.4", false, true);
        assert_eq!(with_ndb.owner("ndbinfo"), Owner::Server);
        assert!(matches!(with_ndb.owner("NDBINFO"), Owner::Unreachable(_)));
        for name in ["ndbinfo", "NDBINFO"] {
            assert_eq!(own("9.7.4", false, false).owner(name), Owner::User);
        }
        let mariadb = own("10.11.19-MariaDB", false, false);
        for (name, user) in [("#mysql50#lost+found", false), ("#mysql51#x", true)] {
            assert_eq!(mariadb.owner(name) == Owner::User, user, "{name}");
            assert_eq!(own("9.7.4", false, false).owner(name), Owner::User);
        }
    }

    #[test]
    fn the_marker_is_closed_by_the_servers_case_rule() {
        assert!(own("9.7.4", false, false).is_closed(MARKER));
        assert!(!own("9.7.4", false, false).is_closed("DRCTL_RESTORE"));
        assert!(own("9.7.4", true, false).is_closed("DRCTL_RESTORE"));
    }
}
