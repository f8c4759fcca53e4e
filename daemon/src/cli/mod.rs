//! The command line.

mod attachments;
pub mod client;
mod doctor;
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

use crate::config::{Config, FileError};
use crate::install::uninstall::{self, Attached, UninstallError};
use crate::install::{self, InstallError, Put};
use clap::{Args, Parser, Subcommand, ValueEnum};
use client::{Client, ClientError};
use explain::Explained;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Offramp's node daemon, and the command line that looks into it.
#[derive(Debug, Parser)]
#[command(name = "offrampd", version, about)]
#[command(after_help = "Documentation: docs/configuration.md and docs/architecture.md in the source tree.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    ///
    /// Serves the CNI plugin, keeps bridge, firewall and the ways to other nodes as they should be, and frees what
    /// dead pods left. Ends on SIGTERM and SIGINT; pods keep their network while it is away.
    Run {
        /// The configuration; docs/offrampd.sample.yaml is a complete one
        #[arg(long, value_name = "FILE", default_value = "/etc/offramp/offrampd.yaml")]
        config: PathBuf,
        /// The node's name, where the configuration has none. Default: the hostname
        #[arg(long, value_name = "NAME", env = "OFFRAMP_NODE_NAME")]
        node_name: Option<String>,
        /// Check the configuration and end
        #[arg(long)]
        check: bool,
    },
    /// Put the CNI plugin where the container runtime finds it
    ///
    /// It is replaced at once, also while it runs. The network configuration is written by the running daemon (cni.confDir).
    Install {
        /// The plugin. Default: the file offramp beside offrampd
        #[arg(long, value_name = "FILE")]
        plugin: Option<PathBuf>,
        /// The runtime's folder for plugins
        #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
        bin_dir: PathBuf,
    },
    /// Take Offramp from this node, once the daemon was stopped
    ///
    /// The network configuration goes when there is another one, or no pod is attached; then, once no pod is attached, the
    /// ways to other nodes, rules, bridge and plugin. docs/operations.md has the whole procedure.
    Uninstall {
        /// The daemon's configuration
        #[arg(long, value_name = "FILE", default_value = "/etc/offramp/offrampd.yaml")]
        config: PathBuf,
        /// The node's name, where the configuration has none. Default: the hostname
        #[arg(long, value_name = "NAME", env = "OFFRAMP_NODE_NAME")]
        node_name: Option<String>,
        /// The runtime's folder for plugins
        #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
        bin_dir: PathBuf,
        /// Wait for pods to leave, instead of failing
        #[arg(long)]
        wait: bool,
        /// Cut off pods that are attached, without waiting: they lose their network at once
        #[arg(long, conflicts_with = "wait")]
        force: bool,
        /// Do not end when all is done, but on SIGTERM: for a DaemonSet
        #[arg(long)]
        stay: bool,
    },
    /// Show the node's state: bridge, addresses, peers, what is wrong
    Status {
        #[command(flatten)]
        daemon: Daemon,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// List the node's NICs, how many VFs they have, and what they can take off the CPU
    ///
    /// Without the daemon this comes from the kernel, and from the claims on disk.
    Nics {
        /// Show one in full: a netdev's name, or a port's DEVICE
        #[arg(value_name = "NIC")]
        nic: Option<String>,
        #[command(flatten)]
        daemon: Daemon,
        /// How to print them; wide lists each VF too: its netdev wherever that is, its pool, who has it; and what the
        /// kernel can do
        #[arg(short, long, value_enum, default_value_t)]
        output: WideOutput,
    },
    /// Test now whether packets arrive whose checksum or segmentation is left to the hardware
    ///
    /// Asks a few peers of each kind of path, and turns off what is broken, as far as offloads.cure allows.
    Probe {
        /// First turn on again what was turned off; it stays on until the daemon is started anew or asked to probe
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        daemon: Daemon,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// List the pods' interfaces
    ///
    /// Without the daemon the list comes from the records on disk.
    Attachments {
        #[command(flatten)]
        daemon: Daemon,
        /// How to print it; wide shows VF, pool, host interface, network, netns and the full container ID too
        #[arg(short, long, value_enum, default_value_t)]
        output: WideOutput,
    },
    /// Tell all about a pod's interfaces: what was asked, how they are made, why so, what they moved, what they left behind
    ///
    /// Bytes are read from the kernel, in this network namespace and the pod's; without the daemon the rest comes from the
    /// records on disk.
    Explain {
        /// NAMESPACE/POD, CONTAINER@IFNAME, or the beginning of a container's ID
        #[arg(value_name = "TARGET")]
        target: explain::Target,
        #[command(flatten)]
        daemon: Daemon,
        /// How to print it; json prints the records, with what was moved
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check the node as an expert would: what is wrong, how that shows, and what to do
    ///
    /// Changes nothing, and works without the daemon. Exit code 0: nothing is wrong, or hints only; 1: faults or warnings; 2:
    /// could not look. docs/operations.md lists all findings.
    Doctor {
        #[command(flatten)]
        places: Places,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Collect what a bug report needs into one file
    ///
    /// Configuration, status, findings, records, network state, the plugin's log; no secrets. contents.txt in it says what
    /// could not be had.
    Bundle {
        #[command(flatten)]
        places: Places,
        /// The new file; - for standard output. Default: offramp-bundle-NODE-TIME.tar.gz here
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Where a node is looked at as a whole.
#[derive(Debug, Args)]
struct Places {
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/offramp/offrampd.yaml")]
    config: PathBuf,
    /// The node's name, where the configuration has none. Default: the hostname
    #[arg(long, value_name = "NAME", env = "OFFRAMP_NODE_NAME")]
    node_name: Option<String>,
    /// The daemon's socket. Default: the configuration's
    #[arg(long, value_name = "PATH", env = "OFFRAMP_SOCKET")]
    socket: Option<PathBuf>,
    /// The runtime's folder for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
}

impl From<Places> for crate::doctor::Places {
    fn from(Places { config, node_name, socket, bin_dir }: Places) -> Self {
        let loaded = load(&config, node_name).map_err(|e| e.to_string());
        Self::new(loaded, config, socket, bin_dir)
    }
}

#[derive(Debug, Args)]
struct Daemon {
    /// The daemon's socket; records are looked for beside it if the daemon is away
    #[arg(long, value_name = "PATH", env = "OFFRAMP_SOCKET", default_value = "/run/offramp/offrampd.sock")]
    socket: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum WideOutput {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// For programs
    Json,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] FileError),
    /// The daemon.
    #[error(transparent)]
    Run(#[from] crate::run::RunError),
    /// A file that could not be put in its place.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// What is still needed, or could not be removed.
    #[error(transparent)]
    Uninstall(#[from] UninstallError),
    /// The daemon's answer, or none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon is away, and the records cannot be read either.
    #[error("{client}\nread the records in {}: {source}", dir.display())]
    Records {
        /// Why the daemon could not be asked.
        client: ClientError,
        /// Where records were looked for.
        dir: PathBuf,
        /// Why they could not be read.
        source: std::io::Error,
    },
    /// The daemon is away, and the kernel does not tell either.
    #[error("{client}\n{source}")]
    Nics {
        /// Why the daemon could not be asked.
        client: ClientError,
        /// Why the NICs could not be read.
        source: offramp_kernel::Error,
    },
    /// `doctor` found something, or could not look.
    #[error(transparent)]
    Unwell(#[from] doctor::Unwell),
    /// The bundle's file.
    #[error("write the bundle {}: {source}", file.display())]
    Bundle {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `nics` found nothing.
    #[error("this node has no NIC {0:?}; `offrampd nics` lists them, and what is on them")]
    NoNic(String),
    /// `explain` found nothing.
    #[error("no attachment on this node matches {0}; `offrampd attachments` lists them all")]
    NotFound(explain::Target),
    /// Standard output.
    #[error("write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// The program's exit code.
    pub fn code(&self) -> u8 {
        if let Self::Unwell(unwell) = self { unwell.code() } else { 1 }
    }
}

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
