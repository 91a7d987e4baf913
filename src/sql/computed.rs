//! What a table computes from the session that writes a row: stored and indexed generated columns, keys over
//! expressions, CHECK constraints whose expressions depend on session variables.
//!
//! A dump holds none of it (MySQL) or has it computed anew (MariaDB), in the session of whoever restores. So
//! this finds such expressions, by one table of what depends on which variable (MySQL 9.7 manual, "Server System
//! Variables" and the functions' own pages; each tried on MySQL 9.7 and MariaDB 10.11, and MariaDB takes most
//! of them in no expression that it keeps), and holds the settings under which what is computed is what was
//! stored.
//!
//! Expressions are as the server prints them: functions have been resolved (`week(d)` has the mode of the
//! session that defined it), and literals tell their character sets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::definition::{Column, column};
use super::session::Session;
use super::statement::{ObjectId, quote};
use super::tokens::{Token, Tokens};

/// The variables, with what a server has of them that nobody configured. `time_zone` and `sql_mode` are those
/// of the dump's own session.
pub const VARIABLES: [(&str, &str); 5] = [
    ("block_encryption_mode", "aes-128-ecb"),
    ("div_precision_increment", "4"),
    ("lc_time_names", "en_US"),
    (SQL_MODE, ""),
    (TIME_ZONE, "+00:00"),
];

/// The variable that decides what a TIMESTAMP reads as.
pub const TIME_ZONE: &str = "time_zone";

/// The variable of many rules.
pub const SQL_MODE: &str = "sql_mode";

/// Functions, by the variable that their result depends on. In the text of MySQL `DATE(ts)` is a cast, and
/// found by its column.
const FUNCTIONS: &[(&str, &str)] = &[
    ("aes_decrypt", "block_encryption_mode"),
    ("aes_encrypt", "block_encryption_mode"),
    ("avg", "div_precision_increment"),
    ("convert_tz", TIME_ZONE),
    ("date_format", "lc_time_names"),
    ("dayname", "lc_time_names"),
    ("from_unixtime", TIME_ZONE),
    ("monthname", "lc_time_names"),
    ("str_to_date", SQL_MODE),
    ("unix_timestamp", TIME_ZONE),
];

/// The parts of an `sql_mode` that decide what an expression gives and that let every row in as it is: those
/// that a session of a restore can have. The others (NO_ZERO_DATE, strict ones) would refuse rows.
pub const MODES: [&str; 3] = [
    "NO_UNSIGNED_SUBTRACTION",
    "PAD_CHAR_TO_FULL_LENGTH",
    "TIME_TRUNCATE_FRACTIONAL",
];

/// Settings by variable.
pub type Settings = BTreeMap<String, String>;

/// What a table's expressions need of a session, as the index of an archive holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The variables that they depend on, each with the value under which they give what the server stored.
    #[serde(default)]
    pub settings: Settings,
    /// Rows that hold what these settings do not give, as of the backup: others wrote them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unlike: u64,
    /// CHECK constraints of MySQL among the expressions: rows pass them in these settings only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Needs {
    /// Whether what is computed while the rows come in is not what was stored: a dump's TIMESTAMPs are in UTC,
    /// so their session's zone cannot be another one.
    pub fn recomputes(&self) -> bool {
        self.settings
            .get(TIME_ZONE)
            .is_some_and(|zone| zone != "+00:00")
    }

    /// A session in which rows are inserted: everything but the time zone.
    pub fn while_loading(&self, session: &Session) -> Session {
        let settings = self.settings.iter();
        settings
            .filter(|(name, _)| *name != TIME_ZONE)
            .fold(session.clone(), with)
    }

    /// A session in which they are computed.
    pub fn over(&self, session: &Session) -> Session {
        self.settings.iter().fold(session.clone(), with)
    }

    /// Whether a client that sets what [`VARIABLES`] has, and what a dump sets, computes the same.
    pub fn is_usual(&self) -> bool {
        let usual = |(name, value): (&String, &String)| {
            VARIABLES
                .iter()
                .any(|(variable, own)| variable == name && own == value)
        };
        self.settings.iter().all(usual)
    }

    /// What the plain client executes behind the dump, so that a table's values are those that were stored.
    pub fn afterwards(&self, table: &ObjectId) -> Option<String> {
        if self.is_usual() {
            return None;
        }
        let mut session = Session::default();
        let modes = session.set(SQL_MODE, "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'");
        let set = self.over(&session).statements_from(None).join("; ");
        let checks = self
            .checks
            .iter()
            .map(|name| format!("ALTER CHECK {} ENFORCED, ", quote(name)));
        let checks: String = checks.collect();
        modes.then(|| {
            format!(
                "{set}; ALTER TABLE {} {checks}FORCE, ALGORITHM=COPY;",
                table.quoted()
            )
        })
    }

    /// The settings as one SET for any client; `None` where there are none, or one is no plain literal: an
    /// archive is not to be trusted.
    pub fn set_statement(&self) -> Option<String> {
        let session = self.over(&Session::default());
        session.statements_from(None).into_iter().next()
    }
}

fn with(session: Session, (name, value): (&String, &String)) -> Session {
    let mut changed = session;
    if name == SQL_MODE && changed.variable(SQL_MODE).is_none() {
        let _ = changed.set(SQL_MODE, "''");
    }
    let known = VARIABLES.iter().any(|(variable, _)| variable == name);
    if name == SQL_MODE {
        let modes = MODES
            .into_iter()
            .filter(|mode| value.split(',').any(|one| one == *mode));
        return modes.fold(changed, |session, mode| session.with_mode(mode));
    }
    let number = value.bytes().all(|byte| byte.is_ascii_digit());
    let literal = match number {
        true => value.clone(),
        false => format!("'{value}'"),
    };
    // What is not a literal, or not a variable of these, is nothing to follow.
    let _ = known && changed.set(name, &literal);
    changed
}

/// Where an expression stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A stored column, of this type.
    Stored(String),
    /// A virtual column, or a part of a key: computed when it is read, and kept in a key.
    Virtual,
    /// A CHECK constraint.
    Check,
}

/// An expression that depends on the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// The column, key or constraint.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub expression: Vec<u8>,
    /// What it depends on.
    pub variables: BTreeSet<&'static str>,
}

/// What a CREATE TABLE computes from session variables, and keeps.
pub fn of_table(sql: &[u8]) -> Vec<Computed> {
    let table = super::create_table::CreateTable::parse(sql);
    let columns = table.columns();
    let keyed = table.key_columns();
    // What generated columns depend on, whoever names them does too.
    let mut known: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    let mut found = Vec::new();
    for line in table.texts() {
        for (name, place, expression) in expressions(line) {
            let kind = match &place {
                Place::Stored(kind) => kind.as_str(),
                _ => "",
            };
            let variables = depends(expression, kind, columns, &known);
            if variables.is_empty() {
                continue;
            }
            let is_column = matches!(Tokens::new(line).next(), Some(Token::Name(_)));
            if is_column && place != Place::Check {
                known.insert(name.clone(), variables.clone());
            }
            // One that is only read is computed by who reads it.
            if is_column && place == Place::Virtual && !keyed.contains(&name) {
                continue;
            }
            found.push(Computed {
                name,
                place,
                expression: expression.to_vec(),
                variables,
            });
        }
    }
    found
}

/// The expressions of one definition line.
fn expressions(line: &[u8]) -> Vec<(String, Place, &[u8])> {
    let mut tokens = Tokens::new(line);
    let one = |name: String, place: Place, expression| vec![(name, place, expression)];
    if let Some(Token::Name(_)) = tokens.clone().next() {
        let Some(found) = column(line) else {
            return Vec::new();
        };
        let mut tokens = tokens;
        if found.generated {
            if tokens.find(|token| token.is("AS")).is_some()
                && let Some(expression) = parenthesised(&mut tokens)
            {
                let stored = tokens.any(|token| token.is("STORED") || token.is("PERSISTENT"));
                let place = match stored {
                    true => Place::Stored(found.type_text),
                    false => Place::Virtual,
                };
                return one(found.name, place, expression);
            }
        } else if tokens.find(|token| token.is("CHECK")).is_some()
            && let Some(expression) = parenthesised(&mut tokens)
        {
            return one(found.name, Place::Check, expression);
        }
        return Vec::new();
    }
    if tokens.eat("CONSTRAINT") {
        let name = tokens.next().and_then(|token| token.name()).flatten();
        if tokens.eat("CHECK")
            && let Some(expression) = parenthesised(&mut tokens)
            && !tokens.eat_all(&["NOT", "ENFORCED"])
        {
            return one(name.unwrap_or_default(), Place::Check, expression);
        }
        return Vec::new();
    }
    // A key: each part that stands in parentheses of its own.
    tokens.eat("UNIQUE");
    if !tokens.eat("KEY") {
        return Vec::new();
    }
    let name = tokens.next().and_then(|token| token.name()).flatten();
    let Some(parts) = parenthesised(&mut tokens) else {
        return Vec::new();
    };
    let name = name.unwrap_or_default();
    let mut tokens = Tokens::new(parts);
    let mut found = Vec::new();
    loop {
        // A column's length stands behind its name.
        if let Some(Token::Name(_)) = tokens.clone().next() {
            tokens.next();
            parenthesised(&mut tokens);
        } else if let Some(expression) = parenthesised(&mut tokens) {
            found.push((name.clone(), Place::Virtual, expression));
        } else if tokens.next().is_none() {
            return found;
        }
    }
}

/// What stands in the parentheses that come next.
fn parenthesised<'a>(tokens: &mut Tokens<'a>) -> Option<&'a [u8]> {
    let mut ahead = tokens.clone();
    if !ahead.eat_mark(b'(') {
        return None;
    }
    let inner = ahead.rest();
    let mut depth = 1;
    while depth > 0 {
        match ahead.next()? {
            Token::Mark(b'(') => depth += 1,
            Token::Mark(b')') => depth -= 1,
            _ => {}
        }
    }
    let length = inner.len() - ahead.rest().len();
    *tokens = ahead;
    inner.get(..length - 1)
}

/// The variables that an expression's value, stored as this type, depends on.
fn depends(
    expression: &[u8],
    kind: &str,
    columns: &[Column],
    known: &BTreeMap<String, BTreeSet<&'static str>>,
) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut unsigned = false;
    let mut minus = false;
    let moment = |kind: &str| kind.starts_with("date") || kind.starts_with("time");
    if moment(kind) {
        found.insert(SQL_MODE);
    }
    let mut tokens = Tokens::new(expression);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => {
                let word = String::from_utf8_lossy(word).to_lowercase();
                let function = FUNCTIONS.iter().find(|(name, _)| *name == word);
                found.extend(function.map(|(_, variable)| *variable));
                // `cast(… as datetime)`
                if word == "as"
                    && let Some(Token::Word(kind)) = tokens.clone().next()
                    && moment(&String::from_utf8_lossy(kind).to_lowercase())
                {
                    found.insert(SQL_MODE);
                }
            }
            Token::Name(_) => {
                let name = token.name().flatten().unwrap_or_default();
                found.extend(known.get(&name).into_iter().flatten().copied());
                let column = columns.iter().find(|column| column.name == name);
                let kind = column.map_or("", |column| column.type_text.as_str());
                if kind.starts_with("timestamp") {
                    found.insert(TIME_ZONE);
                }
                if kind.starts_with("char(") {
                    found.insert(SQL_MODE);
                }
                unsigned |= kind.contains("unsigned");
            }
            Token::Mark(b'/') => {
                found.insert("div_precision_increment");
            }
            Token::Mark(b'-') => minus = true,
            _ => {}
        }
    }
    if minus && unsigned {
        found.insert(SQL_MODE);
    }
    found
}

/// A condition that holds for a row for which an expression gives, in the session of whoever asks, something
/// else than the row holds; `None` where nothing shows what it gave.
pub fn unlike(computed: &Computed) -> Option<String> {
    let expression = std::str::from_utf8(&computed.expression).ok()?;
    let name = quote(&computed.name);
    match &computed.place {
        Place::Virtual => None,
        Place::Check => Some(format!("(({expression}) IS FALSE)")),
        Place::Stored(kind) => {
            let (given, held) = alike(&format!("({expression})"), &name, kind);
            Some(format!("(NOT ({held} <=> {given}))"))
        }
    }
}

/// An expression as a column of that type would hold it, and the column, as two that can be compared to the
/// last byte.
fn alike(expression: &str, column: &str, kind: &str) -> (String, String) {
    let kind = kind.to_lowercase();
    let unsigned = kind.contains("unsigned");
    let word = kind.split([' ', '(']).next().unwrap_or_default();
    let length = kind
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(length, _)| format!("({length})"))
        .unwrap_or_default();
    let cast = |to: String| (format!("CAST({expression} AS {to})"), column.to_owned());
    let text = |to: String| {
        (
            format!("HEX(TRIM(TRAILING ' ' FROM CAST({expression} AS {to})))"),
            format!("HEX(TRIM(TRAILING ' ' FROM CAST({column} AS {to})))"),
        )
    };
    match word {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if unsigned => {
            cast("UNSIGNED".to_owned())
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => cast("SIGNED".to_owned()),
        "decimal" => cast(format!("DECIMAL{length}")),
        "date" => cast("DATE".to_owned()),
        "datetime" | "timestamp" => cast(format!("DATETIME{length}")),
        "time" => cast(format!("TIME{length}")),
        "double" => cast("DOUBLE".to_owned()),
        "float" => cast("FLOAT".to_owned()),
        "char" | "varchar" => text(format!("CHAR{length}")),
        "tinytext" | "text" | "mediumtext" | "longtext" | "json" => text("CHAR".to_owned()),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            (format!("HEX({expression})"), format!("HEX({column})"))
        }
        _ => (expression.to_owned(), column.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_expression_depends_on_what_its_functions_and_columns_depend_on() {
        let found = of_table(TABLE.as_bytes());
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|one| (&one.name[..], one.variables.iter().copied().collect()))
            .collect();
        assert_eq!(
            found,
            [
                ("g2", vec!["sql_mode", "time_zone"]),
                ("g3", vec!["lc_time_names"]),
                ("g4", vec!["sql_mode"]),
                ("g5", vec!["div_precision_increment"]),
                ("f", vec!["time_zone"]),
                ("k", vec!["time_zone"]),
                ("n", vec!["sql_mode", "time_zone"]),
            ]
        );
    }

    #[test]
    fn what_a_row_holds_is_compared_with_what_its_column_would_be_given() {
        let found = of_table(TABLE.as_bytes());
        let of = |name: &str| unlike(found.iter().find(|one| one.name == name).unwrap());
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

    #[test]
    fn a_session_gets_what_is_needed_and_nothing_that_an_archive_makes_up() {
        let settings = [
            ("time_zone", "+09:00"),
            ("lc_time_names", "de_DE"),
            ("sql_mode", "STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH"),
            ("init_file", "x"),
            ("div_precision_increment", "4', sql_log_bin='0"),
        ];
        let needs = Needs {
            settings: settings.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
            ..Needs::default()
        };
        let mut session = Session::default();
        assert!(session.set("sql_mode", "'NO_AUTO_VALUE_ON_ZERO'"));
        assert_eq!(
            needs.over(&session).statements_from(None),
            [
                "SET lc_time_names='de_DE',sql_mode='NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH',time_zone='+09:00'"
            ]
        );
        assert_eq!(
            needs
                .while_loading(&session)
                .statements_from(Some(&session)),
            ["SET lc_time_names='de_DE',sql_mode='NO_AUTO_VALUE_ON_ZERO,PAD_CHAR_TO_FULL_LENGTH'"]
        );
        assert!(needs.recomputes());
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
