//! Creates objects of the dump, each under the session it was dumped in and as a single statement.

use std::sync::Arc;

use crate::mysql::connect::{server_code, server_error};
use crate::restore::report::RestoreReport;
use crate::restore::session::failure::Failure;
use crate::restore::session::lane::Lane;
use crate::restore::state::discard::drop_object;
use crate::sql::session::Session;
use crate::sql::statement::{ObjectId, ObjectKind, Section};
use crate::util::error::{Error, Result};

/// A definition of the dump whose object cannot be created yet.
pub struct Definition {
    /// The object, by its name in the backup.
    pub object: ObjectId,
    /// The session of the dump.
    pub session: Arc<Session>,
    pub sql: Vec<u8>,
}

/// Creates an object by its name on the destination, and reports the server's warnings, except those with a
/// code in `ignored`. With `drop_first`, an object of this name may exist, and is dropped.
pub async fn create(
    lane: &mut Lane,
    object: &ObjectId,
    session: &Session,
    sql: &[u8],
    mut drop_first: bool,
    ignored: &[u16],
    report: &mut RestoreReport,
) -> Result<()> {
    /// ER_WARN_USING_OTHER_HANDLER: the server lacks the storage engine and used another one.
    const OTHER_ENGINE: u16 = 1266;
    let created = lane.step(async |lane| {
        let created = create_once(lane, object, session, sql, drop_first).await;
        // After a failure it is unknown whether the statement took effect.
        drop_first = true;
        created
    });
    for (code, text) in created.await.map_err(|error| error.context(object))? {
        if code == OTHER_ENGINE {
            return Err(Error::server(format!("{object}: {text}"))
                .hint("restore into a server that has the storage engine"));
        }
        if !ignored.contains(&code) {
            report.warn(format!("{object}: {text} ({code})"));
        }
    }
    Ok(())
}

async fn create_once(
    lane: &mut Lane,
    object: &ObjectId,
    session: &Session,
    sql: &[u8],
    drop_first: bool,
) -> Result<Vec<(u16, String)>, Failure> {
    lane.enter(session).await?;
    if drop_first {
        drop_object(lane, object).await?;
    }
    if object.kind.section() == Section::PostData && object.kind != ObjectKind::View {
        lane.demand_single(sql)
            .await
            .map_err(|failure| explained(failure, object, session))?;
    }
    match lane.run(sql).await?.warnings {
        0 => Ok(Vec::new()),
        _ => lane.warnings().await,
    }
}

/// The failure of [`Lane::demand_single`], as that of the target where the definition is what its server printed.
fn explained(failure: Failure, object: &ObjectId, session: &Session) -> Failure {
    const SYNTAX: u16 = 1064;
    let modes = session.variable("sql_mode").unwrap_or_default();
    let is_unreadable = object.kind == ObjectKind::Event && modes.contains("HIGH_NOT_PRECEDENCE");
    match failure {
        Failure::Fatal(error) if is_unreadable => Failure::Fatal(
            Error::server(
                "it was created under HIGH_NOT_PRECEDENCE, in which the server rejects the ON COMPLETION NOT PRESERVE \
                 that it prints",
            )
            .hint(
                "ALTER EVENT … ON COMPLETION PRESERVE on the target and back up again; with --tables, a restore of this \
                 backup creates no events",
            )
            .caused_by(server_error(SYNTAX, error.what())),
        ),
        failure => failure,
    }
}

/// Creates objects that may depend on each other, in rounds: an object whose creation fails with one of the
/// codes in `missing` is retried in the next round. Fails if a round creates none.
pub async fn create_in_rounds(
    mut pending: Vec<Definition>,
    missing: &[u16],
    mut create: impl AsyncFnMut(&Definition) -> Result<()>,
) -> Result<()> {
    while !pending.is_empty() {
        let (count, mut first_failure, mut next) = (pending.len(), None, Vec::new());
        for definition in pending {
            match create(&definition).await {
                Err(error) if has_code(&error, missing) => {
                    first_failure.get_or_insert(error);
                    next.push(definition);
                }
                created => created?,
            }
        }
        pending = next;
        if let Some(error) = first_failure.filter(|_| pending.len() == count) {
            return Err(error);
        }
    }
    Ok(())
}

/// Whether the server reported one of these codes.
pub fn has_code(error: &Error, codes: &[u16]) -> bool {
    server_code(error).is_some_and(|code| codes.contains(&code))
}
