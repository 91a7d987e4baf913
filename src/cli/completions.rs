//! `drctl completions`: shell completions.

use clap::CommandFactory;

use crate::cli::args::Cli;
use crate::util::error::Result;

/// Prints the completion script.
pub fn run(shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "drctl", &mut text);
    crate::cli::output::text::print(&String::from_utf8_lossy(&text))
}
