//! What the command line takes.

use super::explain;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Offramp's node daemon, and the command line that looks into it.
#[derive(Debug, Parser)]
#[command(name = "offrampd", version, about)]
#[command(after_help = "Documentation: docs/configuration.md and docs/architecture.md in the source tree.")]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
pub(super) struct Places {
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/offramp/offrampd.yaml")]
    pub(super) config: PathBuf,
    /// The node's name, where the configuration has none. Default: the hostname
    #[arg(long, value_name = "NAME", env = "OFFRAMP_NODE_NAME")]
    pub(super) node_name: Option<String>,
    /// The daemon's socket. Default: the configuration's
    #[arg(long, value_name = "PATH", env = "OFFRAMP_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// The runtime's folder for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub(super) bin_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// The daemon's socket; records are looked for beside it if the daemon is away
    #[arg(long, value_name = "PATH", env = "OFFRAMP_SOCKET", default_value = "/run/offramp/offrampd.sock")]
    pub(super) socket: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum WideOutput {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// For programs
    Json,
}
