//! The command line: commands, arguments and their help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::catalog::Which;
use crate::cli::examples;
use crate::config::Overrides;
use crate::config::environment::MOMENTS;
use crate::copy::rate::Rate;
use crate::layout::BackupId;
use crate::store::StoreUrl;
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::Output;
use crate::util::times::MOST_DAYS;

/// Back up MySQL and MariaDB to object storage, and verify the backups by restoring them
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = examples::ROOT)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Path to the configuration file [env: DRCTL_CONFIG] [default: ./drctl.yaml, /etc/drctl/drctl.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the protected database [env: DRCTL_TARGET]
    #[arg(long, global = true, value_name = "NAME")]
    pub target: Option<String>,
    /// Store of the backups: s3://bucket/prefix, file:///dir, or copy for the second store [env: DRCTL_STORE]
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// Output format
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Increase log verbosity (-v: debug, -vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl GlobalArgs {
    /// The configuration keys that these flags set.
    pub fn overrides(&self) -> Overrides<'_> {
        Overrides {
            file: self.config.as_deref(),
            target: self.target.as_deref(),
            store: self.store.as_deref(),
        }
    }
}

/// The commands, in the order of their use.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check that backups can run, and suggest fixes
    #[command(after_help = examples::DOCTOR)]
    Doctor,
    /// Create a backup
    #[command(after_help = examples::BACKUP)]
    Backup(BackupArgs),
    /// List backups, newest first
    #[command(after_help = examples::LIST)]
    List,
    /// Show details of a backup
    #[command(after_help = examples::SHOW)]
    Show(ShowArgs),
    /// Write the contents of a backup to standard output
    #[command(after_help = examples::CAT)]
    Cat(CatArgs),
    /// Restore a backup and verify the result
    #[command(after_help = examples::RESTORE)]
    Restore(Box<RestoreArgs>),
    /// Scale the workloads in restore.fence to zero
    #[command(after_help = examples::FENCE)]
    Fence,
    /// Scale fenced workloads back to their previous replica count
    #[command(after_help = examples::UNFENCE)]
    Unfence,
    /// Restore a backup into a scratch server, verify it, and measure RTO and RPO
    #[command(after_help = examples::VERIFY)]
    Verify(VerifyArgs),
    /// Archive the binary log as the server writes it
    #[command(after_help = examples::STREAM)]
    Stream(StreamArgs),
    /// Show the archived binary log: covered stretches, gaps, statements
    #[command(after_help = examples::LOG)]
    Log(LogArgs),
    /// Copy backups and archived log to a second store, and check everything on the way
    #[command(after_help = examples::COPY)]
    Copy(CopyArgs),
    /// Keep a standby: restore the newest usable backup into a server and follow the archived log
    #[command(after_help = examples::STANDBY)]
    Standby(StandbyArgs),
    /// Make the standby the primary
    #[command(after_help = examples::PROMOTE)]
    Promote(PromoteArgs),
    /// Make the server of this side read-only, and say what the other side lacks
    #[command(after_help = examples::DEMOTE)]
    Demote(DemoteArgs),
    /// Keep the lease of this side: its server is writable with it, and read-only without
    #[command(after_help = examples::LEASE)]
    Lease(LeaseArgs),
    /// Send a test alert through every configured notifier
    #[command(after_help = examples::ALERT_TEST)]
    AlertTest(AlertTestArgs),
    /// Generate an HTML report of all restore drills
    #[command(after_help = examples::REPORT)]
    Report(ReportArgs),
    /// Accept a suspect backup
    #[command(after_help = examples::ACCEPT)]
    Accept(IdArgs),
    /// Give an encrypted backup other recipients, in a second backup of the same data
    #[command(after_help = examples::REKEY)]
    Rekey(ChooseArgs),
    /// Pin a backup so that retention never deletes it
    #[command(after_help = examples::PIN)]
    Pin(PinArgs),
    /// Delete expired backups and clean up after interrupted runs
    #[command(after_help = examples::PRUNE)]
    Prune(PruneArgs),
    /// Run the configured schedules, and the streamer if one is configured, in the foreground
    #[command(after_help = examples::AGENT)]
    Agent,
    /// Serve metrics, health probes and a status page
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Stream pod lifecycle events, one per line
    #[command(after_help = examples::WATCH)]
    Watch {
        /// Kind of object
        #[command(subcommand)]
        what: Watched,
    },
    /// Print a shell completion script
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = examples::MAN)]
    Man,
    /// Explain the exit codes
    #[command(hide = true, after_help = exit_codes())]
    ExitCodes,
}

/// Arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Label of the backup (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Number of connections that read rows [default: backup.jobs, else one per core, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64), help_heading = "Performance")]
    pub jobs: Option<usize>,
    /// Have the server count the rows of every table, and compute digests of columns that a dump may not carry, as with
    /// backup.against_source: all
    #[arg(long, help_heading = "Verification")]
    pub against_source: bool,
    /// Create and mark the directory of a file:// store, even if it is missing or not empty
    #[arg(long)]
    pub init_store: bool,
}

/// Selection of one backup.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Backup selection")]
pub struct ChooseArgs {
    /// Backup ID, as listed by `drctl list`
    #[arg(value_name = "ID")]
    pub id: Option<BackupId>,
    /// Newest backup that is not suspect
    #[arg(long)]
    pub latest: bool,
    /// Newest verified backup
    #[arg(long)]
    pub latest_verified: bool,
    /// Newest backup whose snapshot is not later than TIME, for example 2026-11-21T02:00:00Z
    #[arg(long, value_name = "TIME")]
    pub before: Option<Timestamp>,
}

impl ChooseArgs {
    /// Whether no backup is selected.
    pub fn is_none(&self) -> bool {
        self.id.is_none() && !self.latest && !self.latest_verified && self.before.is_none()
    }

    /// The selection; a usage error if there is none.
    pub fn which(&self) -> Result<Which> {
        match (self.id, self.latest, self.latest_verified, self.before) {
            (Some(id), ..) => Ok(Which::Id(id)),
            (_, true, ..) => Ok(Which::Latest),
            (_, _, true, _) => Ok(Which::LatestVerified),
            (.., Some(time)) => Ok(Which::Before(time)),
            _ => Err(Error::usage("no backup selected")
                .hint("pass a backup ID, --latest, --latest-verified or --before TIME")),
        }
    }
}

/// Arguments of `show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Selection of the backup.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// List the objects of the backup: kind, rows, size as estimated by the server, name
    #[arg(long, help_heading = "Objects")]
    pub objects: bool,
    /// List only objects that match, for example `shop.*`, `*.orders`, or a schema name (repeatable)
    #[arg(
        long = "match",
        value_name = "PATTERN",
        requires = "objects",
        help_heading = "Objects"
    )]
    pub matching: Vec<String>,
}

/// Arguments of `cat`.
#[derive(Debug, Clone, Args)]
pub struct CatArgs {
    /// Selection of the backup.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Write the accounts (CREATE USER, GRANT) instead of the dump
    #[arg(long, help_heading = "Options")]
    pub accounts: bool,
}

/// The moment that a restore goes to.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct MomentArgs {
    /// Restore everything committed before this time (on MariaDB: this second), or all that is archived behind the newest
    /// usable backup: `latest` [env: DRCTL_RESTORE_TO]
    #[arg(long, value_name = "TIME", help_heading = "Point in time")]
    pub to: Option<To>,
    /// Restore up to this transaction, and include it [env: DRCTL_RESTORE_TO_GTID]
    #[arg(long, value_name = "GTID", help_heading = "Point in time")]
    pub to_gtid: Option<String>,
    /// Restore up to this transaction, and leave it out [env: DRCTL_RESTORE_BEFORE_GTID]
    #[arg(long, value_name = "GTID", help_heading = "Point in time")]
    pub before_gtid: Option<String>,
    /// Restore up to this position of the target's binary log [env: DRCTL_RESTORE_TO_POSITION]
    #[arg(long, value_name = "FILE:POSITION", help_heading = "Point in time")]
    pub to_position: Option<String>,
    /// Restore up to the only archived statement that matches, and leave it out (see drctl log --grep)
    /// [env: DRCTL_RESTORE_BEFORE_STATEMENT]
    #[arg(long, value_name = "RE", value_parser = pattern, help_heading = "Point in time")]
    pub before_statement: Option<regex::Regex>,
}

impl MomentArgs {
    /// The moment of the environment, for a Job created from a suspended CronJob, which takes no arguments. An empty
    /// variable counts as not set.
    ///
    /// # Errors
    /// `Usage`: a value is wrong, or several moments are named.
    pub fn of_environment() -> Result<MomentArgs> {
        let values = MOMENTS.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        if values.iter().flatten().count() > 1 {
            return Err(Error::usage("several variables name a moment")
                .hint(format!("set one of {}", MOMENTS.join(", "))));
        }
        let wrong = |name: &'static str| move |why: String| Error::usage(format!("{name}: {why}"));
        let [to, to_gtid, before_gtid, to_position, before_statement] = values;
        Ok(MomentArgs {
            to: to
                .map(|text| text.parse())
                .transpose()
                .map_err(wrong(MOMENTS[0]))?,
            to_gtid,
            before_gtid,
            to_position,
            before_statement: before_statement
                .map(|text| pattern(&text))
                .transpose()
                .map_err(wrong(MOMENTS[4]))?,
        })
    }
}

/// How far a restore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Up to a time.
    Time(Timestamp),
    /// Up to the end of what is archived.
    Latest,
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<To, String> {
        match text {
            "latest" => Ok(To::Latest),
            _ => text.parse().map(To::Time).map_err(|error| {
                format!("{error}; write a time such as 2026-11-29T22:23:10Z, or latest")
            }),
        }
    }
}

/// Arguments of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Selection of the backup.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Moment to restore to, by the archived binary log
    #[command(flatten)]
    pub moment: MomentArgs,
    /// How the binary log gets into the destination [default: replica]
    #[arg(long, value_enum, help_heading = "Point in time")]
    pub path: Option<ReplayPathArg>,
    /// Server to restore into: mysql://user@host:3306 [env: DRCTL_INTO_URL]; for another kind of source, an empty
    /// directory [env: DRCTL_INTO_PATH]
    #[arg(long, value_name = "URL", help_heading = "Destination")]
    pub into: Option<String>,
    /// Restore only these tables (repeatable)
    #[arg(
        long,
        value_name = "SCHEMA.TABLE",
        value_delimiter = ',',
        help_heading = "Scope"
    )]
    pub tables: Vec<String>,
    /// Restore a schema under another name (repeatable)
    #[arg(long, value_name = "OLD=NEW", value_parser = label, help_heading = "Scope")]
    pub rename: Vec<(String, String)>,
    /// Print the restore plan and any blockers without changing anything
    #[arg(long, help_heading = "Safety")]
    pub plan: bool,
    /// Check the whole archive before the first statement is executed
    #[arg(long, help_heading = "Safety")]
    pub check_first: bool,
    /// Drop conflicting objects of the destination (requires --confirm)
    #[arg(long, requires = "confirm", help_heading = "Safety")]
    pub overwrite: bool,
    /// The confirmation.
    #[command(flatten)]
    pub confirmation: ConfirmArgs,
    /// Create the accounts of the backup that the destination lacks (with --tables: their privileges on
    /// other single objects are omitted)
    #[arg(long, help_heading = "Scope")]
    pub accounts: bool,
    /// Allow other clients to be connected to the destination
    #[arg(long, help_heading = "Safety")]
    pub allow_connections: bool,
    /// Allow the destination to be a replica or read-only
    #[arg(long, help_heading = "Safety")]
    pub allow_replica: bool,
    /// Allow the destination to be a member of a Group Replication or Galera cluster
    #[arg(long, help_heading = "Safety")]
    pub allow_cluster: bool,
    /// Definer to substitute where the original account does not exist
    #[arg(long, value_name = "USER@HOST", help_heading = "Destination")]
    pub definer: Option<String>,
    /// Drop the objects of an interrupted restore instead of resuming it (requires --confirm); then restore
    /// the selected backup, or exit if none is selected
    #[arg(long, requires = "confirm", help_heading = "Interrupted restore")]
    pub discard: bool,
    /// Keep the objects of an interrupted restore, drop its restore marker, list what is incomplete, then
    /// exit
    #[arg(
        long,
        conflicts_with_all = ["ChooseArgs", "MomentArgs", "discard", "plan"],
        help_heading = "Interrupted restore"
    )]
    pub keep: bool,
    /// Revert server settings left by an interrupted restore, then exit
    #[arg(
        long,
        conflicts_with_all = ["MomentArgs", "plan"],
        help_heading = "Interrupted restore"
    )]
    pub undo_settings: bool,
    /// Relax durability during the restore (faster; a server crash means starting over)
    #[arg(long, help_heading = "Performance")]
    pub fast_unsafe: bool,
    /// Do not write the restore to the binary log (replicas will diverge)
    #[arg(long, help_heading = "Performance")]
    pub no_binlog: bool,
    /// Skip the comparison of the restored data with the dump
    #[arg(long, alias = "no-prove", help_heading = "Performance")]
    pub no_compare: bool,
    /// Number of parallel load connections, 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64), help_heading = "Performance")]
    pub lanes: Option<usize>,
}

/// Arguments of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Selection of the backup.
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// Oldest backup that is neither suspect nor verified
    #[arg(
        long,
        conflicts_with_all = ["id", "latest", "latest_verified", "before"],
        help_heading = "Backup selection"
    )]
    pub oldest_unverified: bool,
    /// What is verified (default: `restore`, and every Nth time the binary log, too)
    #[arg(long, value_enum, help_heading = "Drill")]
    pub level: Option<LevelArg>,
    /// Scratch server: `local` starts one on this machine, `pod` starts one in a Kubernetes pod, a URL
    /// names an empty one
    #[arg(long, value_name = "local|pod|URL", help_heading = "Scratch server")]
    pub scratch: Option<String>,
    /// How to load the backup, or with --level pitr the binary log [default: lanes; client in every Nth drill
    /// (verify.client_path_every)]
    #[arg(long, value_enum, help_heading = "Drill")]
    pub path: Option<PathArg>,
    /// Durability of the scratch server [default: relaxed; production in every Nth drill
    /// (verify.production_every)]
    #[arg(long, value_enum, help_heading = "Scratch server")]
    pub scratch_profile: Option<ProfileArg>,
    /// Keep the scratch server's data for inspection
    #[arg(long, help_heading = "Scratch server")]
    pub keep: bool,
}

/// Arguments of `stream`.
#[derive(Debug, Clone, Args)]
pub struct StreamArgs {
    /// Archive what the log holds now, then exit
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `log`.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// List definitions (DROP TABLE, ALTER TABLE, …) and data changed in statement format, with their GTIDs
    #[arg(long)]
    pub statements: bool,
    /// List only statements that match a regular expression, without regard to case (implies --statements)
    #[arg(long, value_name = "RE", value_parser = pattern)]
    pub grep: Option<regex::Regex>,
    /// List only statements committed at or after TIME, for example 2026-11-21T02:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Read the whole log and check every byte
    #[arg(long)]
    pub check: bool,
}

fn pattern(text: &str) -> std::result::Result<regex::Regex, String> {
    if text.is_empty() {
        return Err("an empty pattern matches everything".to_owned());
    }
    let built = regex::RegexBuilder::new(text)
        .case_insensitive(true)
        .build();
    built.map_err(|error| error.to_string())
}

/// Confirmation of a command that replaces what a server holds or does.
#[derive(Debug, Clone, Args)]
pub struct ConfirmArgs {
    /// Confirm by repeating the target name [env: DRCTL_CONFIRM]
    #[arg(
        long,
        value_name = "TARGET",
        env = "DRCTL_CONFIRM",
        hide_env = true,
        help_heading = "Safety"
    )]
    pub confirm: Option<String>,
}

/// Arguments of `demote`.
#[derive(Debug, Args)]
pub struct DemoteArgs {
    /// The confirmation.
    #[command(flatten)]
    pub confirmation: ConfirmArgs,
    /// Print who has the lease, and what would be done
    #[arg(long, help_heading = "Safety")]
    pub plan: bool,
    /// Server of this side: mysql://user@host:3306 [env: DRCTL_INTO_URL]
    #[arg(long, value_name = "URL", help_heading = "Destination")]
    pub into: Option<String>,
    /// How long to wait until the log is archived to its end, seconds
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub drain: u64,
}

/// Arguments of `promote`.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The confirmation.
    #[command(flatten)]
    pub confirmation: ConfirmArgs,
    /// Print what would be done, and what would be lost
    #[arg(long, help_heading = "Safety")]
    pub plan: bool,
    /// Promote although no keeper of the other side makes its server read-only: you have stopped it for good
    #[arg(long, help_heading = "Safety")]
    pub unfenced: bool,
    /// Server of the standby: mysql://user@host:3306 [env: DRCTL_INTO_URL]
    #[arg(long, value_name = "URL", help_heading = "Destination")]
    pub into: Option<String>,
    /// How long to wait for more of the log once there is no more, seconds
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub drain: u64,
}

/// Arguments of `standby`.
#[derive(Debug, Args)]
pub struct StandbyArgs {
    /// Server of the standby: mysql://user@host:3306 [env: DRCTL_INTO_URL]
    #[arg(long, value_name = "URL", help_heading = "Destination")]
    pub into: Option<String>,
    /// Apply what is archived now, then exit
    #[arg(long)]
    pub once: bool,
    /// Drop everything on a standby, and rebuild it
    #[arg(long, help_heading = "Safety")]
    pub rebuild: bool,
}

/// Arguments of `copy`.
#[derive(Debug, Clone, Args)]
pub struct CopyArgs {
    /// Second store: s3://bucket/prefix or file:///dir [env: DRCTL_COPY_TO] [default: copy.to]
    #[arg(long, value_name = "URL")]
    pub to: Option<StoreUrl>,
    /// Copy what there is now, then exit
    #[arg(long)]
    pub once: bool,
    /// Rate at which the primary store is read, for example 50MiB/s [default: copy.max_rate, else no limit]
    #[arg(long, value_name = "RATE", help_heading = "Performance")]
    pub max_rate: Option<Rate>,
    /// Create and mark the directory of a second file:// store, even if it is missing or not empty
    #[arg(long)]
    pub init_store: bool,
}

/// Arguments of `lease`.
#[derive(Debug, Clone, Args)]
pub struct LeaseArgs {
    /// Print which side holds the lease, then exit
    #[arg(long, conflicts_with_all = ["first", "into"])]
    pub show: bool,
    /// Take the lease if no side ever held it
    #[arg(long)]
    pub first: bool,
    /// Server of this side [default: as for restore: into.url, or source.url with into.user]
    #[arg(long, value_name = "URL")]
    pub into: Option<String>,
}

/// Arguments of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Include drills from the last N days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    pub days: u32,
}

/// What a drill verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelArg {
    /// The archive only: digests, decoding, ledger; no server
    Archive,
    /// The whole backup, restored into a scratch server and compared
    Restore,
    /// A backup and the archived binary log behind it, replayed and compared with the newest backup
    Pitr,
    /// The archived binary log only: chain, digests, checksums, GTIDs; no server
    Log,
}

/// How the binary log gets into the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReplayPathArg {
    /// The destination reads it from drctl as a replica, in parallel
    Replica,
    /// Through mysqlbinlog and the plain client, in one session: for a destination that cannot reach drctl
    Client,
}

/// How a backup is loaded into the scratch server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PathArg {
    /// By drctl, over several connections; the binary log as a replica of drctl
    Lanes,
    /// By the plain client programs, as RESTORE.txt documents it
    Client,
}

/// How a local scratch server is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// No durability: fastest
    Relaxed,
    /// The durability of the target
    Production,
}

/// Arguments of `alert-test`.
#[derive(Debug, Clone, Args)]
pub struct AlertTestArgs {
    /// Event to simulate (always marked as a test)
    #[arg(long = "as", value_name = "KIND", value_enum, default_value_t = TestKind::Test)]
    pub kind: TestKind,
    /// Task that the simulated event refers to
    #[arg(long, value_enum, default_value_t = TaskArg::Backup)]
    pub task: TaskArg,
}

/// Event that a test alert simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestKind {
    /// The alert DrctlTest
    Test,
    /// A run failed
    Failed,
    /// A run is overdue
    Late,
    /// A run succeeded after a failed or overdue one
    Recovered,
}

/// Scheduled task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Backups
    Backup,
    /// Drills
    Verify,
}

/// Objects of the cluster that can be watched.
#[derive(Debug, Clone, Subcommand)]
pub enum Watched {
    /// Stream the lifecycle events of pods
    Pods(WatchPodsArgs),
}

/// Arguments of `watch pods`.
#[derive(Debug, Clone, Args)]
pub struct WatchPodsArgs {
    /// Watch only this namespace (repeatable) [default: all]
    #[arg(long, short = 'n', value_name = "NAME", value_delimiter = ',')]
    pub namespace: Vec<String>,
    /// Label selector, as in kubectl: app=web,tier!=test
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub selector: Option<String>,
    /// Serve metrics and health probes at this address, for example 0.0.0.0:9899
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Arguments of commands that take a backup ID.
#[derive(Debug, Clone, Args)]
pub struct IdArgs {
    /// Backup ID, as listed by `drctl list`
    #[arg(value_name = "ID")]
    pub id: BackupId,
}

/// Arguments of `pin`.
#[derive(Debug, Clone, Args)]
pub struct PinArgs {
    /// Backup ID, as listed by `drctl list`
    #[arg(value_name = "ID")]
    pub id: BackupId,
    /// Remove the pin
    #[arg(long)]
    pub remove: bool,
}

/// Arguments of `prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Print what would be deleted and why, without deleting anything
    #[arg(long)]
    pub dry_run: bool,
    /// Allow deleting more than a fifth of the backups in one run
    #[arg(long)]
    pub force: bool,
}

fn label(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// The table of exit codes.
pub(super) fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (_, code, meaning) in Outcome::TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;

    /// Every visible command below the root, `watch pods` included.
    fn commands(command: &clap::Command) -> Vec<clap::Command> {
        let visible = command.get_subcommands().filter(|one| !one.is_hide_set());
        visible
            .filter(|one| one.get_name() != "help")
            .flat_map(|one| [vec![one.clone()], commands(one)].concat())
            .collect()
    }

    fn built() -> clap::Command {
        let mut root = Cli::command().term_width(100);
        root.build();
        root
    }

    #[test]
    fn every_example_in_the_help_parses() {
        let root = built();
        let mut examples = 0;
        for command in [vec![root.clone()], commands(&root)].concat() {
            let help = command.get_after_help().map(ToString::to_string);
            for line in help.iter().flat_map(|help| help.lines()) {
                let line = line.split("   ").find(|part| part.contains("drctl"));
                let Some(line) = line.filter(|line| line.trim().starts_with("drctl ")) else {
                    continue;
                };
                let typed = line
                    .trim()
                    .split(['|', '>', '&'])
                    .next()
                    .unwrap_or_default();
                let words = typed.split_whitespace().map(|word| word.trim_matches('\''));
                if let Err(error) = Cli::try_parse_from(words) {
                    assert!(!error.use_stderr(), "{line}: {error}");
                }
                examples += 1;
            }
        }
        assert!(examples > 40, "too few examples: {examples}");
    }

    #[test]
    fn every_command_has_three_examples() {
        for command in commands(&built()) {
            let help = command.get_after_help().map(ToString::to_string);
            let lines = help.as_deref().unwrap_or_default().lines().count();
            // `watch` has those of `watch pods`.
            let of_parent = command.get_bin_name() == Some("drctl watch pods");
            assert!(lines == 4 || of_parent, "{}: {lines}", command.get_name());
        }
    }

    #[test]
    fn the_documentation_is_generated_from_the_command_line() {
        let root = built();
        let mut text =
            String::from("# Command line\n\nGenerated from `src/cli/args.rs` by `make docs`.\n");
        for mut command in [vec![root.clone()], commands(&root)].concat() {
            let name = command.get_bin_name().unwrap_or("drctl").to_owned();
            let help = command.render_long_help().to_string();
            let help: Vec<&str> = help.lines().map(str::trim_end).collect();
            text.push_str(&format!(
                "\n## {name}\n\n```text\n{}\n```\n",
                help.join("\n").trim_end()
            ));
        }
        text.push_str(&format!(
            "\n## Exit codes\n\n```text\n{}```\n",
            exit_codes()
        ));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == text,
            "docs/cli.md is not what `make docs` writes"
        );
    }
}
