//! Hundreds of calls, some at a time, inline and node mode mixed on the same few VFs, with plugins, cleaners and daemons
//! killed at random, and namespaces that end. Now and then all stop, and the invariants are looked at.
//!
//! `OFFRAMP_FAULT_VF_CALLS` is how many calls (240), `OFFRAMP_FAULT_SEED` what to begin with (else the clock's).

use crate::fault::{Fault, VFS, annotated, wired};
use offramp_tests::{Answer, Call, Daemon, Pod, Rng, over};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

mod invariants;

const WORKERS: usize = 3;
const SLOTS: usize = 3;
const ROUNDS: u64 = 4;

/// What all calls share.
struct World<'a> {
    fault: &'a Fault<'a>,
    /// How often each call ended how.
    tally: Mutex<BTreeMap<String, u32>>,
}

/// What the runtime knows of an attachment.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Detached,
    Attached(Value),
    /// A call was killed, or the sandbox is another.
    Unknown,
}

/// A container.
struct Slot {
    pod: Pod,
    conf: Value,
    known: Known,
}

#[test]
fn random_calls_and_kills_keep_the_invariants() {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let (seed, calls) = (setting("OFFRAMP_FAULT_SEED", clock), setting("OFFRAMP_FAULT_VF_CALLS", 240));
    println!("OFFRAMP_FAULT_SEED={seed} OFFRAMP_FAULT_VF_CALLS={calls}");
    let w = wired();
    let mut fault = Fault::new(&w);
    fault.stop();
    let world = World { fault: &fault, tally: Mutex::default() };
    let mut rng = Rng::new(seed);
    let mut slots: Vec<Vec<Slot>> =
        (0..WORKERS).map(|w| (0..SLOTS).map(|s| world.slot(w * SLOTS + s)).collect()).collect();
    for round in 0..ROUNDS {
        let daemon = play(&world, &mut slots, &mut rng, calls / ROUNDS);
        invariants::check(&world, slots.iter().flatten(), &format!("seed {seed}, round {round}"));
        daemon.kill();
    }
    let _daemon = w.start();
    slots.iter_mut().flatten().for_each(|slot| slot.end(&world));
    let tally = world.tally.lock().unwrap().clone();
    println!("{tally:?}");
    let count =
        |what: &str| tally.iter().filter(|(key, _)| key.starts_with(what)).map(|(_, n)| n).sum::<u32>();
    for verb in ["ADD", "DEL"] {
        let (ok, all) = (count(&format!("{verb} ok")), count(verb));
        assert!(ok * 4 > all, "only {ok} of {all} {verb}s went well: {tally:?}");
    }
    fault.assert_clean(&format!("seed {seed}, all deleted"));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// One round: every worker has its own slots, one thread kills the daemon. Returns the daemon that is left.
fn play<'a>(world: &World<'a>, slots: &mut [Vec<Slot>], rng: &mut Rng, calls: u64) -> Daemon<'a> {
    let over = AtomicBool::new(false);
    let each = calls / WORKERS as u64;
    std::thread::scope(|scope| {
        let mut killing = rng.fork();
        let over = &over;
        let killer = scope.spawn(move || kill_daemons(world, &mut killing, over));
        let workers: Vec<_> = slots
            .iter_mut()
            .map(|own| {
                let mut rng = rng.fork();
                scope.spawn(move || (0..each).for_each(|_| call(world, own, &mut rng)))
            })
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(|w| w.join()).collect();
        over.store(true, Ordering::Relaxed);
        let daemon = killer.join().unwrap();
        outcomes.into_iter().for_each(|o| o.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        daemon
    })
}

/// Kills the daemon every few seconds, by a signal or at a point, and starts it again a moment later.
fn kill_daemons<'a>(world: &World<'a>, rng: &mut Rng, over: &AtomicBool) -> Daemon<'a> {
    const POINTS: [&str; 8] = [
        "request.received",
        "prepare.written",
        "vf.taken",
        "detach.undone",
        "detach.vf-given-back",
        "clean.unbound",
        "clean.restored",
        "clean.verified",
    ];
    let w = world.fault.w;
    let mut daemon = w.start();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(3000 + rng.below(6000)));
        daemon.kill();
        std::thread::sleep(Duration::from_millis(rng.below(500)));
        daemon = if rng.below(2) == 0 {
            let at = format!("{}:{}", POINTS[rng.below(POINTS.len() as u64) as usize], 1 + rng.below(3));
            w.start_in("OFFRAMP_CRASH_AT", &at)
        } else {
            w.start()
        };
    }
    daemon.kill();
    w.start()
}

impl World<'_> {
    /// A third inline, a third with a VF for eth0, a third with one for another interface.
    fn slot(&self, number: usize) -> Slot {
        let pod = self.fault.w.m.lab.pod("pod");
        let vf = number % VFS;
        match number % 3 {
            0 => {
                let settings = json!({"vlan": 100 + number, "trust": "on", "mtu": 1400,
                                      "mac": format!("02:00:00:00:55:{number:02x}")});
                let conf = self.fault.w.m.conf(vf, settings);
                Slot { pod: Pod { ifname: "net1".into(), ..pod }, conf, known: Known::Detached }
            }
            1 => {
                let conf = self.fault.conf(&annotated(json!({"offramp.dev/offload": "required"})));
                Slot { pod, conf, known: Known::Detached }
            }
            _ => {
                let wish = format!(
                    "- {{name: net1, pool: telco, vlan: {}, trust: on, spoofchk: off}}",
                    100 + number
                );
                let conf = self.fault.conf(&annotated(json!({"offramp.dev/interfaces": wish})));
                Slot { pod, conf, known: Known::Detached }
            }
        }
    }

    fn call(&self, verb: &str, slot: &Slot) -> Call<'_> {
        let conf = match &slot.known {
            Known::Attached(result) if verb != "ADD" => {
                over(slot.conf.clone(), json!({"prevResult": result}))
            }
            _ => slot.conf.clone(),
        };
        self.fault.w.m.node.call_for(verb, &slot.pod).config(&conf)
    }
}

impl Slot {
    fn id(&self) -> String {
        format!("{}@{}", self.pod.container, self.pod.ifname)
    }

    fn end(&mut self, world: &World<'_>) {
        world.call("DEL", self).run().ok();
        self.known = Known::Detached;
    }

    /// The sandbox ends without a DEL: the same container in a new namespace.
    fn lose_sandbox(&mut self, world: &World<'_>) {
        let (container, ifname) = (self.pod.container.clone(), self.pod.ifname.clone());
        self.pod = Pod { container, ifname, ..world.fault.w.m.lab.pod("pod") };
        self.known = Known::Unknown;
    }
}

/// One call for one of `slots`, which nobody else calls for.
fn call(world: &World<'_>, slots: &mut [Slot], rng: &mut Rng) {
    let chosen = rng.below(slots.len() as u64) as usize;
    let slot = &mut slots[chosen];
    let die = rng.below(100);
    match &slot.known {
        Known::Detached if die < 85 => add(world, slot, rng),
        Known::Detached => del(world, slot, rng),
        Known::Attached(_) if die < 60 => del(world, slot, rng),
        Known::Attached(_) if die < 75 => drop(world.call("CHECK", slot).run().ok()),
        Known::Attached(_) if die < 85 => drop(world.call("ADD", slot).run().failed(101, &[])),
        Known::Attached(_) => slot.lose_sandbox(world),
        Known::Unknown if die < 50 => del(world, slot, rng),
        Known::Unknown if die < 90 => add(world, slot, rng),
        Known::Unknown => gc(world, slots),
    }
}

fn add(world: &World<'_>, slot: &mut Slot, rng: &mut Rng) {
    let answer = perhaps_killed(world, "ADD", slot, rng);
    slot.known = match answer.code {
        None => Known::Unknown,
        Some(0) => Known::Attached(answer.ok()),
        Some(_) => match (answer.error(), &slot.known) {
            // Another has it, or it is being cleaned.
            (e, _) if e.code == 11 => Known::Unknown,
            // The one that was killed was through.
            (e, Known::Unknown) if e.code == 101 => Known::Unknown,
            (e, known) => panic!("ADD {} ({known:?}): {e:?}", slot.id()),
        },
    };
}

fn del(world: &World<'_>, slot: &mut Slot, rng: &mut Rng) {
    let answer = perhaps_killed(world, "DEL", slot, rng);
    slot.known = if answer.code.is_none() { Known::Unknown } else { Known::Detached };
    if answer.code.is_some() {
        answer.ok();
    }
}

/// All that others have is valid, and so is one's own that is attached.
fn gc(world: &World<'_>, slots: &mut [Slot]) {
    let conf = &slots[0].conf;
    let own: Vec<&String> =
        slots.iter().filter(|s| !matches!(s.known, Known::Attached(_))).map(|s| &s.pod.container).collect();
    let all = world.fault.w.m.node.records();
    // Not what writers that were killed left.
    let valid = all.iter().filter_map(|r| r.strip_suffix(".json")?.split_once('@'));
    let valid: Vec<Value> = valid
        .filter(|(container, _)| !own.iter().any(|c| c == container))
        .map(|(container, ifname)| json!({"containerID": container, "ifname": ifname}))
        .collect();
    let conf = over(conf.clone(), json!({"cni.dev/valid-attachments": valid}));
    world.fault.w.m.node.call("GC").config(&conf).run().ok();
}

/// One of four is killed, after a while or at a point, which may be in the cleaner that it leaves behind.
fn perhaps_killed(world: &World<'_>, verb: &str, slot: &Slot, rng: &mut Rng) -> Answer {
    let call = world.call(verb, slot);
    let answer = match rng.below(8) {
        0 => call.killed_after(Duration::from_millis(rng.below(400))),
        1 => call.env("OFFRAMP_CRASH_AT", (1 + rng.below(40)).to_string()).run(),
        _ => call.run(),
    };
    let outcome = match answer.code {
        None => "killed".to_owned(),
        Some(0) => "ok".to_owned(),
        Some(_) => format!("error {}", answer.error().code),
    };
    *world.tally.lock().unwrap().entry(format!("{verb} {outcome}")).or_default() += 1;
    answer
}
