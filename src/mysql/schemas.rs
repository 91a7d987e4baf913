//! Schemas without user data: those of the server, and that of drctl.
//!
//! The rule depends on the server ([`Own`]): with `lower_case_table_names=0`, `mysql` is a system schema and `MYSQL`
//! contains user data. The arms of [`Own::owner`] were tested on MySQL 9.7 and MariaDB 10.11.

use std::collections::BTreeMap;

use crate::Result;
use crate::mysql::names::NameCase;
use crate::mysql::{Connection, Flavour, ServerVersion};

/// The schema of the restore marker.
pub const MARKER: &str = "drctl_restore";

/// The system schemas of every server, in their exact spelling.
pub const SYSTEM: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

/// Prefix under which MariaDB shows directories in its data directory that it did not create.
const DIRECTORY: &str = "#mysql50#";

/// Owner of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A user: the schema contains data.
    User,
    /// The server.
    Server,
    /// Unknown; no dump program can dump the schema, for this reason.
    Unreachable(&'static str),
}

/// Determines which schemas are system schemas of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    flavour: Flavour,
    case: NameCase,
    /// Whether the server has the NDB engine.
    ndb: bool,
}

impl Own {
    /// Reads the variables of a server.
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

    /// From the global variables of a server, names in lower case.
    pub fn from_variables(version: &ServerVersion, variables: &BTreeMap<String, String>) -> Own {
        let lower = variables.get("lower_case_table_names");
        Own {
            flavour: version.flavour,
            case: match lower.map(String::as_str) {
                None | Some("0") => NameCase::Sensitive,
                Some(_) => NameCase::Insensitive,
            },
            // The dump programs detect it the same way.
            ndb: variables.contains_key("ndbinfo_version"),
        }
    }

    /// How the server compares names of schemas and tables.
    pub fn name_case(&self) -> NameCase {
        self.case
    }

    /// The owner of a schema on the server.
    pub fn owner(&self, schema: &str) -> Owner {
        let folded = schema.to_ascii_lowercase();
        let exact = self.case == NameCase::Insensitive || folded == schema;
        match folded.as_str() {
            "mysql" | "sys" if exact => Owner::Server,
            // Equal in any case: CREATE DATABASE fails with 1044.
            "information_schema" => Owner::Server,
            "performance_schema" if exact => Owner::Server,
            // MySQL refuses to create it, MariaDB to create objects in it.
            "performance_schema" => Owner::Unreachable("no table can be created in it"),
            "ndbinfo" if self.ndb && exact => Owner::Server,
            "ndbinfo" if self.ndb => Owner::Unreachable("mysqldump takes it for NDB's ndbinfo"),
            // MariaDB refuses such a name in CREATE DATABASE (1102); for MySQL 8.0 it is an ordinary name.
            _ if self.flavour == Flavour::MariaDb && schema.starts_with(DIRECTORY) => {
                Owner::Unreachable("it is a directory that the server takes for a schema")
            }
            _ => Owner::User,
        }
    }

    /// Whether nothing may be restored into the schema.
    pub fn is_closed(&self, schema: &str) -> bool {
        self.case.same(schema, MARKER) || self.owner(schema) != Owner::User
    }
}

/// Whether no archive of any server may contain the schema.
pub fn is_closed_anywhere(schema: &str) -> bool {
    schema == MARKER || SYSTEM.contains(&schema)
}

/// For tests: a server of this version.
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
    fn the_case_of_system_schemas_matters_unless_the_server_ignores_case() {
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
    fn system_schemas_depend_on_flavour_and_engines() {
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
    fn the_schema_of_the_marker_is_closed_by_the_case_rule_of_the_server() {
        assert!(own("9.7.4", false, false).is_closed(MARKER));
        assert!(!own("9.7.4", false, false).is_closed("DRCTL_RESTORE"));
        assert!(own("9.7.4", true, false).is_closed("DRCTL_RESTORE"));
    }
}
