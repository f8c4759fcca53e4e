//! `cluster`: where the cluster's state comes from.

use super::raw;
use super::yaml::{Checker, Text, boolean, duration, one_of};
use super::{Kubernetes, Source, Standalone};
use ipnetwork::IpNetwork;
use offramp_core::ipam::Range;
use offramp_core::net::{network_of, overlaps};
use offramp_core::peer::is_pod_network;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Standalone,
    Kubernetes,
}

pub(super) fn source(check: &mut Checker, raw: &raw::Cluster) -> Source {
    let raw::Cluster { source, pod_cidrs, cluster_cidrs: _, peers_file, kubernetes } = raw;
    if source.is_none() {
        check.fault("cluster.source", None, "it is missing; allowed: standalone, kubernetes");
    }
    let kinds = [("standalone", Kind::Standalone), ("kubernetes", Kind::Kubernetes)];
    let kind = check.opt("cluster.source", source.as_ref(), one_of(&kinds));
    if kind == Some(Kind::Kubernetes) {
        for (key, text) in [
            ("cluster.podCIDRs", pod_cidrs.iter().flatten().next()),
            ("cluster.peersFile", peers_file.as_ref()),
        ] {
            if text.is_some() {
                check.fault(key, text, "it is not allowed with source kubernetes: the API tells");
            }
        }
        return Source::Kubernetes(self::kubernetes(check, kubernetes.as_ref()));
    }
    if let Some(raw::Kubernetes { kubeconfig, api_server, unavailable_after, node_labels }) = kubernetes {
        let text = kubeconfig.as_ref().or(api_server.as_ref());
        let text = text.or(unavailable_after.as_ref()).or(node_labels.as_ref());
        check.fault("cluster.kubernetes", text, "it is allowed with source kubernetes only");
    }
    Source::Standalone(Standalone {
        ranges: ranges(check, pod_cidrs.as_deref().unwrap_or_default()),
        peers_file: check.opt("cluster.peersFile", peers_file.as_ref(), absolute),
    })
}

pub(super) fn cluster_cidrs(check: &mut Checker, raw: &raw::Cluster) -> Option<Vec<IpNetwork>> {
    let list = raw.cluster_cidrs.as_ref()?;
    Some(check.list("cluster.clusterCIDRs", list, cidr).into_iter().map(|(_, net)| net).collect())
}

fn kubernetes(check: &mut Checker, raw: Option<&raw::Kubernetes>) -> Kubernetes {
    let default = Kubernetes::default();
    let Some(raw::Kubernetes { kubeconfig, api_server, unavailable_after, node_labels }) = raw else {
        return default;
    };
    let labels = check.opt("cluster.kubernetes.nodeLabels", node_labels.as_ref(), boolean);
    let bounds = duration(Duration::from_millis(100), Duration::from_hours(24));
    let after = check.opt("cluster.kubernetes.unavailableAfter", unavailable_after.as_ref(), bounds);
    Kubernetes {
        kubeconfig: check.opt("cluster.kubernetes.kubeconfig", kubeconfig.as_ref(), absolute),
        api_server: check.opt("cluster.kubernetes.apiServer", api_server.as_ref(), url),
        unavailable_after: after.unwrap_or(default.unavailable_after),
        node_labels: labels.unwrap_or(default.node_labels),
    }
}

fn url(text: &str) -> Result<http::Uri, String> {
    let parsed: Option<http::Uri> = text.parse().ok();
    let usable = |uri: &http::Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    parsed.filter(usable).ok_or_else(|| {
        format!("{text:?} is not allowed; allowed: a URL such as https://192.0.2.10:6443 or https://[2001:db8::10]:6443")
    })
}

fn ranges(check: &mut Checker, raw: &[Text]) -> Vec<Range> {
    const KEY: &str = "cluster.podCIDRs";
    if raw.is_empty() {
        check.fault(KEY, None, "at least one network is needed, such as 10.244.1.0/24 or fd00:244:1::/64");
    }
    let ranges = check.list(KEY, raw, |text| range(cidr(text)?));
    for (i, (text, range)) in ranges.iter().enumerate() {
        if let Some((_, other)) = ranges[..i].iter().find(|(_, r)| overlaps(r.subnet, range.subnet)) {
            check.fault(KEY, Some(text), format!("{} and {} overlap", range.subnet, other.subnet));
        }
    }
    ranges.into_iter().map(|(_, range)| range).collect()
}

/// A range for pods of a whole network.
pub fn range(net: IpNetwork) -> Result<Range, String> {
    if !is_pod_network(net) {
        return Err(format!("{net} is not a network that pods can have"));
    }
    Range::new(net, None, None, None).map_err(|e| e.to_string())
}

/// A network without host bits.
pub(super) fn cidr(text: &str) -> Result<IpNetwork, String> {
    let wrong = || format!("{text:?} is not a network; allowed: such as 10.244.1.0/24 or fd00:244:1::/64");
    let net: IpNetwork = text.contains('/').then(|| text.parse().ok()).flatten().ok_or_else(wrong)?;
    let network = network_of(net);
    if network == net { Ok(net) } else { Err(format!("{net} has host bits set; its network is {network}")) }
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("{text:?} is not an absolute path")) }
}
