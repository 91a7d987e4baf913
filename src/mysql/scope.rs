//! The schemas that a backup covers.

use crate::mysql::schemas::{Own, Owner};
use crate::{Error, Result};

/// Selection of schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All but system schemas and exceptions.
    All {
        /// The exceptions.
        except: Vec<String>,
    },
    /// These schemas, all of which must exist.
    Only(Vec<String>),
}

impl Default for Scope {
    fn default() -> Self {
        Scope::All { except: Vec::new() }
    }
}

impl Scope {
    /// Checks that the schemas can be backed up.
    ///
    /// # Errors
    ///
    /// A usage error if the scope is empty or names a system schema or one that cannot be dumped.
    pub fn check(&self, own: &Own) -> Result<()> {
        let Scope::Only(schemas) = self else {
            return Ok(());
        };
        if schemas.is_empty() {
            return Err(Error::usage("the list of schemas to back up is empty")
                .hint("remove it to back up all schemas"));
        }
        for schema in schemas {
            let why = match own.owner(schema) {
                Owner::User => continue,
                Owner::Server => "it is a system schema",
                Owner::Unreachable(why) => why,
            };
            return Err(
                Error::usage(format!("schema {schema} cannot be backed up: {why}"))
                    .hint("remove it from the list; accounts are backed up separately"),
            );
        }
        Ok(())
    }

    /// Whether the scope covers a schema of a server.
    pub fn covers(&self, schema: &str, own: &Own) -> bool {
        let listed = |list: &[String]| {
            let mut names = list.iter();
            names.any(|name| own.name_case().same(name, schema))
        };
        match self {
            Scope::All { except } => own.owner(schema) == Owner::User && !listed(except),
            Scope::Only(schemas) => listed(schemas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::mysql::schemas::own;

    #[test]
    fn an_empty_scope_or_a_system_schema_is_a_usage_error() {
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
    fn a_scope_of_all_excludes_system_schemas_and_exceptions() {
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
