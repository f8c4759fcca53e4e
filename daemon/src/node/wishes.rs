//! What a pod's annotations ask for: `offramp.dev/interfaces` is YAML, which the core does not read, and networks are
//! defined elsewhere.

use super::Node;
use crate::config::yaml;
use offramp_core::cni::CniError;
use offramp_core::ids::Namespace;
use offramp_core::networks::{
    self, Definition, Delegation, Device, Kind, NETWORKS, Selection, check_namespaces, delegation, pool_wish,
};
use offramp_core::record::PodRef;
use offramp_core::wire::Prepare;
use offramp_core::wish::{Wishes, parse};
use std::collections::{BTreeMap, BTreeSet};

/// The most bytes that the configurations of a pod's networks have together: they are part of its record, which goes
/// over the wire.
const MAX_CONFIGS: usize = 256 << 10;

impl Node {
    /// All that the pod asks for.
    pub(super) fn wishes(&self, ask: &Prepare) -> Result<Wishes, CniError> {
        let annotations = self.annotations(ask)?;
        let mut wishes = read(Some(&annotations))?;
        if self.definitions.are_known() {
            self.add_networks(ask, &annotations, &mut wishes)?;
        }
        Ok(wishes)
    }

    /// The pod's annotations: what the runtime passes, else what the watch has told, else what the API says now.
    fn annotations(&self, ask: &Prepare) -> Result<BTreeMap<String, String>, CniError> {
        let (annotations, pod, api) = (ask.annotations.as_ref(), ask.pod.as_ref(), self.api.get());
        let (Some(pod), Some(api), None) = (pod, api, annotations) else {
            return Ok(annotations.cloned().unwrap_or_default());
        };
        if let Some(known) = self.pods.find(pod) {
            return Ok(known.annotations);
        }
        let found = api.pod(&pod.namespace, &pod.name).map_err(|e| {
            CniError::try_again(format!("read the annotations of pod {pod} from the Kubernetes API: {e}"))
        })?;
        match found {
            Some(found) if found.is(&pod.uid) => Ok(found.annotations),
            Some(found) => {
                let why = format!("its UID is {}, that of the sandbox {}", found.uid, pod.uid);
                Err(CniError::try_again(format!("pod {pod} is another one by now: {why}")))
            }
            // A static pod may have no mirror yet, and one that was deleted asks for nothing more.
            None => Ok(BTreeMap::new()),
        }
    }

    fn add_networks(
        &self,
        ask: &Prepare,
        annotations: &BTreeMap<String, String>,
        wishes: &mut Wishes,
    ) -> Result<(), CniError> {
        // A container that is no pod's has no namespace to search in.
        let Some(pod) = ask.pod.as_ref().filter(|_| annotations.contains_key(NETWORKS)) else {
            return Ok(());
        };
        let namespace: Namespace = pod.namespace.parse()?;
        let selected = networks::parse(annotations, &namespace)?;
        check_namespaces(&selected, &namespace, &self.config.networks.global_namespaces)?;
        let find = |s: &Selection| self.definitions.get(&s.nad, self.api.get());
        let definitions: Vec<Definition> = selected.iter().map(find).collect::<Result<_, _>>()?;
        let both = || selected.iter().zip(&definitions);
        for (selection, definition) in both() {
            wishes.interfaces.extend(pool_wish(selection, definition)?);
        }
        // What an interface names is its own, whoever comes first.
        let named = wishes.interfaces.iter().filter_map(|i| Some(i.device?.to_string())).collect();
        let mut devices = Devices { node: self, pod, named, left: None };
        for (selection, definition) in both() {
            let network = network(ask, selection, definition, &mut devices, &mut wishes.handed)?;
            wishes.networks.push(network);
        }
        wishes.ask(NETWORKS, annotations);
        wishes.check_together()?;
        let executed = wishes.networks.iter().any(|n| !n.plugins.is_empty());
        let by_ipam = wishes.networks.iter().any(Delegation::is_lent);
        if (executed && !ask.runs_networks) || (by_ipam && !ask.gives_addresses) {
            return Err(CniError::protocol(
                "the plugin on this node is older than the daemon and cannot attach networks",
            )
            .with_details("install the plugin of this release"));
        }
        let size: usize = wishes.networks.iter().flat_map(|n| &n.plugins).map(|c| c.to_string().len()).sum();
        if size > MAX_CONFIGS {
            let why = format!("the configurations of its networks have {size} bytes; allowed: {MAX_CONFIGS}");
            return Err(CniError::limit(format!("annotation {NETWORKS}: {why}")));
        }
        Ok(())
    }
}

/// What is executed for a network, and the device that it gets.
fn network(
    ask: &Prepare,
    selection: &Selection,
    definition: &Definition,
    devices: &mut Devices<'_>,
    handed: &mut BTreeSet<String>,
) -> Result<Delegation, CniError> {
    // Of a pool it is lent, by what kubelet has assigned.
    let Some(resource) = definition.resource.as_ref().filter(|_| definition.kind == Kind::Plugins) else {
        return delegation(selection, definition, None);
    };
    let id = devices.next(resource).map_err(|e| e.context(format!("network {}", selection.nad)))?;
    let device = Device { id: &id, resource, container: &ask.attachment.container };
    let delegation = delegation(selection, definition, Some(device))?;
    handed.insert(id);
    Ok(delegation)
}

/// What kubelet has assigned to a pod, as far as no network has taken it.
struct Devices<'a> {
    node: &'a Node,
    pod: &'a PodRef,
    /// Those that interfaces ask for by name.
    named: BTreeSet<String>,
    left: Option<BTreeSet<(String, String)>>,
}

impl Devices<'_> {
    /// The next device of a resource, in the order of their names: kubelet's own varies. Kubelet is asked once.
    fn next(&mut self, resource: &str) -> Result<String, CniError> {
        let left = match &mut self.left {
            Some(left) => left,
            none => none.insert(Self::ask(self.node, self.pod)?),
        };
        let is_free = |(r, id): &&(String, String)| r == resource && !self.named.contains(id);
        let found = left.iter().find(is_free).cloned();
        let found = found.ok_or_else(|| {
            CniError::no_device(format!(
                "kubelet has assigned pod {} no device of {resource} for it",
                self.pod
            ))
            .with_details(
                "a container that is no init container must request as many as the pod has such networks",
            )
        })?;
        left.remove(&found);
        Ok(found.1)
    }

    fn ask(node: &Node, pod: &PodRef) -> Result<BTreeSet<(String, String)>, CniError> {
        let assigned = node.devices.of_pod(&node.config.paths.kubelet, pod);
        let assigned = assigned
            .map_err(|e| CniError::try_again(format!("ask kubelet for the devices of pod {pod}: {e}")))?;
        Ok(assigned.devices.into_iter().map(|d| (d.resource, d.id)).collect())
    }
}

/// Reads the annotations; none: the runtime passed none.
pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Result<Wishes, CniError> {
    let Some(annotations) = annotations else { return Ok(Wishes::default()) };
    parse(annotations, |text| yaml::parse(text).map_err(|fault| fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use offramp_core::IfName;
    use offramp_core::lend::{Eth0, Hints, LendRequest, Taken, Want, choose_eth0};
    use offramp_core::nic::Inventory;

    /// On a node that lends no VFs.
    fn reason_for_veth(
        annotations: Option<&BTreeMap<String, String>>,
        ifname: &IfName,
    ) -> Result<String, CniError> {
        let wishes = read(annotations)?;
        let (none, taken, hints) = (Inventory::default(), Taken::default(), Hints::default());
        let others = LendRequest::further(None, &wishes);
        let eth0 = Want::eth0(ifname.clone(), &wishes);
        let choice = choose_eth0(wishes.offload, &eth0, &others, &[], &none, &taken, &hints)?;
        match choice.eth0 {
            Eth0::Pair(_) => Ok(choice.reason),
            Eth0::Queues(queues) => Err(CniError::internal(format!("{queues} were lent without a pool"))),
            Eth0::Vf(vf) => Err(CniError::internal(format!("{} was lent without a pool", vf.vf))),
        }
    }

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn ask(pairs: &[(&str, &str)]) -> Result<String, u32> {
        reason_for_veth(Some(&annotations(pairs)), &"eth0".parse().unwrap()).map_err(|e| e.code)
    }

    #[test]
    fn preferred_falls_back_with_a_reason_and_required_never() {
        let (offload, pool) = ("offramp.dev/offload", "offramp.dev/pool");
        assert!(ask(&[(offload, "preferred"), (pool, "fast")]).unwrap().contains("no pool"));
        assert_eq!(ask(&[(offload, "required")]), Err(106));
        assert_eq!(ask(&[(offload, "always")]), Err(7));
        assert_eq!(ask(&[("offramp.dev/interfaces", "- name: net1")]), Err(106));
        assert_eq!(ask(&[("k8s.v1.cni.cncf.io/other", "x")]), Ok("no offload was asked for".into()));
    }

    fn interfaces(text: &str) -> Result<Wishes, CniError> {
        read(Some(&annotations(&[("offramp.dev/interfaces", text)])))
    }

    #[test]
    fn interfaces_are_yaml() {
        let text = "\
- name: net1
  pool: telco
  vlan: 100
  offload: required
  ips: [192.168.10.5/24, \"fd00::5/64\"]
- {name: net2, mac: 02:00:00:00:00:01, trust: on, spoofchk: off, deviceID: 0000:02:10.1, proto: 802.1ad, vlan: 7}
";
        let wishes = interfaces(text).unwrap();
        let [net1, net2] = &wishes.interfaces[..] else { panic!("two") };
        assert_eq!((net1.addresses.len(), net1.settings.vlan.unwrap().to_string()), (2, "vlan 100".into()));
        assert_eq!((net2.settings.trust, net2.settings.spoofchk), (Some(true), Some(false)));
        assert_eq!(net2.settings.mac.unwrap().to_string(), "02:00:00:00:00:01");
    }

    #[test]
    fn wrong_yaml_is_told_with_its_place() {
        let told = |text: &str| interfaces(text).unwrap_err().msg;
        let place = "annotation offramp.dev/interfaces: line 1, column ";
        for wrong in ["[", "- name: a\n  name: b\n", "- {name: &a net1, pool: *b}"] {
            assert!(told(wrong).contains("annotation offramp.dev/interfaces: "), "{}", told(wrong));
        }
        assert!(told("[").starts_with(place), "{}", told("["));
        assert!(told("net1").ends_with("it must be a list, such as [{name: net1}]"));
        assert_eq!(interfaces("").unwrap(), Wishes::default());
    }

    /// Aliases of aliases would fill the memory.
    #[test]
    fn a_bomb_is_refused() {
        let mut text = String::from("- &a0 {name: x}\n");
        for i in 1..40 {
            text.push_str(&format!(
                "- &a{i} [*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}]\n",
                i - 1
            ));
        }
        assert!(interfaces(&text).is_err());
    }
}
