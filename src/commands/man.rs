//! `drctl man`: the manual page, all commands in one.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::{Error, Result};

/// Prints it.
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
    super::text::print(&String::from_utf8_lossy(&text))
}

fn render(command: &clap::Command, text: &mut Vec<u8>) -> Result<()> {
    clap_mangen::Man::new(command.clone())
        .render(text)
        .map_err(|e| Error::unexpected("cannot render the manual page").because(e))
}
