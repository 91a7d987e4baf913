//! `drctl show`: everything about one backup; what it holds, one by one, in `objects`.

mod objects;

use jiff::Timestamp;
use serde::Serialize;

use crate::archive::manifest::Manifest;
use crate::catalog::Entry;
use crate::cli::{Output, ShowArgs};
use crate::commands::{Run, text};
use crate::error::Result;

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    proven_at: Option<Timestamp>,
    pinned: bool,
    accepted: bool,
    authenticated: bool,
}

/// Shows it.
pub async fn run(run: &Run, args: ShowArgs) -> Result<()> {
    let which = args.choose.which()?;
    let catalog = run.catalog().await?;
    let entry = run.cancel.unless(catalog.find(which)).await?;
    if args.objects {
        return objects::print(run, &catalog, &entry, &args.matching).await;
    }
    match run.output {
        Output::Json => text::json(&Shown {
            manifest: &entry.manifest,
            proven_at: entry.marks.proven_at,
            pinned: entry.marks.pinned,
            accepted: entry.marks.accepted,
            authenticated: entry.manifest.is_authenticated(),
        }),
        Output::Text => text::print(&page(run, &entry, Timestamp::now())),
    }
}

fn page(run: &Run, entry: &Entry, now: Timestamp) -> String {
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
                run.store.location(),
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
        (
            "server",
            format!("{} {}, {}", server.flavour, server.version, server.identity),
        ),
        ("client", format!("{} {}", client.name, client.version)),
    ];
    if let Some(at) = &entry.manifest.coordinates {
        let gtid = at
            .gtid
            .as_deref()
            .map_or(String::new(), |gtid| format!(", GTID {gtid}"));
        lines.push(("coordinates", format!("{}:{}{gtid}", at.file, at.position)));
    }
    let objects = totals.objects.iter();
    let objects = objects.map(|(kind, n)| text::counted(*n, kind));
    lines.extend([
        ("holds", objects.collect::<Vec<_>>().join(", ")),
        ("rows", text::count(totals.rows)),
        (
            "size",
            format!(
                "{} of SQL, {} stored as {}, {} in {}",
                text::bytes(totals.raw_bytes),
                text::bytes(totals.stored_bytes),
                entry.manifest.codec.name(),
                text::counted(totals.frames, "frame"),
                text::counted(entry.manifest.segments.len() as u64, "segment")
            ),
        ),
        (
            "longest statement",
            text::bytes(totals.largest_statement_bytes),
        ),
        (
            "accounts",
            if entry.manifest.accounts.is_some() {
                "included"
            } else {
                "not included"
            }
            .into(),
        ),
        (
            "proven",
            entry.marks.proven_at.map_or("never".into(), |at| {
                format!("{at} ({})", text::ago(at, now))
            }),
        ),
        (
            "authenticated",
            if entry.manifest.is_authenticated() {
                "yes"
            } else {
                "no: not signed"
            }
            .into(),
        ),
    ]);
    if entry.marks.pinned {
        lines.push(("pinned", "kept for ever".into()));
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
