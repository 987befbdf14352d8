//! `completions`: prints a completion script for a shell.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Prints the script for `shell`.
pub(crate) fn run(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "m365-backup", &mut script);
    io::stdout()
        .write_all(&script)
        .map(|()| Exit::Complete)
        .map_err(|error| Failure::new(Exit::Failed, "cannot write the script").because(&error))
}
