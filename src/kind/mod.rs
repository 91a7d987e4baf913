//! Kinds of sources other than MySQL: a stream of bytes, and how a restored one is proven.
//!
//! A [`Kind`] says four things: how to stream (bytes out, and an end that is known to be good), what to remember (the
//! [`Format`] of its ledger), how to restore (bytes in), and how to compare (stream again from what was restored, so that
//! the ledgers can be compared). Archives, the catalog, retention, copies and reports know nothing of kinds.
//!
//! - [`command`]: any program; [`files`]: a directory, as a tar; [`postgres`]: a database.
//! - [`program`]: a child process whose end is an error unless it succeeded.

pub mod command;
pub mod files;
pub mod postgres;
pub mod program;

use std::path::Path;
use std::{fs, io};

use async_trait::async_trait;
use bytes::Bytes;

use crate::entries::record::Format;
use crate::util::error::{Error, Result};

/// Size of the chunks of a stream, bytes.
pub const CHUNK_BYTES: usize = 256 << 10;

/// What is backed up, for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Identity: a backup of another one is suspect.
    pub identity: String,
    /// Where it is, for people.
    pub place: String,
    /// Estimated size in bytes; 0 if unknown.
    pub bytes: u64,
    /// The program that writes the stream, its version if known, and its arguments.
    pub program: (String, String, Vec<String>),
}

/// A kind of source.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Its name in `source.kind` and in manifests.
    fn name(&self) -> &'static str;

    /// What the entries of its ledger are.
    fn format(&self) -> Format;

    /// Checks that it can be backed up, and returns what it is.
    async fn about(&self) -> Result<About>;

    /// Begins to stream the source.
    async fn stream(&self) -> Result<Box<dyn Stream>>;

    /// Begins to restore a stream into `into`: a directory, or what the kind takes for one. Refuses a place that is not
    /// empty, as far as the kind can see that.
    async fn restore(&self, into: &str) -> Result<Box<dyn Sink>>;

    /// What shows that the stream was restored into `into`.
    async fn prove(&self, into: &str) -> Result<Proof>;

    /// Ends a restore whose result is equal to the backup.
    async fn complete(&self, into: &str) -> Result<()>;

    /// Refuses a drill where a scratch place cannot be told from the real one, or nothing would be compared.
    fn check_drill(&self) -> Result<()>;

    /// The last command of a restore without drctl, which reads the stream from a pipe; for RESTORE.txt.
    fn instructions(&self) -> String;
}

/// Refuses a directory to restore into that has anything in it, and creates one that does not exist.
fn create_empty(into: &Path) -> Result<()> {
    match fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::refused(format!("{} is not empty", into.display()))
                .hint("name an empty directory, or one that does not exist")),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(into).map_err(|e| cannot_write(into, e))
        }
        Err(e) => Err(cannot_write(into, e)),
    }
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::server(format!("cannot restore into {}", path.display()))
        .because(error)
        .hint("check the permissions and the space of its disk, and run it again")
}

/// What shows that a stream was restored.
pub enum Proof {
    /// The restored data as a stream, whose ledger has to be that of the backup.
    Stream(Box<dyn Stream>),
    /// A program found the restored data right; its name.
    Program(String),
    /// Nothing: the restore was not compared.
    None,
}

/// Bytes that come from a source.
#[async_trait]
pub trait Stream: Send {
    /// The next bytes; `None` at the end, which is an error unless the source is known to be complete. Cancel safe.
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// What the backup should mention, a line each; complete after the end.
    fn warnings(&mut self) -> Vec<String>;

    /// Stops early; what was streamed must be discarded.
    async fn stop(self: Box<Self>);
}

/// Where restored bytes go.
#[async_trait]
pub trait Sink: Send {
    /// Takes the next bytes.
    async fn write(&mut self, chunk: Bytes) -> Result<()>;

    /// Ends the restore after the last bytes; an error unless it is complete.
    async fn finish(self: Box<Self>) -> Result<()>;

    /// Stops early, so that what was restored so far does not look complete.
    async fn stop(self: Box<Self>);
}
