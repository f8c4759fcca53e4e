//! What the node's NICs and its kernel can take off the CPU, as it was last found. Read by a thread of its own: a driver
//! that takes its time must not keep VFs from being lent.

mod carried;

use crate::config::Config;
use crate::nics::bell::Bell;
use crate::node::{Asked, Node};
use offramp_core::ids::IfName;
use offramp_core::nic::Inventory;
use offramp_core::offload::{Abilities, Ability, Answer, Offloads};
use offramp_core::overlay::big_tcp::Shown;
use offramp_kernel::ethtool::{Heard, Monitor};
use offramp_kernel::netlink::Socket;
use offramp_kernel::offload::{Reader, abilities, big_tcp, switches, wanted};
use offramp_kernel::sysfs::Sysfs;
use offramp_kernel::{Result, link};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long whoever asks waits for a look, which takes milliseconds unless a driver hangs. Nobody waits for one that took
/// longer already.
const PATIENCE: Duration = Duration::from_secs(1);
/// What somebody sets comes in swarms: a feature brings others with it, an interface's script sets a dozen.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// So often it is tried what the kernel can do, where something stood in the way.
const TRIES: u32 = 5;
/// So often it is tried which ways carry packets of more than 64 KiB.
const BIG_TCP_TRIES: u32 = 2;

/// The last look.
#[derive(Default)]
pub struct OffloadWatch {
    /// Rung when a NIC may have changed.
    pub bell: Bell,
    last: Mutex<Last>,
    looked: Condvar,
}

/// One thread looks, so that a look begins when the one before has ended.
#[derive(Default)]
struct Last {
    found: Arc<Offloads>,
    /// As far as it was tried.
    kernel: Abilities,
    /// As far as it was tried: which ways it carries packets of more than 64 KiB.
    big_tcp: Shown,
    /// Looks that began, and when the last did.
    begun: u64,
    since: Option<Instant>,
    /// Looks that ended.
    ended: u64,
}

impl Last {
    /// What the kernel can do is not looked at again.
    fn begin(&mut self) -> Abilities {
        self.begun += 1;
        self.since = Some(Instant::now());
        self.kernel.clone()
    }

    /// A failed look leaves the last good one. Whether something is otherwise.
    fn end(&mut self, outcome: &Result<Offloads>) -> bool {
        self.ended += 1;
        let now = outcome.as_ref().ok().filter(|now| **now != *self.found);
        now.inspect(|now| self.found = Arc::new((*now).clone())).is_some()
    }

    /// The first look that sees what is so now: one that is under way may have passed it already.
    fn next(&self) -> u64 {
        self.begun + 1
    }

    fn has_ended(&self, look: u64) -> bool {
        self.ended >= look
    }

    fn hangs(&self) -> bool {
        self.ended < self.begun && self.since.is_some_and(|since| since.elapsed() > PATIENCE)
    }
}

impl OffloadWatch {
    /// What the last look found; empty before the first.
    pub fn last(&self) -> Arc<Offloads> {
        self.lock().found.clone()
    }

    fn shown(&self) -> Shown {
        self.lock().big_tcp.clone()
    }

    /// What the last look found; none before one that had the kernel's abilities.
    pub fn whole(&self) -> Option<Arc<Offloads>> {
        Some(self.last()).filter(|found| !found.kernel.is_empty())
    }

    /// Has the loop look, and waits for it, but not for long: what it finds, or has found last. All who ask during a look
    /// share the next one, so that there are two of them at most, however many ask.
    pub fn soon(&self) -> Arc<Offloads> {
        let last = self.lock();
        let look = last.next();
        self.bell.ring();
        let waited =
            self.looked.wait_timeout_while(last, PATIENCE, |last| !last.has_ended(look) && !last.hangs());
        waited.unwrap_or_else(PoisonError::into_inner).0.found.clone()
    }

    /// Looks for ever: when the bell rings, and as often as the configuration says.
    pub fn run(&self, node: &Node) {
        let interval = node.config.reconcile_interval;
        std::thread::scope(|scope| {
            let learns = std::thread::Builder::new().name("abilities".into());
            if let Err(e) = learns.spawn_scoped(scope, || self.learn(node)) {
                tracing::warn!(error = %e, "what the kernel can do stays unknown");
            }
            if node.config.offloads.big_tcp {
                let tries = std::thread::Builder::new().name("big-tcp".into());
                if let Err(e) = tries.spawn_scoped(scope, || self.try_big_tcp(node)) {
                    tracing::warn!(error = %e, "whether the kernel carries packets of more than 64 KiB stays unknown");
                }
            }
            let listens = std::thread::Builder::new().name("ethtool".into());
            if let Err(e) = listens.spawn_scoped(scope, || self.listen()) {
                tracing::warn!(error = %e, "what somebody sets by ethtool is seen by the next look only");
            }
            loop {
                self.look(node);
                self.bell.wait_for(interval);
            }
        });
    }

    /// Has the loop look when somebody has set something of a device that it looks at. Pods' links are none: they come in
    /// hundreds.
    fn listen(&self) {
        let heard = || -> Result<()> {
            let Some(mut monitor) = Monitor::open()? else { return Ok(()) };
            // What was set before is seen by a look that begins now.
            self.bell.ring();
            loop {
                let Heard { devices, lost } = monitor.wait()?;
                let seen = self.last();
                if lost || seen.devices.keys().any(|name| devices.contains(name.as_str())) {
                    self.bell.ring();
                    std::thread::sleep(DEBOUNCE);
                }
            }
        };
        if let Err(error) = heard() {
            tracing::warn!(%error, "what somebody sets by ethtool is seen by the next look only");
        }
    }

    /// What the kernel can do is tried once, but for what stays unknown. That makes a network namespace, and may have the
    /// kernel load modules, for which nobody is to wait.
    fn learn(&self, node: &Node) {
        for attempt in 1..=TRIES {
            let found = abilities();
            let mut last = self.lock();
            learn(&mut last.kernel, found);
            let unknown = has_unknown(&last.kernel);
            drop(last);
            self.bell.ring();
            if !unknown || attempt == TRIES {
                return;
            }
            std::thread::sleep(node.config.reconcile_interval);
        }
    }

    /// Takes seconds where packets are lost, for which nobody waits. What was not shown is tried again: where CPUs are busy,
    /// TCP stalls too.
    fn try_big_tcp(&self, node: &Node) {
        let trial = carried::trial();
        let recalled = trial.as_ref().map(|trial| carried::recall(&node.store, trial));
        self.carries(recalled.unwrap_or_default());
        for attempt in 1..=BIG_TCP_TRIES {
            if carried::is_all(&self.shown()) {
                return;
            }
            if attempt > 1 {
                std::thread::sleep(node.config.reconcile_interval);
            }
            let shown = big_tcp(&node.sysctl(), self.shown());
            tracing::info!(?shown, "it was tried whether this kernel carries packets of more than 64 KiB");
            if let Some(trial) = &trial {
                carried::keep(&node.store, trial, &shown);
            }
            self.carries(shown);
        }
    }

    fn carries(&self, shown: Shown) {
        self.lock().big_tcp = shown;
        self.bell.ring();
    }

    fn look(&self, node: &Node) {
        let kernel = self.lock().begin();
        let (inventory, sysfs) = (node.nics.inventory(), node.sysfs());
        let outcome = read(&inventory, &devices(node), kernel, &sysfs, &node.asked);
        // Before those who wait are told: status shows it.
        node.ran("offloads", outcome.as_ref().map(|_| 0).map_err(ToString::to_string));
        let changed = self.lock().end(&outcome);
        self.looked.notify_all();
        if outcome.is_ok_and(|found| crate::tuning::tune(node, &found, &self.shown())) {
            // What is so now is looked at, but not in a circle without a pause, whatever a driver says.
            std::thread::sleep(DEBOUNCE);
            self.bell.ring();
        }
        if changed {
            // What the other nodes are told may be otherwise.
            node.looked();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_unknown(kernel: &Abilities) -> bool {
    kernel.values().any(|answer| matches!(answer, Answer::Unknown { .. }))
}

/// What was known once is not forgotten.
fn learn(kernel: &mut Abilities, again: Abilities) {
    for (ability, answer) in again {
        let known = kernel.get(&ability).is_some_and(|before| !matches!(before, Answer::Unknown { .. }));
        if !known {
            kernel.insert(ability, answer);
        }
    }
}

/// Our own devices, and the uplink, which are looked at besides NICs.
fn devices(node: &Node) -> Vec<IfName> {
    let uplink = node.view().uplink.as_ref().map(|uplink| uplink.name.clone());
    let Config { overlay, bridge, .. } = &node.config;
    [overlay.device.clone(), bridge.name.clone()].into_iter().chain(uplink).collect()
}

/// Of the calling thread's namespace. `asked` has what drivers have answered before.
pub fn read(
    inventory: &Inventory,
    ours: &[IfName],
    kernel: Abilities,
    sysfs: &Sysfs,
    asked: &Asked,
) -> Result<Offloads> {
    let links = link::list(&mut Socket::open()?)?;
    let ports = inventory.ports.iter().map(|port| &port.netdev).collect();
    let mut devices = Reader::open()?.devices(&wanted(&links, &ports, ours))?;
    for (name, device) in &mut devices {
        let link = links.iter().find(|link| link.name == name.as_str());
        device.cpus = link.and_then(|link| sysfs.cpu_steering(&link.name, link.index));
        let port = inventory.ports.iter().find(|port| port.netdev == *name);
        // Where no NIC leases, none is asked.
        let leases = kernel.get(&Ability::QueueLease) == Some(&Answer::There);
        device.leases = port.filter(|_| leases).map(|port| asked.whether_leases(port));
    }
    Ok(Offloads { kernel, devices, switches: switches()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::offload::Ability::{Netkit, Tcx, Vlan};

    #[test]
    fn who_asks_is_answered_by_a_look_that_began_after() {
        let found = |name: &str| {
            let devices = [(name.parse().unwrap(), Default::default())].into();
            Ok(Offloads { devices, ..Offloads::default() })
        };
        let mut last = Last::default();
        assert_eq!(last.next(), 1);
        last.begin();
        // It may have passed what is asked for.
        let asked = last.next();
        assert!(last.end(&found("old")) && !last.has_ended(asked));
        last.begin();
        assert!(!last.has_ended(asked) && !last.hangs());
        assert!(last.end(&found("new")) && last.has_ended(asked));
        assert!(!last.end(&found("new")), "nothing new");

        let watch = OffloadWatch::default();
        std::thread::scope(|scope| {
            let asks = scope.spawn(|| watch.soon());
            watch.bell.wait();
            watch.lock().begin();
            watch.lock().end(&found("nic0"));
            watch.looked.notify_all();
            assert_eq!(Ok(&*asks.join().unwrap()), found("nic0").as_ref().map_err(|_| ()));
        });
    }

    #[test]
    fn nobody_waits_for_a_look_that_hangs() {
        let watch = OffloadWatch::default();
        watch.lock().begin();
        watch.lock().since = Instant::now().checked_sub(2 * PATIENCE);
        assert!(watch.lock().hangs());
        watch.lock().end(&Ok(Offloads::default()));
        assert!(!watch.lock().hangs());
    }

    #[test]
    fn what_is_unknown_is_learnt_and_what_is_known_is_kept() {
        let (unknown, missing) =
            (|| Answer::Unknown { why: "x".into() }, || Answer::Missing { why: "y".into() });
        let mut kernel = Abilities::from([(Netkit, Answer::There), (Tcx, missing()), (Vlan, unknown())]);
        assert!(has_unknown(&kernel));
        learn(&mut kernel, [(Netkit, unknown()), (Tcx, unknown()), (Vlan, Answer::There)].into());
        assert_eq!(kernel, [(Netkit, Answer::There), (Tcx, missing()), (Vlan, Answer::There)].into());
        assert!(!has_unknown(&kernel));
    }
}
