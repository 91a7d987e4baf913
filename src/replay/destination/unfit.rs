//! Whether a server can be replayed into. Asked before the backup is restored, which may take hours, and again before the
//! replay.

use crate::Result;
use crate::binlog::gtid::GtidSet;
use crate::mysql::compat::LOG_REPLICA_UPDATES;
use crate::mysql::{Connection, Flavour};
use crate::replay::ReplayPath;
use crate::replay::destination::{Begin, statements};
use crate::replay::plan::Plan;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fitness {
    /// Why it cannot; empty if it can.
    pub unfit: Vec<Unfit>,
    /// Whether its GTIDs are reset first, which deletes its binary logs.
    pub resets_gtids: bool,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What it is.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// Variables that cannot be changed while a server runs, and values with which it skips nothing that it is sent; empty
/// stands for nothing. MySQL's filters are none of the channel's ([`statements::NO_FILTERS`]).
const FILTERS: &[(&[&str], &str)] = &[
    (&["replica_skip_errors", "slave_skip_errors"], "OFF"),
    (&["replicate_do_db"], ""),
    (&["replicate_do_table"], ""),
    (&["replicate_ignore_db"], ""),
    (&["replicate_ignore_table"], ""),
    (&["replicate_rewrite_db"], ""),
    (&["replicate_wild_do_table"], ""),
    (&["replicate_wild_ignore_table"], ""),
];

/// Variables, and values with which rows that a client replays have the effect that they had on the target.
const FOR_CLIENT: &[(&[&str], &str, &str)] = &[
    (
        &["slave_run_triggers_for_rbr"],
        "NO",
        "triggers would run again for rows that have their effects already",
    ),
    (
        &["replica_exec_mode", "slave_exec_mode"],
        "STRICT",
        "it would hide rows that are not there",
    ),
];

/// Asks a server that is to replay a plan; all reasons at once.
pub async fn fitness(
    connection: &mut Connection,
    flavour: Flavour,
    plan: &Plan,
    begin: Begin,
    path: &ReplayPath,
) -> Result<Fitness> {
    let mut all = whatever_is_replayed(connection, flavour, path.is_client()).await?;
    let mut resets_gtids = false;
    if path.is_client() && begin == Begin::Resumed {
        all.push(unfit((
            "a replay by the client cannot be resumed",
            START_OVER,
        )));
    }
    if flavour == Flavour::MySql {
        let executed: Option<String> = connection.one(statements::executed(flavour)).await?;
        let executed = GtidSet::parse(false, &executed.unwrap_or_default())?;
        let stretch = plan.expected.minus(&plan.base);
        match begin {
            Begin::Fresh => all.extend(known(&stretch, &executed)),
            Begin::FreshWithReset => resets_gtids = known(&stretch, &executed).is_some(),
            Begin::Resumed => {}
        }
        let uuid: String = connection.one("SELECT @@GLOBAL.server_uuid").await?;
        if has_ids_of(&stretch, &GtidSet::parse(false, &format!("{uuid}:1"))?) {
            all.extend(match path {
                ReplayPath::Client(_) => Some(unfit(OWN_BY_CLIENT)),
                ReplayPath::Replica(_) if begin == Begin::Resumed => Some(unfit(OWN_RESUMED)),
                ReplayPath::Replica(_) => None,
            });
        }
    }
    Ok(Fitness {
        unfit: all,
        resets_gtids,
    })
}

/// Settings of a server with which it can replay nothing.
pub async fn whatever_is_replayed(
    connection: &mut Connection,
    flavour: Flavour,
    by_client: bool,
) -> Result<Vec<Unfit>> {
    let mut all = Vec::new();
    for (names, harmless) in FILTERS.iter().filter(|_| !by_client) {
        let value = connection.variable(names).await?.unwrap_or_default();
        if !value.is_empty() && !value.eq_ignore_ascii_case(harmless) {
            let name = names[0];
            all.push(Unfit {
                what: format!(
                    "the destination has {name} = {value}: as a replica it would skip transactions"
                ),
                hint: "restart it without that option",
            });
        }
    }
    for (names, wanted, why) in FOR_CLIENT.iter().filter(|_| by_client) {
        let value = connection.variable(names).await?;
        if let Some(value) = value.filter(|value| !value.eq_ignore_ascii_case(wanted)) {
            let name = names[0];
            all.push(Unfit {
                what: format!("the destination has {name} = {value}: {why}"),
                hint: "change it with SET GLOBAL until the restore is done, or leave out --path client",
            });
        }
    }
    let (name, refuses) = match flavour {
        Flavour::MySql => ("gtid_mode", "a log can be replayed only with GTIDs"),
        Flavour::MariaDb => (
            "gtid_strict_mode",
            "it refuses transactions older than its own",
        ),
    };
    let value = connection.variable(&[name]).await?.unwrap_or_default();
    let hint = match flavour {
        Flavour::MySql if value != "ON" => {
            "set enforce_gtid_consistency = ON and gtid_mode = ON there"
        }
        // A replica's is OFF meanwhile.
        Flavour::MariaDb if value == "ON" && by_client => {
            "SET GLOBAL gtid_strict_mode = OFF there until the restore is done"
        }
        _ => return Ok(all),
    };
    let what = format!("the destination has {name} = {value}: {refuses}");
    all.push(Unfit { what, hint });
    Ok(all)
}

/// Whether a server's log, if it writes one, holds what it executes as a replica.
pub async fn logs_what_it_replicates(connection: &mut Connection) -> Result<bool> {
    let logs = connection.variable(&["log_bin"]).await?;
    let replicated = connection.variable(LOG_REPLICA_UPDATES).await?;
    let is_on = |value: Option<String>| value.is_some_and(|value| value == "ON");
    Ok(!is_on(logs) || is_on(replicated))
}

/// A server of MySQL that has executed transactions that it is to replay; one of MariaDB skips nothing.
pub fn known(stretch: &GtidSet, executed: &GtidSet) -> Option<Unfit> {
    let GtidSet::MySql(_) = stretch else {
        return None;
    };
    let known = stretch.minus(&stretch.minus(executed));
    (!known.is_empty()).then(|| Unfit {
        what: format!(
            "the destination has executed transactions of the log already, and would skip them: {known}"
        ),
        hint: "restore into another server; or into this one with --overwrite, which deletes its binary logs",
    })
}

/// What to do where a replay cannot go on.
pub const START_OVER: &str = "discard the restore, and start over";

/// Why the server that wrote the log is unfit: its own transactions have GTIDs of the log, so nothing shows which of them
/// are replayed, and the server skips those.
const OWN_RESUMED: (&str, &str) = (
    "a replay into the server that wrote the log cannot be resumed: its own transactions have GTIDs of the log",
    START_OVER,
);
const OWN_BY_CLIENT: (&str, &str) = (
    "the destination wrote the log itself: while the client replays, its own transactions would take GTIDs of the log",
    "leave out --path client, or restore into another server",
);

/// Whether a stretch has transactions of the server with the GTIDs `own`.
fn has_ids_of(stretch: &GtidSet, own: &GtidSet) -> bool {
    let (GtidSet::MySql(origins), GtidSet::MySql(own)) = (stretch, own) else {
        return false;
    };
    origins
        .keys()
        .any(|origin| own.keys().any(|own| own.0 == origin.0))
}

fn unfit((what, hint): (&str, &'static str)) -> Unfit {
    Unfit {
        what: what.to_owned(),
        hint,
    }
}
