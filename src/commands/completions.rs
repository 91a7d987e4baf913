//! `drctl completions`: what a shell completes.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::Result;

/// Prints them.
pub fn run(shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drctl", &mut text);
    super::text::print(&String::from_utf8_lossy(&text))
}
