//! Doctor checks of encryption and signatures, where they are configured.

use bytes::Bytes;
use jiff::Timestamp;

use crate::archive::manifest::Manifest;
use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::keys::recipients::Recipients;
use crate::keys::signers::Signed;
use crate::keys::{Keys, Trust};
use crate::layout::DrillName;
use crate::monitor::identities::drilled;
use crate::monitor::report::drill_history::{self, REMEMBERED};
use crate::store;
use crate::util::error::Result;
use crate::util::format::counted;

const ENCRYPTION: &str = "encryption";
const SIGNATURES: &str = "signatures";

/// What is signed to find out whether the signature would count.
const PROBE: &[u8] = b"drctl doctor was here\n";

/// Checks the keys that backups and restores here would use. A key that only a restore needs is never a failure.
pub(super) async fn check(
    context: &Context,
    newest: Option<&Manifest>,
    findings: &mut Findings,
) -> Result<()> {
    encryption(context, newest, findings);
    identities(context, newest, findings).await?;
    signatures(context, findings).await;
    context.cancel.check()
}

fn encryption(context: &Context, newest: Option<&Manifest>, findings: &mut Findings) {
    let (config, keys) = (&context.config, context.store.keys());
    let recipients = match keys.recipients() {
        Ok(recipients) => recipients,
        Err(error) => return findings.fail(ENCRYPTION, error),
    };
    let newest = newest.and_then(|newest| Recipients::listed(&newest.recipients));
    match &recipients {
        Some(recipients) => {
            let names: Vec<String> = recipients.names().collect();
            let count = counted(names.len() as u64, "recipient");
            findings.ok(ENCRYPTION, format!("{count}: {}", names.join(", ")));
        }
        None if newest.is_some() && config.schedule.backup.is_some() => {
            let fix = "set DRCTL_ENCRYPTION_RECIPIENTS";
            let what = "the newest backup is encrypted, and new ones will not be";
            findings.warn(ENCRYPTION, what, Some(fix));
        }
        None => {}
    }
    if keys.has_identities() {
        identity(keys, recipients.as_ref(), newest.as_ref(), findings);
        return;
    }
    let is_encrypted = recipients.is_some() || newest.is_some();
    if is_encrypted && (config.names_destination() || config.schedule.verify.is_some()) {
        let what = "restores and drills that run here cannot decrypt: no identity is configured";
        let fix = "set DRCTL_IDENTITY_FILE for them, and not for backups";
        findings.warn(ENCRYPTION, what, Some(fix));
    }
}

/// Whether drills use the identities of the recipients, where that is required.
async fn identities(
    context: &Context,
    newest: Option<&Manifest>,
    findings: &mut Findings,
) -> Result<()> {
    let (Some(most), Some(newest)) = (context.config.identity_drill, newest) else {
        return Ok(());
    };
    let read = async {
        let catalog = context.catalog().await?;
        let all = |_: &DrillName| true;
        let reports = drill_history::newest(&context.store, &catalog, REMEMBERED, all, |_| true);
        Ok((catalog.bases().await?, reports.await?))
    };
    let (bases, reports) = match context.cancel.unless(read).await {
        Ok(read) => read,
        Err(error) => {
            context.cancel.check()?;
            findings.warn(ENCRYPTION, error.what(), error.next_step());
            return Ok(());
        }
    };
    let manifests = bases.iter().map(|entry| &entry.manifest);
    let backups = manifests.map(|one| (one.recipients.as_slice(), one.finished_at));
    for one in drilled(&newest.recipients, backups, reports.iter()) {
        if let Some(what) = one.unused(most, Timestamp::now()) {
            let fix = "run drctl verify --latest where this identity is: runbooks/DrctlIdentityUnproven.md";
            findings.warn(ENCRYPTION, what, Some(fix));
        }
    }
    Ok(())
}

/// Compares the identity with the recipients of new backups and with those of the newest one.
fn identity(
    keys: &Keys,
    recipients: Option<&Recipients>,
    newest: Option<&Recipients>,
    findings: &mut Findings,
) {
    let identities = match keys.identities() {
        Ok(identities) => identities,
        Err(error) => return findings.warn(ENCRYPTION, error.what(), error.next_step()),
    };
    let decrypts = |recipients: Option<&Recipients>| {
        recipients.map(|recipients| recipients.include_one_of(&identities))
    };
    let (of_new, of_newest) = match (decrypts(recipients), decrypts(newest)) {
        (Some(Err(error)), _) | (_, Some(Err(error))) => {
            return findings.fail(ENCRYPTION, error);
        }
        (of_new, of_newest) => (
            of_new.is_none_or(|decrypts| matches!(decrypts, Ok(true))),
            of_newest.is_none_or(|decrypts| matches!(decrypts, Ok(true))),
        ),
    };
    if !of_new {
        let what = "the identity in DRCTL_IDENTITY_FILE is that of no recipient: new backups cannot be restored by it";
        let fix = "add its public key to the recipients (age-keygen -y), or give the private key of one of them";
        findings.warn(ENCRYPTION, what, Some(fix));
    }
    if !of_newest {
        let what = "the newest backup is not encrypted to the identity in DRCTL_IDENTITY_FILE";
        let fix = "keep the identity of its recipients (drctl show --latest) as long as it exists";
        findings.warn(ENCRYPTION, what, Some(fix));
    }
    if of_new && of_newest && (recipients.is_some() || newest.is_some()) {
        findings.ok(ENCRYPTION, "the identity decrypts backups");
    }
}

async fn signatures(context: &Context, findings: &mut Findings) {
    let keys = context.store.keys();
    let signers = match keys.signers() {
        Ok(signers) => signers.names().collect::<Vec<String>>(),
        Err(error) => return findings.fail(SIGNATURES, error),
    };
    let trust = keys.trust();
    if !signers.is_empty() {
        let (trust, names) = (word(trust), signers.join(", "));
        let what = format!("trust: {trust}; allowed signers: {names}");
        findings.ok(SIGNATURES, what);
    }
    let fingerprint = match keys.signing() {
        Ok(Some(key)) => key.fingerprint(),
        Ok(None) => {
            if trust == Trust::Require && context.config.schedule.backup.is_some() {
                let what = "new backups will not be signed, and restores will refuse them";
                findings.warn(SIGNATURES, what, Some("set DRCTL_SIGNING_KEY_FILE"));
            }
            return;
        }
        Err(error) => return findings.fail(SIGNATURES, error),
    };
    match probe(context).await {
        Err(error) => findings.fail(SIGNATURES, error),
        Ok(Signed::Unverified) => {
            let what = format!("backups are signed by {fingerprint}; trust: off");
            findings.ok(SIGNATURES, what);
        }
        Ok(Signed::By(signer)) => {
            findings.ok(
                SIGNATURES,
                format!("backups are signed by {signer} ({fingerprint})"),
            );
        }
        Ok(Signed::Warned(_) | Signed::Refused(_)) => {
            let what = format!(
                "the signing key {fingerprint} is not an allowed signer now: new backups will not be trusted"
            );
            let fix = "add its public key to DRCTL_ALLOWED_SIGNERS_FILE (ssh-keygen -y), wherever backups are read";
            findings.warn(SIGNATURES, what, Some(fix));
        }
    }
}

/// Signs something with the signing key, and verifies that.
async fn probe(context: &Context) -> Result<Signed> {
    let signature = store::sign(&context.store, Bytes::from_static(PROBE)).await?;
    let signature = signature.as_ref().map(String::as_bytes);
    let keys = context.store.keys();
    keys.verify(PROBE, signature, Timestamp::now())
}

fn word(trust: Trust) -> &'static str {
    match trust {
        Trust::Off => "off",
        Trust::Warn => "warn",
        Trust::Require => "require",
    }
}
