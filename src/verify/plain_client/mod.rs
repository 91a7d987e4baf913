//! Loads a backup with the plain client, like a manual restore that follows RESTORE.txt.
//!
//! If the result differs from that of drctl's own loading, one of the two has a bug. The ledger of the
//! result must match, and so must the server's own row counts ([`crate::verify::checks`]), which do not
//! depend on drctl's scanner.
//!
//! - [`accounts`]: accounts of the backup on the scratch server.
//! - [`edits`]: the changes to the dump that RESTORE.txt makes with sed.
//! - [`input_lines`]: the object that a line number in a client error refers to.
//! - [`views`]: creating the views again.

mod accounts;
mod edits;
mod input_lines;
mod views;

use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

use crate::archive::accounts as archive_accounts;
use crate::archive::read::Archive;
use crate::archive::restore_txt::SESSION;
use crate::comparison::normalise::ExpectedDeviations;
use crate::mysql::client::shell::{self, ClientError, FeedError};
use crate::mysql::{Client, ServerConfig};
use crate::reader::Reader;
use crate::restore::frames::read_ahead::FrameSource;
use crate::restore::inspect::{Inspection, control_config};
use crate::restore::report::RestoreReport;
use crate::restore::session::lane::Lane;
use crate::sql::statement::{ObjectKind, Section};
use crate::sql::view_order::Views;
use crate::util::error::{Error, Result};
use crate::verify::Drill;
use crate::verify::compare::Compared;
use crate::verify::scratch::external;
use edits::Edits;
use input_lines::InputLines;

/// Restores with the client and compares the result with the dump.
pub async fn restore(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    restored: &mut RestoreReport,
) -> Result<()> {
    restored.lanes = 1;
    let cancel = drill.cancel;
    // The restore lock keeps other drctl processes out until the end.
    let control = Lane::open(control_config(server, true, cancel)).await?;
    let options = drill.options(archive);
    let inspection =
        Inspection::gather(archive, server, &options, &drill.progress, cancel, None).await?;
    // Before the drill creates anything, and not as a failure of the backup.
    if let Some(refused) = inspection.unsupported() {
        return Err(refused);
    }
    inspection.control.close().await;
    let client = cancel.unless(Client::of(server)).await?;
    let backup = archive_accounts::read(archive).await?;
    let accounts = accounts::missing(drill, &backup, server).await?;
    let ledger = archive.contents().ledger.iter();
    external::require_empty(server, ledger.map(|(object, _)| &object.schema)).await?;
    // From here on, every object with one of these names was created by the drill.
    restored.backup = archive.manifest().id.to_string();
    let ledger = archive.contents().ledger.iter();
    restored.made = ledger.map(|(object, _)| object.clone()).collect();
    restored.granted_to_public = backup.to_public;
    let done = load_and_compare(drill, archive, server, &client, accounts, restored).await;
    control.close().await;
    done
}

async fn load_and_compare(
    drill: &Drill<'_>,
    archive: &Archive,
    server: &Arc<ServerConfig>,
    client: &Client,
    accounts: Vec<String>,
    restored: &mut RestoreReport,
) -> Result<()> {
    let cancel = drill.cancel;
    let since = Instant::now();
    let accounts_sql = cancel.unless(archive.accounts()).await?;
    if let Some(sql) = &accounts_sql {
        restored.created_accounts = accounts;
        // Grants on single objects fail in this run: the objects do not exist yet.
        let refused = cancel.unless(run_sql(client, &["--force"], sql)).await?;
        let without_plugin = accounts::without_plugin(sql, &refused)?;
        accounts::lock(server, &without_plugin, restored).await?;
    }
    restored.stage("accounts", since);

    let since = Instant::now();
    let mut edits = Edits::of(archive);
    let loaded = load(drill, archive, client, &mut edits).await?;
    if let Some(sql) = &accounts_sql {
        let refused = cancel.unless(run_sql(client, &["--force"], sql)).await?;
        accounts::check_refused(sql, refused, restored)?;
    }
    create_views_again(drill, archive, client, loaded, restored).await?;
    if !edits.afterwards.is_empty() {
        let sql = edits.afterwards.as_bytes();
        let refused = cancel.unless(run_sql(client, &[], sql)).await?;
        if let Some(first) = refused.into_iter().next() {
            return Err(first.into_error(None));
        }
    }
    restored.stage("data", since);

    edits.warn(restored);
    let since = Instant::now();
    let ledger = archive.contents().ledger.iter();
    let schemas = ledger.map(|(object, _)| object.schema.clone()).collect();
    let deviations = ExpectedDeviations {
        changed: edits.changed,
        ..ExpectedDeviations::default()
    };
    // Two programs that have nothing in common with each other have to agree on the rows.
    let by_program = Compared {
        reader: Reader::Mysqldump,
        ..drill.compared(server)
    };
    let compared = by_program.with_dump(archive, schemas, deviations).await;
    let (comparison, expired) = compared?;
    restored.expired_events = expired.into_iter().collect();
    restored.stage("compare", since);
    let (equal, summary) = (comparison.is_equal(), comparison.summary());
    restored.comparison = Some(comparison);
    if equal {
        return Ok(());
    }
    Err(Error::verification(format!(
        "the data restored by the plain client differ from the dump: {summary}"
    ))
    .hint("see the report for all differences"))
}

/// Result of loading the dump.
struct Loaded {
    /// The lines that the client read.
    lines: InputLines,
    /// How often the views must be created until each is created after the views it reads from.
    view_rounds: usize,
    /// The error at which the client stopped; `None` if it read the whole dump.
    error: Option<ClientError>,
}

/// Feeds the dump, with its edits, to the client.
async fn load(
    drill: &Drill<'_>,
    archive: &Archive,
    client: &Client,
    edits: &mut Edits,
) -> Result<Loaded> {
    let (mut lines, mut views) = (InputLines::default(), Views::default());
    let source = FrameSource::of(archive, drill.cancel)?;
    let feed = async |mut stdin: ChildStdin| {
        let mut frames = source.read_all();
        while let Some(ready) = frames.next().await? {
            let frame = &ready.frame;
            for (statement, sql) in frame.of(Section::PostData) {
                views.note(&statement.kind, sql);
            }
            let sql = edits.apply(frame);
            lines.note(&frame.record, &sql);
            stdin.write_all(&sql).await?;
            drill.progress.advance(frame.record.raw, frame.record.rows);
        }
        Ok(())
    };
    let errors = drill.cancel.unless(run(client, &[], feed)).await?;
    Ok(Loaded {
        lines,
        view_rounds: views.rounds(),
        error: errors.into_iter().next(),
    })
}

/// Creates the views again if the client stopped at one, or if MariaDB would keep some as not updatable
/// because of the order of the dump. Any other error of the client is the failure of the restore.
async fn create_views_again(
    drill: &Drill<'_>,
    archive: &Archive,
    client: &Client,
    loaded: Loaded,
    restored: &mut RestoreReport,
) -> Result<()> {
    let cancel = drill.cancel;
    let rounds = loaded.view_rounds;
    let is_mariadb = archive.manifest().server.flavour == "mariadb";
    match loaded.error {
        None if rounds <= 1 || !is_mariadb => {}
        None => {
            cancel
                .unless(views::create_again(archive, client, rounds - 1, None))
                .await?;
            restored.warn(format!(
                "views depend on later views, and in the order of the dump some would not be updatable: the plain \
                 client created all views {rounds} times; a restore by hand has to do the same, as RESTORE.txt says"
            ));
        }
        Some(error) => {
            let view = match loaded.lines.object_at(archive, error.line).await? {
                Some(view) if view.kind == ObjectKind::View && views::needs_later(&error) => view,
                object => return Err(error.into_error(object)),
            };
            cancel
                .unless(views::create_again(archive, client, rounds, Some(&view)))
                .await?;
            restored.warn(format!(
                "the plain client stopped at {view}: {}; the views were created again; a restore by hand has to do the \
                 same, as RESTORE.txt says",
                error.text
            ));
        }
    }
    Ok(())
}

/// Runs the client on `sql`, as [`run`].
async fn run_sql(client: &Client, options: &[&str], sql: &[u8]) -> Result<Vec<ClientError>> {
    let feed = async |mut stdin: ChildStdin| Ok(stdin.write_all(sql).await?);
    run(client, options, feed).await
}

/// Runs the client with the session of RESTORE.txt, and returns the statements that the server refused.
async fn run(
    client: &Client,
    options: &[&str],
    feed: impl AsyncFnOnce(ChildStdin) -> std::result::Result<(), FeedError>,
) -> Result<Vec<ClientError>> {
    let session = format!("--init-command={SESSION}");
    let options: Vec<&str> = [session.as_str()]
        .into_iter()
        .chain(options.iter().copied())
        .collect();
    Ok(shell::run(client, &options, feed).await?.errors)
}
