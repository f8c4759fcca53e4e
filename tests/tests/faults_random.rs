//! Thousands of calls, eight at a time, inline and node mode mixed on one node with few addresses, with plugins and
//! the daemon killed at random. Now and then all stop, and the invariants are looked at.
//!
//! `OFFRAMP_FAULT_CALLS` is how many calls (2000), `OFFRAMP_FAULT_SEED` what to begin with (else the clock's).

#[path = "faults/mod.rs"]
mod faults;
#[path = "random/mod.rs"]
mod random;

use faults::{Fault, daemon_conf};
use offramp_tests::{Daemon, Lab, Node, over};
use random::{Rng, Slot, World, invariants};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

const WORKERS: usize = 8;
const SLOTS: usize = 5;
const ROUNDS: u64 = 8;

#[test]
fn random_calls_and_kills_keep_the_invariants() {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let (seed, calls) = (setting("OFFRAMP_FAULT_SEED", clock), setting("OFFRAMP_FAULT_CALLS", 2000));
    println!("OFFRAMP_FAULT_SEED={seed} OFFRAMP_FAULT_CALLS={calls}");
    let lab = Lab::new();
    let node = lab.node("node");
    let more = over(daemon_conf(), json!({"cluster": {"podCIDRs": ["10.244.1.0/28", "fd00:244:1::/64"]}}));
    let (inline, pods) = (inline(&node), node.conf(with_ports()));
    let mut world =
        World { lab: &lab, node: &node, inline, pods, containers: Vec::new(), tally: Default::default() };
    settle(&world, &more);
    let before = node.snapshot();

    let mut rng = Rng::new(seed);
    let mut slots: Vec<Vec<Slot>> =
        (0..WORKERS).map(|w| (0..SLOTS).map(|s| world.slot(w, s)).collect()).collect();
    world.containers = slots.iter().flatten().map(|s| s.pod.container.clone()).collect();
    for round in 0..ROUNDS {
        let daemon = node.daemon(more.clone());
        let daemon = play(&world, &mut slots, &mut rng, calls / ROUNDS, daemon, &more);
        invariants::check(&world, slots.iter().flatten(), &format!("seed {seed}, round {round}"));
        daemon.kill();
    }
    let _daemon = node.daemon(more);
    slots.iter_mut().flatten().for_each(|slot| slot.end(&world));
    println!("{:?}", world.tally.lock().unwrap());
    let fault = Fault::new(&lab, &node, true);
    fault.assert_same_soon(&before, &format!("seed {seed}, all deleted"));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// Few addresses, masquerading, and a port where a slot asks for one.
fn inline(node: &Node) -> Value {
    let mut conf = node.inline(over(with_ports(), json!({"name": "inline", "ipMasq": true})));
    conf["ipam"]["ranges"] = json!([[{"subnet": "10.88.0.0/28"}], [{"subnet": "fd88::/64"}]]);
    conf
}

fn with_ports() -> Value {
    json!({"capabilities": {"portMappings": true}})
}

/// Has everything there that stays by design.
fn settle(world: &World<'_>, more: &Value) {
    let _daemon = world.node.daemon(more.clone());
    for mut slot in [world.slot(0, 0), world.slot(0, 1)] {
        world.node.add(&slot.pod, &slot.conf).ok();
        slot.end(world);
    }
}

/// One round: every worker has its own slots, one thread kills the daemon. Returns the daemon that is left.
fn play<'a>(
    world: &World<'a>,
    slots: &mut [Vec<Slot>],
    rng: &mut Rng,
    calls: u64,
    daemon: Daemon<'a>,
    more: &Value,
) -> Daemon<'a> {
    let over = AtomicBool::new(false);
    let each = calls / WORKERS as u64;
    std::thread::scope(|scope| {
        let mut killing = rng.fork();
        let killer = scope.spawn({
            let over = &over;
            move || kill_daemons(world.node, daemon, more, &mut killing, over)
        });
        let workers: Vec<_> = slots
            .iter_mut()
            .map(|own| {
                let mut rng = rng.fork();
                scope.spawn(move || (0..each).for_each(|_| random::call(world, own, &mut rng)))
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|w| w.join()).collect();
        over.store(true, Ordering::Relaxed);
        let daemon = killer.join().unwrap();
        outcomes.into_iter().for_each(|o| o.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        daemon
    })
}

/// Kills the daemon every second or so, by a signal or at a point, and starts it again a moment later.
fn kill_daemons<'a>(
    node: &'a Node,
    mut daemon: Daemon<'a>,
    more: &Value,
    rng: &mut Rng,
    over: &AtomicBool,
) -> Daemon<'a> {
    const POINTS: [&str; 6] = [
        "request.received",
        "prepare.written",
        "answer.ready",
        "commit.rules-added",
        "detach.undone",
        "netlink.sent",
    ];
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200 + rng.below(1500)));
        daemon.kill();
        std::thread::sleep(Duration::from_millis(rng.below(300)));
        daemon = if rng.below(3) == 0 {
            let at = format!("{}:{}", POINTS[rng.below(POINTS.len() as u64) as usize], 1 + rng.below(40));
            node.daemon_unready(more.clone(), |command| {
                command.env("OFFRAMP_CRASH_AT", at);
            })
        } else {
            node.daemon_unready(more.clone(), |_| {})
        };
    }
    daemon.kill();
    node.daemon(more.clone())
}
