//! The command line.

mod args;
mod attachments;
pub mod client;
mod doctor;
mod error;
mod explain;
#[cfg(test)]
pub mod fixture;
mod moved;
mod nics;
mod offloads;
mod probe;
mod queues;
mod status;
mod table;
mod units;
mod vfs;
mod ways;

pub use args::Cli;
pub use error::CliError;

use crate::config::Config;
use crate::install::uninstall::{self, Attached};
use crate::install::{self, Put};
use args::{Command, Output, Places, WideOutput};
use client::Client;
use explain::Explained;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
/// Executes a command.
pub fn execute(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Run { config, node_name, check } => {
            let config = load(&config, node_name)?;
            if check {
                return print("The configuration is valid.\n");
            }
            crate::logging::init(config.log);
            Ok(crate::run::run(config)?)
        }
        Command::Install { plugin, bin_dir } => install(plugin, &bin_dir),
        Command::Uninstall { config, node_name, bin_dir, wait, force, stay } => {
            let config = load(&config, node_name)?;
            let attached = match (wait, force) {
                (true, _) => Attached::Wait,
                (_, true) => Attached::CutOff,
                _ => Attached::Refuse,
            };
            remove(config, &bin_dir, attached, stay)
        }
        Command::Status { daemon, output } => {
            let status = Client::new(&daemon.socket).status()?;
            print(&match output {
                Output::Json => json(&status),
                Output::Table => status::render(&status),
            })
        }
        Command::Probe { undo, daemon, output } => {
            let probes = Client::new(&daemon.socket).probe(undo)?;
            print(&match output {
                Output::Json => json(&probes),
                Output::Table => probe::answer(&probes),
            })
        }
        Command::Nics { nic, daemon, output } => {
            let mut nics = nics::fetch(&daemon.socket)?;
            if let Some(name) = &nic {
                nics = nics.only(name).ok_or_else(|| CliError::NoNic(name.clone()))?;
            }
            print(&match (output, nic) {
                (WideOutput::Json, _) => json(&nics),
                (_, Some(_)) => nics::render_one(&nics),
                (WideOutput::Table, None) => nics::render(&nics, false),
                (WideOutput::Wide, None) => nics::render(&nics, true),
            })
        }
        Command::Attachments { daemon, output } => {
            let found = attachments::fetch(&daemon.socket)?;
            found.tell_notes();
            print(&match output {
                WideOutput::Json => json(&found.records),
                WideOutput::Table => attachments::render(&found.records, &[], units::now(), false),
                WideOutput::Wide => {
                    let claims = vfs::claims(&daemon.socket);
                    attachments::render(&found.records, &claims, units::now(), true)
                }
            })
        }
        Command::Explain { target, daemon, output } => {
            let mut found = attachments::fetch(&daemon.socket)?;
            found.tell_notes();
            found.records.retain(|record| target.matches(record));
            let claims = vfs::claims(&daemon.socket);
            let left = vfs::left(&claims, &found.records, &target);
            if found.records.is_empty() && left.is_empty() {
                return Err(CliError::NotFound(target));
            }
            let explained: Vec<_> = found.records.into_iter().map(Explained::look).collect();
            print(&match output {
                Output::Json => json(&explained),
                Output::Table => explain::render(&explained, &claims, &left, units::now()),
            })
        }
        Command::Doctor { places, output } => {
            let examination = crate::doctor::examine(&places.into());
            let report = doctor::Report::new(&examination);
            print(&match output {
                Output::Json => json(&report),
                Output::Table => report.render(),
            })?;
            Ok(report.outcome(examination.facts.links.as_ref().err())?)
        }
        Command::Bundle { places, file } => bundle(&places.into(), file),
    }
}

impl From<Places> for crate::doctor::Places {
    fn from(Places { config, node_name, socket, bin_dir }: Places) -> Self {
        let loaded = load(&config, node_name).map_err(|e| e.to_string());
        Self::new(loaded, config, socket, bin_dir)
    }
}

fn install(plugin: Option<PathBuf>, bin_dir: &Path) -> Result<(), CliError> {
    let program = plugin.map_or_else(install::own_plugin, Ok)?;
    let (path, put) = install::plugin(&program, bin_dir)?;
    let done = if put == Put::Written { "installed" } else { "up to date" };
    let loopback = bin_dir.join("loopback");
    if !loopback.exists() {
        eprintln!(
            "offrampd: {} is not there: containerd 1 calls it for every pod; the packages kubernetes-cni and \
             containernetworking-plugins have it",
            loopback.display()
        );
    }
    print(&format!("{done}: {}\n", path.display()))
}

fn remove(config: Config, bin_dir: &Path, attached: Attached, stay: bool) -> Result<(), CliError> {
    crate::logging::init(config.log);
    let mut tell = |line: &str| drop(print(&format!("{line}\n")));
    let ended = if attached == Attached::Wait || stay { Some(uninstall::end_when_told()?) } else { None };
    uninstall::run(config, bin_dir, attached, &mut tell)?;
    if let Some(ended) = ended.filter(|_| stay) {
        ended.stay();
    }
    Ok(())
}

fn bundle(places: &crate::doctor::Places, file: Option<PathBuf>) -> Result<(), CliError> {
    let failed = |file: &Path| {
        let file = file.to_owned();
        |source| CliError::Bundle { file, source }
    };
    let default = || {
        let node = places.config.as_ref().map_or("node", |c| c.node.name.as_str());
        PathBuf::from(format!("offramp-bundle-{node}-{}.tar.gz", units::now()))
    };
    let file = file.unwrap_or_else(default);
    let summary = if file.as_os_str() == "-" {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(failed(&file)(std::io::Error::other("it is no text: redirect it to a file")));
        }
        crate::bundle::write(places, stdout.lock()).map_err(failed(&file))?
    } else {
        let summary = crate::bundle::write_file(places, &file).map_err(failed(&file))?;
        print(&format!("{}\n", file.display()))?;
        summary
    };
    for why in &summary.failed {
        eprintln!("offrampd: not in the bundle: {why}");
    }
    Ok(())
}

fn load(path: &Path, node_name: Option<String>) -> Result<Config, CliError> {
    let name = node_name.map_or_else(crate::config::hostname, Ok)?;
    Ok(Config::load(path, &name)?)
}

/// Where the daemon with this socket keeps its records.
fn records_dir(socket: &Path) -> PathBuf {
    socket.parent().unwrap_or(Path::new(crate::DEFAULT_STATE_DIR)).join("attachments")
}

fn json(value: &impl serde::Serialize) -> String {
    // Strings, numbers and string keys only: this cannot fail; if it did, the reader would see why.
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|e| format!("{{\"error\": \"{e}\"}}"));
    text + "\n"
}

/// To standard output; a reader that has seen enough (`| head`) is no error. Names come from runtimes and files:
/// what a terminal would take as a command becomes `?`.
fn print(text: &str) -> Result<(), CliError> {
    let text = text.replace(|c: char| c.is_control() && c != '\n', "?");
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::Parser as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn defaults_are_the_contracts() {
        let Cli { command: Command::Status { daemon, output } } =
            Cli::try_parse_from(["offrampd", "status"]).unwrap()
        else {
            panic!("status is a command")
        };
        assert_eq!(daemon.socket, Path::new(crate::DEFAULT_STATE_DIR).join(crate::SOCKET_NAME));
        assert_eq!((output, records_dir(&daemon.socket)), (Output::Table, "/run/offramp/attachments".into()));
    }
}
