//! One node's pods, called at random.

pub mod invariants;

pub use offramp_tests::Rng;
use offramp_tests::{Answer, Call, Lab, Node, Pod, over};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What all calls share.
pub struct World<'a> {
    pub lab: &'a Lab,
    pub node: &'a Node,
    /// Inline mode.
    pub inline: Value,
    /// Node mode.
    pub pods: Value,
    /// All container IDs.
    pub containers: Vec<String>,
    /// How often each call ended how.
    pub tally: Mutex<BTreeMap<String, u32>>,
}

/// What the runtime knows of an attachment.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    Detached,
    Attached(Value),
    /// A call was killed.
    Unknown,
}

/// A container.
pub struct Slot {
    pub pod: Pod,
    pub conf: Value,
    pub known: Known,
}

impl World<'_> {
    /// Every other one in node mode, some with a port.
    pub fn slot(&self, worker: usize, number: usize) -> Slot {
        let pod = self.lab.pod("pod");
        let conf = if number.is_multiple_of(2) { &self.inline } else { &self.pods };
        let port = 8000 + worker * 10 + number;
        let mapping = json!([{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]);
        let more = if number > 1 { json!({}) } else { json!({"runtimeConfig": {"portMappings": mapping}}) };
        Slot { pod, conf: over(conf.clone(), more), known: Known::Detached }
    }

    fn call(&self, verb: &str, slot: &Slot) -> Call<'_> {
        let conf = match &slot.known {
            Known::Attached(result) => over(slot.conf.clone(), json!({"prevResult": result})),
            _ => slot.conf.clone(),
        };
        self.node.call_for(verb, &slot.pod).config(&if verb == "ADD" { slot.conf.clone() } else { conf })
    }
}

impl Slot {
    pub fn id(&self) -> String {
        format!("{}@{}", self.pod.container, self.pod.ifname)
    }

    /// Ends it for good.
    pub fn end(&mut self, world: &World<'_>) {
        world.call("DEL", self).run().ok();
        self.known = Known::Detached;
    }

    /// The sandbox ends without a DEL: the same container in a new namespace.
    fn lose_sandbox(&mut self, world: &World<'_>) {
        let container = self.pod.container.clone();
        self.pod = Pod { container, ..world.lab.pod("pod") };
        self.known = Known::Unknown;
    }
}

/// One call for one of `slots`, which nobody else calls for.
pub fn call(world: &World<'_>, slots: &mut [Slot], rng: &mut Rng) {
    let chosen = rng.below(slots.len() as u64) as usize;
    let slot = &mut slots[chosen];
    let die = rng.below(100);
    match &slot.known {
        Known::Detached if die < 75 => add(world, slot, rng),
        Known::Detached if die < 85 => del(world, slot, rng),
        Known::Detached if die < 90 => drop(world.call("CHECK", slot).run().error()),
        Known::Attached(_) if die < 55 => del(world, slot, rng),
        Known::Attached(_) if die < 75 => drop(world.call("CHECK", slot).run().ok()),
        Known::Attached(_) if die < 85 => drop(world.call("ADD", slot).run().failed(101, &[])),
        Known::Attached(_) if die < 90 => slot.lose_sandbox(world),
        Known::Unknown if die < 50 => del(world, slot, rng),
        Known::Unknown if die < 60 => at_once(world, slot),
        Known::Unknown if die < 90 => add(world, slot, rng),
        _ => gc(world, slots),
    }
}

fn add(world: &World<'_>, slot: &mut Slot, rng: &mut Rng) {
    let answer = perhaps_killed(world, "ADD", slot, rng);
    slot.known = match answer.code {
        None => Known::Unknown,
        Some(0) => Known::Attached(answer.ok()),
        Some(_) => match (answer.error(), &slot.known) {
            (e, _) if e.code == 11 && e.msg.contains("no free address") => Known::Detached,
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

/// The DEL of an ADD that the runtime gave up comes beside the next ADD: whichever is first.
fn at_once(world: &World<'_>, slot: &mut Slot) {
    std::thread::scope(|scope| {
        scope.spawn(|| world.call("DEL", slot).run().ok());
        let added = world.call("ADD", slot).run();
        assert!(added.code == Some(0) || [11, 101].contains(&added.error().code), "{added:?}");
    });
}

/// All others are valid, and so are one's own that are attached.
fn gc(world: &World<'_>, slots: &mut [Slot]) {
    let garbage: Vec<&String> =
        slots.iter().filter(|s| !matches!(s.known, Known::Attached(_))).map(|s| &s.pod.container).collect();
    let valid = world.containers.iter().filter(|c| !garbage.contains(c));
    let valid: Vec<Value> = valid.map(|c| json!({"containerID": c, "ifname": "eth0"})).collect();
    for conf in [&world.inline, &world.pods] {
        let conf = over(conf.clone(), json!({"cni.dev/valid-attachments": valid}));
        world.node.call("GC").config(&conf).run().ok();
    }
}

/// One of four is killed, after a while or at a point.
fn perhaps_killed(world: &World<'_>, verb: &str, slot: &Slot, rng: &mut Rng) -> Answer {
    let call = world.call(verb, slot);
    let answer = match rng.below(8) {
        0 => call.killed_after(Duration::from_micros(rng.below(30_000))),
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
