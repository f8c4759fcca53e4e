//! What a pod's interfaces moved and by which way, for `explain`.

use super::units::size;
use crate::traffic::InterfaceTraffic;
use offramp_core::plan::Path;
use offramp_core::traffic::{Bytes, Moved};
use std::collections::BTreeSet;

/// `eth0: 1.2 GiB received, 3.4 MiB sent, all by the VF`
pub fn interfaces(traffic: &[InterfaceTraffic]) -> Vec<String> {
    let describe = |t: &InterfaceTraffic| {
        let text = match &t.moved {
            Moved::Unknown { why } => format!("unknown: {why}"),
            Moved::Counted { bytes, cpu } => {
                let moved = format!("{} received, {} sent", size(bytes.rx), size(bytes.tx));
                format!("{moved}{}", way(t, *bytes, *cpu))
            }
        };
        format!("{}: {text}", t.name)
    };
    traffic.iter().map(describe).collect()
}

fn way(t: &InterfaceTraffic, bytes: Bytes, cpu: Option<Bytes>) -> String {
    let by_vf = match t.path {
        _ if t.routed => "by the VF to the node, whose CPU routes it on",
        Some(Path::VfUserspace) => "by the VF, as its PF has counted since the VF was made",
        _ => "by the VF",
    };
    match cpu.map(|cpu| cpu.at_most(bytes).sum()) {
        _ if bytes.sum() == 0 => String::new(),
        None => {
            format!(", {by_vf}: how much of it took the node's CPU behind the representor, nobody counts")
        }
        Some(0) => format!(", all {by_vf}"),
        Some(cpu) if cpu == bytes.sum() => {
            let leased = match t.path {
                Some(Path::Queues) => "; what programs take from its leased queues nobody counts",
                _ => "",
            };
            format!(", all over the node's CPU{leased}")
        }
        Some(cpu) => format!(", {by_vf}, of which {} took the node's CPU", size(cpu)),
    }
}

/// `81% of 6.3 GiB went by VF, 19% over the node's CPU`; none for a pod without interfaces.
pub fn share(traffic: &[InterfaceTraffic]) -> Option<String> {
    let share = crate::traffic::share(traffic);
    let parts = [
        (share.by_vf, "by VF"),
        (share.routed, "by the VF to the node, whose CPU routed it"),
        (share.cpu, "over the node's CPU"),
        (share.undivided, "by VF or, behind its representor, over the node's CPU: nobody counts which"),
    ];
    let mut text = String::new();
    for (part, way) in parts.into_iter().filter(|(part, _)| *part > 0) {
        let percent = share.percent(part).unwrap_or_default();
        let of_all =
            if text.is_empty() { format!(" of {} went", size(share.counted())) } else { String::new() };
        let comma = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!("{comma}{percent}%{of_all} {way}"));
    }
    if text.is_empty() && !traffic.is_empty() {
        let counted = traffic.len() > share.unknown;
        text =
            if counted { "nothing that is counted was moved yet" } else { "unknown: nobody counts" }.into();
    }
    if share.unknown > 0 && traffic.len() > share.unknown {
        text.push_str("; what is unknown above is not in it");
    }
    if share.leases > 0 {
        text.push_str("; what programs took from leased queues is not in it");
    }
    (!text.is_empty()).then_some(text)
}

/// `eth0: 2 to receive, 2 to send`
pub fn queues(traffic: &[InterfaceTraffic]) -> Vec<String> {
    let describe = |t: &InterfaceTraffic| {
        let (rx, tx) = t.queues?;
        Some(format!("{}: {rx} to receive, {tx} to send", t.name))
    };
    traffic.iter().filter_map(describe).collect()
}

/// `pod: on node 0, as kubelet has placed it`, and `eth0: its device is on node 1`.
pub fn numa(pod: &BTreeSet<u32>, traffic: &[InterfaceTraffic]) -> Vec<String> {
    let nodes = pod.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let pod = (!pod.is_empty()).then(|| format!("pod: on node {nodes}, as kubelet has placed it"));
    let device = |t: &InterfaceTraffic| Some(format!("{}: its device is on node {}", t.name, t.numa?));
    pod.into_iter().chain(traffic.iter().filter_map(device)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, path: Path, moved: Moved) -> InterfaceTraffic {
        let name = name.parse().unwrap();
        InterfaceTraffic {
            name,
            path: Some(path),
            numa: None,
            queues: None,
            flow_rules: None,
            routed: false,
            moved,
        }
    }

    fn counted(rx: u64, tx: u64, cpu: Option<(u64, u64)>) -> Moved {
        Moved::Counted { bytes: Bytes { rx, tx }, cpu: cpu.map(|(rx, tx)| Bytes { rx, tx }) }
    }

    #[test]
    fn each_way_has_its_words() {
        let all = [
            interface("eth0", Path::Veth, counted(1_258_291, 512, Some((1_258_291, 512)))),
            interface("net1", Path::Vf, counted(5 << 30, 1 << 20, Some((0, 0)))),
            interface("net2", Path::Vf, counted(3 << 20, 0, Some((1 << 20, 0)))),
            interface("net3", Path::Vf, counted(1 << 20, 0, None)),
            interface("net4", Path::VfUserspace, counted(7, 0, Some((0, 0)))),
            interface("net5", Path::VfUserspace, Moved::Unknown { why: "no counters".into() }),
            interface("net6", Path::Vf, counted(0, 0, Some((0, 0)))),
            InterfaceTraffic { routed: true, ..interface("net8", Path::Vf, counted(2, 0, Some((0, 0)))) },
            interface("net7", Path::Queues, counted(1, 0, Some((1, 0)))),
        ];
        assert_eq!(
            interfaces(&all),
            [
                "eth0: 1.1 MiB received, 512 B sent, all over the node's CPU",
                "net1: 5 GiB received, 1 MiB sent, all by the VF",
                "net2: 3 MiB received, 0 B sent, by the VF, of which 1 MiB took the node's CPU",
                "net3: 1 MiB received, 0 B sent, by the VF: how much of it took the node's CPU behind the representor, \
                 nobody counts",
                "net4: 7 B received, 0 B sent, all by the VF, as its PF has counted since the VF was made",
                "net5: unknown: no counters",
                "net6: 0 B received, 0 B sent",
                "net8: 2 B received, 0 B sent, all by the VF to the node, whose CPU routes it on",
                "net7: 1 B received, 0 B sent, all over the node's CPU; what programs take from its leased queues nobody \
                 counts",
            ]
        );
        assert_eq!(
            share(&all).unwrap(),
            "99% of 5 GiB went by VF, 0% by the VF to the node, whose CPU routed it, 0% over the node's CPU, 0% by VF or, \
             behind its representor, over the node's CPU: nobody counts which; what is unknown above is not in it; what \
             programs took from leased queues is not in it"
        );
    }

    /// The numbers of two pods with VFs as eth0.
    #[test]
    fn a_vf_as_eth0_is_routed_by_the_node() {
        let eth0 = interface("eth0", Path::Vf, counted(63_920, 4_282_016, Some((0, 0))));
        let all = [InterfaceTraffic { routed: true, ..eth0 }];
        assert_eq!(
            (interfaces(&all)[0].as_str(), share(&all).unwrap().as_str()),
            (
                "eth0: 62.4 KiB received, 4 MiB sent, all by the VF to the node, whose CPU routes it on",
                "100% of 4.1 MiB went by the VF to the node, whose CPU routed it",
            )
        );
        let json = serde_json::to_value(crate::traffic::share(&all)).unwrap();
        assert_eq!((&json["byVf"], &json["routed"], &json["cpu"]), (&0.into(), &4_345_936.into(), &0.into()));
    }

    #[test]
    fn the_share_of_nothing() {
        let moved = |moved| [interface("eth0", Path::Vf, moved)];
        assert_eq!(share(&[]), None);
        assert_eq!(share(&moved(counted(0, 0, None))).unwrap(), "nothing that is counted was moved yet");
        assert_eq!(share(&moved(Moved::Unknown { why: "?".into() })).unwrap(), "unknown: nobody counts");
        assert_eq!(share(&moved(counted(10, 0, Some((0, 0))))).unwrap(), "100% of 10 B went by VF");
    }
}
