//! The Offramp node daemon and its command line.

mod allocator;
mod bundle;
mod calls;
mod cleaner;
mod cli;
mod config;
mod devices;
mod doctor;
mod eswitch;
mod http;
mod install;
mod logging;
mod metrics;
mod networks;
mod nics;
mod node;
mod offloads;
mod overlay;
mod pods;
mod probe;
mod reclaim;
mod reconcile;
mod run;
mod server;
mod status;
mod traffic;
mod tuning;
mod watch;

use clap::Parser;
use std::process::ExitCode;

/// musl's allocator maps and unmaps a page for every few small allocations: some dozens of times for each pod.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Where records and locks are, unless configured.
const DEFAULT_STATE_DIR: &str = "/run/offramp";
/// The socket's name in the state directory.
const SOCKET_NAME: &str = "offrampd.sock";
/// Where kubelet has its sockets, unless configured.
const DEFAULT_KUBELET_DIR: &str = "/var/lib/kubelet";
/// Where a runtime finds files of the Container Device Interface that are made at run time.
const DEFAULT_CDI_DIR: &str = "/var/run/cdi";
/// The tunnel device, unless configured.
const DEFAULT_VXLAN: &str = "offramp-vxlan";
/// The pods' bridge, unless configured.
const DEFAULT_BRIDGE: &str = "offramp0";
/// Of health and metrics.
const DEFAULT_HTTP_PORT: u16 = 9810;
/// What `--version` and the status say.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    match cli::execute(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("offrampd: {e}");
            ExitCode::from(e.code())
        }
    }
}
