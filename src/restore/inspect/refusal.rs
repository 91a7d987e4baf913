//! Reasons to refuse a restore, reported together, each with the next step.

use std::collections::BTreeSet;

use crate::replay::destination::unfit::Unfit;
use crate::sql::statement::ObjectId;
use crate::util::error::{Error, Outcome};

/// A condition that must be resolved before the restore begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// What prevents the restore.
    pub what: String,
    /// The next step.
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

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Refusal::new(unfit.what, unfit.hint)
    }
}

/// Combines the refusals into one error (exit 9); `None` if there are none.
pub fn refused(refusals: &[Refusal]) -> Option<Error> {
    let (first, more) = refusals.split_first()?;
    let mut what = first.what.clone();
    for refusal in more {
        what = format!("{what}; also: {}", refusal.what);
    }
    let hints: BTreeSet<&str> = refusals
        .iter()
        .map(|refusal| refusal.hint.as_str())
        .collect();
    let hints = hints.into_iter().collect::<Vec<_>>().join("; ");
    Some(Error::new(Outcome::Refused, what).hint(hints))
}

/// The names of all objects, separated by commas.
pub fn all_of(objects: &[ObjectId]) -> String {
    objects
        .iter()
        .map(ObjectId::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
