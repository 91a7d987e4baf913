//! Kind `files`: a directory, as a tar.
//!
//! - `read`: directory → tar; `extract`: tar → empty directory.
//!
//! Files, directories, hard and symbolic links, with mode, owner, time of the last write in seconds, extended attributes
//! and holes. A directory is no snapshot: a file that changes while it is read is read again, and fails the backup if it
//! does not come to rest. Sockets, FIFOs and devices are named in a warning.

mod extract;
mod read;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::entries::record::Format;
use crate::kind::{About, Kind, Proof, Sink, Stream, cannot_write, create_empty};
use crate::util::chunks::Feed;
use crate::util::error::{Error, Outcome, Result};

/// Directory in the destination that holds the data until they are found equal to the backup.
const UNFINISHED: &str = ".drctl-unfinished";

/// What happens to a backup of files that changed while they were read, each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Changed {
    /// It fails.
    #[default]
    Fail,
    /// It is committed, and names them in its warnings.
    Warn,
}

/// Whether a property is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// Owner and group are backed up and restored, by number.
    #[default]
    Keep,
    /// The account that restores owns what is restored.
    Ignore,
}

/// What happens to symbolic links that point out of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutsideLinks {
    /// Backup and restore refuse them.
    #[default]
    Refuse,
    /// They are backed up and restored as links; never followed.
    Keep,
}

/// A directory that is backed up.
#[derive(Debug, Clone)]
pub struct FilesKind {
    /// The directory; absolute.
    pub path: PathBuf,
    /// What is left out, with everything below it.
    pub exclude: Vec<regex::bytes::Regex>,
    /// What happens if files change.
    pub changed: Changed,
    /// Whether owners are kept.
    pub owners: Owners,
    /// What happens to links out of the directory.
    pub outside_links: OutsideLinks,
}

impl FilesKind {
    /// Streams a directory with the properties of the source.
    fn tar_of(&self, path: PathBuf, outcome: Outcome) -> Box<dyn Stream> {
        let (sender, chunks) = mpsc::channel(4);
        let source = FilesKind {
            path,
            ..self.clone()
        };
        let reading = tokio::task::spawn_blocking(move || read::stream(&source, &sender, outcome));
        Box::new(Tar {
            chunks,
            reading: Some(reading),
            warnings: Vec::new(),
        })
    }
}

#[async_trait]
impl Kind for FilesKind {
    fn name(&self) -> &'static str {
        "files"
    }

    fn format(&self) -> Format {
        Format::Tar
    }

    async fn about(&self) -> Result<About> {
        let path = self.path.display().to_string();
        let kind = fs::symlink_metadata(&self.path)
            .map_err(|e| Error::source(format!("cannot read {path}")).because(e))?;
        if !kind.is_dir() {
            return Err(Error::source(format!("{path} is not a directory"))
                .hint("set source.files.path to a directory"));
        }
        if self.path.join(UNFINISHED).exists() {
            return Err(
                Error::source(format!("{path} has an unfinished restore in {UNFINISHED}")).hint(
                    "finish or remove it: a later restore could not be distinguished from it",
                ),
            );
        }
        Ok(About {
            identity: format!("files:{path}"),
            place: path,
            bytes: 0,
            program: (
                "drctl".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
                Vec::new(),
            ),
        })
    }

    async fn stream(&self) -> Result<Box<dyn Stream>> {
        Ok(self.tar_of(self.path.clone(), Outcome::Source))
    }

    async fn restore(&self, into: &str) -> Result<Box<dyn Sink>> {
        let into = Path::new(into);
        if into.join(UNFINISHED).exists() {
            return Err(Error::refused(format!(
                "{} has an unfinished restore in {UNFINISHED}",
                into.display()
            ))
            .hint("empty the directory, and run it again"));
        }
        create_empty(into)?;
        let unfinished = into.join(UNFINISHED);
        fs::create_dir(&unfinished).map_err(|e| cannot_write(&unfinished, e))?;
        let (feed, chunks) = Feed::new();
        let (owners, links) = (self.owners, self.outside_links);
        let extracting = tokio::task::spawn_blocking(move || {
            extract::extract(chunks, &unfinished, owners, links)
        });
        Ok(Box::new(Extraction { feed, extracting }))
    }

    async fn prove(&self, into: &str) -> Result<Proof> {
        let restored = FilesKind {
            exclude: Vec::new(),
            changed: Changed::Fail,
            ..self.clone()
        };
        let path = Path::new(into).join(UNFINISHED);
        Ok(Proof::Stream(restored.tar_of(path, Outcome::Server)))
    }

    async fn complete(&self, into: &str) -> Result<()> {
        let into = Path::new(into);
        let unfinished = into.join(UNFINISHED);
        let moved = || -> std::io::Result<()> {
            for entry in fs::read_dir(&unfinished)? {
                let entry = entry?;
                move_up(&entry, &into.join(entry.file_name()))?;
            }
            fs::remove_dir(&unfinished)
        };
        moved().map_err(|e| cannot_write(into, e))
    }

    fn check_drill(&self) -> Result<()> {
        Ok(())
    }

    fn instructions(&self) -> String {
        let owners = match self.owners {
            Owners::Keep => " --numeric-owner",
            Owners::Ignore => " --no-same-owner",
        };
        format!("tar -x -p{owners} --xattrs --xattrs-include='*' -C EMPTY_DIRECTORY")
    }
}

/// Moves a restored file or directory to its place. To move a directory takes the permission to write to it.
fn move_up(entry: &fs::DirEntry, to: &Path) -> std::io::Result<()> {
    let meta = entry.metadata()?;
    let denies = meta.is_dir() && meta.permissions().mode() & 0o200 == 0;
    if denies {
        let mode = meta.permissions().mode() | 0o200;
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
    }
    let (from, flags) = (entry.path(), RenameFlags::NOREPLACE);
    rustix::fs::renameat_with(CWD, &from, CWD, to, flags)?;
    match denies {
        true => fs::set_permissions(to, meta.permissions()),
        false => Ok(()),
    }
}

/// A tar that a thread writes.
struct Tar {
    chunks: mpsc::Receiver<Bytes>,
    /// `None` after the end.
    reading: Option<JoinHandle<Result<Vec<String>>>>,
    warnings: Vec<String>,
}

#[async_trait]
impl Stream for Tar {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        // The sender is dropped with the thread, however it ended.
        if let Some(reading) = &mut self.reading {
            let read = reading.await;
            self.reading = None;
            self.warnings = read
                .map_err(|e| Error::unexpected("reading the files was interrupted").because(e))??;
        }
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    async fn stop(mut self: Box<Self>) {
        // The thread cannot send any more, and ends.
        self.chunks.close();
    }
}

/// A tar that a thread extracts.
struct Extraction {
    feed: Feed,
    extracting: JoinHandle<Result<()>>,
}

#[async_trait]
impl Sink for Extraction {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.feed.push(chunk).await.is_ok() {
            return Ok(());
        }
        joined(&mut self.extracting).await?;
        Err(Error::archive("data follow the end of the tar"))
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.feed.end().await;
        joined(&mut self.extracting).await
    }

    async fn stop(self: Box<Self>) {
        drop(self.feed);
        let _ = self.extracting.await;
    }
}

async fn joined(extracting: &mut JoinHandle<Result<()>>) -> Result<()> {
    match extracting.await {
        Ok(done) => done,
        Err(e) => Err(Error::unexpected("extracting the files was interrupted").because(e)),
    }
}

/// Whether a symbolic link in the directory `of` points out of the tree.
fn is_outside(of: &Path, target: &Path) -> bool {
    use std::path::Component::{CurDir, Normal, ParentDir, Prefix, RootDir};
    let mut depth = of.components().count();
    for component in target.components() {
        match component {
            RootDir | Prefix(_) => return true,
            CurDir => {}
            Normal(_) => depth += 1,
            ParentDir => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return true,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_outside_if_it_is_absolute_or_climbs_above_the_root() {
        for (of, target, outside) in [
            ("", "a", false),
            ("", "..", true),
            ("a", "..", false),
            ("a", "../..", true),
            ("a/b", "../../c", false),
            ("a/b", "c/../../../..", true),
            ("a", "/etc/passwd", true),
            ("a", "./../x/../..", true),
        ] {
            assert_eq!(
                is_outside(Path::new(of), Path::new(target)),
                outside,
                "{of} {target}"
            );
        }
    }
}
