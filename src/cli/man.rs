//! `drctl man`: the manual page of all commands.

use clap::CommandFactory;

use crate::cli::args::Cli;
use crate::util::error::{Error, Result};

/// Prints the manual page.
pub fn run() -> Result<()> {
    let mut text = Vec::new();
    let mut root = Cli::command();
    root.build();
    render(&root, &mut text)?;
    for command in root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        render(command, &mut text)?;
    }
    crate::cli::output::text::print(&String::from_utf8_lossy(&text))
}

fn render(command: &clap::Command, text: &mut Vec<u8>) -> Result<()> {
    clap_mangen::Man::new(command.clone())
        .render(text)
        .map_err(|e| Error::unexpected("cannot render the manual page").because(e))
}
