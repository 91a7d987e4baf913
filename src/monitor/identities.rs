//! When a drill last used the identity of each recipient: a private key that lies in a safe is trusted to restore, and
//! nothing but a drill shows that it does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::monitor::report::model::DrillReport;
use crate::util::format::span;

/// A recipient of new backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// Its public key.
    pub recipient: String,
    /// When a drill last decrypted with its identity; of one that never did, when the oldest backup was made for it.
    pub since: Timestamp,
    /// Whether a drill ever did.
    pub ever: bool,
}

impl Drilled {
    /// What is wrong, if no drill has used the identity for longer than `most`.
    pub fn unused(&self, most: SignedDuration, now: Timestamp) -> Option<String> {
        let age = now.duration_since(self.since);
        let recipient = &self.recipient;
        (age > most).then(|| match self.ever {
            true => format!("no drill has used the identity of {recipient} for {}", span(age)),
            false => format!(
                "no drill has ever used the identity of {recipient}, to which backups are encrypted for {}",
                span(age)
            ),
        })
    }
}

/// The state of each recipient of the newest backup: `backups` with their recipients and when they were committed, and
/// reports of drills.
pub fn drilled<'a>(
    newest: &[String],
    backups: impl Iterator<Item = (&'a [String], Timestamp)> + Clone,
    reports: impl Iterator<Item = &'a DrillReport>,
) -> Vec<Drilled> {
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for (recipient, at) in reports.flat_map(|report| &report.evidence.identities) {
        let known = last.entry(recipient).or_insert(*at);
        *known = (*known).max(*at);
    }
    let of = |recipient: &String| {
        let to_it = backups.clone().filter(|(all, _)| all.contains(recipient));
        let drilled = last.get(recipient.as_str()).copied();
        Some(Drilled {
            recipient: recipient.clone(),
            since: drilled.or_else(|| to_it.map(|(_, at)| at).min())?,
            ever: drilled.is_some(),
        })
    };
    newest.iter().filter_map(of).collect()
}
