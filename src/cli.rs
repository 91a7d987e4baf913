//! What can be typed: the command line, and nothing of what it does.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::catalog::Which;
use crate::error::{Error, Outcome, Result};
use crate::store::keys::BackupId;
use crate::times::MOST_DAYS;

/// Backs up MySQL and MariaDB to object storage, and proves that the backups restore.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = exit_codes())]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What applies to every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Configuration file; else DRCTL_CONFIG, ./drctl.yaml, /etc/drctl/drctl.yaml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The target's name; else DRCTL_TARGET
    #[arg(long, global = true, value_name = "NAME")]
    pub target: Option<String>,
    /// Where archives live: s3://bucket/prefix or file:///dir; else DRCTL_STORE
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// For people, or for programs
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// More in the log; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The commands, in the order of their use.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check everything a backup needs, and say how to mend it
    Doctor,
    /// Stream one consistent dump into the store and commit it
    Backup(BackupArgs),
    /// Show what backups exist, newest first
    List,
    /// Show everything about one backup, and what it holds
    Show(ShowArgs),
    /// Write a backup's SQL to standard output, for the ordinary tools
    Cat(CatArgs),
    /// Restore a backup into a server, and prove it
    Restore(RestoreArgs),
    /// Keep the application out of its database: no replicas of what restore.fence names
    Fence,
    /// Let it in again, with as many replicas as it had
    Unfence,
    /// Restore a backup into a throw-away server, prove it, and measure RTO and RPO
    Verify(VerifyArgs),
    /// Send a marked alert through every configured notifier, and say which took it
    AlertTest(AlertTestArgs),
    /// Write the history of drills as one HTML page, for an auditor
    Report(ReportArgs),
    /// Trust a suspect backup
    Accept(IdArgs),
    /// Keep a backup for ever
    Pin(PinArgs),
    /// Delete the backups that no rule of retention keeps, and what killed runs left
    Prune(PruneArgs),
    /// Run backups, drills and retention at the times of `schedule`, until SIGTERM
    Agent,
    /// Serve metrics, probes and a status page, all of it from the store, until SIGTERM
    Serve,
    /// Tell what becomes of the pods of a cluster, a line an event, until SIGTERM
    Watch {
        /// What is watched
        #[command(subcommand)]
        what: Watched,
    },
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// A label of this backup, name=value; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Make the directory of a file:// store where it is missing, and mark it as one even if it holds
    /// something else. Without it an existing, empty directory is marked
    #[arg(long)]
    pub init_store: bool,
}

/// Which backup.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub struct ChooseArgs {
    /// A backup's id, as `drctl list` shows it
    #[arg(value_name = "ID")]
    pub id: Option<BackupId>,
    /// The newest that is not suspect
    #[arg(long)]
    pub latest: bool,
    /// The newest that a restore has verified
    #[arg(long)]
    pub latest_verified: bool,
    /// The newest whose snapshot is not later than this, like 2026-11-21T02:00:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
}

impl ChooseArgs {
    /// Whether nothing was chosen.
    pub fn is_none(&self) -> bool {
        self.id.is_none() && !self.latest && !self.latest_verified && self.at.is_none()
    }

    /// What was chosen; a usage error where nothing was.
    pub fn which(&self) -> Result<Which> {
        match (self.id, self.latest, self.latest_verified, self.at) {
            (Some(id), ..) => Ok(Which::Id(id)),
            (_, true, ..) => Ok(Which::Latest),
            (_, _, true, _) => Ok(Which::LatestVerified),
            (.., Some(time)) => Ok(Which::At(time)),
            _ => Err(Error::usage("no backup is named")
                .hint("give an ID, --latest, --latest-verified or --at TIME")),
        }
    }
}

/// Arguments of `show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// Which backup
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// List the objects in it: kind, rows, bytes on the server as it estimated them, name
    #[arg(long)]
    pub objects: bool,
    /// Only objects like this, `shop.*` or `*.orders`; a schema's name stands for all in it; may be repeated
    #[arg(long = "match", value_name = "PATTERN", requires = "objects")]
    pub matching: Vec<String>,
}

/// Arguments of `cat`.
#[derive(Debug, Clone, Args)]
pub struct CatArgs {
    /// Which backup
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// The accounts instead of the dump
    #[arg(long)]
    pub accounts: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Which backup
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// The server to restore into, mysql://user@host:3306; else DRCTL_INTO_URL
    #[arg(long, value_name = "URL")]
    pub into: Option<String>,
    /// Only these tables; may be repeated
    #[arg(long, value_name = "SCHEMA.TABLE", value_delimiter = ',')]
    pub tables: Vec<String>,
    /// Restore a schema under another name; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = label)]
    pub rename: Vec<(String, String)>,
    /// Show what would be done, and what speaks against it; touch nothing
    #[arg(long)]
    pub plan: bool,
    /// Verify the whole archive before anything is executed
    #[arg(long)]
    pub check_first: bool,
    /// Drop what is in the way; needs --confirm
    #[arg(long, requires = "confirm")]
    pub overwrite: bool,
    /// The target's name, once more; else DRCTL_CONFIRM
    #[arg(long, value_name = "TARGET", env = "DRCTL_CONFIRM", hide_env = true)]
    pub confirm: Option<String>,
    /// Create the accounts of the backup that the server lacks; with --tables, with privileges on no
    /// other single objects
    #[arg(long)]
    pub accounts: bool,
    /// Restore although other clients are connected
    #[arg(long)]
    pub allow_connections: bool,
    /// Restore although the server is a replica or read-only
    #[arg(long)]
    pub allow_replica: bool,
    /// Restore although the server is a member of a Group Replication or Galera cluster
    #[arg(long)]
    pub allow_cluster: bool,
    /// The account that stands for definers which the server lacks
    #[arg(long, value_name = "USER@HOST")]
    pub definer: Option<String>,
    /// Drop what an interrupted restore made, instead of resuming it; needs --confirm; with no backup
    /// named, do nothing else
    #[arg(long, requires = "confirm")]
    pub discard: bool,
    /// Keep what an interrupted restore made, drop only its mark, and say what was not done; do
    /// nothing else
    #[arg(long, conflicts_with_all = ["ChooseArgs", "discard", "plan"])]
    pub keep: bool,
    /// Put back the settings that a killed restore changed, and do nothing else
    #[arg(long, conflicts_with = "plan")]
    pub undo_settings: bool,
    /// Relax the server's durability while restoring: a crash then costs the restore, not more
    #[arg(long)]
    pub fast_unsafe: bool,
    /// Write nothing to the server's binary log: its replicas will not follow
    #[arg(long)]
    pub no_binlog: bool,
    /// Skip the proof that the restored data equal the dump
    #[arg(long)]
    pub no_prove: bool,
    /// Connections that load rows, 1 to 64
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub lanes: Option<usize>,
}

/// Arguments of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// Which backup
    #[command(flatten)]
    pub choose: ChooseArgs,
    /// The oldest that is trusted and not yet proven
    #[arg(long, conflicts_with_all = ["id", "latest", "latest_verified", "at"])]
    pub oldest_unproven: bool,
    /// How much is proven
    #[arg(long, value_enum, default_value_t = LevelArg::Restore)]
    pub level: LevelArg,
    /// The throw-away server: `local` starts one on this machine, `pod` in a pod of a Kubernetes
    /// cluster; or the URL of an empty one
    #[arg(long, value_name = "local|pod|URL")]
    pub scratch: Option<String>,
    /// How rows get into it; by default every Nth drill goes through the plain client
    #[arg(long, value_enum)]
    pub path: Option<PathArg>,
    /// How durable it is; by default every Nth drill is as durable as the target
    #[arg(long, value_enum)]
    pub scratch_profile: Option<ProfileArg>,
    /// Leave its data for a look
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Where the page is written; else standard output
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Drills of so many days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    pub days: u32,
}

/// How much of a backup a drill proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LevelArg {
    /// The archive alone: digests, decoding, ledger; no server.
    Archive,
    /// The whole: restored into a scratch server and compared.
    Restore,
}

/// How rows get into the scratch server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PathArg {
    /// drctl's own way: several connections.
    Lanes,
    /// The plain client, as RESTORE.txt says.
    Client,
}

/// How a local scratch server is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// As fast as can be.
    Relaxed,
    /// With the durability of the target.
    Production,
}

/// Arguments of `alert-test`.
#[derive(Debug, Clone, Args)]
pub struct AlertTestArgs {
    /// As which news it goes; it stays marked as a test
    #[arg(long = "as", value_name = "KIND", value_enum, default_value_t = TestKind::Test)]
    pub kind: TestKind,
    /// Of which task, where the kind is one of a task
    #[arg(long, value_enum, default_value_t = TaskArg::Backup)]
    pub task: TaskArg,
}

/// As which news a test alert goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TestKind {
    /// The alert DrctlTest.
    Test,
    /// The alert of a run that failed.
    Failed,
    /// The alert of a run that is late.
    Late,
    /// The end of both.
    Recovered,
}

/// What a schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// Backups.
    Backup,
    /// Drills.
    Verify,
}

/// What is watched.
#[derive(Debug, Clone, Subcommand)]
pub enum Watched {
    /// Pods: created, updated, deleted, when and why
    Pods(WatchPodsArgs),
}

/// Arguments of `watch pods`.
#[derive(Debug, Clone, Args)]
pub struct WatchPodsArgs {
    /// Only pods of this namespace; may be repeated. Default: all
    #[arg(long, short = 'n', value_name = "NAME", value_delimiter = ',')]
    pub namespace: Vec<String>,
    /// Only pods with these labels, as in kubectl: app=web,tier!=test
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub selector: Option<String>,
    /// Serve metrics and probes there, like 0.0.0.0:9899
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Arguments of commands that take an id.
#[derive(Debug, Clone, Args)]
pub struct IdArgs {
    /// A backup's id, as `drctl list` shows it
    #[arg(value_name = "ID")]
    pub id: BackupId,
}

/// Arguments of `pin`.
#[derive(Debug, Clone, Args)]
pub struct PinArgs {
    /// A backup's id, as `drctl list` shows it
    #[arg(value_name = "ID")]
    pub id: BackupId,
    /// Take the pin off
    #[arg(long)]
    pub remove: bool,
}

/// Arguments of `prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Say what would become of each backup, and why; touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete more than a fifth of the backups in one run
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

fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (_, code, meaning) in Outcome::TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}
