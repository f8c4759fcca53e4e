//! `offrampd probe`, and what `offrampd status` says of it, as text.

use super::table::table;
use super::units::join;
use crate::status::{KindStatus, ProbeStatus, StageStatus};
use offramp_core::probe::{Stage, Verdict};

/// For who asked: why there is nothing to show, too.
pub fn answer(probes: &ProbeStatus) -> String {
    let why = probes.kinds.is_empty().then(|| probes.idle.as_deref().unwrap_or("it was not told why"));
    why.map_or_else(String::new, |why| format!("There is no path to test: {why}.\n")) + &render(probes)
}

/// A line for each kind of path, then what is not as one would like it.
pub fn render(probes: &ProbeStatus) -> String {
    if probes.kinds.is_empty() && probes.cures.is_empty() {
        return String::new();
    }
    let row = |k: &KindStatus| {
        let word = |stage| {
            let found = k.stages.iter().find(|s| s.stage == stage);
            found.map_or_else(String::new, |s| s.verdict.as_str().to_owned())
        };
        let [checksum, segments, tcp] = Stage::ALL.map(word);
        let (way, family, device) = (k.kind.way.to_string(), k.kind.family.to_string(), k.device.to_string());
        [way, family, device, k.peers.to_string(), checksum, segments, tcp]
    };
    let rows: Vec<_> = probes.kinds.iter().map(row).collect();
    let titles = ["PATH", "PODS", "DEVICE", "PEERS", "CHECKSUM", "SEGMENTS", "TCP"];
    let head = if rows.is_empty() { String::new() } else { table("", titles, &rows) };
    let unknown: String = probes.kinds.iter().filter_map(first_unknown).collect();
    let cures: String = probes
        .cures
        .iter()
        .map(|c| {
            let features = join(&c.features);
            format!("  turned off {features} of {}: {}; undo: offrampd probe --undo\n", c.device, c.why)
        })
        .collect();
    head + &unknown + &cures
}

/// Of the stages only the first that is not known has a reason of its own.
fn first_unknown(kind: &KindStatus) -> Option<String> {
    let reason = |s: &StageStatus| match &s.verdict {
        Verdict::Unknown { why } => Some(format!("  {}: {} is not known: {why}\n", kind.kind, s.stage)),
        Verdict::Works | Verdict::Faulty => None,
    };
    let first = kind.stages.iter().find(|s| s.verdict != Verdict::Works)?;
    reason(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::CureStatus;
    use offramp_core::net::Family;
    use offramp_core::probe::{Kind, Way};

    #[test]
    fn verdicts_reasons_and_what_is_turned_off() {
        let kind = |way, family, device: &str, verdicts: [Verdict; 3]| KindStatus {
            kind: Kind { way, family },
            device: device.parse().unwrap(),
            peers: 2,
            stages: Stage::ALL
                .into_iter()
                .zip(verdicts)
                .map(|(stage, verdict)| StageStatus { stage, verdict })
                .collect(),
            at: 1000,
        };
        let later = || Verdict::unknown("checksum comes first");
        let probes = ProbeStatus {
            idle: None,
            kinds: vec![
                kind(Way::Vxlan, Family::V4, "offramp-vxlan", [(); 3].map(|()| Verdict::Works)),
                kind(Way::Vxlan, Family::V6, "offramp-vxlan", [Verdict::Faulty, later(), later()]),
                kind(Way::Direct, Family::V4, "eth0", [Verdict::unknown("n2: no answer"), later(), later()]),
            ],
            cures: vec![CureStatus {
                device: "offramp-vxlan".parse().unwrap(),
                features: vec!["tx-checksum-ip-generic".into()],
                why: "packets did not arrive".into(),
                since: 1000,
            }],
        };
        assert_eq!(
            render(&probes),
            "\
PATH    PODS  DEVICE         PEERS  CHECKSUM  SEGMENTS  TCP
vxlan   IPv4  offramp-vxlan  2      works     works     works
vxlan   IPv6  offramp-vxlan  2      faulty    unknown   unknown
direct  IPv4  eth0           2      unknown   unknown   unknown
  direct for IPv4 pods: checksum is not known: n2: no answer
  turned off tx-checksum-ip-generic of offramp-vxlan: packets did not arrive; undo: offrampd probe --undo
"
        );
        assert_eq!(answer(&probes), render(&probes));
        let idle = ProbeStatus { idle: Some("no peer is known".into()), ..ProbeStatus::default() };
        assert_eq!(
            (render(&idle).as_str(), answer(&idle).as_str()),
            ("", "There is no path to test: no peer is known.\n")
        );
    }
}
