//! What speaks against a restore, and how it is said: all at once, each with the way out.

use std::collections::BTreeSet;

use crate::error::{Error, Outcome};
use crate::sql::statement::ObjectId;

/// How many names a refusal lists.
const LISTED: usize = 5;

/// Something that must be settled before the restore begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// What speaks against it.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

/// All refusals as the error of a restore (exit 9); `None` where there is none.
pub fn refused(refusals: &[Refusal]) -> Option<Error> {
    let (first, more) = refusals.split_first()?;
    let mut what = first.what.clone();
    for refusal in more {
        what = format!("{what}; also: {}", refusal.what);
    }
    let hints = refusals.iter().map(|refusal| refusal.hint.as_str());
    let hints = hints
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join("; ");
    Some(Error::new(Outcome::Refused, what).hint(hints))
}

/// The first of them, and how many more there are.
pub(super) fn some_of<T: std::fmt::Display>(all: impl ExactSizeIterator<Item = T>) -> String {
    let more = all.len().saturating_sub(LISTED);
    let mut text = all
        .take(LISTED)
        .map(|one| one.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// All of them.
pub fn all_of(objects: &[ObjectId]) -> String {
    objects
        .iter()
        .map(ObjectId::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
