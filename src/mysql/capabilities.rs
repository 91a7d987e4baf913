//! Detection of server features, which differ between versions, and between packages and hosting providers of one version.

use crate::Result;
use crate::mysql::Connection;
use crate::mysql::connect::{NamedRow, literal, server_code};

/// ER_PARSE_ERROR: the server does not know the syntax.
const PARSE_ERROR: u16 = 1064;

impl Connection {
    /// The rows of the first of several equivalent statements that the server can parse.
    pub async fn first_understood(&mut self, statements: &[&str]) -> Result<Vec<NamedRow>> {
        let Some((newest, older)) = statements.split_first() else {
            return Ok(Vec::new());
        };
        let mut tried = self.named_rows(newest).await;
        for statement in older {
            match &tried {
                Err(error) if server_code(error) == Some(PARSE_ERROR) => {
                    tried = self.named_rows(statement).await;
                }
                _ => break,
            }
        }
        tried
    }

    /// Value of a global variable under the first of its names that exists; `None` if none does.
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

    /// Whether a table exists in information_schema.
    pub async fn has_information(&mut self, table: &str) -> Result<bool> {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.tables \
             WHERE table_schema = 'information_schema' AND table_name = {}",
            literal(&table.to_uppercase())
        );
        Ok(self.one::<u64>(&sql).await? > 0)
    }

    /// Whether a system table has a column; false if the table is not visible to the account.
    pub async fn has_column(&mut self, schema: &str, table: &str, column: &str) -> Result<bool> {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.columns \
             WHERE table_schema = {} AND table_name = {} AND column_name = {}",
            literal(schema),
            literal(table),
            literal(column)
        );
        Ok(self.one::<u64>(&sql).await? > 0)
    }

    /// The first of these privileges that the server supports.
    pub async fn first_privilege<'a>(&mut self, names: &[&'a str]) -> Result<Option<&'a str>> {
        let known = self.named_rows("SHOW PRIVILEGES").await?;
        let knows = |name: &str| {
            known
                .iter()
                .filter_map(|row| row.get("Privilege"))
                .any(|one| one.eq_ignore_ascii_case(name))
        };
        Ok(names.iter().copied().find(|name| knows(name)))
    }
}
