//! Which runs of the dump program a restored server is dumped again by.
//!
//! One, and with it one snapshot, where others may write to the server. On a server of our own several
//! at once: first the definitions alone, then the rows of the tables that these told of, in shares of
//! about as many rows. Either way the rows are written by the same program with the same options.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::sql::statement::ObjectId;

/// What is dumped again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Whole schemas.
    Schemas(BTreeSet<String>),
    /// Tables and views by schema, with their triggers.
    Tables(BTreeMap<String, BTreeSet<String>>),
}

/// One run of the dump program.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// Its arguments, less those that say which server.
    pub arguments: Vec<String>,
    /// The schema that its statements are about where it names none itself.
    pub schema: Option<String>,
}

/// Options that are about whole schemas.
const OF_SCHEMAS: [&str; 2] = ["--routines", "--events"];

/// Options that add definitions.
const OF_DEFINITIONS: [&str; 3] = ["--routines", "--events", "--triggers"];

/// Bytes of names that one run is given: the rest of what a system takes is for the environment.
const MAX_NAMES: usize = 512 << 10;

/// Bytes that all dump programs but the first may hold: the rest of the 128 MiB are the first one's, and
/// what everything else takes.
const FURTHER_BYTES: u64 = 64 << 20;

/// Bytes that each holds beside its longest statement: chunks and a batch.
const OTHER_BYTES: u64 = 8 << 20;

/// How many dump programs may run at once for so many lanes, by the longest statement of the dump, bytes:
/// each holds it three times.
pub fn at_once(lanes: usize, longest_statement: u64) -> usize {
    let each = longest_statement
        .saturating_mul(3)
        .saturating_add(OTHER_BYTES);
    lanes.clamp(1, 1 + (FURTHER_BYTES / each) as usize)
}

/// The runs that dump all of it, one after the other.
pub fn whole(what: &What, options: &[String]) -> Vec<Run> {
    match what {
        What::Schemas(schemas) if schemas.is_empty() => Vec::new(),
        What::Schemas(schemas) => vec![of_schemas(options.to_vec(), schemas)],
        What::Tables(tables) => {
            let options = without(options, &OF_SCHEMAS);
            let runs = tables.iter();
            runs.map(|(schema, names)| of_tables(options.clone(), schema, names))
                .collect()
        }
    }
}

/// The runs that dump the definitions of all of it, and no rows.
pub fn definitions(what: &What, options: &[String]) -> Vec<Run> {
    let mut options = options.to_vec();
    options.push("--no-data".to_owned());
    whole(what, &options)
}

/// The runs that dump the rows of these tables and nothing else, given how many each may have, in any
/// order; the largest come first.
pub fn rows<'a>(
    tables: impl Iterator<Item = (&'a ObjectId, u64)>,
    options: &[String],
    at_once: usize,
) -> Vec<Run> {
    let mut options = without(options, &OF_DEFINITIONS);
    options.extend(["--no-create-info", "--no-create-db", "--skip-triggers"].map(str::to_owned));
    let mut schemas: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (table, rows) in tables {
        // An empty one is not free of cost either.
        let of_schema = schemas.entry(&table.schema).or_default();
        of_schema.push((&table.name, rows + 1));
    }
    let sum = |tables: &[(&str, u64)]| tables.iter().map(|(_, rows)| rows).sum::<u64>();
    let fair = schemas.values().map(|tables| sum(tables)).sum::<u64>() / at_once as u64;
    let mut runs = Vec::new();
    let mut small = Vec::new();
    for (schema, tables) in schemas {
        let names: usize = tables.iter().map(|(name, _)| name.len() + 1).sum();
        if sum(&tables) > fair && names <= MAX_NAMES {
            for (tables, rows) in shares(tables, at_once) {
                runs.push((of_tables(options.clone(), schema, tables), rows));
            }
        } else {
            small.push((schema, sum(&tables)));
        }
    }
    for (schemas, rows) in shares(small, at_once) {
        runs.push((of_schemas(options.clone(), schemas), rows));
    }
    runs.sort_by_key(|(_, rows)| Reverse(*rows));
    runs.into_iter().map(|(run, _)| run).collect()
}

/// At most so many shares of about the same weight: each piece goes, the heaviest first, to the share
/// that is the lightest by then.
fn shares(mut pieces: Vec<(&str, u64)>, count: usize) -> Vec<(Vec<&str>, u64)> {
    pieces.sort_by_key(|(_, weight)| Reverse(*weight));
    let mut shares = vec![(Vec::new(), 0); count.min(pieces.len())];
    for (piece, weight) in pieces {
        if let Some(lightest) = shares.iter_mut().min_by_key(|(_, weight)| *weight) {
            lightest.0.push(piece);
            lightest.1 += weight;
        }
    }
    shares
}

fn without(options: &[String], unwanted: &[&str]) -> Vec<String> {
    let wanted = options.iter();
    wanted
        .filter(|option| !unwanted.contains(&option.as_str()))
        .cloned()
        .collect()
}

fn of_schemas<S: ToString>(mut options: Vec<String>, schemas: impl IntoIterator<Item = S>) -> Run {
    options.extend(["--databases", "--"].map(str::to_owned));
    options.extend(schemas.into_iter().map(|schema| schema.to_string()));
    Run {
        arguments: options,
        schema: None,
    }
}

fn of_tables<S: ToString>(
    mut options: Vec<String>,
    schema: &str,
    tables: impl IntoIterator<Item = S>,
) -> Run {
    options.extend(["--", schema].map(str::to_owned));
    options.extend(tables.into_iter().map(|table| table.to_string()));
    Run {
        arguments: options,
        schema: Some(schema.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::ObjectKind;

    fn own(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// What each run is about, in one line.
    fn about(tables: &[(&str, &str, u64)], at_once: usize) -> Vec<String> {
        let tables: Vec<_> = tables
            .iter()
            .map(|(schema, name, rows)| (ObjectId::new(ObjectKind::Table, *schema, *name), *rows))
            .collect();
        let tables = tables.iter().map(|(table, rows)| (table, *rows));
        let runs = rows(tables, &own(&["--quick", "--events"]), at_once);
        let texts = runs.into_iter().map(|run| run.arguments.join(" "));
        texts
            .map(|text| {
                text.strip_prefix("--quick --no-create-info --no-create-db --skip-triggers ")
                    .expect("the options of rows alone")
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn chosen_tables_are_dumped_without_the_rest_of_their_schema() {
        let options = own(&["--quick", "--routines", "--events", "--triggers"]);
        let tables = [("a".to_owned(), ["-t".to_owned()].into())].into();
        assert_eq!(
            whole(&What::Tables(tables), &options),
            [Run {
                arguments: own(&["--quick", "--triggers", "--", "a", "-t"]),
                schema: Some("a".to_owned()),
            }]
        );
    }

    #[test]
    fn long_statements_are_not_held_by_several_programs() {
        assert_eq!(at_once(4, 1 << 20), 4);
        assert_eq!(at_once(64, 1 << 20), 6);
        assert_eq!(at_once(4, 114 << 20), 1);
        assert_eq!(at_once(4, u64::MAX), 1);
        assert_eq!(at_once(0, 0), 1);
    }

    #[test]
    fn one_large_schema_is_shared_out_by_its_tables() {
        let tables = [
            ("s", "a", 10),
            ("s", "b", 900),
            ("s", "c", 500),
            ("s", "d", 450),
        ];
        assert_eq!(about(&tables, 2), ["-- s c d", "-- s b a"]);
    }

    #[test]
    fn small_schemas_are_dumped_together() {
        let tables = [
            ("a", "t", 10),
            ("b", "t", 9),
            ("c", "t", 8),
            ("d", "t", 900),
        ];
        assert_eq!(
            about(&tables, 2),
            ["-- d t", "--databases -- b c", "--databases -- a"]
        );
    }

    #[test]
    fn every_table_is_in_one_run_whatever_their_number_and_that_of_the_programs() {
        let names: Vec<String> = (0..40).map(|number| format!("t{number}")).collect();
        for count in 0..names.len() {
            let tables: Vec<_> = names[..count]
                .iter()
                .enumerate()
                .map(|(number, name)| ("s", name.as_str(), (number * number) as u64))
                .collect();
            for at_once in 1..6 {
                let runs = about(&tables, at_once);
                let mut met: Vec<&str> = runs
                    .iter()
                    .flat_map(|run| match run.strip_prefix("-- s ") {
                        Some(tables) => tables.split(' ').collect(),
                        None => names[..count]
                            .iter()
                            .map(String::as_str)
                            .collect::<Vec<_>>(),
                    })
                    .collect();
                met.sort_unstable();
                let mut all: Vec<&str> = names[..count].iter().map(String::as_str).collect();
                all.sort_unstable();
                assert_eq!(met, all, "{at_once} programs: {runs:?}");
            }
        }
    }
}
