//! What a listener serves: events, in order, each complete and already checked.

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// Events of a binary log, one after another.
#[async_trait]
pub trait Events: Send {
    /// The next event with its header, and its CRC-32 where its file has them. `None` at the end of what there is.
    ///
    /// # Errors
    /// What was read is damaged or could not be read; nothing more comes.
    async fn next(&mut self) -> Result<Option<Bytes>>;
}

/// Opens the events that a replica lacks.
#[async_trait]
pub trait Feed: Send + Sync {
    /// What a replica that has executed these GTIDs has to get: each file's FORMAT_DESCRIPTION and what it says of the
    /// files before it, and whole transactions, all with a CRC-32. Asked again when a replica comes back.
    async fn open(&self, executed: &str) -> Result<Box<dyn Events>>;
}

/// A log that can be read from its beginning as often as needed.
#[async_trait]
pub trait Log: Send + Sync {
    /// All events of its files, one file after another, from the first to where the log ends now.
    async fn open(&self) -> Result<Box<dyn Events>>;
}
