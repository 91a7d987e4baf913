//! Doctor checks of what `drctl stream` needs, if the section `stream` is configured.

use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::mysql::compat::LOG_REPLICA_UPDATES;
use crate::mysql::connect;
use crate::mysql::grants::Grants;
use crate::mysql::replication::Replication;
use crate::mysql::schemas::Own;
use crate::stream::survey::{PATIENCE, Survey};
use crate::util::error::{Error, Result};
use crate::util::format::counted;

/// Least time for which the server should keep its log: what an outage of the streamer may take, seconds.
const LEAST_KEPT: u64 = 2 * 86_400;

/// Checks the server's log, its settings and the account.
pub(super) async fn check(context: &Context, findings: &mut Findings) -> Result<()> {
    const CHECK: &str = "stream";
    if !context.config.stream.is_configured() {
        return Ok(());
    }
    let looked = context.cancel.unless(look(context)).await;
    context.cancel.check()?;
    match looked {
        Err(error) => findings.fail(CHECK, error),
        Ok(looked) => {
            findings.ok(CHECK, looked.what);
            for error in looked.missing {
                findings.fail(CHECK, error);
            }
            for (what, fix) in looked.warnings {
                findings.warn(CHECK, what, Some(&fix));
            }
        }
    }
    Ok(())
}

/// What was found.
struct Looked {
    what: String,
    missing: Vec<Error>,
    warnings: Vec<(String, String)>,
}

async fn look(context: &Context) -> Result<Looked> {
    let mut connection = connect(&context.config.source()?).await?.within(PATIENCE);
    let version = connection.version().await?;
    let survey = Survey::take(&mut connection, &version).await?;
    let own = Own::of(&mut connection, &version).await?;
    let grants = Grants::read(&mut connection, &version, own).await?;
    let mut missing = Vec::new();
    if !grants.has_globally("REPLICATION SLAVE") {
        missing.push(
            Error::source("the account cannot read the binary log")
                .hint("grant it REPLICATION SLAVE on *.*"),
        );
    }
    let mut values = Vec::new();
    for (names, bad, why, fix) in SETTINGS {
        if let Some(value) = connection.variable(names).await?
            && bad(&value)
        {
            values.push((format!("{} is {value}: {why}", names[0]), (*fix).to_owned()));
        }
    }
    let replication = Replication::query(&mut connection, &version).await?;
    let logged = connection.variable(LOG_REPLICA_UPDATES).await?;
    if replication.is_replica() && logged.is_some_and(|value| value != "ON") {
        let what = "the server does not log what it replicates, so that the archived log lacks it";
        values.push((
            what.to_owned(),
            format!("set {} = ON", LOG_REPLICA_UPDATES[0]),
        ));
    }
    connection.close().await;
    let bytes: u64 = survey.files.iter().map(|file| file.end).sum();
    let files = counted(survey.files.len() as u64, "file");
    Ok(Looked {
        what: format!("{files} of binary log, {bytes} bytes"),
        missing,
        warnings: values,
    })
}

/// Names of a setting, whether a value is bad, why, and what to set.
type Setting = (
    &'static [&'static str],
    fn(&str) -> bool,
    &'static str,
    &'static str,
);

const SETTINGS: &[Setting] = &[
    (
        &["binlog_format"],
        |value| value != "ROW",
        "a replay of statements may give other data",
        "set binlog_format = ROW",
    ),
    (
        &["binlog_checksum"],
        |value| value == "NONE",
        "damage between the server and drctl is not noticed",
        "set binlog_checksum = CRC32",
    ),
    (
        &["sync_binlog"],
        |value| value != "1",
        "a crash of the host may take back transactions that are archived",
        "set sync_binlog = 1",
    ),
    (
        &["gtid_mode"],
        |value| value != "ON",
        "gaps are detected only by file and position, and a failover cannot be followed",
        "set gtid_mode = ON and enforce_gtid_consistency = ON",
    ),
    (
        &["binlog_expire_logs_seconds"],
        |value| {
            value
                .parse()
                .is_ok_and(|kept: u64| (1..LEAST_KEPT).contains(&kept))
        },
        "the log may be purged before it is archived",
        "set binlog_expire_logs_seconds = 259200 or more",
    ),
    (
        &["binlog_transaction_compression"],
        |value| value == "ON",
        "the streamer inflates each transaction in memory",
        "set it OFF, or give the streamer memory for the largest transaction",
    ),
];
