use super::*;
use proptest::prelude::*;

fn tally(numbers: [u32; 4]) -> Tally {
    let [control_sent, control_answered, offloaded_sent, offloaded_answered] = numbers;
    Tally { control_sent, control_answered, offloaded_sent, offloaded_answered }
}

fn trial(peer: &str, rounds: &[[u32; 4]]) -> Trial {
    Trial { peer: peer.parse().unwrap(), rounds: rounds.iter().map(|n| tally(*n).into()).collect() }
}

/// What is tried, the rounds of each peer, and the verdict.
type Case = (&'static str, &'static [&'static [[u32; 4]]], &'static str);

/// Sent and answered: of the control, and of what was offloaded.
const GOOD: [u32; 4] = [8, 8, 8, 8];
const BAD: [u32; 4] = [8, 8, 8, 0];
const SILENT: [u32; 4] = [8, 0, 8, 0];
const LOSSY: [u32; 4] = [8, 5, 8, 2];

#[test]
fn the_table() {
    let cases: [Case; 14] = [
        ("all arrives", &[&[GOOD]], "works"),
        ("a round is lost before it", &[&[SILENT, GOOD]], "works"),
        ("it fails twice, and then not", &[&[BAD, BAD, GOOD]], "works"),
        ("only the control arrives, three times", &[&[BAD, BAD, BAD]], "faulty"),
        ("twice is not enough", &[&[BAD, BAD]], "unknown: n0: not asked often enough"),
        ("away, old or filtered", &[&[SILENT, SILENT, SILENT]], "unknown: n0: no answer"),
        ("away in between", &[&[BAD, SILENT, BAD]], "unknown: n0: no answer"),
        (
            "loss",
            &[&[LOSSY, BAD, BAD]],
            "unknown: n0: packets are lost: answered were 5 of 8, and 2 of 8 that were offloaded",
        ),
        (
            "most controls are lost too",
            &[&[[8, 3, 8, 0]]],
            "unknown: n0: packets are lost: answered were 3 of 8, and 0 of 8 that were offloaded",
        ),
        (
            "the control is not through, and nothing else was sent",
            &[&[[4, 3, 0, 0], [4, 3, 0, 0], [4, 3, 0, 0]]],
            "unknown: n0: packets are lost: answered were 3 of 4, and 0 of 0 that were offloaded",
        ),
        ("nobody is there", &[], "unknown: no peer to ask"),
        ("one is away, at the other nothing arrives", &[&[SILENT], &[BAD, BAD, BAD]], "faulty"),
        (
            "the fault is the other's",
            &[&[GOOD], &[BAD, BAD, BAD]],
            "unknown: what arrives at n0 does not arrive at n1: it is not this node alone",
        ),
        ("two are away", &[&[SILENT], &[SILENT]], "unknown: n0: no answer; n1: no answer"),
    ];
    for (what, peers, expected) in cases {
        let trials: Vec<_> = peers.iter().enumerate().map(|(i, r)| trial(&format!("n{i}"), r)).collect();
        assert_eq!(judge(&trials).to_string(), expected, "{what}");
    }
}

fn a_round() -> impl Strategy<Value = [u32; 4]> {
    let count = || (0u32..10).prop_flat_map(|sent| (Just(sent), 0..=sent));
    prop_oneof![
        Just(GOOD),
        Just(BAD),
        Just(SILENT),
        (count(), count()).prop_map(|((c, ca), (o, oa))| [c, ca, o, oa])
    ]
}

fn trials() -> impl Strategy<Value = Vec<Vec<[u32; 4]>>> {
    prop::collection::vec(prop::collection::vec(a_round(), 0..5), 0..4)
}

proptest! {
    /// The rule, written down a second time.
    #[test]
    fn a_fault_is_only_what_nothing_else_explains(peers in trials()) {
        let all: Vec<_> = peers.iter().enumerate().map(|(i, r)| trial(&format!("n{i}"), r)).collect();
        let verdict = judge(&all);
        let offloaded = |n: &[u32; 4]| n[3];
        let failing = |rounds: &Vec<[u32; 4]>| {
            rounds.len() >= ROUNDS && rounds.iter().all(|n| n[2] > 0 && n[3] == 0 && n[1] * 2 > n[0])
        };
        if verdict == Verdict::Faulty {
            prop_assert!(peers.iter().any(failing));
            prop_assert!(peers.iter().flatten().all(|n| offloaded(n) * 2 <= n[2]), "nobody got most of it");
        }
        if verdict == Verdict::Works {
            prop_assert!(peers.iter().flatten().any(|n| offloaded(n) > 0));
        }
    }

    /// Neither the order of the peers nor one that says nothing turns a verdict around.
    #[test]
    fn what_says_nothing_changes_nothing(peers in trials()) {
        let mut all: Vec<_> = peers.iter().enumerate().map(|(i, r)| trial(&format!("n{i}"), r)).collect();
        let word = |trials: &[Trial]| judge(trials).as_str();
        let before = word(&all);
        all.reverse();
        prop_assert_eq!(word(&all), before);
        all.push(trial("silent", &[SILENT; 3]));
        prop_assert_eq!(word(&all), before);
    }
}
