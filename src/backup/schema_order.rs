//! Order of the schemas in the dump: by name, but after those whose sequences their tables use.
//!
//! MariaDB does not create a table with a default from a sequence before the sequence exists, and a dump defines one
//! schema after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::mysql::connect::literals;
use crate::mysql::{Connection, ServerVersion};
use crate::sql::tokens::{Token, Tokens};

/// The schemas in an order in which each follows those it depends on, and a warning if there is no such order.
pub(super) async fn of(
    connection: &mut Connection,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<(Vec<String>, Option<String>)> {
    if !server.is_mariadb() {
        return Ok((schemas.to_vec(), None));
    }
    let defaults: Vec<(String, Vec<u8>)> = connection
        .rows(&format!(
            "SELECT table_schema, column_default FROM information_schema.columns
             WHERE table_schema IN ({}) AND column_default LIKE '%val(%'",
            literals(schemas)
        ))
        .await?;
    let mut needs: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (schema, default) in &defaults {
        let named = needs.entry(schema).or_default();
        named.extend(sequences(default).filter(|other| other != schema));
    }
    let (order, circle) = sorted(schemas, &needs);
    let warning = (!circle.is_empty()).then(|| {
        format!(
            "schemas use sequences of each other: drctl restores them, the plain client fails at the first table (1146): {}",
            circle.join(", ")
        )
    });
    Ok((order, warning))
}

/// The schemas of the sequences in a default.
fn sequences(default: &[u8]) -> impl Iterator<Item = String> {
    let tokens: Vec<Token<'_>> = Tokens::new(default).collect();
    let found: Vec<String> = tokens
        .windows(5)
        .filter(|at| {
            ["nextval", "lastval", "setval"]
                .iter()
                .any(|word| at[0].is(word))
        })
        .filter(|at| at[1] == Token::Mark(b'(') && at[3] == Token::Mark(b'.'))
        .filter_map(|at| at[2].name().flatten())
        .collect();
    found.into_iter()
}

/// The schemas by name, each after those it needs, and the schemas for which that is impossible.
fn sorted(
    schemas: &[String],
    needs: &BTreeMap<&str, BTreeSet<String>>,
) -> (Vec<String>, Vec<String>) {
    let (mut order, mut left) = (Vec::new(), schemas.to_vec());
    while !left.is_empty() {
        let is_blocked = |schema: &String| {
            needs
                .get(schema.as_str())
                .is_some_and(|needed| left.iter().any(|other| needed.contains(other)))
        };
        match left.iter().position(|schema| !is_blocked(schema)) {
            Some(at) => order.push(left.remove(at)),
            None => {
                order.extend(left.iter().cloned());
                return (order, left);
            }
        }
    }
    (order, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(schemas: &[&str], needs: &[(&'static str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut all: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (schema, needed) in needs {
            all.entry(schema).or_default().insert((*needed).to_owned());
        }
        let schemas: Vec<String> = schemas.iter().map(|one| (*one).to_owned()).collect();
        sorted(&schemas, &all)
    }

    #[test]
    fn schemas_follow_those_they_need_and_are_otherwise_sorted() {
        let (found, circle) = order(
            &["a", "b", "c", "d"],
            &[("a", "c"), ("c", "d"), ("b", "gone")],
        );
        assert_eq!((found.join(""), circle.len()), ("bdca".to_owned(), 0));
        let (found, circle) = order(&["a", "b", "c"], &[("a", "c"), ("c", "a")]);
        assert_eq!(
            (found.join(""), circle.join("")),
            ("bac".to_owned(), "ac".to_owned())
        );
    }

    #[test]
    fn the_schemas_of_sequences_in_a_default_are_found() {
        let found = |default: &str| sequences(default.as_bytes()).collect::<Vec<_>>();
        assert_eq!(
            found("(nextval(`z ``s`.`q`) + lastval(`y`.`q`))"),
            ["z `s", "y"]
        );
        assert_eq!(found("'nextval(`z`.`q`)'"), [""; 0]);
    }
}
