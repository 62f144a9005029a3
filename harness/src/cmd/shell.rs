//! `mmtorture completions` and `mmtorture man`: from the command line's own definition.

use super::{print, Cli};
use crate::error::Result;
use crate::files;
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  mmtorture completions bash > ~/.local/share/bash-completion/completions/mmtorture")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  mmtorture man ~/.local/share/man/man1 && man mmtorture-run")]
pub(super) struct ManArgs {
    /// The folder to write all pages to; without it, the main page goes to standard output
    folder: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mmtorture", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

pub(super) fn man(args: &ManArgs) -> Result<u8> {
    let command = Cli::command().disable_help_subcommand(true);
    match &args.folder {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text).context("cannot make a manual page")?;
            print(&String::from_utf8_lossy(&text))?;
        }
        Some(folder) => {
            files::create_dir(folder)?;
            clap_mangen::generate_to(command, folder)
                .with_context(|| format!("cannot write manual pages to {}", folder.display()))?;
        }
    }
    Ok(0)
}
