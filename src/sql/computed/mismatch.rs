//! SQL that finds the rows whose stored values differ from what an expression returns in the current session.

use crate::sql::statement::quote;

use super::variables::{NO_UNSIGNED_SUBTRACTION, TIME_TRUNCATE_FRACTIONAL};
use super::{Computed, Place};

/// A condition that is true for each row that does not hold what an expression returns in the current session;
/// `None` if rows do not show the result of the expression.
///
/// If rows do not show it but its evaluation may fail, the condition is true for no row, and fails where the
/// expression does.
pub fn mismatch_condition(computed: &Computed) -> Option<String> {
    let expression = std::str::from_utf8(&computed.expression).ok()?;
    let name = quote(&computed.name);
    match &computed.place {
        Place::Virtual | Place::Partition
            if computed.dependencies.contains(NO_UNSIGNED_SUBTRACTION) =>
        {
            Some(format!("(LENGTH(CONCAT({expression})) < 0)"))
        }
        Place::Virtual | Place::Partition => None,
        Place::Check => Some(format!("(({expression}) IS FALSE)")),
        Place::Stored(kind) => {
            let expression = format!("({expression})");
            let kind = kind.to_lowercase();
            let Comparison {
                computed: values,
                stored,
            } = comparison(&expression, &name, &kind);
            let mut equal: Vec<String> = values
                .iter()
                .map(|value| format!("{stored} <=> {value}"))
                .collect();
            // Storing a temporal value as an integer truncates or rounds its fraction as the session says; a
            // cast to a number always rounds.
            let is_integer = word(&kind).ends_with("int");
            if is_integer && computed.dependencies.contains(TIME_TRUNCATE_FRACTIONAL) {
                equal.extend(["TIME", "DATETIME"].map(|whole| {
                    format!(
                        "COALESCE({stored} = CAST(CAST({expression} AS {whole}) AS SIGNED), FALSE)"
                    )
                }));
            }
            Some(format!("(NOT ({}))", equal.join(" OR ")))
        }
    }
}

/// Two sides that are equal only if each byte is.
struct Comparison {
    /// The value of the expression as the column would hold it: several, if that depends on the expression's own
    /// type.
    computed: Vec<String>,
    /// The value of the column.
    stored: String,
}

/// The name of a type, without its length and attributes.
fn word(kind: &str) -> &str {
    kind.split([' ', '(']).next().unwrap_or_default()
}

fn comparison(expression: &str, column: &str, kind: &str) -> Comparison {
    let length = kind
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(length, _)| length)
        .unwrap_or_default();
    let in_brackets = if length.is_empty() {
        String::new()
    } else {
        format!("({length})")
    };
    let with_column = |computed: Vec<String>| Comparison {
        computed,
        stored: column.to_owned(),
    };
    let cast = |to: &str| format!("CAST({expression} AS {to})");
    let text = |to: &str| {
        let trimmed = |value: &str| format!("HEX(TRIM(TRAILING ' ' FROM CAST({value} AS {to})))");
        Comparison {
            computed: vec![trimmed(expression)],
            stored: trimmed(column),
        }
    };
    // A column rounds a text and a cast truncates it; a value out of range becomes the nearest one in range.
    let integer = |bits: u32| {
        let (to, least, most) = if kind.contains("unsigned") {
            ("UNSIGNED", 0, (1_i128 << bits) - 1)
        } else {
            let half = 1_i128 << (bits - 1);
            ("SIGNED", -half, half - 1)
        };
        let rounded = cast("DECIMAL(65,0)");
        with_column(vec![
            cast(to),
            format!("LEAST(GREATEST({rounded}, {least}), {most})"),
        ])
    };
    let bytes = |value: String| Comparison {
        computed: vec![format!("HEX({value})")],
        stored: format!("HEX({column})"),
    };
    let real = |to: &str| {
        let rounded = length
            .split_once(',')
            .map(|(_, digits)| format!("CAST(ROUND({expression}, {digits}) AS {to})"));
        with_column([cast(to)].into_iter().chain(rounded).collect())
    };
    match word(kind) {
        "tinyint" => integer(8),
        "smallint" => integer(16),
        "mediumint" => integer(24),
        "int" => integer(32),
        "bigint" => integer(64),
        "decimal" => with_column(vec![cast(&format!("DECIMAL{in_brackets}"))]),
        "date" => with_column(vec![cast("DATE")]),
        "datetime" | "timestamp" => with_column(vec![cast(&format!("DATETIME{in_brackets}"))]),
        "time" => with_column(vec![cast(&format!("TIME{in_brackets}"))]),
        "double" => real("DOUBLE"),
        "float" => real("FLOAT"),
        "char" | "varchar" => text(&format!("CHAR{in_brackets}")),
        "tinytext" | "text" | "mediumtext" | "longtext" | "json" => text("CHAR"),
        // Padded with zeros to its length, like the column.
        "binary" => bytes(cast(&format!("BINARY{in_brackets}"))),
        "varbinary" => bytes(format!("LEFT({}, {length})", cast("BINARY"))),
        "tinyblob" => bytes(format!("LEFT({}, 255)", cast("BINARY"))),
        "blob" | "mediumblob" | "longblob" => bytes(cast("BINARY")),
        "bit" => Comparison {
            computed: vec![cast("UNSIGNED")],
            stored: format!("{column} + 0"),
        },
        _ => with_column(vec![expression.to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, of_table};
    use super::*;

    #[test]
    fn a_stored_value_is_compared_with_the_result_cast_to_the_columns_type() {
        let found = of_table(TABLE.as_bytes());
        let of =
            |name: &str| mismatch_condition(found.iter().find(|one| one.name == name).unwrap());
        assert_eq!(
            of("g2").unwrap(),
            "(NOT (`g2` <=> CAST((cast(`ts` as date)) AS DATE)))"
        );
        assert_eq!(
            of("g5").unwrap(),
            "(NOT (`g5` <=> CAST(((`u` / 3)) AS DECIMAL(9,2))))"
        );
        assert_eq!(of("k").unwrap(), "(((year(`ts`) > 5)) IS FALSE)");
        assert_eq!(of("f"), None);
    }
}
