//! Parses a SET statement into its assignments.
//!
//! Accepts only session variables of a known list, literals, and the user variables in which dumps save values.
//! Anything else, such as GLOBAL or PERSIST, does not occur in a dump.

use serde::{Deserialize, Serialize};

use super::tokens::{Token, Tokens};

/// The session variables that the dump programs set, and those of [`super::computed`], in lower case.
const KNOWN: &[&str] = &[
    "autocommit",
    "block_encryption_mode",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "default_collation_for_utf8mb4",
    "default_regex_flags",
    "default_storage_engine",
    "div_precision_increment",
    "foreign_key_checks",
    "lc_time_names",
    "note_verbosity",
    "sql_mode",
    "sql_notes",
    "system_versioning_insert_history",
    "time_zone",
    "timestamp",
    "unique_checks",
];

/// Whether dumps set this variable (lower case).
pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// A literal, and the condition under which a server applies it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Setting {
    /// A word, a number or a quoted string, as the dump spells it.
    literal: String,
    /// The opening of the enclosing conditional comment, such as `/*!50503`: a variable that only one server has
    /// must not fail on another.
    guard: Option<String>,
}

impl Setting {
    /// A setting; `None` unless `literal` is exactly one literal and `guard` opens a conditional comment.
    pub fn new(literal: &str, guard: Option<&str>) -> Option<Setting> {
        let valid = is_literal(literal) && guard.is_none_or(is_guard);
        valid.then(|| Setting {
            literal: literal.to_owned(),
            guard: guard.map(str::to_owned),
        })
    }

    /// The literal, as the dump spells it.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// The opening of the enclosing conditional comment.
    pub fn guard(&self) -> Option<&str> {
        self.guard.as_deref()
    }
}

impl From<Setting> for String {
    fn from(setting: Setting) -> String {
        match setting.guard {
            Some(guard) => format!("{guard} {}", setting.literal),
            None => setting.literal,
        }
    }
}

impl TryFrom<String> for Setting {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Setting, &'static str> {
        let setting = match text.split_once(' ') {
            Some((guard, literal)) if guard.starts_with("/*") => Setting::new(literal, Some(guard)),
            _ => Setting::new(&text, None),
        };
        setting.ok_or("a session variable's value is not one literal")
    }
}

fn is_guard(guard: &str) -> bool {
    ["/*!", "/*M!"].iter().any(|mark| {
        guard
            .strip_prefix(mark)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// A word, a number, or a string in single quotes without backslashes (whose meaning depends on the `sql_mode`)
/// and asterisks (which could end a comment).
fn is_literal(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [b'\'', inner @ .., b'\''] => !inner.iter().any(|byte| b"'\\*".contains(byte)),
        _ => {
            !bytes.is_empty()
                && bytes.iter().enumerate().all(|(at, byte)| {
                    byte.is_ascii_alphanumeric()
                        || b"_.".contains(byte)
                        || at == 0 && b"+-".contains(byte)
                })
        }
    }
}

/// What a variable is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A literal.
    Literal(Setting),
    /// DEFAULT.
    Default,
    /// The value of this user variable, named in lower case, without `@`.
    User(String),
}

/// One assignment of a SET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// `@user = @@variable`.
    Save {
        /// The user variable, lower case, without `@`.
        user: String,
        /// The session variable, lower case.
        variable: String,
    },
    /// `variable = …`.
    Set {
        /// The session variable, lower case.
        variable: String,
        /// The value.
        source: Source,
    },
}

/// Statements that mysqldump writes around the dump of a schema called `mysql`, in any case. A restore does not
/// need them, and drctl never executes them.
const AROUND_MYSQL: [&[u8]; 3] = [
    b"/*!50606 SET @OLD_INNODB_STATS_AUTO_RECALC=@@INNODB_STATS_AUTO_RECALC */",
    b"/*!50606 SET GLOBAL INNODB_STATS_AUTO_RECALC=OFF */",
    b"/*!50606 SET GLOBAL INNODB_STATS_AUTO_RECALC=@OLD_INNODB_STATS_AUTO_RECALC */",
];

/// Parses a SET; `None` if dumps do not contain it.
pub fn parse_set(sql: &[u8]) -> Option<Vec<Assignment>> {
    if AROUND_MYSQL.contains(&sql) {
        return Some(Vec::new());
    }
    let mut tokens = Tokens::new(sql);
    if !tokens.eat("SET") {
        return None;
    }
    let guard = match tokens.guard() {
        Some(guard) => Some(std::str::from_utf8(guard).ok()?),
        None => None,
    };
    let mut assignments = Vec::new();
    if tokens.eat("NAMES") {
        names(&mut tokens, guard, &mut assignments)?;
    } else {
        loop {
            assignments.push(assignment(&mut tokens, guard)?);
            if !tokens.eat_mark(b',') {
                break;
            }
        }
    }
    tokens.is_done().then_some(assignments)
}

fn names(
    tokens: &mut Tokens<'_>,
    guard: Option<&str>,
    assignments: &mut Vec<Assignment>,
) -> Option<()> {
    let charset = literal(tokens)?;
    let mut set = |variable: &str, literal: &str| {
        assignments.push(Assignment::Set {
            variable: variable.to_owned(),
            source: Source::Literal(Setting::new(literal, guard)?),
        });
        Some(())
    };
    set("character_set_client", &charset)?;
    set("character_set_results", &charset)?;
    if tokens.eat("COLLATE") {
        let collation = literal(tokens)?;
        set("collation_connection", &collation)
    } else {
        set("character_set_connection", &charset)
    }
}

fn assignment(tokens: &mut Tokens<'_>, guard: Option<&str>) -> Option<Assignment> {
    if let Some(user) = user_variable(tokens) {
        equals(tokens)?;
        if !(tokens.eat_mark(b'@') && tokens.eat_mark(b'@')) {
            return None;
        }
        let variable = system_variable(tokens, true)?;
        return Some(Assignment::Save { user, variable });
    }
    let marked = tokens.eat_mark(b'@') && tokens.eat_mark(b'@');
    if !marked && !tokens.eat("SESSION") {
        tokens.eat("LOCAL");
    }
    let variable = system_variable(tokens, marked)?;
    equals(tokens)?;
    let source = if tokens.eat("DEFAULT") {
        Source::Default
    } else if let Some(user) = user_variable(tokens) {
        Source::User(user)
    } else {
        Source::Literal(Setting::new(&literal(tokens)?, guard)?)
    };
    Some(Assignment::Set { variable, source })
}

/// Takes `@name`, but not `@@name`; takes nothing if the next tokens are others.
fn user_variable(tokens: &mut Tokens<'_>) -> Option<String> {
    let mut ahead = tokens.clone();
    if !ahead.eat_mark(b'@') {
        return None;
    }
    let Some(Token::Word(name)) = ahead.next() else {
        return None;
    };
    let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
    *tokens = ahead;
    Some(name)
}

/// Takes the name of a known session variable, and returns it in lower case; `scoped` allows a `session.` before
/// it, as after `@@`.
fn system_variable(tokens: &mut Tokens<'_>, scoped: bool) -> Option<String> {
    if scoped && (tokens.eat("SESSION") || tokens.eat("LOCAL")) && !tokens.eat_mark(b'.') {
        return None;
    }
    let Some(Token::Word(name)) = tokens.next() else {
        return None;
    };
    let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
    is_known(&name).then_some(name)
}

fn equals(tokens: &mut Tokens<'_>) -> Option<()> {
    tokens.eat_mark(b':');
    tokens.eat_mark(b'=').then_some(())
}

/// Takes a literal; strings are returned in single quotes.
fn literal(tokens: &mut Tokens<'_>) -> Option<String> {
    let mut text = String::new();
    for sign in *b"+-" {
        if text.is_empty() && tokens.eat_mark(sign) {
            text.push(sign as char);
        }
    }
    match tokens.next()? {
        Token::Word(word) => text.push_str(std::str::from_utf8(word).ok()?),
        Token::Text(quoted) => {
            let inner = std::str::from_utf8(&quoted[1..quoted.len() - 1]).ok()?;
            text = format!("'{inner}'");
        }
        _ => return None,
    }
    if tokens.eat_mark(b'.') {
        let Some(Token::Word(fraction)) = tokens.next() else {
            return None;
        };
        text.push('.');
        text.push_str(std::str::from_utf8(fraction).ok()?);
    }
    is_literal(&text).then_some(text)
}
