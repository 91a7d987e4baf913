//! Spatial reference systems: they are in the server's data dictionary, belong to no schema, and are not dumped.

use serde::{Deserialize, Serialize};

/// A spatial reference system that a column uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpatialReference {
    /// The SRID.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// The organization that defined it, and its number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<(String, u32)>,
    /// Its definition as well-known text (WKT).
    pub definition: String,
    /// A description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl SpatialReference {
    /// The statement that creates it if it is missing, for a session with an empty `sql_mode`.
    pub fn create(&self) -> String {
        let id = self.id;
        self.with_attributes(format!(
            "CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS {id}"
        ))
    }

    /// The statement that creates it, or replaces one with the same SRID that no column uses, for a session with an
    /// empty `sql_mode`.
    pub fn replace(&self) -> String {
        let id = self.id;
        self.with_attributes(format!("CREATE OR REPLACE SPATIAL REFERENCE SYSTEM {id}"))
    }

    fn with_attributes(&self, mut sql: String) -> String {
        sql.push_str(&format!(" NAME {}", text(&self.name)));
        if let Some((organization, number)) = &self.organization {
            let organization = text(organization);
            sql.push_str(&format!(
                " ORGANIZATION {organization} IDENTIFIED BY {number}"
            ));
        }
        sql.push_str(&format!(" DEFINITION {}", text(&self.definition)));
        if let Some(description) = &self.description {
            sql.push_str(&format!(" DESCRIPTION {}", text(description)));
        }
        sql
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_in_the_statement() {
        let lunar = SpatialReference {
            id: 1_999_999,
            name: "It's \\ lunar".to_owned(),
            organization: Some(("NASA'".to_owned(), 7)),
            definition: "GEOGCS[\"Lunar\"]".to_owned(),
            description: None,
        };
        let create = lunar.create();
        assert_eq!(
            create,
            "CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS 1999999 NAME 'It''s \\\\ lunar' \
             ORGANIZATION 'NASA''' IDENTIFIED BY 7 DEFINITION 'GEOGCS[\"Lunar\"]'"
        );
        let (_, attributes) = create.split_once(" NAME ").unwrap();
        assert_eq!(
            lunar.replace(),
            format!("CREATE OR REPLACE SPATIAL REFERENCE SYSTEM 1999999 NAME {attributes}")
        );
    }
}
