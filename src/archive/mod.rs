//! Format 1 of an archive, and both directions through it.
//!
//! A backup is a handful of objects: segments of independently compressed frames, an index, and a
//! manifest that is written last and never overwritten; without it nothing exists. The format is
//! public (docs/format.md), and the segments alone are ordinary `mysqldump` output to the ordinary
//! tools.
//!
//! - [`manifest`], [`index`]: the two documents of a backup.
//! - [`codec`]: a frame's bytes, compressed and back.
//! - [`write`]: statements → frames → segments → commit.
//! - [`read`]: manifest and index → checked, decoded frames.

pub mod codec;
pub mod index;
pub mod manifest;
pub mod read;
pub mod write;
