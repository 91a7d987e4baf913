//! Utilities that every other module may use and that depend on none of them.
//!
//! - [`error`]: outcomes and their exit codes; [`panics`]: panics as errors.
//! - [`cancel`]: early termination of a run.
//! - [`times`]: time arithmetic that cannot panic.
//! - [`format`]: numbers, sizes and durations as text; [`lines`]: lists of lines without duplicates.
//! - [`bounded`]: limited reads of small files; [`secret`]: values that are never printed; [`digest`]: digests
//!   and their hexadecimal form.
//! - [`chunks`]: a stream from async code to a thread.
//! - [`process`]: this process, as others recognise it.
//! - [`program`]: child processes with a cleared environment; [`pdeathsig`]: child processes that end with
//!   drctl; [`stderr`]: what they write to stderr.

pub mod bounded;
pub mod cancel;
pub mod chunks;
pub mod digest;
pub mod error;
pub mod format;
pub mod lines;
pub mod panics;
pub mod pdeathsig;
pub mod process;
pub mod program;
pub mod secret;
pub mod stderr;
pub mod times;
