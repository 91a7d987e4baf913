//! Which schemas a backup covers.

use crate::server::schemas::{Own, Owner};
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
    /// Refuses, as a usage error, a scope that names a schema of the server itself, one that cannot be
    /// dumped, or none.
    pub fn check(&self, own: &Own) -> Result<()> {
        let Scope::Only(schemas) = self else {
            return Ok(());
        };
        if schemas.is_empty() {
            return Err(Error::usage("the list of schemas to back up is empty")
                .hint("leave it out to back up all of them"));
        }
        for schema in schemas {
            let why = match own.owner(schema) {
                Owner::User => continue,
                Owner::Server => "it is the server's own",
                Owner::Unreachable(why) => why,
            };
            return Err(
                Error::usage(format!("schema {schema} cannot be backed up: {why}"))
                    .hint("take it out of the list; accounts are kept beside the dump"),
            );
        }
        Ok(())
    }

    /// Whether a schema of a server, whose own schemas these are, is covered.
    pub fn covers(&self, schema: &str, own: &Own) -> bool {
        let listed = |list: &[String]| {
            let mut names = list.iter();
            names.any(|name| same_name(name, schema, own.folds()))
        };
        match self {
            Scope::All { except } => own.owner(schema) == Owner::User && !listed(except),
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
    use crate::server::schemas::own;

    #[test]
    fn a_scope_of_nothing_or_of_the_servers_own_is_a_usage_error() {
        let (exact, folding) = (own("9.7.4", false, false), own("9.7.4", true, false));
        for schemas in [vec![], vec!["shop".to_owned(), "mysql".to_owned()]] {
            let error = Scope::Only(schemas).check(&exact).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Usage);
        }
        let capitals = Scope::Only(vec!["MySQL".to_owned()]);
        capitals.check(&exact).unwrap();
        assert_eq!(
            capitals.check(&folding).unwrap_err().outcome(),
            Outcome::Usage
        );
    }

    #[test]
    fn all_means_all_but_the_servers_own_and_the_exceptions() {
        let scope = Scope::All {
            except: vec!["Scratch".into()],
        };
        let (exact, folding) = (own("9.7.4", false, false), own("9.7.4", true, false));
        assert!(scope.covers("shop", &exact));
        assert!(scope.covers("scratch", &exact));
        assert!(!scope.covers("scratch", &folding));
        assert!(!scope.covers("performance_schema", &exact));
        assert!(scope.covers("SYS", &exact));
    }
}
