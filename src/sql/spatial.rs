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
        let mut sql = format!(
            "CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS {} NAME {}",
            self.id,
            text(&self.name)
        );
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
        assert_eq!(
            lunar.create(),
            "CREATE SPATIAL REFERENCE SYSTEM IF NOT EXISTS 1999999 NAME 'It''s \\\\ lunar' \
             ORGANIZATION 'NASA''' IDENTIFIED BY 7 DEFINITION 'GEOGCS[\"Lunar\"]'"
        );
    }
}
