//! Lines between the statements of a dump: comments, DELIMITER, MariaDB's sandbox mark, the trailer; and the end of
//! a statement's last line.

use super::problem::Problem;
use super::statement::{Kind, Statement};
use super::tokens::is_space;

/// The first line of a MariaDB dump, in the current form and that of early 2024.
const SANDBOX: [&[u8]; 2] = [
    b"/*M!999999\\- enable the sandbox mode */",
    b"/*!999999\\- enable the sandbox mode */",
];

/// Follows the last statement of a dump. The rest of the line is the time.
const TRAILER: &[u8] = b"-- Dump completed";

/// The beginning of a statement.
pub enum Opening {
    /// A comment line or DELIMITER, which ends with the line.
    Line,
    /// A separate comment, such as the one around commented GTIDs.
    Block,
    /// SQL, which ends with the delimiter.
    Statement,
}

impl Opening {
    /// Classifies the first bytes that are not blank; `None` if more of them are needed.
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

/// The delimiter set by a DELIMITER line; the dump programs only use semicolons.
pub fn delimiter_of(line: &[u8]) -> Result<Vec<u8>, Problem> {
    /// The client truncates a longer one.
    const MAX_BYTES: usize = 15;
    let argument = line["delimiter".len()..].trim_ascii();
    let valid = !argument.is_empty()
        && argument.len() <= MAX_BYTES
        && argument.iter().all(|byte| *byte == b';');
    valid.then(|| argument.to_vec()).ok_or(Problem::Delimiter)
}

/// Number of bytes after the delimiter that belong to the statement: blanks and the newline, or 0 if something else
/// follows on the line. `None` if the line continues in the next chunk.
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
