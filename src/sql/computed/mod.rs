//! Expressions of a table whose results depend on the session: stored and indexed generated columns, keys over
//! expressions, partitioning, CHECK constraints.
//!
//! A dump contains no such value (MySQL), or one that is recomputed (MariaDB), in the session that restores it.
//! So these expressions are found before the dump, and the settings under which they return what is stored are
//! kept with it ([`Needs`]).
//!
//! Expressions are as the server prints them: functions are resolved (`week(d)` has the mode of the session that
//! defined it), and literals have their character sets.

mod dependencies;
mod expressions;
mod functions;
mod mismatch;
mod needs;
mod variables;

use std::collections::BTreeSet;

use super::create_table::CreateTable;
use super::tokens::{Token, Tokens};
use dependencies::{Scope, dependencies};
use expressions::{Expression, expressions, names};

pub use expressions::Place;
pub use mismatch::mismatch_condition;
pub use needs::Needs;
pub use variables::{
    ALLOW_INVALID_DATES, DEFAULT_COLLATION, DEFAULT_REGEX_FLAGS, MODES, NO_UNSIGNED_SUBTRACTION,
    SQL_MODE, Settings, TIME_ZONE, VARIABLES, variable_of,
};

/// An expression that depends on the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// The column, key or constraint; empty for partitions.
    pub name: String,
    /// Where the table has it.
    pub place: Place,
    /// The text of the expression.
    pub expression: Vec<u8>,
    /// Variables, and modes of `sql_mode` by their own names.
    pub dependencies: BTreeSet<&'static str>,
    /// Whether an operand of a subtraction may be unsigned.
    pub may_be_unsigned: bool,
}

impl Computed {
    /// Whether the server stores the result, or places rows by it.
    pub fn is_kept(&self) -> bool {
        self.place != Place::Check
    }

    /// Whether the rows show the result.
    pub fn is_shown(&self) -> bool {
        matches!(self.place, Place::Stored(_) | Place::Check)
    }

    /// The variables on which the expression depends.
    pub fn variables(&self) -> BTreeSet<&'static str> {
        self.dependencies
            .iter()
            .map(|one| variable_of(one))
            .collect()
    }
}

/// The expressions of a CREATE TABLE that depend on the session and whose results are stored or checked.
pub fn of_table(sql: &[u8]) -> Vec<Computed> {
    dependent(sql).0
}

/// The virtual columns of a CREATE TABLE that depend on the session and that each session computes for itself: two sessions
/// may read different values of the same row.
pub fn computed_by_readers(sql: &[u8]) -> BTreeSet<String> {
    dependent(sql).1
}

/// Both of these.
fn dependent(sql: &[u8]) -> (Vec<Computed>, BTreeSet<String>) {
    let table = CreateTable::parse(sql);
    let partitioning = table.partitioned_by();
    let mut stored = table.key_columns();
    stored.extend(partitioning.iter().flat_map(|part| names(part)));
    let mut scope = Scope {
        columns: table.columns(),
        generated: Default::default(),
    };
    let (mut found, mut by_readers) = (Vec::new(), BTreeSet::new());
    for line in table.texts() {
        let is_column = matches!(Tokens::new(line).next(), Some(Token::Name(_)));
        for Expression { name, place, text } in expressions(line) {
            let kind = match &place {
                Place::Stored(kind) => kind.as_str(),
                _ => "",
            };
            let (dependencies, may_be_unsigned) = dependencies(text, kind, &scope);
            if dependencies.is_empty() {
                continue;
            }
            if is_column && place != Place::Check {
                scope.generated.insert(name.clone(), dependencies.clone());
            }
            // A virtual column without a key is computed by each session that reads it.
            if is_column && place == Place::Virtual && !stored.contains(&name) {
                by_readers.insert(name);
                continue;
            }
            found.push(Computed {
                name,
                place,
                expression: text.to_vec(),
                dependencies,
                may_be_unsigned,
            });
        }
    }
    for part in partitioning {
        let (dependencies, may_be_unsigned) = dependencies(part, "", &scope);
        if !dependencies.is_empty() {
            found.push(Computed {
                name: String::new(),
                place: Place::Partition,
                expression: part.to_vec(),
                dependencies,
                may_be_unsigned,
            });
        }
    }
    (found, by_readers)
}

/// Whether a table has generated columns, CHECKs, or keys over expressions.
pub fn computes(table: &CreateTable) -> bool {
    table.texts().any(|line| !expressions(line).is_empty())
}

/// Whether a table is partitioned by a generated column.
pub fn is_partitioned_by_computed(table: &CreateTable) -> bool {
    let is_generated = |name: &String| {
        table
            .columns()
            .iter()
            .any(|column| column.generated && column.name == *name)
    };
    table
        .partitioned_by()
        .into_iter()
        .flat_map(names)
        .any(|name| is_generated(&name))
}

#[cfg(test)]
const TABLE: &str = "CREATE TABLE `w` (\n  \
    `d` date DEFAULT NULL,\n  \
    `ts` timestamp NULL DEFAULT NULL,\n  \
    `c` char(4) DEFAULT NULL,\n  \
    `u` int unsigned DEFAULT NULL,\n  \
    `v` varchar(9) DEFAULT 'AS (`ts`)',\n  \
    `g` int GENERATED ALWAYS AS (week(`d`,3)) STORED,\n  \
    `g2` date GENERATED ALWAYS AS (cast(`ts` as date)) STORED COMMENT 'VIRTUAL',\n  \
    `g3` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin GENERATED ALWAYS AS (concat(dayname(`d`),_utf8mb4'(')) STORED,\n  \
    `g4` int GENERATED ALWAYS AS ((`u` - 1)) VIRTUAL,\n  \
    `g6` int GENERATED ALWAYS AS (hour(`ts`)) VIRTUAL,\n  \
    `g5` decimal(9,2) GENERATED ALWAYS AS ((`u` / 3)) STORED,\n  \
    KEY `f` (`v`(3),(hour(`ts`)),(lower(`v`))),\n  \
    KEY `g4` (`g4`),\n  \
    CONSTRAINT `k` CHECK ((year(`ts`) > 5)),\n  \
    CONSTRAINT `l` CHECK ((char_length(`c`) > 5)) /*!80016 NOT ENFORCED */,\n  \
    CONSTRAINT `m` CHECK ((`v` <> _utf8mb4'`ts`')),\n  \
    CONSTRAINT `n` CHECK ((`g2` > _utf8mb4'2020-01-01'))\n\
    ) ENGINE=InnoDB";

#[cfg(test)]
mod tests {
    use super::variables::*;
    use super::*;

    #[test]
    fn each_session_computes_virtual_columns_without_a_key_that_depend_on_it() {
        let sql = b"CREATE TABLE `t` (\n  \
            `id` int(11) NOT NULL,\n  \
            `due` date DEFAULT NULL,\n  \
            `left` int(11) GENERATED ALWAYS AS (to_days(`due`) - to_days(curdate())) VIRTUAL,\n  \
            `twice` int(11) GENERATED ALWAYS AS (`left` * 2) VIRTUAL,\n  \
            `host` varchar(9) GENERATED ALWAYS AS (@@hostname) VIRTUAL,\n  \
            `fixed` int(11) GENERATED ALWAYS AS (`id` + 1) VIRTUAL,\n  \
            `kept` int(11) GENERATED ALWAYS AS (week(`due`)) STORED,\n  \
            `keyed` int(11) GENERATED ALWAYS AS (week(`due`)) VIRTUAL,\n  \
            PRIMARY KEY (`id`),\n  \
            KEY `keyed` (`keyed`)\n) ENGINE=InnoDB";
        let found = computed_by_readers(sql);
        assert_eq!(found, ["host", "left", "twice"].map(str::to_owned).into());
        assert!(computed_by_readers(TABLE.as_bytes()).contains("g6"));
    }

    #[test]
    fn an_expression_depends_on_what_its_functions_and_columns_depend_on() {
        let found = of_table(TABLE.as_bytes());
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|one| (&one.name[..], one.dependencies.iter().copied().collect()))
            .collect();
        assert_eq!(
            found,
            [
                ("g", vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL]),
                (
                    "g2",
                    vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE]
                ),
                (
                    "g3",
                    vec![
                        ALLOW_INVALID_DATES,
                        TIME_TRUNCATE_FRACTIONAL,
                        DEFAULT_COLLATION,
                        "lc_time_names"
                    ]
                ),
                ("g4", vec![NO_UNSIGNED_SUBTRACTION]),
                ("g5", vec!["div_precision_increment"]),
                (
                    "f",
                    vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE]
                ),
                (
                    "k",
                    vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE]
                ),
                (
                    "n",
                    vec![
                        ALLOW_INVALID_DATES,
                        TIME_TRUNCATE_FRACTIONAL,
                        DEFAULT_COLLATION,
                        TIME_ZONE
                    ]
                ),
            ]
        );
    }

    #[test]
    fn an_expression_of_unknown_functions_depends_on_everything() {
        let of = |expression: &str, kind: &str| {
            let sql = TABLE
                .replace("(`u` / 3)", expression)
                .replace("decimal(9,2)", kind);
            let found = of_table(sql.as_bytes());
            let found = found.iter().find(|one| one.name == "g5");
            found.map_or(Vec::new(), |one| {
                one.dependencies.iter().copied().collect::<Vec<_>>()
            })
        };
        for (expression, kind, depends) in [
            ("lower(`v`)", "text", vec![]),
            ("`v` like _utf8mb4'a%'", "int", vec![]),
            (
                "`v` like _utf8mb4'a\\\\_%'",
                "int",
                vec![NO_BACKSLASH_ESCAPES],
            ),
            ("`v` like `v`", "int", vec![NO_BACKSLASH_ESCAPES]),
            ("`v` regexp _utf8mb4'^a'", "int", vec![DEFAULT_REGEX_FLAGS]),
            (
                "concat(`u`,_utf8mb4'a ') = _utf8mb4'1a'",
                "int",
                vec![DEFAULT_COLLATION],
            ),
            ("`v` in (_utf8mb4'a',_utf8mb4'b')", "int", vec![]),
            (
                "second(`v`)",
                "int",
                vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE],
            ),
            (
                "second(`d`)",
                "int",
                vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL],
            ),
            (
                "`d` < _utf8mb4'2020-01-01 00:00:00+05:00'",
                "int",
                vec![
                    ALLOW_INVALID_DATES,
                    TIME_TRUNCATE_FRACTIONAL,
                    DEFAULT_COLLATION,
                    TIME_ZONE,
                ],
            ),
            (
                "`v`",
                "timestamp",
                vec![ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE],
            ),
            ("`c`", "text", vec![PAD_CHAR_TO_FULL_LENGTH]),
            ("`u` - 1", "int", vec![NO_UNSIGNED_SUBTRACTION]),
            ("json_extract(`v`,_latin1'$.a')", "json", vec![]),
        ] {
            assert_eq!(of(expression, kind), depends, "{expression}");
        }
        let all = of("function_of_tomorrow(`v`)", "int");
        for variable in VARIABLES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| *name != SQL_MODE)
        {
            assert!(all.contains(&variable), "{variable}");
        }
        assert!(MODES.iter().all(|mode| all.contains(mode)));
    }

    #[test]
    fn what_rows_are_partitioned_by_is_kept_too() {
        let partitions = "\n/*!50500 PARTITION BY RANGE  COLUMNS(g6,v)\nSUBPARTITION BY HASH ((`u` - 1))\n\
                          (PARTITION p VALUES LESS THAN (1) COMMENT = 'BY (' ENGINE = InnoDB) */";
        let sql = format!("{TABLE} COMMENT='\nPARTITION BY (`d`)'{partitions}");
        let found = of_table(sql.as_bytes());
        let of = |name: &str, place: Place| {
            let found = found
                .iter()
                .filter(move |one| one.name == name && one.place == place);
            found
                .map(|one| (one.dependencies.clone(), one.may_be_unsigned))
                .collect::<Vec<_>>()
        };
        let zoned: BTreeSet<&str> =
            [ALLOW_INVALID_DATES, TIME_TRUNCATE_FRACTIONAL, TIME_ZONE].into();
        assert_eq!(of("g6", Place::Virtual), [(zoned.clone(), false)]);
        let by = of("", Place::Partition);
        assert_eq!(
            by,
            [(zoned, false), ([NO_UNSIGNED_SUBTRACTION].into(), true)]
        );
        let mut table = CreateTable::parse(sql.as_bytes());
        assert!(is_partitioned_by_computed(&table));
        table.defer_partitions();
        assert_eq!(
            table.deferred_partitions().unwrap(),
            &partitions.as_bytes()[1..]
        );
        assert!(table.partitioned_by().is_empty());
        assert_eq!(
            table.kept(),
            &sql.as_bytes()[..sql.len() - partitions.len()]
        );
    }

    #[test]
    fn damaged_definitions_are_no_reason_to_panic() {
        for sql in crate::sql::tokens::DAMAGED {
            of_table(sql.as_bytes());
        }
        for end in 0..TABLE.len() {
            of_table(&TABLE.as_bytes()[..end]);
        }
    }
}
