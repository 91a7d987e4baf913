//! A requested restore, as recorded in the marker: the options that must be the same to resume, and
//! decisions made when it began.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::restore::inspect::refusal::Refusal;

/// The backup, and every option that must be the same to resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Id of the backup.
    pub backup: String,
    /// Target of the backup.
    pub target: String,
    /// The selected tables (schema, table); empty for all.
    pub tables: BTreeSet<(String, String)>,
    /// Renamed schemas: old name to new name.
    pub rename: BTreeMap<String, String>,
    /// Whether existing objects are replaced.
    pub overwrite: bool,
    /// Whether the restore is written to the binary log.
    pub binlog: bool,
    /// The substitute for missing definers; `None` if they are not substituted.
    pub definer: Option<String>,
    /// The definers that were missing when it began, substituted until its end.
    pub substituted: BTreeSet<String>,
    /// The stretch of the binary log to replay; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<String>,
    /// When the restore began, by the clock of drctl's host.
    pub started_at: jiff::Timestamp,
}

impl RestoreRequest {
    /// Whether a run with the other request does the same work.
    pub fn resumes(&self, other: &RestoreRequest) -> bool {
        RestoreRequest {
            started_at: other.started_at,
            substituted: other.substituted.clone(),
            ..self.clone()
        } == *other
    }

    /// The refusal to discard a restore that belongs to another target; `None` if it is of this target.
    pub fn of_another(&self, target: &str) -> Option<Refusal> {
        (self.target != target).then(|| Refusal {
            what: format!(
                "the unfinished restore belongs to another target, {}",
                self.target
            ),
            hint: format!(
                "to drop it anyway, pass --target {0} --confirm {0}",
                self.target
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RestoreRequest {
        RestoreRequest {
            backup: "20261121T020000Z-3f9a1c".into(),
            target: "shop".into(),
            tables: BTreeSet::new(),
            rename: BTreeMap::new(),
            overwrite: false,
            binlog: true,
            definer: None,
            substituted: BTreeSet::new(),
            replay: None,
            started_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_the_same_request_resumes() {
        let first = run();
        let later = RestoreRequest {
            started_at: jiff::Timestamp::now(),
            substituted: ["`left`@`%`".to_owned()].into(),
            ..run()
        };
        assert!(later.resumes(&first));
        for other in [
            RestoreRequest {
                backup: "20261120T020000Z-3f9a1c".into(),
                ..run()
            },
            RestoreRequest {
                tables: [("a".to_owned(), "b".to_owned())].into(),
                ..run()
            },
            RestoreRequest {
                rename: [("a".to_owned(), "b".to_owned())].into(),
                ..run()
            },
            RestoreRequest {
                overwrite: true,
                ..run()
            },
            RestoreRequest {
                replay: Some("1 transaction".into()),
                ..run()
            },
        ] {
            assert!(!other.resumes(&first), "{other:?}");
        }
    }
}
