//! From the end of the dump to the manifest: read-back, comparison with an earlier backup, documents.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::archive::BackupPlace;
use crate::archive::accounts;
use crate::archive::codec::Encoder;
use crate::archive::manifest::{ClientFacts, FileFacts, Manifest, Totals};
use crate::archive::restore_txt::Finish;
use crate::archive::write::commit::{self, Provenance};
use crate::archive::write::sequencer::Written;
use crate::backup::Job;
use crate::backup::anomaly::{self, Facts, Names};
use crate::backup::preflight::Preflight;
use crate::backup::pump::Dumped;
use crate::backup::source::Source;
use crate::catalog::binding;
use crate::keys::Keys;
use crate::layout::BackupObject;
use crate::sql::statement::ObjectKind;
use crate::stream::coverage;
use crate::util::error::{Error, Result};
use crate::util::format::some_of;

/// Checks the written objects, writes the documents, and returns the manifest, which is not yet in the store.
pub(super) async fn manifest(
    job: &Job<'_>,
    source: &Source,
    place: &BackupPlace,
    preflight: &Preflight,
    dumped: Dumped,
    written: Written,
    baseline: Option<&Facts>,
) -> Result<Manifest> {
    // Not earlier, so that a refused run never binds the target to a server.
    let identity = source.identity();
    let bound = binding::bind(&job.store, job.target, identity, job.started_at).await?;
    let facts = facts(preflight, &written, job.store.keys())?;
    let limit = job.config.shrink_limit;
    let now = Timestamp::now();
    let known = baseline.map(|baseline| baseline.identity.as_str());
    let succeeds = match anomaly::known(&bound.identity, known) == identity {
        true => BTreeSet::new(),
        false => {
            let log = coverage::outline(&job.store, job.target).await?;
            coverage::predecessors(&log, identity)
        }
    };
    let suspect = anomaly::reasons(&facts, &bound.identity, &succeeds, baseline, limit, now);

    let (codec, how_much) = (job.config.write.codec, job.config.read_back);
    let mut warnings = dumped.warnings;
    for setting in commit::read_back(&job.store, &written, codec, how_much).await? {
        tracing::warn!(setting, "the store did not apply a setting");
        warnings.push(format!("the store did not apply a setting: {setting}"));
    }
    let server = preflight.server_facts();
    if server.flavour == "mysql"
        && let Some(warning) = half_pairs(&written)
    {
        tracing::warn!(warning, "not all rows can be restored");
        warnings.push(warning);
    }
    let finish = Finish {
        view_rounds: written.view_rounds,
        roles: dumped
            .accounts
            .as_deref()
            .map_or(Ok(Vec::new()), role_revocations)?,
    };
    let accounts = match dumped.accounts {
        Some(sql) => Some(put_accounts(job, place, &sql).await?),
        None => None,
    };
    let provenance = Provenance {
        kind: None,
        snapshot_at: preflight.snapshot_at,
        started_at: job.started_at,
        server,
        coordinates: dumped.coordinates,
        client: ClientFacts {
            name: source.client().name(),
            version: source.client().banner.clone(),
            options: preflight.plan.options(source.client())?,
        },
        reader: dumped.reader,
        lossy: preflight.lossy.clone(),
        warnings,
        labels: job.labels.clone(),
        suspect,
    };
    let keys = job.store.keys();
    let mut manifest = commit::manifest(keys, place, codec, &written, accounts, provenance)?;
    let inventory = preflight.inventory_records();
    commit::put_documents(&job.store, place, &mut manifest, &inventory, &finish).await?;
    // Check the size of the manifest while everything can still be discarded.
    manifest.to_bytes()?;
    commit::put_signature(&job.store, place, &manifest).await?;
    Ok(manifest)
}

/// The facts by which the backup is compared with an earlier one.
fn facts(preflight: &Preflight, written: &Written, keys: &Keys) -> Result<Facts> {
    let encrypted = keys.encrypts();
    let objects = written.ledger.iter().map(|(object, _)| object);
    let tables = objects.filter(|object| object.kind == ObjectKind::Table);
    let tables: BTreeSet<_> = tables
        .map(|table| (table.schema.clone(), table.name.clone()))
        .collect();
    let objects = Totals::objects_of(&written.ledger);
    let count = |kind: &str| objects.get(kind).copied().unwrap_or(0);
    Ok(Facts {
        identity: preflight.identity.clone(),
        encrypted,
        signed: keys.signing()?.is_some(),
        schemas: count("schema"),
        tables: count("table"),
        entries: 0,
        names: (!encrypted).then(|| Names {
            schemas: preflight.schemas.iter().cloned().collect(),
            tables,
        }),
        rows: written.ledger.total_rows(),
        raw_bytes: written.raw_bytes,
        snapshot_at: preflight.snapshot_at,
    })
}

/// A warning about tables with text that MySQL dumps, but does not accept from a dump.
fn half_pairs(written: &Written) -> Option<String> {
    (!written.half_pairs.is_empty()).then(|| {
        format!(
            "tables contain unpaired surrogates in text, which MySQL dumps but rejects on load (1300), so a restore fails with exit 7: {}; correct these values",
            some_of(&written.half_pairs)
        )
    })
}

/// Statements that revoke roles administered by other accounts from the restoring account; not those of the local root.
fn role_revocations(accounts: &[u8]) -> Result<Vec<String>> {
    Ok(accounts::roles(accounts)?
        .into_iter()
        .filter(|(_, role)| !role.of_root && !role.administrators.is_empty())
        .map(|(name, _)| format!("REVOKE {name} FROM CURRENT_USER"))
        .collect())
}

async fn put_accounts(job: &Job<'_>, place: &BackupPlace, sql: &[u8]) -> Result<FileFacts> {
    let write = job.config.write;
    let mut stored = Vec::new();
    Encoder::new(write.codec, write.level)
        .and_then(|mut encoder| encoder.encode(sql, &mut stored))
        .map_err(|e| Error::unexpected("cannot compress the accounts").because(e))?;
    let object = BackupObject::Accounts(write.codec.suffix());
    commit::put_file(&job.store, place, &object, &stored).await
}
