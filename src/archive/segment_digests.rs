//! Verifies segments against the manifest while all of their frames are read.
//!
//! Frames may be fetched in parallel, but the digest of a segment needs their stored bytes in order. Each frame
//! gets a [`Turn`]: it receives the digest of the segment so far and passes it on.

use sha2::Sha256;
use tokio::sync::oneshot;

use crate::archive::index::FrameRecord;
use crate::archive::read::{Archive, check_and_decode};
use crate::util::digest::Sha256Digest;
use crate::util::error::{Error, Result};

/// The digests of the segments of an archive in progress.
pub struct SegmentDigests {
    next: oneshot::Receiver<Sha256>,
}

/// The place of one frame in the digest of its segment.
pub struct Turn {
    /// The digest without this frame.
    before: oneshot::Receiver<Sha256>,
    /// The digest with this frame.
    after: oneshot::Sender<Sha256>,
}

impl Default for SegmentDigests {
    fn default() -> Self {
        let (first, next) = oneshot::channel();
        // Cannot fail: the receiver exists.
        let _ = first.send(Sha256::default());
        SegmentDigests { next }
    }
}

impl SegmentDigests {
    /// The turn of the next frame; call it once for each frame, in their order.
    pub fn turn(&mut self) -> Turn {
        let (after, next) = oneshot::channel();
        Turn {
            before: std::mem::replace(&mut self.next, next),
            after,
        }
    }
}

impl Archive {
    /// Fetches, verifies and decodes a frame, like [`Archive::fetch`], and adds it to the digest of its segment.
    /// Returns the last frame of a segment only if the segment matches its SHA-256 in the manifest. If a frame
    /// fails, all later ones fail.
    pub async fn fetch_in_turn(&self, frame: &FrameRecord, turn: Turn) -> Result<Vec<u8>> {
        let stored = self.fetch_stored(frame).await?;
        let (raw, stored) = {
            let (codec, frame) = (self.manifest().codec, frame.clone());
            let key = self.segment(&frame)?.key().clone();
            on_a_thread(move || {
                let raw = check_and_decode(codec, &frame, &key, &stored.text()?)?;
                Ok::<_, Error>((raw, stored))
            })
            .await??
        };
        let before = turn.before.await;
        let sha256 =
            before.map_err(|_| Error::unexpected("a frame before this one could not be read"))?;
        let sha256 = on_a_thread(move || {
            let pieces = stored.of_object().into_iter();
            pieces.fold(sha256, sha2::Digest::chain_update)
        })
        .await?;
        let sha256 = self.end_segment(frame, sha256)?;
        // After the last frame there is no receiver.
        let _ = turn.after.send(sha256);
        Ok(raw)
    }

    /// After the last frame of a segment, verifies its digest and returns an empty one for the next segment.
    fn end_segment(&self, frame: &FrameRecord, sha256: Sha256) -> Result<Sha256> {
        match self.manifest().segments.get(frame.segment as usize) {
            Some(segment) if frame.offset + frame.stored < segment.text_bytes() => Ok(sha256),
            Some(segment) if Sha256Digest::from(sha256) == segment.sha256 => Ok(Sha256::default()),
            _ => {
                let key = self.segment(frame)?.key();
                Err(
                    Error::archive(format!("{key} does not match its SHA-256 in the manifest"))
                        .hint("restore another backup, and find out what changed the store"),
                )
            }
        }
    }
}

async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::unexpected("checking a frame was interrupted").because(e))
}

#[cfg(test)]
#[path = "segment_digests_tests.rs"]
mod tests;
