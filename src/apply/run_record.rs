//! What one restore is asked to do, as the marker keeps it: what must be alike for a run to go on where
//! another ended, and what was decided when the first one began.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::apply::refusal::Refusal;

/// What is being restored, and everything that must be alike for a run to go on where another ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The backup's id.
    pub backup: String,
    /// The target that it is a backup of.
    pub target: String,
    /// The tables that were chosen; empty for all.
    pub tables: BTreeSet<(String, String)>,
    /// Old name to new name of renamed schemas.
    pub rename: BTreeMap<String, String>,
    /// Whether what was there is replaced.
    pub overwrite: bool,
    /// Whether it is written to the binary log.
    pub binlog: bool,
    /// The account that stands for missing definers.
    pub definer: Option<String>,
    /// The definers that were missing when it began, for which it stands to the end.
    pub substituted: BTreeSet<String>,
    /// When it began, by the clock of the machine that restores.
    pub started_at: jiff::Timestamp,
}

impl RunRecord {
    /// Whether a run with the other record does the same work.
    pub fn resumes(&self, other: &RunRecord) -> bool {
        RunRecord {
            started_at: other.started_at,
            substituted: other.substituted.clone(),
            ..self.clone()
        } == *other
    }

    /// What speaks against dropping what it made in the name of a target.
    pub fn of_another(&self, target: &str) -> Option<Refusal> {
        (self.target != target).then(|| Refusal {
            what: format!(
                "the unfinished restore is one of the target {}",
                self.target
            ),
            hint: format!(
                "look twice; --target {0} --confirm {0} drops it",
                self.target
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunRecord {
        RunRecord {
            backup: "20261121T020000Z-3f9a1c".into(),
            target: "shop".into(),
            tables: BTreeSet::new(),
            rename: BTreeMap::new(),
            overwrite: false,
            binlog: true,
            definer: None,
            substituted: BTreeSet::new(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_the_same_work_resumes() {
        let first = run();
        let later = RunRecord {
            started_at: jiff::Timestamp::now(),
            substituted: ["`left`@`%`".to_owned()].into(),
            ..run()
        };
        assert!(later.resumes(&first));
        for other in [
            RunRecord {
                backup: "20261120T020000Z-3f9a1c".into(),
                ..run()
            },
            RunRecord {
                tables: [("a".to_owned(), "b".to_owned())].into(),
                ..run()
            },
            RunRecord {
                rename: [("a".to_owned(), "b".to_owned())].into(),
                ..run()
            },
            RunRecord {
                overwrite: true,
                ..run()
            },
        ] {
            assert!(!other.resumes(&first), "{other:?}");
        }
    }
}
