//! `drctl show`: prints the details of one backup; its objects in `objects`.

mod objects;

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::codec::Form;
use crate::archive::manifest::Manifest;
use crate::catalog::Entry;
use crate::cli::args::ShowArgs;
use crate::cli::output::text;
use crate::cli::{Context, from_here};
use crate::keys::signers::Signed;
use crate::stream::from_here::{FromHere, Said};
use crate::util::error::Result;
use crate::util::format::Output;

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    verified_at: Option<Timestamp>,
    pinned: bool,
    accepted: bool,
    authenticated: bool,
    signed: &'a Signed,
    /// Whether a restore to a later moment can begin with it; `None` if the archived log cannot be read.
    pitr: Option<Said>,
}

/// How a backup is encrypted, and to whom.
fn encryption(manifest: &Manifest) -> String {
    match manifest.is_encrypted() {
        true => format!(
            "{}, to {}",
            manifest.encryption,
            manifest.recipients.join(", ")
        ),
        false => "no".to_owned(),
    }
}

/// Prints the details.
pub async fn run(context: &Context, args: ShowArgs) -> Result<()> {
    let (catalog, mut entry) = context.select(args.choose.which()?).await?;
    if args.objects {
        return objects::print(context, &catalog, &entry, &args.matching).await;
    }
    let stretches = from_here::archived(context).await?;
    let here = stretches.map(|stretches| FromHere::of(&entry.manifest, &stretches));
    // The whole GTID set, which may be in the index.
    match context.cancel.unless(catalog.coordinates(&entry)).await {
        Ok(coordinates) => entry.manifest.coordinates = coordinates,
        Err(error) => {
            context.cancel.check()?;
            tracing::warn!(%error, "cannot read the GTIDs of the backup");
        }
    }
    match context.output {
        Output::Json => text::json(&Shown {
            manifest: &entry.manifest,
            verified_at: entry.marks.verified_at,
            pinned: entry.marks.pinned,
            accepted: entry.marks.accepted,
            authenticated: matches!(entry.signed, Signed::By(_)),
            signed: &entry.signed,
            pitr: here.as_ref().map(FromHere::said),
        }),
        Output::Text => text::print(&page(context, &entry, here.as_ref(), Timestamp::now())),
    }
}

fn page(context: &Context, entry: &Entry, here: Option<&FromHere>, now: Timestamp) -> String {
    let Manifest {
        totals,
        server,
        client,
        ..
    } = &entry.manifest;
    let mut lines: Vec<(&str, String)> = vec![
        (
            "backup",
            format!("{} of {}", entry.id, entry.manifest.target),
        ),
        (
            "in",
            format!(
                "{}/{}/{}/",
                context.store.location(),
                entry.manifest.target,
                entry.id
            ),
        ),
        (
            "snapshot",
            format!(
                "{} ({})",
                entry.manifest.snapshot_at,
                text::ago(entry.manifest.snapshot_at, now)
            ),
        ),
        (
            "taken in",
            text::span(
                entry
                    .manifest
                    .finished_at
                    .duration_since(entry.manifest.started_at),
            ),
        ),
        match entry.manifest.form() {
            Form::Sql => (
                "server",
                format!("{} {}, {}", server.flavour, server.version, server.identity),
            ),
            Form::Bytes => ("source", server.identity.clone()),
        },
        (
            "client",
            format!("{} {}", client.name, client.version)
                .trim_end()
                .to_owned(),
        ),
    ];
    if let Some(at) = &entry.manifest.coordinates {
        let gtid = at
            .gtid
            .as_deref()
            .map_or(String::new(), |gtid| format!(", GTID {gtid}"));
        lines.push(("coordinates", format!("{}:{}{gtid}", at.file, at.position)));
    }
    if let Some(here) = here.filter(|_| entry.manifest.form() == Form::Sql) {
        lines.push(("PITR from here", here.to_string()));
    }
    let objects: Vec<String> = totals
        .objects
        .iter()
        .map(|(kind, n)| text::counted(*n, kind))
        .collect();
    lines.extend([
        ("contains", objects.join(", ")),
        ("rows", text::count(totals.rows)),
        (
            "size",
            format!(
                "{} dumped, {} stored as {}, {} in {}",
                text::bytes(totals.raw_bytes),
                text::bytes(totals.stored_bytes),
                entry.manifest.codec.name(),
                text::counted(totals.frames, "frame"),
                text::counted(entry.manifest.segments.len() as u64, "segment")
            ),
        ),
    ]);
    if entry.manifest.form() == Form::Sql {
        let accounts = match entry.manifest.accounts.is_some() {
            true => "included",
            false => "not included",
        };
        lines.extend([
            (
                "longest statement",
                text::bytes(totals.largest_statement_bytes),
            ),
            ("accounts", accounts.to_owned()),
        ]);
    }
    lines.extend([
        (
            "verified",
            entry.marks.verified_at.map_or("never".into(), |at| {
                format!("{at} ({})", text::ago(at, now))
            }),
        ),
        ("signed", entry.signature()),
        ("encrypted", encryption(&entry.manifest)),
    ]);
    if entry.marks.pinned {
        lines.push(("pinned", "kept forever".into()));
    }
    lines.extend(
        entry
            .manifest
            .labels
            .iter()
            .map(|(name, value)| ("label", format!("{name}={value}"))),
    );
    let verdict = if entry.marks.accepted {
        "suspect, accepted"
    } else {
        "SUSPECT"
    };
    lines.extend(
        entry
            .manifest
            .suspect
            .iter()
            .map(|reason| (verdict, reason.clone())),
    );
    lines.extend(
        entry
            .manifest
            .lossy
            .iter()
            .map(|column| ("lossy", column.clone())),
    );
    lines.extend(
        entry
            .manifest
            .warnings
            .iter()
            .map(|warning| ("warning", warning.clone())),
    );
    lines
        .iter()
        .map(|(name, value)| format!("{name:>17}  {value}\n"))
        .collect()
}
