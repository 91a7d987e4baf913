//! What stands on lines of its own between a dump's statements: comments, DELIMITER, MariaDB's
//! sandbox mark, the trailer; and how much of a statement's last line is the statement's.

use super::problem::Problem;
use super::statement::{Kind, Statement};
use super::tokens::is_space;

/// The first line of a MariaDB dump, in the spelling of today and of early 2024.
const SANDBOX: [&[u8]; 2] = [
    b"/*M!999999\\- enable the sandbox mode */",
    b"/*!999999\\- enable the sandbox mode */",
];

/// What follows the dump's last statement. The rest of the line is the time.
const TRAILER: &[u8] = b"-- Dump completed";

/// How a statement opens.
pub enum Opening {
    /// A comment line or DELIMITER: it ends with the line.
    Line,
    /// A comment of its own, such as the one around commented GTIDs.
    Block,
    /// SQL: it ends with the delimiter.
    Statement,
}

impl Opening {
    /// Looks at the first bytes that are not blank; `None` when they are too few to tell.
    pub fn of(rest: &[u8], line_start: bool, ended: bool) -> Option<Opening> {
        const LONGEST_MARK: usize = 48;
        let enough = ended || rest.len() >= LONGEST_MARK || memchr::memchr(b'\n', rest).is_some();
        if !enough && matches!(rest[0], b'-' | b'/' | b'd' | b'D') {
            return None;
        }
        let comment = match rest {
            [b'#', ..] | [b'-', b'-'] => true,
            [b'-', b'-', third, ..] => is_space(*third),
            _ => false,
        };
        let line = comment
            || line_start && (is_delimiter(rest) || SANDBOX.iter().any(|it| rest.starts_with(it)));
        let block = rest.starts_with(b"/*")
            && !matches!(rest, [_, _, b'!' | b'+', ..] | [_, _, b'M', b'!', ..]);
        Some(match (line, block) {
            (true, _) => Opening::Line,
            (false, true) => Opening::Block,
            (false, false) => Opening::Statement,
        })
    }
}

/// Whether a line is the client's DELIMITER command.
pub fn is_delimiter(line: &[u8]) -> bool {
    const WORD: &[u8] = b"delimiter";
    line.len() > WORD.len()
        && line[..WORD.len()].eq_ignore_ascii_case(WORD)
        && is_space(line[WORD.len()])
}

/// The delimiter that a DELIMITER line sets. The dump programs set nothing but semicolons.
pub fn delimiter_of(line: &[u8]) -> Result<Vec<u8>, Problem> {
    /// The client cuts a longer one.
    const LONGEST: usize = 15;
    let argument = line["delimiter".len()..].trim_ascii();
    let valid = !argument.is_empty()
        && argument.len() <= LONGEST
        && argument.iter().all(|byte| *byte == b';');
    valid.then(|| argument.to_vec()).ok_or(Problem::Delimiter)
}

/// How many bytes after the delimiter belong to the statement: blanks and the newline, or none
/// when something else follows on the line. `None` when the line goes on in the next chunk.
pub fn line_tail(after: &[u8], ended: bool) -> Option<usize> {
    let blanks = after
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
        .count();
    match after.get(blanks) {
        Some(b'\n') => Some(blanks + 1),
        Some(_) => Some(0),
        None => ended.then_some(blanks),
    }
}

/// Whether a statement is the dump's trailer.
pub fn is_trailer(statement: &Statement<'_>) -> bool {
    let line = statement.text.trim_ascii_start();
    statement.kind == Kind::Comment
        && line.starts_with(TRAILER)
        && matches!(line.get(TRAILER.len()), None | Some(b' ' | b'\n' | b'\r'))
}
