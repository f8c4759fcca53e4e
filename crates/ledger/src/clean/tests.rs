use super::*;
use crate::Store;
use crate::claims::tests::claim;
use offramp_core::vf::VfState;
use std::cell::RefCell;
use std::rc::Rc;
use std::result::Result;

const PCI: &str = "0000:02:10.6";

/// What was asked of a device, and what it answers.
#[derive(Default)]
struct Script {
    calls: Vec<String>,
    gone: bool,
    gone_after: Option<&'static str>,
    holders: Vec<String>,
    failing: Option<&'static str>,
    differences: Vec<String>,
}

struct Fake(Rc<RefCell<Script>>, #[expect(dead_code, reason = "held for its drop")] VfLock);

impl Fake {
    fn call(&self, name: &'static str) -> Result<(), String> {
        let mut script = self.0.borrow_mut();
        script.calls.push(name.into());
        script.gone |= script.gone_after == Some(name);
        if script.failing == Some(name) { Err(format!("{name} failed")) } else { Ok(()) }
    }
}

impl Device for Fake {
    fn is_there(&mut self) -> bool {
        !self.0.borrow().gone
    }
    fn holders(&mut self) -> Result<Vec<String>, String> {
        Ok(self.0.borrow().holders.clone())
    }
    fn unbind(&mut self) -> Result<(), String> {
        self.call("unbind")
    }
    fn reset(&mut self) -> Result<(), String> {
        self.call("reset")
    }
    fn restore(&mut self, before: &VfState) -> Result<(), String> {
        assert_eq!(*before, crate::claims::tests::before());
        self.call("restore")
    }
    fn differences(&mut self, _: &VfState) -> Result<Vec<String>, String> {
        self.call("verify")?;
        Ok(self.0.borrow().differences.clone())
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    claims: Claims,
    script: Rc<RefCell<Script>>,
}

impl Bench {
    /// A VF in quarantine.
    fn new(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let claims = Store::at(dir.path()).claims();
        claims.take(&claim(PCI, "a@net1")).unwrap();
        claims.set(&claim(PCI, "a@net1").given_back(5)).unwrap();
        Self { _dir: dir, claims, script: Rc::new(RefCell::new(script)) }
    }

    fn attempt(&self) -> Outcome {
        let device = |_, lock| Fake(self.script.clone(), lock);
        attempt_with(&self.claims, PCI.parse().unwrap(), Duration::ZERO, device).unwrap()
    }

    fn calls(&self) -> String {
        std::mem::take(&mut self.script.borrow_mut().calls).join(" ")
    }

    fn is_free(&self) -> bool {
        self.claims.read(PCI.parse().unwrap()).unwrap().is_none()
    }
}

const ALL: &str = "unbind reset restore verify";

#[test]
fn a_vf_is_free_when_all_parts_are_done_in_their_order() {
    let bench = Bench::new(Script::default());
    assert_eq!(bench.attempt(), Outcome::Free);
    assert_eq!(bench.calls(), ALL);
    assert!(bench.is_free());
    assert_eq!(bench.attempt(), Outcome::Nothing);
    assert_eq!(bench.calls(), "");
}

#[test]
fn a_lent_vf_is_not_touched() {
    let bench = Bench::new(Script::default());
    bench.claims.set(&claim(PCI, "b@net1")).unwrap();
    assert_eq!(bench.attempt(), Outcome::Nothing);
    assert_eq!(bench.calls(), "");
    assert!(!bench.is_free());
}

#[test]
fn what_fails_is_the_reason_and_the_next_attempt_starts_over() {
    for (part, done) in [
        ("unbind", "unbind"),
        ("reset", "unbind reset"),
        ("restore", "unbind reset restore"),
        ("verify", ALL),
    ] {
        let bench = Bench::new(Script { failing: Some(part), ..Script::default() });
        for attempts in 1..=3 {
            assert_eq!(bench.attempt(), Outcome::Quarantined { attempts, reason: format!("{part} failed") });
            assert_eq!(bench.calls(), done);
        }
        let e = bench.claims.take(&claim(PCI, "b@net1")).unwrap_err().to_string();
        assert!(e.contains(&format!("cleaning it failed 3 times: {part} failed")), "{e}");
        bench.script.borrow_mut().failing = None;
        assert_eq!(bench.attempt(), Outcome::Free);
        assert_eq!(bench.calls(), ALL);
    }
}

#[test]
fn a_difference_keeps_it_in_quarantine() {
    let differences = vec!["trust is on, was off".into(), "mtu is 9000, was 1500".into()];
    let bench = Bench::new(Script { differences, ..Script::default() });
    let reason = "not as before: trust is on, was off, mtu is 9000, was 1500".into();
    assert_eq!(bench.attempt(), Outcome::Quarantined { attempts: 1, reason });
    assert!(!bench.is_free());
}

#[test]
fn nothing_is_tried_while_somebody_has_it_open() {
    let bench = Bench::new(Script { holders: vec!["qemu (pid 7)".into()], ..Script::default() });
    let reason = "it is held open by qemu (pid 7)".into();
    assert_eq!(bench.attempt(), Outcome::Quarantined { attempts: 1, reason });
    assert_eq!(bench.calls(), "");
}

#[test]
fn nothing_is_tried_beside_somebody_who_works_on_it() {
    let bench = Bench::new(Script::default());
    let lock = bench.claims.lock(PCI.parse().unwrap(), Duration::ZERO).unwrap();
    assert_eq!(bench.attempt(), Outcome::Busy);
    assert_eq!(bench.calls(), "");
    drop(lock);
    assert_eq!(bench.attempt(), Outcome::Free);
}

#[test]
fn of_a_vf_that_is_gone_the_claim_goes_too() {
    let bench = Bench::new(Script { gone: true, ..Script::default() });
    assert_eq!(bench.attempt(), Outcome::Gone);
    assert!(bench.is_free() && bench.calls().is_empty());
    // And of one that goes under one's hands.
    let bench =
        Bench::new(Script { gone_after: Some("reset"), failing: Some("restore"), ..Script::default() });
    assert_eq!(bench.attempt(), Outcome::Gone);
    assert!(bench.is_free());
}

#[test]
fn pauses_grow_and_have_an_end() {
    let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, 1000].into_iter().map(|n| pause(n).as_secs()).collect();
    assert_eq!(seconds, [1, 1, 2, 4, 60, 60, 60]);
}
