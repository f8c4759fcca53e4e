//! From kernel, files and the daemon to facts. A source that fails says why, and the others go on.

mod network;
mod nics;
mod offloads;
mod software;
mod state;

use super::Places;
use crate::config::{Config, OverlayMode, Source};
use offramp_core::doctor::{Facts, Wanted};
use offramp_kernel::sysfs::Sysfs;
use offramp_ledger::Store;
use std::fmt::Display;
use std::fs::File;

/// Looks at everything once.
pub fn gather(places: &Places) -> Facts {
    let store = Store::at(places.state_dir()).with_sysfs(Sysfs::at(places.sysfs()));
    let config = places.config.as_ref().map_err(Clone::clone);
    let listing = store.list().map_err(text);
    let records = listing.as_ref().map_or(&[][..], |l| &l.records);
    let daemon = software::daemon(&places.socket);
    let told = if let offramp_core::doctor::Reply::Told(told) = &daemon { Some(told.as_ref()) } else { None };
    let links = network::links();
    let overlay = config.clone().and_then(|config| network::overlay(config, told));
    let nics = nics::nics(&store, places.sysfs());
    let concerned = network::concerned(config.clone().ok(), overlay.as_ref().ok());
    Facts {
        version: crate::VERSION.into(),
        plugin: software::plugin(&places.bin_dir),
        wanted: config.clone().map(wanted),
        broken_config: broken(places),
        conflist: config.clone().and_then(software::conflist),
        space: state::space(places.state_dir()),
        records: listing.as_ref().map_err(Clone::clone).map(|listing| state::records(&store, listing)),
        offloads: offloads::read(&concerned, nics.as_ref().ok().map(|n| &n.inventory)),
        cpus: offloads::cpus(places.sysfs()),
        sysctls: network::sysctls(places.sysctl(), &concerned),
        returns: network::returns(overlay.as_ref().ok(), records),
        filters: config.clone().and_then(|config| nics::filters(config, places.sysfs(), records)),
        representors: config.and_then(nics::representors),
        rules: network::rules(),
        shared_queues: nics::shared_queues(nics.as_ref(), records),
        links,
        nics,
        overlay,
        daemon,
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A file that may be read, and yet is no configuration. Where there is none, a daemon may run elsewhere by another one.
fn broken(places: &Places) -> Option<String> {
    let why = places.config.as_ref().err()?;
    File::open(&places.config_file).is_ok().then(|| why.clone())
}

fn wanted(config: &Config) -> Wanted {
    Wanted { bridge: config.bridge.name.clone(), nics: config.nics.clone(), pools: config.pools.clone() }
}

/// Whether there may be other nodes that this one needs an uplink for.
fn has_peers(config: &Config) -> bool {
    let peers = match &config.source {
        Source::Standalone(source) => source.peers_file.is_some(),
        Source::Kubernetes(_) => true,
    };
    peers && config.overlay.mode != OverlayMode::None
}
