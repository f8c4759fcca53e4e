//! Further networks of a pod: the daemon decides which, and the plugins of each are executed here, by the rules of the
//! CNI specification (section 3, "Lifecycle & Ordering").
//!
//! All are part of the record of the attachment that the runtime knows. So one file says what must be taken back, in one
//! order, and a DEL, GC or ADD that comes after a crash needs nothing else: it says which plugins were started, with
//! which configuration and environment, *before* they are. Interfaces that our own plugin makes in inline mode have a
//! record too, which the first one outlives.

mod device;
mod lent;
mod native;
mod routes;

use crate::context::Context;
use crate::inline::in_background;
use crate::node;
use offramp_core::cni::result::CniResult;
use offramp_core::cni::{CniError, Verb};
use offramp_core::ids::AttachmentId;
use offramp_core::networks::{Delegation, Progress};
use offramp_core::record::{Record, State};
use offramp_kernel::{Netns, crash};
use offramp_ledger::delegate::Delegate;
use offramp_ledger::detach::{joined, mark};
use serde_json::Value;
use std::time::{Duration, Instant};

/// For all networks of a pod together. The runtime gives a sandbox four minutes, undoing included.
const PATIENCE: Duration = Duration::from_secs(120);

/// For the locks of all that others have left: the daemon looks at each regularly, and holds its lock meanwhile.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(10);

/// Error 7 if a plugin is not there.
pub fn can_attach(cx: &Context, record: &Record) -> Result<(), CniError> {
    for (n, d) in record.networks.iter().enumerate() {
        if d.is_lent() {
            lent::can_add(cx, record, n).map_err(|e| e.context(format!("network {}", d.network)))?;
        }
        for plugin in (0..d.plugins.len()).filter(|i| !d.is_ours(*i)) {
            let (role, args) = (role(d), String::new());
            let found =
                Delegate::of_network(&role, d.type_of(plugin), &Value::Null, (&cx.call.path, &args), None)
                    .find();
            found?;
        }
    }
    Ok(())
}

/// Attaches to each network in turn. What it began is in the record, and the caller's to take back if it fails.
pub fn attach(cx: &mut Context, record: &mut Record, netns: &Netns) -> Result<(), CniError> {
    let until = Instant::now() + PATIENCE;
    for n in 0..record.networks.len() {
        if record.networks[n].is_lent() {
            let outcome = lent::add(cx, record, n, netns, until);
            outcome.map_err(|e| e.context(format!("network {}", record.networks[n].network)))?;
            settle(cx, record, n, netns)?;
            continue;
        }
        for plugin in 0..record.networks[n].plugins.len() {
            begin(cx, record, (n, plugin))?;
            if plugin == 0 {
                device::begin(&record.networks[n])?;
            }
            let answer = cx.timed("network", |cx| Plugin { cx, record, n, index: plugin, until }.add(netns));
            record.networks[n].result = Some(answer?);
            crash::point("network.added");
        }
        settle(cx, record, n, netns)?;
    }
    Ok(())
}

/// Writes down what is started next, before it is.
fn begin(cx: &Context, record: &mut Record, (n, plugin): (usize, usize)) -> Result<(), CniError> {
    let (path, args) = (cx.call.path.clone(), args_for_others(&cx.call.raw_args));
    record.networks[n].progress = Progress::Begun { started: plugin + 1, path, args };
    cx.store.write(record)?;
    crash::point("network.begun");
    Ok(())
}

/// What the runtime asks for in `CNI_ARGS` is for the interface that it knows.
fn args_for_others(args: &str) -> String {
    let others = |pair: &&str| !pair.starts_with("IP=") && !pair.starts_with("MAC=");
    args.split(';').filter(others).collect::<Vec<_>>().join(";")
}

/// All its plugins have ended well: whether the pod has what it asked for, and its default route.
fn settle(cx: &Context, record: &mut Record, n: usize, netns: &Netns) -> Result<(), CniError> {
    let network = &record.networks[n];
    let Some(result) = network.result.clone() else { return Ok(()) };
    network.verify(&CniResult::from_json(result).map_err(|e| e.context(role(network)))?)?;
    // Of one that is lent it is part of the plan.
    if network.makes_interface() {
        routes::set_default(netns, &network.ifname, &network.default_route)?;
    }
    device::settle(&mut record.networks[n]);
    cx.store.write(record)?;
    crash::point("network.attached");
    Ok(())
}

/// Takes back what the record says was begun, last first; goes on past errors, and strikes out what is done. The caller
/// holds the lock.
pub fn detach(cx: &Context, record: &mut Record) -> Result<(), CniError> {
    if !record.networks.iter().any(Delegation::is_begun) {
        return Ok(());
    }
    mark(&cx.store, record);
    crash::point("network.marked");
    let until = Instant::now() + PATIENCE;
    let mut errors = Vec::new();
    for n in (0..record.networks.len()).rev() {
        let Progress::Begun { started, .. } = record.networks[n].progress else { continue };
        let before = errors.len();
        for index in (0..started.min(record.networks[n].plugins.len())).rev() {
            let plugin = Plugin { cx, record, n, index, until };
            errors.extend(plugin.del().err());
            crash::point("network.deleted");
        }
        errors.extend(device::end(&record.networks[n]).err());
        if errors.len() == before {
            record.networks[n].progress = Progress::Planned;
            record.networks[n].result = None;
            // On a full disk without: then it is told twice, which it must bear.
            let _ = cx.store.write(record);
            crash::point("network.detached");
        }
    }
    joined(errors).map_or(Ok(()), |e| Err(e.context(format!("detach {}", record.attachment))))
}

/// As [`detach`], of an attachment that may have a record or not. One that cannot be read is told of by who takes back
/// the rest.
pub fn detach_of(cx: &Context, id: &AttachmentId) -> Result<(), CniError> {
    if !cx.store.has_networks(id) {
        return Ok(());
    }
    match cx.store.read(id) {
        Ok(Some(mut record)) => detach(cx, &mut record),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// CHECK of all networks.
pub fn check(cx: &Context, record: &Record, netns: &Netns) -> Result<(), CniError> {
    let until = Instant::now() + PATIENCE;
    for (n, network) in record.networks.iter().enumerate().filter(|(_, d)| d.check) {
        for index in 0..network.plugins.len() {
            Plugin { cx, record, n, index, until }.check(netns)?;
        }
    }
    Ok(())
}

/// Takes back what the daemon cannot, of attachments whose DEL never came; by a process of its own that nobody waits for.
pub fn clear_in_background(cx: &Context, leftovers: Vec<AttachmentId>) {
    if leftovers.is_empty() {
        return;
    }
    in_background(|| {
        let until = Instant::now() + LEFTOVER_PATIENCE;
        for id in leftovers {
            // Whoever holds it for longer is another plugin, and at it.
            let patience = until.saturating_duration_since(Instant::now());
            let Ok(_lock) = cx.store.lock(&id, patience) else { continue };
            if let Ok(Some(mut record)) = cx.store.read(&id)
                && record.state == State::Deleting
            {
                // What fails is told to the next plugin.
                let _ = node::release(cx, &mut record);
            }
        }
    });
}

fn role(network: &Delegation) -> String {
    format!("network {}: plugin", network.network)
}

/// One plugin of one network.
struct Plugin<'a> {
    cx: &'a Context,
    record: &'a Record,
    /// The network's place in the record.
    n: usize,
    index: usize,
    until: Instant,
}

impl Plugin<'_> {
    fn add(&self, netns: &Netns) -> Result<Value, CniError> {
        if self.network().is_ours(self.index) {
            return native::add(self.cx, &self.id(), self.network(), self.index, netns);
        }
        let answer = self.call(Verb::Add, &netns.path().display().to_string())?;
        serde_json::from_slice(&answer).map_err(|e| {
            let plugin = self.network().type_of(self.index);
            CniError::decode(format!("{} {plugin}: its answer is not JSON: {e}", role(self.network())))
        })
    }

    /// A plugin that does not speak the configuration's version holds nothing: it refused the ADD too.
    fn del(&self) -> Result<(), CniError> {
        use offramp_core::cni::error::codes;
        if self.network().is_lent() {
            return self.told(lent::del(self.cx, self.record, self.n, &self.netns(), self.until));
        }
        if self.network().is_ours(self.index) {
            return native::del(self.cx, &self.id(), self.network(), self.index, &self.netns());
        }
        match self.call(Verb::Del, &self.netns()) {
            Err(e) if e.code == codes::VERSION => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn check(&self, netns: &Netns) -> Result<(), CniError> {
        if self.network().is_lent() {
            return self.told(lent::check(self.cx, self.record, self.n, netns, self.until));
        }
        if self.network().is_ours(self.index) {
            return native::check(self.cx, &self.id(), self.network(), self.index, netns);
        }
        self.call(Verb::Check, &netns.path().display().to_string()).map(drop)
    }

    fn call(&self, verb: Verb, netns: &str) -> Result<Vec<u8>, CniError> {
        let Progress::Begun { path, args, .. } = &self.network().progress else {
            return Err(CniError::internal(format!("network {} was never begun", self.network().network)));
        };
        let (role, config) = (role(self.network()), self.network().config(self.index));
        let plugin = self.network().type_of(self.index);
        Delegate::of_network(&role, plugin, &config, (path, args), Some(self.until)).call(
            verb,
            Some(&self.id()),
            netns,
        )
    }

    fn network(&self) -> &Delegation {
        &self.record.networks[self.n]
    }

    fn told(&self, outcome: Result<(), CniError>) -> Result<(), CniError> {
        outcome.map_err(|e| e.context(format!("network {}", self.network().network)))
    }

    fn id(&self) -> AttachmentId {
        let container = self.record.attachment.container.clone();
        AttachmentId { container, ifname: self.network().ifname.clone() }
    }

    /// The pod's namespace, or nothing if it is gone: its path may be another's by now.
    fn netns(&self) -> String {
        let pod = &self.record.netns;
        let same = Netns::open(&pod.path).is_ok_and(|netns| netns.inode() == pod.inode);
        if same { pod.path.display().to_string() } else { String::new() }
    }
}
