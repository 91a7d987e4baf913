//! The dump commands that dump a restored server for the comparison.
//!
//! A single command, and so a single snapshot, if other clients may write to the server. On drctl's own
//! server several in parallel: first one for the definitions, then the rows of the tables found in them,
//! split into shares of about equal row counts. Either way the same program with the same options writes
//! the rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::sql::statement::ObjectId;

/// DumpScope to dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpScope {
    /// Whole schemas.
    Schemas(BTreeSet<String>),
    /// Tables and views by schema, with their triggers.
    Tables(BTreeMap<String, BTreeSet<String>>),
}

/// One invocation of the dump program.
#[derive(Debug, PartialEq, Eq)]
pub struct DumpCommand {
    /// Arguments, without connection options.
    pub arguments: Vec<String>,
    /// Schema of statements that name none; `None` if the dump names it.
    pub schema: Option<String>,
}

/// Options that dump objects of whole schemas.
const OF_SCHEMAS: [&str; 2] = ["--routines", "--events"];

/// Options that dump definitions.
const OF_DEFINITIONS: [&str; 3] = ["--routines", "--events", "--triggers"];

/// Maximum bytes of names on one command line; the rest of the system's limit is for the environment.
const MAX_NAMES: usize = 512 << 10;

/// Memory in bytes for all dump programs except the first; the rest of the 128 MiB is for the first one and
/// everything else.
const FURTHER_BYTES: u64 = 64 << 20;

/// Bytes that each dump program needs besides its longest statement: chunks and a batch.
const OTHER_BYTES: u64 = 8 << 20;

/// Number of parallel dump programs for a number of lanes, by the longest statement of the dump in bytes:
/// each program holds it three times.
pub fn at_once(lanes: usize, longest_statement: u64) -> usize {
    let each = longest_statement
        .saturating_mul(3)
        .saturating_add(OTHER_BYTES);
    lanes.clamp(1, 1 + (FURTHER_BYTES / each) as usize)
}

/// Commands that dump everything, one after the other.
pub fn whole(what: &DumpScope, options: &[String]) -> Vec<DumpCommand> {
    match what {
        DumpScope::Schemas(schemas) if schemas.is_empty() => Vec::new(),
        DumpScope::Schemas(schemas) => vec![of_schemas(options.to_vec(), schemas)],
        DumpScope::Tables(tables) => {
            let options = without(options, &OF_SCHEMAS);
            tables
                .iter()
                .map(|(schema, names)| of_tables(options.clone(), schema, names))
                .collect()
        }
    }
}

/// Commands that dump all definitions, without rows.
pub fn definitions(what: &DumpScope, options: &[String]) -> Vec<DumpCommand> {
    let mut options = options.to_vec();
    options.push("--no-data".to_owned());
    whole(what, &options)
}

/// Commands that dump only the rows of these tables, given their row counts; in any order, the largest
/// first.
pub fn rows<'a>(
    tables: impl Iterator<Item = (&'a ObjectId, u64)>,
    options: &[String],
    at_once: usize,
) -> Vec<DumpCommand> {
    let mut options = without(options, &OF_DEFINITIONS);
    options.extend(["--no-create-info", "--no-create-db", "--skip-triggers"].map(str::to_owned));
    let mut schemas: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (table, rows) in tables {
        // An empty table also has a cost.
        let of_schema = schemas.entry(&table.schema).or_default();
        of_schema.push((&table.name, rows + 1));
    }
    let sum = |tables: &[(&str, u64)]| tables.iter().map(|(_, rows)| rows).sum::<u64>();
    let fair = schemas.values().map(|tables| sum(tables)).sum::<u64>() / at_once as u64;
    let mut commands = Vec::new();
    let mut small = Vec::new();
    for (schema, tables) in schemas {
        let names: usize = tables.iter().map(|(name, _)| name.len() + 1).sum();
        if sum(&tables) > fair && names <= MAX_NAMES {
            for (tables, rows) in shares(tables, at_once) {
                commands.push((of_tables(options.clone(), schema, tables), rows));
            }
        } else {
            small.push((schema, sum(&tables)));
        }
    }
    for (schemas, rows) in shares(small, at_once) {
        commands.push((of_schemas(options.clone(), schemas), rows));
    }
    commands.sort_by_key(|(_, rows)| Reverse(*rows));
    commands.into_iter().map(|(command, _)| command).collect()
}

/// At most `count` shares of about equal weight: each piece, the heaviest first, goes to the lightest
/// share.
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
    options
        .iter()
        .filter(|option| !unwanted.contains(&option.as_str()))
        .cloned()
        .collect()
}

fn of_schemas<S: ToString>(
    mut options: Vec<String>,
    schemas: impl IntoIterator<Item = S>,
) -> DumpCommand {
    options.extend(["--databases", "--"].map(str::to_owned));
    options.extend(schemas.into_iter().map(|schema| schema.to_string()));
    DumpCommand {
        arguments: options,
        schema: None,
    }
}

fn of_tables<S: ToString>(
    mut options: Vec<String>,
    schema: &str,
    tables: impl IntoIterator<Item = S>,
) -> DumpCommand {
    options.extend(["--", schema].map(str::to_owned));
    options.extend(tables.into_iter().map(|table| table.to_string()));
    DumpCommand {
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

    /// Summary of each command in one line.
    fn about(tables: &[(&str, &str, u64)], at_once: usize) -> Vec<String> {
        let tables: Vec<_> = tables
            .iter()
            .map(|(schema, name, rows)| (ObjectId::new(ObjectKind::Table, *schema, *name), *rows))
            .collect();
        let tables = tables.iter().map(|(table, rows)| (table, *rows));
        rows(tables, &own(&["--quick", "--events"]), at_once)
            .into_iter()
            .map(|command| {
                let text = command.arguments.join(" ");
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
            whole(&DumpScope::Tables(tables), &options),
            [DumpCommand {
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
    fn a_large_schema_is_split_by_its_tables() {
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
    fn every_table_is_in_exactly_one_command() {
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
