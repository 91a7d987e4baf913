//! `drctl help exit-codes`: the table of exit codes.

use crate::cli::args;
use crate::cli::output::text;
use crate::util::error::Result;

/// Prints the table.
pub fn run() -> Result<()> {
    text::print(&args::exit_codes())
}
