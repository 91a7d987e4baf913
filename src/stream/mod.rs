//! The binary log archived as it is written, and read back.
//!
//! A streamer follows the log over the replication protocol and writes segments, each of which is its own commit:
//! nothing but the heartbeat is ever rewritten, and the key of a segment depends on its start alone, so that two
//! streamers cannot both write it. All state is in the store and on the server: every session begins by reading
//! both ([`resume`]), and a session that breaks is followed by another one.
//!
//! - [`run`]: sessions, one after the other; [`session`]: one of them.
//! - [`base`]: the newest usable backup; [`survey`]: what the server says; [`resume`]: where to go on, and whether anything is missing.
//! - [`source`]: events over the network; [`cutter`]: events to segments; [`upload`]: segments to the store.
//! - [`objects`]: what the store holds; [`read`]: the archived log, checked.
//! - [`check`]: all of it; [`coverage`]: covered stretches and gaps; [`from_here`]: whether a restore to a later moment
//!   can begin with a backup; [`retention`]: which files are deleted; [`restore_txt`]: for a restore without drctl.
//! - [`glance`]: what is covered, for a constant number of requests; `heartbeat`: how far it is; [`late`]: when it was behind.
//!
//! Memory: two segments compressed (at most 16 MiB of log each, unless one event is larger) and three times the
//! largest event. The driver inflates a compressed transaction whole.

pub mod base;
mod branch;
pub mod check;
pub mod coverage;
pub mod cutter;
pub mod from_here;
pub mod glance;
mod heartbeat;
#[cfg(test)]
mod kinds_tests;
pub mod late;
pub mod objects;
pub mod open_file;
pub mod read;
pub mod restore_txt;
pub mod resume;
pub mod retention;
pub mod run;
pub mod session;
pub mod source;
pub mod survey;
pub mod upload;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::layout::TargetName;
use crate::mysql::ServerConfig;
use crate::store::Store;
use crate::util::times::Seconds;

/// How the binary log is archived, section `stream` of the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StreamConfig {
    /// Maximum time for which a commit waits until its segment is stored: what a disaster may cost, and one PUT per
    /// interval. If it is set, `doctor` checks what `stream` needs, `agent` runs it, and `serve` reports it if nothing is
    /// archived. Default: 10.
    #[schemars(range(min = 1, max = 3_600))]
    cut_seconds: Option<Seconds>,
}

impl StreamConfig {
    /// Whether the section is configured: `doctor`, `agent` and `serve` then expect a streamer.
    pub fn is_configured(&self) -> bool {
        self.cut_seconds.is_some()
    }

    /// Maximum time for which an event waits for its segment.
    pub fn cut(&self) -> Duration {
        self.cut_seconds.unwrap_or(Seconds(10)).duration()
    }
}

/// A streamer of one target.
#[derive(Debug, Clone)]
pub struct Streamer {
    /// The server.
    pub server: ServerConfig,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The target.
    pub target: TargetName,
    /// How the log is archived.
    pub config: StreamConfig,
    /// Whether to end where the log ends now.
    pub once: bool,
}
