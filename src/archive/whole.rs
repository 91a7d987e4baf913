//! What only a reading of the whole archive can check, for whoever reads all of it anyway.
//!
//! Frames are held against the index wherever they are read. Whoever reads all of them, in order,
//! also holds the segments against the manifest ([`Turns`]); and the documents that drctl does not
//! need, but somebody without it does, against each other ([`Archive::check_documents`]).

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::archive::index::FrameRecord;
use crate::archive::manifest::FileFacts;
use crate::archive::read::{Archive, check_and_decode};
use crate::archive::write::commit::sha256sums;
use crate::error::{Error, Result};
use crate::store::StoreError;
use crate::store::keys::BackupObject;

/// A queue for frames that may be fetched at the same time: in it their stored bytes reach the
/// digest of their segment in order.
pub struct Turns {
    next: oneshot::Receiver<Sha256>,
}

/// One frame's place in the queue.
pub struct Turn {
    /// The digest of the segment so far.
    before: oneshot::Receiver<Sha256>,
    /// Where it goes with this frame in it.
    after: oneshot::Sender<Sha256>,
}

impl Default for Turns {
    fn default() -> Self {
        let (first, next) = oneshot::channel();
        // It cannot fail: the other end is in our hand.
        let _ = first.send(Sha256::new());
        Turns { next }
    }
}

impl Turns {
    /// The place of the next frame, to be asked for in the order of the frames.
    pub fn take(&mut self) -> Turn {
        let (after, next) = oneshot::channel();
        Turn {
            before: std::mem::replace(&mut self.next, next),
            after,
        }
    }
}

impl Archive {
    /// Fetches a frame, checks it and decodes it, like [`Archive::fetch`], in its turn among all
    /// frames of the archive. The last frame of a segment is given only if the segment matches its
    /// SHA-256 in the manifest. What follows a frame that fails fails too.
    pub async fn fetch_in_turn(&self, frame: &FrameRecord, turn: Turn) -> Result<Vec<u8>> {
        let stored = self.fetch_stored(frame).await?;
        let raw = {
            let (codec, frame, stored) = (self.manifest().codec, frame.clone(), stored.clone());
            let key = self.segment_key(&frame)?;
            on_a_thread(move || check_and_decode(codec, &frame, &key, &stored)).await??
        };
        let before = turn.before.await;
        let sha256 =
            before.map_err(|_| Error::unexpected("a frame before this one could not be read"))?;
        let sha256 = on_a_thread(move || sha256.chain_update(&stored)).await?;
        let sha256 = self.end_segment(frame, sha256)?;
        // Nobody waits behind the last frame.
        let _ = turn.after.send(sha256);
        Ok(raw)
    }

    /// Behind the last frame of a segment: its digest is looked at, and that of the next begins.
    fn end_segment(&self, frame: &FrameRecord, sha256: Sha256) -> Result<Sha256> {
        match self.manifest().segments.get(frame.segment as usize) {
            Some(segment) if frame.offset + frame.stored < segment.bytes => Ok(sha256),
            Some(segment) if hex::encode(sha256.finalize()) == segment.sha256 => Ok(Sha256::new()),
            _ => {
                let key = self.segment_key(frame)?;
                Err(damaged(format!(
                    "{key} does not match its SHA-256 in the manifest"
                )))
            }
        }
    }

    /// Holds `SHA256SUMS` against the manifest, and `RESTORE.txt` against `SHA256SUMS`: who has to
    /// do without drctl relies on them.
    pub async fn check_documents(&self) -> Result<()> {
        let readme = self.document(&BackupObject::Readme).await?;
        let sums = self.document(&BackupObject::Sums).await?;
        let manifest = self.manifest();
        let readme = FileFacts {
            name: BackupObject::Readme.to_string(),
            bytes: readme.len() as u64,
            sha256: hex::encode(Sha256::digest(&readme)),
        };
        let files = manifest.segments.iter().chain(&manifest.accounts);
        match sums == sha256sums(files.chain([&manifest.index, &readme])) {
            true => Ok(()),
            false => Err(damaged(format!(
                "{} was edited, or {readme} was: they do not agree with the manifest",
                self.place().1.key(&BackupObject::Sums),
                readme = readme.name,
            ))),
        }
    }

    async fn document(&self, object: &BackupObject) -> Result<Bytes> {
        let (store, place) = self.place();
        match store.get(&place.key(object), None).await {
            Ok(bytes) => Ok(bytes),
            Err(error @ StoreError::NotFound { .. }) => {
                Err(Error::archive(format!("{object} of the backup is missing")).because(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::unexpected("checking a frame broke off").because(e))
}

fn damaged(what: String) -> Error {
    Error::archive(what).hint("restore another backup, and find out what changed the store")
}

#[cfg(test)]
#[path = "whole_tests.rs"]
mod tests;
