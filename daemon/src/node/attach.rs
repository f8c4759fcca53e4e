//! Prepare, Commit, Release: the life of an attachment, as the daemon sees it. The plugin holds the attachment's
//! lock during each.

use super::lending::{Loans, eth0_routes};
use super::vf_routes::{host_route, open_loopback};
use super::{Caller, Node, OURSELVES, now};
use crate::metrics::Outcome;
use offramp_core::cni::CniError;
use offramp_core::cni::error::codes;
use offramp_core::ids::{AttachmentId, MacAddr};
use offramp_core::ipam::Range;
use offramp_core::net::Family;
use offramp_core::pair::{Chosen, Pair};
use offramp_core::plan::{Path, Plan, host_ifname, host_ifname_without_mac, plan};
use offramp_core::record::{FORMAT, IpamHold, Mode, Record, State};
use offramp_core::spec::{Address, BridgeSpec, PortSpec, Spec};
use offramp_core::vf;
use offramp_core::wire::{Commit, Prepare};
use offramp_core::wish::Wishes;
use offramp_kernel::delete::Patience;
use offramp_kernel::{crash, nft, random};
use offramp_ledger::detach::{detach, lives};
use offramp_ledger::lending;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const FIREWALL_PATIENCE: Duration = Duration::from_secs(20);
/// A plugin that died gives its lock back at once.
const DEAD_PLUGIN_PATIENCE: Duration = Duration::from_secs(2);

impl Node {
    /// Plans, reserves, and writes the record: from here on the addresses are held, whoever dies.
    pub fn prepare(&self, ask: &Prepare, caller: Caller) -> Result<Record, CniError> {
        let _working = self.exclusively(&ask.attachment, caller)?;
        self.check_state_dir(ask)?;
        let outcome = self.prepare_inner(ask, caller);
        if let Err(e) = &outcome {
            self.metrics.added(Path::Veth, Outcome::Error, None);
            if caller() {
                self.tell_refused(ask, e);
            }
        }
        outcome
    }

    /// Records and locks must be the same ones for the plugin.
    fn check_state_dir(&self, ask: &Prepare) -> Result<(), CniError> {
        if ask.state == self.store.identity()? {
            return Ok(());
        }
        let ours = self.store.root().display();
        Err(CniError::config(format!("the plugin's stateDir is not this offrampd's, {ours}")).with_details(
            "paths.stateDir of the daemon and stateDir of the network configuration must agree",
        ))
    }

    fn prepare_inner(&self, ask: &Prepare, caller: Caller) -> Result<Record, CniError> {
        let wishes = self.wishes(ask)?;
        self.settle_earlier(ask)?;
        let loans = self.lend(ask, &wishes, caller)?;
        if !caller() {
            self.give_back_all(ask, &loans);
            return Err(CniError::try_again(format!("{}: its caller has left", ask.attachment)));
        }
        let outcome = match self.reserve(ask, &wishes, &loans) {
            // What is in the way may have been detached without us: the records tell.
            Err(e) if e.code == codes::TRY_AGAIN => {
                self.refresh().and_then(|()| self.reserve(ask, &wishes, &loans))
            }
            other => other,
        };
        match &outcome {
            Ok(record) => self.tell_fallback(ask, &wishes, record),
            Err(_) => self.give_back_all(ask, &loans),
        }
        outcome
    }

    fn reserve(&self, ask: &Prepare, wishes: &Wishes, loans: &Loans) -> Result<Record, CniError> {
        let host_mac = MacAddr::local(random::bits64()?);
        let wanted: Vec<IpAddr> = ask.ips.iter().map(|net| net.ip()).collect();

        let mut allocator = self.allocator();
        let picked = allocator.pick(&wanted)?;
        let mac = ask.mac.or_else(|| picked.first().map(|(ip, _)| MacAddr::of_ip(*ip)));
        let mac = mac.ok_or_else(|| CniError::internal("no podCIDR gave an address"))?;
        let eth0 = self.eth0_plan(ask, wishes, loans, &picked, (mac, host_mac))?;
        let plan = loans.other_plans(ask, wishes).fold(eth0, Plan::and);
        allocator.check_ports(&ask.attachment, &plan.firewall.host_ports)?;
        let record = Record {
            format: FORMAT,
            attachment: ask.attachment.clone(),
            network: ask.network.clone(),
            mode: Mode::Node,
            state: State::Adding,
            netns: ask.netns.clone(),
            pod: ask.pod.clone(),
            ipam: IpamHold::Daemon,
            device_info: ask.device_info.clone().filter(|_| plan.vfs().next().is_some()),
            plan,
            networks: wishes.networks.clone(),
            asked: wishes.asked.clone(),
            numa: loans.numa.clone(),
            created: now(),
        };
        self.store.write(&record)?;
        crash::point("prepare.written");
        allocator.hold(&record);
        allocator.given(&record);
        self.warn_of_short_ranges(&mut allocator);
        Ok(record)
    }

    fn eth0_plan(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        loans: &Loans,
        picked: &[(IpAddr, Range)],
        (mac, host_mac): (MacAddr, MacAddr),
    ) -> Result<Plan, CniError> {
        let cluster = self.cluster_cidrs();
        let ips: Vec<IpAddr> = picked.iter().map(|(ip, _)| *ip).collect();
        let by_vf = eth0_routes(picked, |(ip, _)| vf::gateway(Family::of(*ip)), wishes, &cluster);
        if let Some(plan) = loans.eth0_by_uplink(ask, &ips, self, &by_vf) {
            return Ok(plan);
        }
        let mut by_bridge = eth0_routes(picked, |(_, range)| range.gateway, wishes, &cluster);
        // Its own subnet is on the bridge: by the gateway would be a detour.
        by_bridge.retain(|r| !picked.iter().any(|(_, range)| range.subnet == r.dst));
        let mac = loans.mac_on_bridge().unwrap_or(mac);
        let mut spec = Spec { routes: by_bridge, ..self.spec(ask, picked, mac, host_mac) };
        if let Some(plan) = loans.eth0_on_bridge(ask, &spec) {
            return Ok(plan);
        }
        if let Some(lease) = loans.lease(ask) {
            let rx_queues = 1 + lease.queues.len() as u32;
            spec.pair = Chosen { pair: Pair::Netkit { rx_queues }, why: None };
            return Ok(plan(&ask.attachment, &spec).leasing(lease, loans.reason.clone()));
        }
        let steer = loans.steer(&ips);
        spec.pair.pair = match &steer {
            None => loans.pair,
            // Queues to which packets are led say nothing of the pair.
            Some(_) => self.pairs(ask).choose()?.pair,
        };
        if spec.pair.pair == Pair::NetkitL3 {
            spec = Spec {
                host_ifname: host_ifname_without_mac(&ask.attachment, random::bits64()?),
                addresses: ips.iter().map(|ip| vf::routed_address(*ip)).collect(),
                routes: by_vf,
                ..spec
            };
        }
        let (plan, reason) = (plan(&ask.attachment, &spec), loans.reason.clone());
        Ok(match steer {
            Some(steer) => plan.steered(steer, reason),
            None => Plan { reason, ..plan },
        })
    }

    /// A Prepare may be repeated after the daemon's restart, or follow an ADD that died.
    fn settle_earlier(&self, ask: &Prepare) -> Result<(), CniError> {
        match self.store.read(&ask.attachment)? {
            Some(r) if r.state == State::Ready && r.netns.inode == ask.netns.inode && lives(&r) => {
                Err(CniError::exists(format!("{} is attached already", ask.attachment)))
            }
            Some(_) => self.release_inner(&ask.attachment),
            None => Ok(()),
        }
    }

    fn spec(&self, ask: &Prepare, picked: &[(IpAddr, Range)], mac: MacAddr, host_mac: MacAddr) -> Spec {
        let address = |(ip, range): &(IpAddr, Range)| Address {
            ip: range.with_prefix(*ip),
            gateway: Some(range.gateway),
        };
        let bridge = &self.config.bridge.name;
        Spec {
            ifname: ask.attachment.ifname.clone(),
            mac,
            sandbox: ask.netns.path.display().to_string(),
            host_ifname: host_ifname(&ask.attachment),
            host_mac,
            pair: Chosen::default(),
            mtu: self.view().pod_mtu,
            bridge: BridgeSpec {
                name: bridge.clone(),
                ensure: None,
                is_gateway: true,
                force_address: false,
                // What cannot be read is made anew by the loop, which makes the pod known too.
                inform: self
                    .store
                    .informed(bridge)
                    .ok()
                    .flatten()
                    .map_or_else(Vec::new, |i| i.ports_for(mac)),
            },
            port: PortSpec { hairpin: self.config.bridge.hairpin, ..PortSpec::default() },
            addresses: picked.iter().map(address).collect(),
            routes: Vec::new(),
            dns: Default::default(),
            enable_dad: false,
            leave_down: false,
            bandwidth: ask.bandwidth,
            host_ports: ask.host_ports.clone(),
            masquerade: false,
            mac_spoof_check: false,
        }
    }

    /// All steps were executed: its ports are mapped, and it is ready.
    pub fn commit(&self, commit: &Commit, caller: Caller) -> Result<(), CniError> {
        let _working = self.exclusively(&commit.attachment, caller)?;
        let Some(mut record) = self.store.read(&commit.attachment)? else {
            return Err(CniError::internal(format!("commit {}: it has no record", commit.attachment)));
        };
        if !record.plan.firewall.is_empty() {
            let lock = self.store.lock_firewall(FIREWALL_PATIENCE)?;
            let start = Instant::now();
            nft::Tables::locked_by(&lock).add(&record.plan.firewall)?;
            self.metrics.nft(start.elapsed());
        }
        if let Some(route) = host_route(&record) {
            open_loopback(&self.sysctl(), &record, route)?;
        }
        crash::point("commit.rules-added");
        record.state = State::Ready;
        self.store.write(&record)?;
        crash::point("commit.written");
        self.allocator().hold(&record);
        self.tune_soon();
        self.tell_status(&commit.attachment);
        self.metrics.added(record.plan.path, Outcome::Ok, Some(Duration::from_micros(commit.micros)));
        Ok(())
    }

    /// The plugin has made the record `ready`. Its DEL may be over by now: only what is held is noted as ready.
    pub fn committed(&self, commit: &Commit) {
        let path = self.allocator().ready(&commit.attachment);
        if let Some(path) = path {
            self.tune_soon();
            self.tell_status(&commit.attachment);
            self.metrics.added(path, Outcome::Ok, Some(Duration::from_micros(commit.micros)));
        }
    }

    /// A new pod's pair has the kernel's sizes.
    fn tune_soon(&self) {
        if self.config.offloads.big_tcp {
            self.offloads.bell.ring();
        }
    }

    /// Takes an attachment back. The caller, or a plugin that waits for us, holds its lock.
    pub fn release(&self, id: &AttachmentId, caller: Caller) -> Result<(), CniError> {
        let _working = self.exclusively(id, caller)?;
        self.release_inner(id)
    }

    fn release_inner(&self, id: &AttachmentId) -> Result<(), CniError> {
        let start = Instant::now();
        let record = self.store.read(id)?;
        let path = record.as_ref().map(|r| r.plan.path);
        let (outcome, has_devices) = match record {
            Some(mut record) => {
                self.traffic.ending(self, &record);
                let has_devices = record.plan.vfs().next().is_some() || record.plan.queues().next().is_some();
                (detach(&self.store, &mut record, Patience::Notification), has_devices)
            }
            // Its ADD may have died between claim and record.
            None => {
                let vfs = lending::give_back_all(&self.store, id, now())?;
                let queues = self.store.queue_claims().give_back_all(id, now())?;
                (Ok(()), queues || !vfs.is_empty())
            }
        };
        if has_devices {
            self.bench.ring();
        }
        let kind = if outcome.is_ok() { Outcome::Ok } else { Outcome::Error };
        self.metrics.released(path, kind, start.elapsed());
        self.index(id);
        outcome
    }

    /// A connection ended between Prepare and Commit: if its plugin died, what it began is taken back. One that
    /// lives still holds the lock, and goes on without us.
    pub fn abandon(&self, id: &AttachmentId) -> Result<(), CniError> {
        let _lock = self.store.lock(id, DEAD_PLUGIN_PATIENCE)?;
        match self.store.read(id)? {
            Some(record) if record.state != State::Adding => Ok(()),
            _ => self.release(id, OURSELVES),
        }
    }
}
