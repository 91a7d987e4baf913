//! Definers of the objects, and the privileges of the restore to create objects of other definers.

use std::collections::BTreeSet;

use crate::mysql::compat;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::definer::Account;
use crate::sql::statement::{ObjectId, ObjectKind as Kind};
use crate::util::format::some_of;

impl Checks<'_> {
    /// Definers that do not exist and that the restore does not create, with their objects. Empty if
    /// accounts cannot be read.
    pub fn missing_definers(&self) -> Vec<(&Account, &BTreeSet<ObjectId>)> {
        let Some(existing) = &self.facts.accounts else {
            return Vec::new();
        };
        self.survey
            .definers
            .iter()
            .filter(|(account, _)| {
                !existing.contains(*account) && !self.accounts.accounts.contains(*account)
            })
            .collect()
    }

    pub(super) fn definers(&self) -> Vec<Refusal> {
        let mut all = Vec::new();
        let missing = self.missing_definers();
        if self.options.substitute_definer.is_none()
            && !self.options.destination.is_scratch()
            && let Some((_, defined)) = missing.first()
            && let Some(example) = defined.first()
        {
            let accounts = some_of(missing.iter().map(|(account, _)| account));
            all.push(Refusal::new(
                format!("the destination lacks the definer {accounts} (used by {example})"),
                "create the accounts, or pass --accounts or --definer <account>",
            ));
        }
        let mut definers = self.survey.definers.keys();
        let (privileges, grant) = compat::definer_privileges(&self.facts.version);
        if definers.any(|account| !self.is_own_account(account)) && !self.facts.may(privileges) {
            all.push(Refusal::new(
                format!(
                    "the account {} may not create objects of other definers",
                    self.facts.own_account
                ),
                format!("grant it {grant}"),
            ));
        }
        let of_system = self.survey.definers.iter().find(|(account, _)| {
            self.facts.system_accounts.contains(*account) && !self.is_own_account(account)
        });
        if let Some((account, defined)) = of_system
            && let Some(example) = defined.first()
            && !self.facts.may(&["SYSTEM_USER"])
        {
            all.push(Refusal::new(
                format!(
                    "the account {} may not define {example} as the system account {account}",
                    self.facts.own_account
                ),
                "grant it SYSTEM_USER",
            ));
        }
        if self.creates(&[Kind::Trigger, Kind::Function])
            && self.facts.is_on("log_bin")
            && !self.facts.is_on("log_bin_trust_function_creators")
            && !self.facts.may(&["SUPER"])
        {
            all.push(Refusal::new(
                "while the binary log is on, the account may not create triggers and functions",
                "SET GLOBAL log_bin_trust_function_creators = ON for the restore, or grant it SUPER",
            ));
        }
        all
    }

    pub(super) fn hidden_accounts_warning(&self) -> Option<String> {
        if self.facts.accounts.is_some() || self.survey.definers.is_empty() {
            return None;
        }
        let warning = "without SELECT on mysql.user it is unknown whether all definers exist";
        // Servers without this privilege accept missing definers from accounts that may define for others.
        const ORPHANS: &str = "ALLOW_NONEXISTENT_DEFINER";
        let known = self.facts.dynamic_privileges.as_ref();
        let refused = known.is_some_and(|known| known.contains(ORPHANS))
            && !self.facts.may(&[ORPHANS, "SUPER"]);
        Some(if refused {
            format!("{warning}, and without {ORPHANS} the server rejects missing ones")
        } else {
            warning.to_owned()
        })
    }

    pub(super) fn event_scheduler_warning(&self) -> Option<String> {
        (self.facts.is_on("event_scheduler") && self.creates(&[Kind::Event])).then(|| {
            "the event scheduler is on: events run as soon as they are enabled at the end"
                .to_owned()
        })
    }

    /// Events that stay disabled because the dumped server was a replica.
    pub(super) fn left_disabled(&self) -> Vec<String> {
        let missing = self.missing_definers();
        let is_missing = |definer: &str| {
            missing
                .iter()
                .any(|(account, _)| account.to_string() == definer)
        };
        let events = self.survey.replica_events.iter().map(|event| {
            let mut event = event.clone();
            if let Some(substitute) = &self.options.substitute_definer
                && is_missing(&event.definer)
            {
                event.definer = substitute.to_string();
            }
            format!(
                "{} is disabled on replicas, and stays disabled: {}",
                event.object(),
                event.enabling()
            )
        });
        events.collect()
    }

    fn creates(&self, kinds: &[Kind]) -> bool {
        let mut created = self.survey.creates.iter();
        created.any(|object| kinds.contains(&object.kind))
    }
}
