//! The peers file of a standalone cluster.
//!
//! ```yaml
//! - name: node-b
//!   endpoints: [192.0.2.2, "2001:db8::2"]
//!   podCIDRs: [10.244.2.0/24, "fd00:244:2::/64"]
//!   mac: 02:00:5e:10:00:02    # optional
//! ```

use super::fault::Fault;
use super::yaml::{self, Checker, Text};
use offramp_core::peer::{Own, Peer, Problem, accept};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawPeer {
    name: Text,
    #[serde(default)]
    endpoints: Vec<Text>,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<Text>,
    #[serde(default)]
    mac: Option<Text>,
}

/// Reads a peers file's text. The error means that nothing of the file can be used: keep the last good one.
/// Otherwise a peer with a mistake, or one that claims what another has, is left out and reported.
pub fn parse(text: &str, own: &Own) -> Result<(Vec<Peer>, Vec<Problem>), Fault> {
    let raw: Option<Vec<RawPeer>> = yaml::parse(text)?;
    let (mut peers, mut problems) = (Vec::new(), Vec::new());
    for entry in raw.unwrap_or_default() {
        match peer(&entry) {
            Ok(peer) => peers.push(peer),
            Err(faults) => problems.push(Problem {
                peer: entry.name.value,
                reason: faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "),
                against: None,
            }),
        }
    }
    let (accepted, more) = accept(own, peers);
    problems.extend(more);
    Ok((accepted, problems))
}

fn peer(raw: &RawPeer) -> Result<Peer, Vec<Fault>> {
    let RawPeer { name, endpoints, pod_cidrs, mac } = raw;
    let mut check = Checker::default();
    let parsed_name = check.opt("name", Some(name), str::parse);
    let endpoints =
        check.list("endpoints", endpoints, |t| t.parse().map_err(|_| format!("{t:?} is not an IP address")));
    let pod_cidrs =
        check.list("podCIDRs", pod_cidrs, |t| t.parse().map_err(|_| format!("{t:?} is not a network")));
    let mac = check.opt("mac", mac.as_ref(), str::parse);
    let faults = check.finish();
    match parsed_name {
        Some(name) if faults.is_empty() => Ok(Peer {
            name,
            endpoints: endpoints.into_iter().map(|(_, ip)| ip).collect(),
            pod_cidrs: pod_cidrs.into_iter().map(|(_, net)| net).collect(),
            mac,
        }),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        Own {
            name: "a".parse().unwrap(),
            addresses: vec!["192.0.2.1".parse().unwrap()],
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        }
    }

    #[test]
    fn good_peers_stay_and_bad_ones_are_told_by_line() {
        let text = "\
- {name: a, endpoints: [192.0.2.1], podCIDRs: [10.244.1.0/24]}
- name: b
  endpoints: [192.0.2.2, \"2001:db8::2\"]
  podCIDRs: [10.244.2.0/24, \"fd00:244:2::/64\"]
  mac: 02:00:5e:10:00:02
- name: C_3
  endpoints: [192.0.2.3]
  podCIDRs: [10.244.3.0/33]
- name: d
  endpoints: [192.0.2.4]
  podCIDRs: [10.244.1.128/25]
";
        let (peers, problems) = parse(text, &own()).unwrap();
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].name.as_str(), peers[0].endpoints.len()), ("b", 2));
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "peer C_3 is left out: line 6, column 9: name: node name \"C_3\" is not valid: a node name has at \
                 most 253 characters: parts of lower-case letters, digits and '-' between dots; line 8, column \
                 14: podCIDRs[0]: \"10.244.3.0/33\" is not a network",
                "peer d is left out: its podCIDR 10.244.1.128/25 overlaps 10.244.1.0/24 of this node (a)",
            ]
        );
    }

    #[test]
    fn a_broken_file_is_not_used_at_all() {
        let fault = |text| parse(text, &own()).unwrap_err().to_string();
        assert_eq!(
            fault("- name: b\n  endpoint: 192.0.2.2\n"),
            "line 2, column 3: [0].endpoint: unknown field `endpoint`, expected one of name, endpoints, podCIDRs, mac"
        );
        assert_eq!(fault("- endpoints: []\n"), "line 1, column 3: [0]: missing field `name`");
        assert!(fault("- name: [\n").starts_with("line 1, column 9"));
    }

    #[test]
    fn no_peers_are_no_mistake() {
        for text in ["", "[]", "# none yet\n", "---\n"] {
            assert_eq!(parse(text, &own()).unwrap(), (vec![], vec![]), "{text:?}");
        }
    }
}
