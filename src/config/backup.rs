//! Section `backup`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::archive::codec::Codec;
use crate::archive::write::WriteOptions;
use crate::archive::write::commit::ReadBack;
use crate::backup::BackupConfig;
use crate::backup::options::{Ddl, NonTransactional, SourceOptions, Want, default_jobs};
use crate::mysql::scope::Scope;
use crate::reader::Reader;
use crate::reader::source_columns::AgainstSource;
use crate::util::error::{Error, Result};
use crate::util::times::{MOST_SECONDS, Seconds};

/// How backups are created.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct BackupSection {
    /// Schemas to back up. Default: all except the system schemas.
    schemas: Option<Vec<String>>,
    /// Schemas not to back up.
    exclude_schemas: Option<Vec<String>>,
    /// Compression: `zstd`, `gzip` or `none`.
    codec: Codec,
    /// Compression level. Default: 1 for zstd, 3 for gzip.
    #[schemars(range(min = 0, max = 19))]
    level: Option<i32>,
    /// Whether to record the snapshot's position in the binary log, with its GTIDs: `auto` if possible, `require` or
    /// `off`. Default: `require` if `stream.cut_seconds` is set, else `auto`.
    coordinates: Option<Want>,
    /// Whether to back up accounts, as CREATE USER and GRANT: `auto` if possible, `require` or `off`.
    accounts: Want,
    /// DDL during the dump: `detect` repeats the dump, `block` makes DDL wait.
    ddl: Ddl,
    /// Tables whose DDL does not fail a backup, as `schema.pattern` with the wildcard `%`.
    ignore_ddl_on: Vec<String>,
    /// Tables of non-transactional engines, which a snapshot does not cover: `refuse` or `allow`.
    non_transactional: NonTransactional,
    /// How much of the archive is read back before the commit: `sample` or `full`.
    read_back: ReadBack,
    /// A backup that lost more than this share of rows or bytes is suspect.
    #[schemars(range(min = 0, max = 1))]
    shrink_limit: f64,
    /// Number of dumps to try if the schema changes during the dump.
    #[schemars(range(min = 1, max = 10))]
    attempts: u32,
    /// A replica with more lag is refused.
    #[schemars(range(max = MOST_SECONDS))]
    max_lag_seconds: Seconds,
    /// How long the first connection is retried, as the server may be restarting; 0: one attempt.
    #[schemars(range(max = 3_600))]
    connect_seconds: Seconds,
    /// Time limit of a run; 0: none.
    #[schemars(range(max = MOST_SECONDS))]
    deadline_seconds: Seconds,
    /// Number of connections that read rows. Default: one per core, at most 8.
    #[schemars(range(min = 1, max = 64))]
    jobs: Option<usize>,
    /// Of which tables the server counts the rows and computes digests of columns that a dump may not carry, in the
    /// snapshot of the dump: `small` (at most 64 MiB), `all` or `off`.
    against_source: AgainstSource,
    /// Labels of every backup; `--label` adds to them.
    labels: BTreeMap<String, String>,
}

impl Default for BackupSection {
    fn default() -> Self {
        BackupSection {
            schemas: None,
            exclude_schemas: None,
            codec: Codec::Zstd,
            level: None,
            coordinates: None,
            accounts: Want::default(),
            ddl: Ddl::default(),
            ignore_ddl_on: Vec::new(),
            non_transactional: NonTransactional::default(),
            read_back: ReadBack::default(),
            shrink_limit: 0.5,
            attempts: 3,
            max_lag_seconds: Seconds(300),
            connect_seconds: Seconds(60),
            deadline_seconds: Seconds(0),
            jobs: None,
            against_source: AgainstSource::default(),
            labels: BTreeMap::new(),
        }
    }
}

impl BackupSection {
    /// `streams`: whether the binary log is archived, so that a backup without coordinates is half a backup.
    pub(super) fn check(self, reader: Reader, streams: bool) -> Result<BackupConfig> {
        let codec = self.codec;
        let mut write = WriteOptions::new(codec);
        if let Some(level) = self.level {
            let levels = codec.levels();
            if !levels.contains(&level) {
                return Err(Error::usage(format!(
                    "backup.level {level} is not a level of {codec:?}"
                ))
                .hint(format!("use {} to {}", levels.start(), levels.end())));
            }
            write.level = level;
        }
        let scope = match (self.schemas, self.exclude_schemas) {
            (Some(_), Some(_)) => {
                return Err(
                    Error::usage("both backup.schemas and backup.exclude_schemas are set")
                        .hint("set one of them"),
                );
            }
            (Some(schemas), None) => Scope::Only(schemas),
            (None, except) => Scope::All {
                except: except.unwrap_or_default(),
            },
        };
        Ok(BackupConfig {
            source: SourceOptions {
                scope,
                ignore_ddl_on: self.ignore_ddl_on,
                coordinates: self.coordinates.unwrap_or(match streams {
                    true => Want::Require,
                    false => Want::Auto,
                }),
                accounts: self.accounts,
                ddl: self.ddl,
                non_transactional: self.non_transactional,
                max_lag: self.max_lag_seconds.duration(),
                reader,
                jobs: self.jobs.unwrap_or_else(default_jobs),
                against_source: self.against_source,
            },
            write,
            read_back: self.read_back,
            shrink_limit: self.shrink_limit,
            attempts: self.attempts,
            connect: self.connect_seconds.duration(),
            deadline: self.deadline_seconds.limit(),
            labels: self.labels,
        })
    }
}
