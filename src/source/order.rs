//! The order in which schemas are dumped: by name, but behind those whose sequences their tables need.
//!
//! A table of MariaDB whose column has a sequence as its default is not made before the sequence is, and a dump
//! defines one schema after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::server::{Connection, ServerVersion};
use crate::sql::tokens::{Token, Tokens};

/// The schemas in an order in which each finds what it needs, and what to say where there is none.
pub(super) async fn of(
    connection: &mut Connection,
    server: &ServerVersion,
    schemas: &[String],
) -> Result<(Vec<String>, Option<String>)> {
    if !server.is_mariadb_from(10, 3, 0) {
        return Ok((schemas.to_vec(), None));
    }
    let defaults: Vec<(String, Vec<u8>)> = connection
        .rows(
            "SELECT table_schema, column_default FROM information_schema.columns
             WHERE column_default LIKE '%val(%'",
        )
        .await?;
    let mut needs: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (schema, default) in &defaults {
        let named = needs.entry(schema).or_default();
        named.extend(sequences(default).filter(|other| other != schema));
    }
    let (order, circle) = sorted(schemas, &needs);
    let warning = (!circle.is_empty()).then(|| {
        format!(
            "schemas need sequences of each other: drctl restores them, the plain client stops at the first table (1146): {}",
            circle.join(", ")
        )
    });
    Ok((order, warning))
}

/// The schemas of the sequences in a default, which the server writes with their schemas.
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

/// By name, each behind what it needs; and those for which there is no such place.
fn sorted(
    schemas: &[String],
    needs: &BTreeMap<&str, BTreeSet<String>>,
) -> (Vec<String>, Vec<String>) {
    let (mut order, mut left) = (Vec::new(), schemas.to_vec());
    while !left.is_empty() {
        let waits = |schema: &String| {
            needs
                .get(schema.as_str())
                .is_some_and(|needed| left.iter().any(|other| needed.contains(other)))
        };
        match left.iter().position(|schema| !waits(schema)) {
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
    fn a_schema_comes_behind_those_that_it_needs_and_else_by_name() {
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
    fn the_schemas_of_a_defaults_sequences_are_found() {
        let found = |default: &str| sequences(default.as_bytes()).collect::<Vec<_>>();
        assert_eq!(
            found("(nextval(`z ``s`.`q`) + lastval(`y`.`q`))"),
            ["z `s", "y"]
        );
        assert_eq!(found("'nextval(`z`.`q`)'"), [""; 0]);
    }
}
