//! What the other nodes say of themselves: written by the watch alone, read by the reconcile loop, and kept so that a
//! restart without the API goes on.

use ipnetwork::IpNetwork;
use offramp_core::ids::NodeName;
use offramp_core::overlay::tunnel_mac;
use offramp_core::peer::{Own, Peer, Problem, accept};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After so long a Node is asked again what podCIDRs it has: it may have been made anew.
const VERDICT: Duration = Duration::from_secs(600);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Itself as a peer.
    #[serde(with = "shared")]
    pub peer: Arc<Peer>,
    /// When it first said something, as RFC 3339 in UTC: the API server's word, not its own.
    pub created: String,
}

/// Of what many look at the one copy; on disk it is plain.
mod shared {
    use super::{Arc, Peer};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(peer: &Arc<Peer>, to: S) -> Result<S::Ok, S::Error> {
        Peer::serialize(peer, to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Peer>, D::Error> {
        Peer::deserialize(from).map(Arc::new)
    }
}

/// What all say.
#[derive(Debug, Default)]
pub struct Claims {
    known: bool,
    generation: u64,
    all: BTreeMap<NodeName, Claim>,
    /// By the name of the resource, which need not be a node's.
    faults: BTreeMap<String, String>,
    verdicts: HashMap<NodeName, Verdict>,
}

/// Whether a claim is what the Node has.
#[derive(Debug)]
struct Verdict {
    pod_cidrs: Vec<IpNetwork>,
    at: Instant,
    denied: Option<String>,
}

impl Claims {
    /// Those that were kept.
    pub fn kept(all: Vec<Claim>) -> Self {
        let all = all.into_iter().map(|claim| (claim.peer.name.clone(), claim)).collect();
        Self { known: true, generation: 1, all, ..Self::default() }
    }

    /// Whether there was ever a whole list: before, who is not in it need not be gone.
    pub fn known(&self) -> bool {
        self.known
    }

    /// Another number after each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The claim of the resource `name`, or what is wrong with it; whether that is another one than before.
    pub fn set(&mut self, name: &str, claim: Result<Claim, String>) -> bool {
        let changed = match claim {
            Ok(claim) => {
                let was_faulty = self.faults.remove(name).is_some();
                // Who says the same again stays the same one, by which it is told from those that changed.
                let is_new = self.all.get(&claim.peer.name) != Some(&claim);
                if is_new {
                    self.all.insert(claim.peer.name.clone(), claim);
                }
                was_faulty || is_new
            }
            Err(fault) => {
                let had = name.parse().is_ok_and(|name: NodeName| self.all.remove(&name).is_some());
                let before = self.faults.insert(name.to_owned(), fault.clone());
                had || before.as_ref() != Some(&fault)
            }
        };
        self.generation += u64::from(changed);
        changed
    }

    /// The resource `name` is gone; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let faulty = self.faults.remove(name).is_some();
        let had = name.parse().is_ok_and(|name: NodeName| self.all.remove(&name).is_some());
        self.generation += u64::from(had || faulty);
        had || faulty
    }

    /// A list is complete: what is not in it is gone. Whether anything was.
    pub fn listed(&mut self, names: &HashSet<String>) -> bool {
        let before = self.all.len() + self.faults.len();
        self.all.retain(|name, _| names.contains(name.as_str()));
        self.faults.retain(|name, _| names.contains(name));
        let changed = !self.known || before != self.all.len() + self.faults.len();
        self.known = true;
        self.generation += u64::from(changed);
        changed
    }

    /// The names of all that claim something, and of those whose claim is no good.
    pub fn names(&self) -> HashSet<String> {
        self.all.keys().map(ToString::to_string).chain(self.faults.keys().cloned()).collect()
    }

    /// To be kept.
    pub fn all(&self) -> Vec<Claim> {
        self.all.values().cloned().collect()
    }

    /// The peers that can be believed, and the others. Of two with one podCIDR the one has it whose Node has it
    /// ([`Claims::judge`]), else who was there first; likewise who was there first has an endpoint. A MAC belongs to
    /// the node that it is derived from.
    pub fn accept(&self, own: &Own) -> (Vec<Arc<Peer>>, Vec<Problem>) {
        let (mut good, mut problems) = (Vec::with_capacity(self.all.len()), Vec::new());
        for claim in self.all.values() {
            match self.verdict(claim).and_then(|v| v.denied.clone()) {
                None => good.push(claim),
                Some(reason) => {
                    let peer = claim.peer.name.to_string();
                    problems.push(Problem { peer, reason, against: None });
                }
            }
        }
        good.sort_by_cached_key(|claim| {
            let foreign_mac = claim.peer.mac.is_some_and(|mac| mac != tunnel_mac(&claim.peer.name));
            (foreign_mac, claim.created.as_str(), &claim.peer.name)
        });
        let (peers, clashes) = accept(own, good.into_iter().map(|claim| claim.peer.clone()).collect());
        problems.extend(clashes);
        let fault = |(name, reason): (&String, &String)| Problem {
            peer: name.clone(),
            reason: reason.clone(),
            against: None,
        };
        problems.extend(self.faults.iter().filter(|(name, _)| *name != own.name.as_str()).map(fault));
        (peers, problems)
    }

    /// Those that claim the same as others, and whose Node has not been asked since they do.
    pub fn to_be_judged(&self, problems: &[Problem]) -> Vec<NodeName> {
        let parties =
            problems.iter().filter_map(|p| Some([p.peer.parse().ok()?, p.against.clone()?])).flatten();
        let parties: HashSet<NodeName> = parties.collect();
        let unjudged =
            |name: &NodeName| self.all.get(name).is_some_and(|claim| self.verdict(claim).is_none());
        parties.into_iter().filter(unjudged).collect()
    }

    /// A Node has these podCIDRs, or there is none.
    pub fn judge(&mut self, name: &NodeName, node: Option<&[IpNetwork]>) {
        let Some(claim) = self.all.get(name) else { return };
        let claimed = &claim.peer.pod_cidrs;
        let denied = match node {
            None => Some("it claims what another node has, and there is no Node of its name".to_owned()),
            Some(has) => claimed.iter().find(|net| !has.contains(net)).map(|net| {
                format!("it claims podCIDR {net} as another node does, and its Node has not got it")
            }),
        };
        let verdict = Verdict { pod_cidrs: claimed.clone(), at: Instant::now(), denied };
        self.verdicts.insert(name.clone(), verdict);
        self.generation += 1;
    }

    fn verdict(&self, claim: &Claim) -> Option<&Verdict> {
        let verdict = self.verdicts.get(&claim.peer.name)?;
        Some(verdict).filter(|v| v.pod_cidrs == claim.peer.pod_cidrs && v.at.elapsed() < VERDICT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, created: &str, net: &str) -> Claim {
        let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let peer = Peer {
            name: name.parse().unwrap(),
            endpoints: vec![format!("192.0.2.{number}").parse().unwrap()],
            pod_cidrs: vec![net.parse().unwrap()],
            mac: None,
        };
        Claim { peer: peer.into(), created: created.into() }
    }

    fn own() -> Own {
        Own {
            name: "n1".parse().unwrap(),
            addresses: vec![],
            pod_cidrs: vec!["10.1.0.0/24".parse().unwrap()],
        }
    }

    fn set(claims: &mut Claims, claim: Claim) -> bool {
        let name = claim.peer.name.to_string();
        claims.set(&name, Ok(claim))
    }

    fn names(claims: &Claims) -> (Vec<String>, Vec<String>) {
        let (peers, problems) = claims.accept(&own());
        (peers.iter().map(|p| p.name.to_string()).collect(), problems.into_iter().map(|p| p.peer).collect())
    }

    #[test]
    fn who_was_there_first_has_it_until_the_nodes_say_otherwise() {
        let mut claims = Claims::default();
        let net = "10.2.0.0/24";
        assert!(set(&mut claims, claim("n2", "2026-01-02T00:00:00Z", net)));
        assert!(!set(&mut claims, claim("n2", "2026-01-02T00:00:00Z", net)));
        set(&mut claims, claim("n3", "2026-01-01T00:00:00Z", net));
        let (_, problems) = claims.accept(&own());
        assert_eq!(names(&claims), (vec!["n3".into()], vec!["n2".into()]));
        let mut parties = claims.to_be_judged(&problems);
        parties.sort();
        assert_eq!(parties, ["n2".parse().unwrap(), "n3".parse().unwrap()]);
        claims.judge(&parties[0], Some(&[net.parse().unwrap()]));
        claims.judge(&parties[1], Some(&["10.3.0.0/24".parse().unwrap()]));
        assert_eq!(names(&claims), (vec!["n2".into()], vec!["n3".into()]));
        // An honest one is judged by what it claims now.
        set(&mut claims, claim("n3", "2026-01-01T00:00:00Z", "10.3.0.0/24"));
        assert_eq!(names(&claims), (vec!["n3".into(), "n2".into()], vec![]));
    }

    #[test]
    fn a_list_takes_away_and_what_is_wrong_is_told() {
        let mut claims = Claims::default();
        set(&mut claims, claim("n2", "", "10.2.0.0/24"));
        claims.set("N_3", Err("bad".into()));
        assert!(!claims.known());
        assert_eq!(names(&claims), (vec!["n2".into()], vec!["N_3".into()]));
        assert!(claims.listed(&["n2".to_owned()].into()) && claims.known());
        assert_eq!(names(&claims), (vec!["n2".into()], vec![]));
        assert!(claims.set("n2", Err("bad".into())));
        assert_eq!(names(&claims), (vec![], vec!["n2".into()]));
        assert!(claims.remove("n2") && !claims.remove("n2"));
        assert!(!claims.listed(&HashSet::new()));
    }

    /// An old node must not silence a younger one by its MAC.
    #[test]
    fn a_mac_belongs_to_whom_it_is_derived_from() {
        let mut claims = Claims::default();
        let victim: NodeName = "n3".parse().unwrap();
        for (name, created) in [("n2", "2026-01-01T00:00:00Z"), ("n3", "2026-01-02T00:00:00Z")] {
            let mut claim = claim(name, created, &format!("10.{}.0.0/24", &name[1..]));
            Arc::make_mut(&mut claim.peer).mac = Some(tunnel_mac(&victim));
            set(&mut claims, claim);
        }
        assert_eq!(names(&claims), (vec!["n3".into()], vec!["n2".into()]));
    }
}
