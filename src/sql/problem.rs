//! Why a dump cannot be taken apart. No message shows a value of a row.

use super::statement::ObjectId;

/// Why a dump cannot be taken apart. Never shows a value of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the dump{}: {problem}", within(.object))]
pub struct ScanError {
    /// Where the statement begins, in bytes from the dump's first.
    pub offset: u64,
    /// What it is about, as far as its head says so.
    pub object: Option<ObjectId>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No statement that the dump programs write.
    #[error("a statement that no dump contains: {0}")]
    Unknown(String),
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8, in: {0}")]
    Name(String),
    /// It goes on after the limit.
    #[error("a statement of more than {0} bytes")]
    TooLong(usize),
    /// The input ended within it.
    #[error("the dump ends in the middle of a statement: {0}")]
    Unterminated(String),
    /// The plain client would take it for one of its commands.
    #[error("a backslash outside of quotes, which the mysql client takes for a command, in: {0}")]
    Backslash(String),
    /// A delimiter other than semicolons.
    #[error("a DELIMITER that no dump sets")]
    Delimiter,
}

fn within(object: &Option<ObjectId>) -> String {
    object
        .as_ref()
        .map_or_else(String::new, |object| format!(", in {object}"))
}
