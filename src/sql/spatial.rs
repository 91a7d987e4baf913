//! A spatial reference system of a server: it lives in the data dictionary, is no schema's, and is in no dump.

use serde::{Deserialize, Serialize};

/// One, as a column refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpatialReference {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Who defined it, and under which number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<(String, u32)>,
    /// Its definition in well-known text.
    pub definition: String,
    /// A description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl SpatialReference {
    /// What creates it where it is missing, for a session whose `sql_mode` is empty.
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
    fn what_creates_it_holds_its_texts_as_texts() {
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
