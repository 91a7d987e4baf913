//! What the server says of its log.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::binlog::gtid::GtidSet;
use crate::catalog::clock::Ahead;
use crate::layout::LogFile;
use crate::mysql::compat::BINARY_LOG_STATUS;
use crate::mysql::connect::{is_denied, server_code};
use crate::mysql::{Connection, ServerVersion, facts};
use crate::util::times::{after, before};
use crate::{Error, Result};

/// How long a server may take for each question; a frozen one takes forever.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A file of the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFile {
    /// Its name.
    pub name: LogFile,
    /// Position of its end.
    pub end: u64,
}

/// What the server says of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Who it is.
    pub identity: String,
    /// Its version, as it writes it.
    pub version: String,
    /// Whether it is MariaDB.
    pub mariadb: bool,
    /// Its files, oldest first; never empty.
    pub files: Vec<ServerFile>,
    /// All transactions executed (MySQL), or the last one logged of each domain (MariaDB).
    pub executed: GtidSet,
    /// Of these, what no file has any more; `None` on MariaDB.
    pub purged: Option<GtidSet>,
    /// Of MariaDB, the last number that is logged of each domain and server: `executed` has one server of each domain.
    pub logged: BTreeMap<(u32, u32), u64>,
    /// Of MariaDB, the last transaction of each domain that it replicated, or was told that it has.
    pub replicated: GtidSet,
    /// Archived transactions that its log does not have although its numbers are beyond theirs, where that was asked for.
    pub strays: GtidSet,
    /// What had been executed before each file, newest first, where that was asked for.
    pub starts: Vec<(LogFile, GtidSet)>,
    /// By how much its clock is ahead of this host's.
    pub ahead: Ahead,
    /// When this host asked, before the answers.
    pub at: Timestamp,
}

impl Survey {
    /// Asks the server.
    ///
    /// # Errors
    /// `Source`: it writes no binary log, or the account may not ask.
    pub async fn take(connection: &mut Connection, version: &ServerVersion) -> Result<Survey> {
        let (mariadb, at) = (version.is_mariadb(), Timestamp::now());
        let identity = facts::identity(connection, version).await?.id;
        let ahead = clock(connection).await?;
        let (executed, purged) = match mariadb {
            true => (gtids(connection, true, "@@gtid_binlog_pos").await?, None),
            false => {
                let executed = gtids(connection, false, "@@global.gtid_executed").await?;
                let purged = gtids(connection, false, "@@global.gtid_purged").await?;
                (executed, Some(purged))
            }
        };
        Ok(Survey {
            identity,
            version: version.text.clone(),
            mariadb,
            files: files(connection).await?,
            executed,
            purged,
            logged: match mariadb {
                true => logged(connection).await?,
                false => BTreeMap::new(),
            },
            replicated: match mariadb {
                true => gtids(connection, true, "@@gtid_slave_pos").await?,
                false => GtidSet::empty(false),
            },
            strays: GtidSet::empty(mariadb),
            starts: Vec::new(),
            ahead,
            at,
        })
    }

    /// Archived transactions that the server does not have; `None` if it has all of them.
    pub fn lost(&self, ours: &GtidSet) -> Option<GtidSet> {
        let mut lost = match (ours, &self.replicated) {
            (GtidSet::MariaDb(ours), GtidSet::MariaDb(told)) => {
                let is_lost = |(domain, last): &(&u32, &(u32, u64))| {
                    !self.has_logged(**domain, **last) && told.get(domain) != Some(last)
                };
                let lost = ours.iter().filter(is_lost);
                GtidSet::MariaDb(lost.map(|(domain, last)| (*domain, *last)).collect())
            }
            _ => ours.minus(&self.executed),
        };
        lost.extend(&self.strays);
        (!lost.is_empty()).then_some(lost)
    }

    /// Whether a MariaDB server logged this number of this server, or a later one of the same.
    pub fn has_logged(&self, domain: u32, (server, sequence): (u32, u64)) -> bool {
        let last = self.logged.get(&(domain, server));
        last.is_some_and(|last| *last >= sequence)
    }

    /// When this host asked, by the server's clock, and a second earlier: the clocks are compared over a network.
    pub fn server_time(&self) -> Timestamp {
        const MARGIN: SignedDuration = SignedDuration::from_secs(1);
        before(after(self.at, self.ahead.least), MARGIN)
    }

    /// The end of the log.
    pub fn end(&self) -> Option<&ServerFile> {
        self.files.last()
    }

    /// A file of the server.
    pub fn file(&self, name: &LogFile) -> Option<&ServerFile> {
        self.files.iter().find(|file| file.name == *name)
    }

    /// How many bytes of the log lie behind a position.
    pub fn behind(&self, name: &LogFile, log_pos: u64) -> u64 {
        let later = self.files.iter().filter(|file| file.name >= *name);
        let sum: u64 = later.map(|file| file.end).sum();
        sum.saturating_sub(log_pos)
    }

    /// Asks what had been executed before each file, newest first, up to the first that begins within `known`.
    pub async fn ask_starts(&mut self, connection: &mut Connection, known: &GtidSet) -> Result<()> {
        for file in self.files.iter().rev() {
            let start = start_of(connection, self.mariadb, &file.name).await?;
            let fits = known.covers(&start);
            self.starts.push((file.name.clone(), start));
            if fits {
                break;
            }
        }
        Ok(())
    }
}

/// The files of the log, oldest first.
pub async fn files(connection: &mut Connection) -> Result<Vec<ServerFile>> {
    const NO_LOG: u16 = 1381;
    let rows = connection.named_rows("SHOW BINARY LOGS").await;
    let rows = rows.map_err(|error| match server_code(&error) {
        Some(NO_LOG) => Error::source("the server writes no binary log")
            .hint("set log_bin in its option file and restart it"),
        _ if is_denied(&error) => error.hint(
            "grant the account REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR) on *.*",
        ),
        _ => error,
    })?;
    let mut files = Vec::new();
    for row in rows {
        /// MySQL puts this much in front of an encrypted file; positions do not count it.
        const ENCRYPTION_HEADER: u64 = 512;
        let size: Option<u64> = row.get("File_size").and_then(|size| size.parse().ok());
        let (Some(name), Some(size)) = (row.get("Log_name"), size) else {
            continue;
        };
        let encrypted = row.get("Encrypted").is_some_and(|value| value == "Yes");
        files.push(ServerFile {
            name: name.parse()?,
            end: if encrypted {
                size.saturating_sub(ENCRYPTION_HEADER)
            } else {
                size
            },
        });
    }
    // The file in use is listed with the size that it has on disk, which is less than what is written.
    let status = connection.first_understood(BINARY_LOG_STATUS).await?;
    let position = status.first().and_then(|row| {
        Some((
            row.get("File")?.to_owned(),
            row.get("Position")?.parse::<u64>().ok()?,
        ))
    });
    if let (Some(last), Some((name, position))) = (files.last_mut(), position)
        && last.name.as_str() == name
    {
        last.end = position;
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    match files.is_empty() {
        true => Err(Error::source("the server lists no binary log")
            .hint("check log_bin and the server's log")),
        false => Ok(files),
    }
}

/// For how long the server keeps a file of its log that it no longer writes, seconds; `None` if it does not purge by
/// age.
pub async fn kept(connection: &mut Connection) -> Result<Option<u64>> {
    const DAY: u64 = 86_400;
    let purges = connection.variable(&["binlog_expire_logs_auto_purge"]);
    if purges.await?.is_some_and(|value| value == "OFF") {
        return Ok(None);
    }
    let number = |value: Option<String>| value.and_then(|value| value.parse::<f64>().ok());
    let seconds = number(connection.variable(&["binlog_expire_logs_seconds"]).await?);
    // The older setting; where both exist one of them is 0, or MariaDB keeps them equal.
    let days = number(connection.variable(&["expire_logs_days"]).await?);
    let seconds = seconds
        .map(|seconds| seconds as u64)
        .filter(|kept| *kept > 0);
    let days = days
        .map(|days| (days * DAY as f64) as u64)
        .filter(|kept| *kept > 0);
    Ok(seconds.or(days))
}

async fn gtids(connection: &mut Connection, mariadb: bool, variable: &str) -> Result<GtidSet> {
    let text: Option<String> = connection.one(&format!("SELECT {variable}")).await?;
    GtidSet::parse(mariadb, &text.unwrap_or_default())
}

/// The last number that MariaDB has logged of each domain and server.
async fn logged(connection: &mut Connection) -> Result<BTreeMap<(u32, u32), u64>> {
    let text: Option<String> = connection.one("SELECT @@gtid_binlog_state").await?;
    let text = text.unwrap_or_default();
    let mut logged = BTreeMap::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let one = GtidSet::parse(true, part)?;
        if let GtidSet::MariaDb(domains) = one {
            let last = domains.into_iter();
            logged.extend(last.map(|(domain, (server, sequence))| ((domain, server), sequence)));
        }
    }
    Ok(logged)
}

/// What had been executed before a file.
async fn start_of(connection: &mut Connection, mariadb: bool, file: &LogFile) -> Result<GtidSet> {
    if mariadb {
        let sql = format!("SELECT BINLOG_GTID_POS('{file}', 4)");
        let text: Option<String> = connection.one(&sql).await?;
        return GtidSet::parse(true, &text.unwrap_or_default());
    }
    let sql = format!("SHOW BINLOG EVENTS IN '{file}' LIMIT 2");
    let rows = connection.named_rows(&sql).await?;
    let previous = rows
        .iter()
        .find(|row| row.get("Event_type") == Some("Previous_gtids"));
    let set = previous.and_then(|row| row.get("Info")).unwrap_or_default();
    GtidSet::parse(false, set)
}

/// By how much the server's clock is ahead of this host's.
pub async fn clock(connection: &mut Connection) -> Result<Ahead> {
    let asked = Timestamp::now();
    let text: String = connection
        .one("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)")
        .await?;
    let time: Option<Timestamp> = format!("{}Z", text.replace(' ', "T")).parse().ok();
    let time =
        time.ok_or_else(|| Error::source(format!("the server's time {text:?} is not understood")))?;
    Ok(Ahead {
        least: time.duration_since(Timestamp::now()),
        most: time.duration_since(asked),
    })
}
