//! Archive to server.
//!
//! ```text
//! look ─→ plan ─→ pre-data ─→ data ─→ keys ─→ foreign keys ─→ post-data ─→ prove ─→ events
//!   │               one          lanes    lanes                   one
//!   └ refusals: nothing was touched                  marker `drctl_restore` stands from plan to end
//! ```
//!
//! - [`look`]: [`survey`], [`facts`], [`checks`], [`refusal`], [`occupied`], [`plan`]: what the archive would do,
//!   what the server is, what speaks against it; [`lacks`]: what it does not have.
//! - [`marker`] ([`run_record`]), [`discard`], [`keep`]: what an interrupted restore leaves for the next one, and its
//!   two other ends.
//! - [`read_ahead`], [`frame`], [`guard`]: frames, checked and taken apart, within a budget.
//! - [`lane`], [`lane_session`], [`failure`]: one connection in a session of the dump, what it has beside that,
//!   and what can go wrong on it.
//! - [`pre_data`], [`data`], [`insert`], [`keys`], [`post_data`]: the passes; [`create`]: one object
//!   of theirs; [`accounts`] (those [`offered`]) and [`routine_grants`] around them.
//! - [`tuning`]: settings that are changed meanwhile.
//!
//! Each pass can be repeated, and ends in a barrier that the marker remembers.

pub mod accounts;
pub mod checks;
pub mod create;
pub mod data;
pub mod definition;
pub mod discard;
pub mod engine;
pub mod facts;
pub mod failure;
pub mod frame;
pub mod guard;
pub mod insert;
pub mod keep;
pub mod keys;
pub mod lacks;
pub mod lane;
pub mod lane_session;
pub mod look;
pub mod marker;
pub mod occupied;
pub mod offered;
pub mod options;
pub mod plan;
pub mod post_data;
pub mod pre_data;
pub mod prove;
pub mod read_ahead;
pub mod refusal;
pub mod report;
pub mod routine_grants;
pub mod run_record;
pub mod schema_collation;
pub mod survey;
pub mod tuning;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archive::read::Archive;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::server::ServerConfig;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::store::keys::TargetName;

use accounts::Part;
use engine::Engine;
use keep::Kept;
use lane::Lane;
use look::{Look, control_config};
use marker::Pass;
use options::{RestoreOptions, Tuning};
use plan::RestorePlan;
use refusal::refused;
use report::{Progress, RestoreReport};

/// How long putting the settings back may take at the end of a restore.
const UNDO_TIMEOUT: Duration = Duration::from_secs(20);

/// Says what [`restore`] would do, and touches nothing.
pub async fn plan(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: &RestoreOptions,
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<RestorePlan> {
    let look = Look::take(archive, server, options, progress, cancel, None).await?;
    let plan = look.plan(archive, options);
    look.control.close().await;
    Ok(plan)
}

/// Restores a backup into a server.
///
/// A failure leaves the marker, and the same call again goes on where it ended. The proof failing is
/// exit 7, and leaves the marker too: what is there is not what was dumped. `report` holds what was
/// done, also then.
pub async fn restore(
    archive: &Archive,
    server: &Arc<ServerConfig>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
    cancel: &Cancel,
    report: &mut RestoreReport,
) -> Result<()> {
    let began = Instant::now();
    let look = Look::take(
        archive,
        server,
        &options,
        &progress,
        cancel,
        Some(marker::LOCK),
    )
    .await?;
    let refusals = look.plan(archive, &options).refusals;
    if let Some(error) = refused(&refusals) {
        look.control.close().await;
        return Err(error);
    }
    let mut engine = look.engage(archive, options, progress, cancel).await?;
    engine.report.stage("check", began);
    let done = run(&mut engine).await;
    let changed = engine.resuming || engine.options.tuning != Tuning::Keep;
    let undone = match changed {
        true => put_back(&mut engine.control, done.is_err()).await,
        false => Ok(()),
    };
    engine.report.expired_events = engine.marker.expired.iter().cloned().collect();
    engine.report.made = engine.marker.objects.iter().cloned().collect();
    *report = engine.report;
    report.marked = true;
    match (done, undone) {
        (Ok(()), undone) => undone?,
        (Err(error), Ok(())) => return Err(error),
        (Err(error), Err(undone)) => return Err(error.also(&undone)),
    }
    marker::drop_marker(&mut engine.control).await?;
    report.marked = false;
    engine.control.close().await;
    Ok(())
}

/// Puts back the server's settings, whatever became of the restore. One that broke off may have left the
/// connection in the middle of a statement: then on a new one.
async fn put_back(control: &mut Lane, broke_off: bool) -> Result<()> {
    control.ignore_cancel();
    let undo = async {
        if broke_off {
            control.replace().await?;
        }
        tuning::undo(control).await.map(|_| ())
    };
    let undone = match tokio::time::timeout(UNDO_TIMEOUT, undo).await {
        Ok(undone) => undone,
        Err(_) => Err(Error::server(format!(
            "no answer within {} s",
            UNDO_TIMEOUT.as_secs()
        ))),
    };
    undone.map_err(|error| {
        error
            .context("the server's settings are not put back")
            .hint("drctl restore --undo-settings does it")
    })
}

/// Puts back the settings that an unfinished restore changed, and leaves its marker; says which.
pub async fn undo_settings(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Vec<String>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let done = match marker::read(&mut control).await? {
        Some(_) => tuning::undo(&mut control).await?,
        None => Vec::new(),
    };
    control.close().await;
    Ok(done)
}

/// Drops the marker of an unfinished restore and keeps what it made; says what was not done.
pub async fn keep(server: &Arc<ServerConfig>, cancel: &Cancel) -> Result<Kept> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let kept = keep::keep(&mut control).await?;
    control.close().await;
    Ok(kept)
}

/// Drops what an unfinished restore of this target made, and its marker; says what was dropped.
pub async fn discard(
    server: &Arc<ServerConfig>,
    target: &TargetName,
    cancel: &Cancel,
) -> Result<Vec<ObjectId>> {
    let mut control = Lane::open(control_config(server, true, cancel)).await?;
    let dropped = match marker::read(&mut control).await? {
        Some(marker) => {
            if let Some(error) = refused(marker.run.of_another(target.as_str()).as_slice()) {
                return Err(error);
            }
            tuning::undo(&mut control).await?;
            discard::discard(&mut control, &marker).await?
        }
        None if discard::remains(&mut control).await? => Vec::new(),
        None => {
            return Err(Error::nothing("the server has no unfinished restore")
                .hint("there is nothing to give up"));
        }
    };
    control.close().await;
    Ok(dropped)
}

/// Drops what a finished restore made, object by object; a schema only if nothing else moved into it.
pub async fn drop_made(server: &Arc<ServerConfig>, made: &[ObjectId]) -> Result<()> {
    let mut control = Lane::open(control_config(server, true, &Cancel::default())).await?;
    discard::drop_all(&mut control, made).await?;
    control.close().await;
    Ok(())
}

/// The passes, in order; those that an earlier run ended are over.
async fn run(engine: &mut Engine) -> Result<()> {
    tell_substitutes(engine);
    engine.report.settings =
        tuning::apply(&mut engine.control, &engine.facts, engine.options.tuning).await?;
    for pass in [
        Pass::Accounts,
        Pass::Replace,
        Pass::PreData,
        Pass::Data,
        Pass::Keys,
        Pass::ForeignKeys,
        Pass::PostData,
        Pass::Prove,
        Pass::Events,
    ] {
        if engine.marker.passed(pass) {
            // Accounts may be asked for by a run that resumes, and not before.
            if pass == Pass::PostData {
                run_accounts(engine, &[Part::TableGrants, Part::RoutineGrants]).await?;
            }
            continue;
        }
        let began = Instant::now();
        match pass {
            Pass::Accounts => {
                run_accounts(engine, &[Part::Accounts]).await?;
                if engine.options.scratch {
                    accounts::make_up_definers(engine).await?;
                }
            }
            Pass::Replace => replace(engine).await?,
            Pass::PreData => pre_data::run(engine).await?,
            Pass::Data => {
                let loaded = data::run(engine).await?;
                (engine.report.rows, engine.report.raw_bytes) = (loaded.rows, loaded.bytes);
            }
            Pass::Keys => keys::run(engine).await?,
            Pass::ForeignKeys => keys::run_foreign(engine).await?,
            Pass::PostData => {
                run_accounts(engine, &[Part::TableGrants]).await?;
                post_data::run(engine).await?;
                run_accounts(engine, &[Part::RoutineGrants]).await?;
                routine_grants::give_back(engine).await?;
            }
            Pass::Prove if engine.options.prove => prove::run(engine).await?,
            Pass::Prove => {}
            Pass::Events => post_data::enable_events(engine).await?,
        }
        engine.report.stage(pass.name(), began);
        // These two are asked anew of a run that resumes.
        if pass != Pass::Prove && pass != Pass::Accounts {
            marker::note_pass(&mut engine.control, pass).await?;
        }
    }
    Ok(())
}

/// Which objects get another definer than they had.
fn tell_substitutes(engine: &mut Engine) {
    let substituted: Vec<ObjectId> = engine.substituted().into_keys().collect();
    if let Some(definer) = &engine.options.substitute_definer
        && !substituted.is_empty()
    {
        let all = refusal::all_of(&substituted);
        engine.report.warn(format!(
            "the server lacked their definers, and {definer} stands for them: {all}"
        ));
    }
    engine.report.substituted = substituted;
}

/// Parts of accounts.sql, where they are asked for.
async fn run_accounts(engine: &mut Engine, parts: &[Part]) -> Result<()> {
    if engine.options.accounts {
        for part in parts {
            accounts::run(engine, *part).await?;
        }
    }
    Ok(())
}

/// Drops what is in the way, as the user of the restore confirmed.
async fn replace(engine: &mut Engine) -> Result<()> {
    let in_the_way = engine.report.replaced.clone();
    routine_grants::note(engine, &in_the_way).await?;
    for object in &in_the_way {
        engine
            .control
            .step(async |control| discard::drop_object(control, object).await)
            .await?;
    }
    let fresh: Vec<&ObjectId> = engine
        .survey
        .creates
        .iter()
        .filter(|object| object.kind != ObjectKind::Schema || !engine.met_schema(&object.schema))
        .collect();
    let fresh: BTreeSet<ObjectId> = fresh.into_iter().cloned().collect();
    marker::note_objects(&mut engine.control, fresh.iter()).await?;
    engine.marker.objects.extend(fresh);
    Ok(())
}
