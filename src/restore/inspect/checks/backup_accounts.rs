//! The accounts that the restore creates because the destination lacks them.

use crate::mysql::compat;
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::refusal::Refusal;
use crate::sql::definer::Account;
use crate::sql::statement::quote;

/// Global variables that change the effect of accounts and roles.
const OF_ACCOUNTS: [&str; 7] = [
    "activate_all_roles_on_login",
    "authentication_policy",
    "default_password_lifetime",
    "mandatory_roles",
    "password_history",
    "password_require_current",
    "password_reuse_interval",
];

impl Checks<'_> {
    pub(super) fn backup_accounts(&self) -> Vec<Refusal> {
        let (facts, accounts) = (self.facts, self.accounts);
        let lacks = |account: &Account| {
            let existing = facts.accounts.as_ref();
            existing.is_some_and(|existing| !existing.contains(account))
        };
        let mut all = Vec::new();
        let missing_plugin = accounts
            .plugins
            .iter()
            // On a scratch server these accounts are created without their plugin, since they never log in.
            .filter(|(account, _)| !self.options.destination.is_scratch() && lacks(account))
            .find_map(|(account, plugins)| {
                let plugin = plugins
                    .iter()
                    .find(|plugin| !facts.plugins.contains_key(*plugin))?;
                Some((account, plugin))
            });
        if let Some((account, plugin)) = missing_plugin {
            all.push(Refusal::new(
                format!("the destination lacks the authentication plugin {plugin} of the account {account}"),
                format!("install {plugin}, or restore without --accounts"),
            ));
        }
        let literal = accounts.literal.iter().find(|(account, _)| lacks(account));
        let theirs = self.fingerprint("partial_revokes");
        if let (Some((account, schema)), Some(theirs)) = (literal, theirs)
            && theirs != facts.variable("partial_revokes")
        {
            all.push(Refusal::new(
                format!(
                    "partial_revokes was {theirs} on the target, which changes the meaning of the privileges of \
                     {account} on {}",
                    quote(schema)
                ),
                format!(
                    "SET PERSIST partial_revokes = {theirs} on the destination, or restore without --accounts"
                ),
            ));
        }
        all.extend(self.orphans_definer());
        let validation = facts
            .plugins
            .iter()
            .find(|(_, kind)| *kind == "password validation");
        if let Some((plugin, _)) = validation
            && let Some(account) = accounts.hashed.iter().find(|account| lacks(account))
            && facts.is_on("strict_password_validation")
        {
            all.push(Refusal::new(
                format!(
                    "the destination rejects password hashes, such as that of {account}: {plugin} is loaded and \
                     strict_password_validation is on"
                ),
                "SET GLOBAL strict_password_validation = OFF for the restore",
            ));
        }
        all
    }

    /// An account that would become the definer of existing objects, so that the server rejects its creation (4006).
    fn orphans_definer(&self) -> Option<Refusal> {
        let facts = self.facts;
        let known = facts.dynamic_privileges.as_ref()?;
        let privilege = compat::create_definer_privilege(&facts.version, known)?;
        let existing = facts.accounts.as_ref()?;
        let (account, object) = self.accounts.accounts.iter().find_map(|account| {
            let name = format!("{}@{}", account.user, account.host);
            let object = facts.orphans.get(&name)?.first()?;
            (!existing.contains(account)).then_some((account, object))
        })?;
        (!facts.may(&[privilege])).then(|| {
            Refusal::new(
                format!(
                    "the account {} may not create {account}, the missing definer of {object} on the destination",
                    facts.own_account
                ),
                format!("grant it {privilege}, or create {account} with an account that has {privilege}"),
            )
        })
    }

    /// Differences in variables that change what accounts may do beyond their grants.
    pub(super) fn account_variables(&self) -> Vec<String> {
        let wanted = OF_ACCOUNTS.iter().filter(|_| self.options.accounts);
        let differing = wanted.filter_map(|variable| {
            let theirs = self.fingerprint(variable)?;
            let ours = self.facts.variables.get(*variable)?;
            (theirs != ours).then(|| {
                format!(
                    "{variable} is {ours:?}, it was {theirs:?} on the target: accounts that depend on it may behave \
                     differently"
                )
            })
        });
        differing.collect()
    }
}
