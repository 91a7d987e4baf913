//! Errors of the scanner. No message shows a value of a row.

use super::statement::ObjectId;

/// Why a dump cannot be scanned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the dump{}: {problem}", within(.object))]
pub struct ScanError {
    /// Offset of the statement in the dump, in bytes.
    pub offset: u64,
    /// The object of the statement; `None` if its head does not name one.
    pub object: Option<ObjectId>,
    /// What the scanner found.
    pub problem: Problem,
}

/// A problem with a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The dump programs do not write such a statement.
    #[error("unsupported statement: {0}")]
    Unknown(String),
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8, in: {0}")]
    Name(String),
    /// The statement exceeds the limit.
    #[error("a statement of more than {0} bytes")]
    TooLong(usize),
    /// The input ended within the statement.
    #[error("the dump ends in the middle of a statement: {0}")]
    Unterminated(String),
    /// The plain client would interpret it as a command.
    #[error("a backslash outside quotes, which the mysql client interprets as a command, in: {0}")]
    Backslash(String),
    /// A delimiter other than semicolons.
    #[error("unsupported DELIMITER")]
    Delimiter,
}

fn within(object: &Option<ObjectId>) -> String {
    object
        .as_ref()
        .map_or_else(String::new, |object| format!(", in {object}"))
}
