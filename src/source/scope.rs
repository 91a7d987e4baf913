//! Which schemas a backup covers.

use crate::server::schemas::is_system;
use crate::{Error, Result};

/// Which schemas are backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All but the server's own and those listed.
    All {
        /// Schemas that are left out.
        except: Vec<String>,
    },
    /// Exactly these; each must exist.
    Only(Vec<String>),
}

impl Default for Scope {
    fn default() -> Self {
        Scope::All { except: Vec::new() }
    }
}

impl Scope {
    /// Refuses, as a usage error, a scope that names a schema of the server itself, or none.
    pub fn check(&self) -> Result<()> {
        let Scope::Only(schemas) = self else {
            return Ok(());
        };
        if schemas.is_empty() {
            return Err(Error::usage("the list of schemas to back up is empty")
                .hint("leave it out to back up all of them"));
        }
        match schemas.iter().find(|schema| is_system(schema)) {
            Some(schema) => Err(Error::usage(format!(
                "schema {schema} is the server's own and cannot be backed up"
            ))
            .hint("accounts are kept beside the dump; the rest of it belongs to the installation")),
            None => Ok(()),
        }
    }

    /// Whether a schema is covered. `fold`: names differ by more than case alone.
    pub fn covers(&self, schema: &str, fold: bool) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| same_name(name, schema, fold));
        match self {
            Scope::All { except } => !is_system(schema) && !listed(except),
            Scope::Only(schemas) => listed(schemas),
        }
    }
}

/// Whether two names of schemas or tables are one; `fold` where `lower_case_table_names` is not 0.
pub fn same_name(a: &str, b: &str, fold: bool) -> bool {
    a == b || fold && a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    #[test]
    fn a_scope_of_nothing_or_of_the_servers_own_is_a_usage_error() {
        for schemas in [vec![], vec!["shop".to_owned(), "MySQL".to_owned()]] {
            let error = Scope::Only(schemas).check().unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage);
        }
    }

    #[test]
    fn all_means_all_but_the_servers_own_and_the_exceptions() {
        let scope = Scope::All {
            except: vec!["Scratch".into()],
        };
        assert!(scope.covers("shop", false));
        assert!(scope.covers("scratch", false));
        assert!(!scope.covers("scratch", true));
        assert!(!scope.covers("performance_schema", false));
        assert!(!scope.covers("#mysql50#lost+found", false));
    }
}
