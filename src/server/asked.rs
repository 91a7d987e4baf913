//! What a server answers to the question whether it has something: versions differ, and so do packages
//! and hosts of one version.

use super::Connection;
use super::connect::{NamedRow, literal, server_code};
use crate::Result;

/// ER_PARSE_ERROR: the server does not know the words.
const NOT_UNDERSTOOD: u16 = 1064;

impl Connection {
    /// The rows of the first statement that the server understands, of several that mean the same; any other
    /// error ends it. None of no statement.
    pub async fn first_understood(&mut self, statements: &[&str]) -> Result<Vec<NamedRow>> {
        let Some((newest, older)) = statements.split_first() else {
            return Ok(Vec::new());
        };
        let mut tried = self.named_rows(newest).await;
        for statement in older {
            match &tried {
                Err(error) if server_code(error) == Some(NOT_UNDERSTOOD) => {
                    tried = self.named_rows(statement).await;
                }
                _ => break,
            }
        }
        tried
    }

    /// The value of a global system variable, under the first of its names that the server knows.
    pub async fn variable(&mut self, names: &[&str]) -> Result<Option<String>> {
        for name in names {
            let sql = format!(
                "SHOW GLOBAL VARIABLES WHERE variable_name = {}",
                literal(name)
            );
            if let Some((_, value)) = self.row::<(String, String)>(&sql).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Whether the server has a table in its information_schema.
    pub async fn has_information(&mut self, table: &str) -> Result<bool> {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = 'information_schema' AND table_name = {}",
            literal(&table.to_uppercase())
        );
        Ok(self.one::<u64>(&sql).await? > 0)
    }

    /// The first of these privileges that the server knows at all.
    pub async fn first_privilege<'a>(&mut self, names: &[&'a str]) -> Result<Option<&'a str>> {
        let known = self.named_rows("SHOW PRIVILEGES").await?;
        let knows = |name: &str| {
            let mut all = known.iter().filter_map(|row| row.get("Privilege"));
            all.any(|one| one.eq_ignore_ascii_case(name))
        };
        Ok(names.iter().copied().find(|name| knows(name)))
    }
}
