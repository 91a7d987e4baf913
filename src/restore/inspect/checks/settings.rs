//! Limits and defaults of the server, compared with those of the target.

use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;

/// Size of a packet besides the longest statement in bytes, with a margin for how client and server count.
const PACKET_ROOM_BYTES: u64 = 1 << 10;

impl Checks<'_> {
    pub(super) fn settings(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        let longest = self.manifest.totals.largest_statement_bytes;
        let need = longest + PACKET_ROOM_BYTES;
        let packet = self.facts.number("max_allowed_packet").unwrap_or(u64::MAX);
        if packet < need {
            // A session cannot raise its own value, which is a multiple of 1024.
            let enough = need.div_ceil(1 << 20) << 20;
            all.push(Refusal::new(
                format!(
                    "max_allowed_packet is {packet}, the backup has a statement of {longest} bytes"
                ),
                format!("SET GLOBAL max_allowed_packet = {enough}"),
            ));
        }
        let theirs = self.fingerprint("lower_case_table_names");
        let ours = self.facts.variable("lower_case_table_names");
        let has_capitals = |name: &str| name != name.to_lowercase();
        if let Some(theirs) = theirs
            && theirs != ours
            && self
                .survey
                .creates
                .iter()
                .any(|object| has_capitals(&object.schema) || has_capitals(&object.name))
        {
            all.push(Refusal::new(
                format!("lower_case_table_names is {ours}, it was {theirs} on the target, and names have capitals"),
                "restore into a server with the same setting, which can only be chosen when a server is created",
            ));
        }
        let page_size = self.fingerprint("innodb_page_size");
        if let Some(theirs) = page_size.and_then(|size| size.parse::<u64>().ok())
            && let Some(ours) = self.facts.number("innodb_page_size")
            && ours < theirs
        {
            all.push(Refusal::new(
                format!("innodb_page_size is {ours}, it was {theirs} on the target: rows and keys may not fit"),
                "restore into a server with the same page size, which can only be chosen when a server is created",
            ));
        }
        all
    }

    pub(super) fn settings_warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let server = &self.manifest.server;
        let ours = &self.facts.version;
        if let Some(theirs) = server.parsed() {
            if theirs.flavour != ours.flavour {
                all.push(format!(
                    "the backup was taken from {theirs}, but the destination is {ours}: SQL dialect and types differ"
                ));
            } else if theirs.version.series() > ours.version.series() {
                all.push(format!(
                    "the backup was taken from {theirs}, the destination is {ours}, which is older"
                ));
            }
        }
        for variable in [
            "collation_server",
            "default_collation_for_utf8mb4",
            "character_set_collations",
        ] {
            if let Some(theirs) = self.fingerprint(variable)
                && let Some(ours) = self.facts.variables.get(variable)
                && theirs != ours
            {
                all.push(format!(
                    "{variable} is {ours}, it was {theirs} on the target: definitions without an explicit collation change"
                ));
            }
        }
        let requires = &self.survey.requires;
        all.extend(requires.fulltext_warnings(self.facts, self.manifest));
        if !self.options.destination.is_scratch() {
            let missing = requires.missing_engines(self.facts).into_iter();
            all.extend(missing.map(|engine| format!("{}; {}", engine.what, engine.hint)));
        }
        all
    }
}
