use super::*;

const MINIMAL: &str = "cluster: {source: standalone, podCIDRs: [10.244.1.0/24, \"fd00:244:1::/64\"]}\n";

/// What `text`, behind the minimal configuration, is told.
fn faults(text: &str) -> Vec<String> {
    let faults = Config::parse(&format!("{MINIMAL}{text}"), "n").unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

fn only_fault(text: &str) -> String {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].clone()
}

#[test]
fn the_sample_shows_the_defaults() {
    let sample = include_str!("../../../docs/offrampd.sample.yaml");
    let mut config = Config::parse(sample, "n").unwrap();
    let Source::Standalone(standalone) = &mut config.source else { panic!("standalone") };
    assert_eq!(standalone.peers_file.take(), Some("/etc/offramp/peers.yaml".into()));
    assert_eq!(config, Config::parse(MINIMAL, "n").unwrap());
}

/// Every key of the sample that is commented out is known too, and its example is valid.
#[test]
fn the_samples_comments_are_valid() {
    let sample = include_str!("../../../docs/offrampd.sample.yaml");
    let uncommented: Vec<&str> = sample.lines().map(|line| line.strip_prefix("#:").unwrap_or(line)).collect();
    let config = Config::parse(&uncommented.join("\n"), "n").unwrap();
    assert_eq!(config.node.name.as_str(), "node-a");
    assert!(config.cluster_cidrs.is_some() && !config.node.addresses.is_empty());
    assert_eq!((config.pools.len(), config.nics.len()), (1, 1));
}

#[test]
fn defaults() {
    let config = Config::parse(MINIMAL, "n").unwrap();
    assert_eq!(config.node.name.as_str(), "n");
    assert_eq!(config.paths.cdi, Path::new("/var/run/cdi"));
    let kubelet = (config.kubelet.interval, config.kubelet.settling);
    assert_eq!(kubelet, (Duration::from_secs(10), Duration::from_mins(1)));
    assert_eq!((config.paths.kubelet, config.paths.sysfs), ("/var/lib/kubelet".into(), "/sys".into()));
    assert_eq!(config.paths.socket, PathBuf::from("/run/offramp/offrampd.sock"));
    assert_eq!(config.http, Some("127.0.0.1:9810".parse().unwrap()));
    assert_eq!((config.overlay.vni, config.overlay.port), (1, 4789));
    assert_eq!(config.cni, None);
    let Source::Standalone(standalone) = &config.source else { panic!("standalone") };
    assert_eq!(standalone.ranges.iter().map(|r| r.subnet.is_ipv4()).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn unknown_keys_wrong_shapes_and_duplicates_are_placed() {
    assert_eq!(
        only_fault("bridge:\n  mut: 1500\n"),
        "line 3, column 3: bridge.mut: unknown field `mut`, expected one of name, mtu, hairpin"
    );
    assert_eq!(
        only_fault("overlays: {}\n"),
        "line 2, column 1: overlays: unknown field `overlays`, expected one of node, cluster, bridge, path, overlay, \
         masquerade, paths, cni, http, log, reconcile, reclaim, kubelet, pools, nics, embeddedSwitch, networks, \
         offloads"
    );
    assert!(only_fault("log:\n  level: info\n  level: debug\n").starts_with("line 4, column 3: log"));
    assert!(only_fault("log: info\n").starts_with("line 2, column 6: log: "));
    assert!(only_fault("log: [\n").starts_with("line 2, column 6: "));
}

#[test]
fn all_wrong_values_are_told_at_once_and_in_order() {
    let text = "\
node: {name: Node_1, addresses: [192.0.2.1, 127.0.0.1, x], uplink: a/b}
bridge: {name: ofabcdefghijklm, mtu: 1000, hairpin: maybe}
overlay: {mode: gre, vni: 16777216, port: 0, underlay: v4}
masquerade: {exceptCIDRs: [10.0.0.1/8, 10.0.0.0]}
http: {address: localhost}
log: {level: loud, format: xml}
reconcile: {interval: 10ms}
reclaim: {interval: 5 minutes}
paths: {stateDir: run}
";
    assert_eq!(faults(text).join("\n"), "\
line 2, column 14: node.name: node name \"Node_1\" is not valid: a node name has at most 253 characters: parts of lower-case letters, digits and '-' between dots
line 2, column 45: node.addresses[1]: 127.0.0.1 is not an address that peers can reach
line 2, column 56: node.addresses[2]: \"x\" is not an IP address
line 2, column 68: node.uplink: interface name \"a/b\" is not valid: an interface name has no '/', ':' or white space
line 3, column 16: bridge.name: \"ofabcdefghijklm\" is not allowed: names of this form are those of pods' interfaces
line 3, column 38: bridge.mtu: \"1000\" is not allowed; allowed: a whole number from 1280 to 65535, or auto
line 3, column 53: bridge.hairpin: \"maybe\" is not allowed; allowed: true, false
line 4, column 17: overlay.mode: \"gre\" is not allowed; allowed: auto, vxlan, direct, none
line 4, column 27: overlay.vni: \"16777216\" is not allowed; allowed: a whole number from 1 to 16777215
line 4, column 43: overlay.port: \"0\" is not allowed; allowed: a whole number from 1 to 65535
line 4, column 56: overlay.underlay: \"v4\" is not allowed; allowed: auto, ipv4, ipv6
line 5, column 28: masquerade.exceptCIDRs[0]: 10.0.0.1/8 has host bits set; its network is 10.0.0.0/8
line 5, column 40: masquerade.exceptCIDRs[1]: \"10.0.0.0\" is not a network; allowed: such as 10.244.1.0/24 or fd00:244:1::/64
line 6, column 17: http.address: \"localhost\" is not allowed; allowed: none, or an address and a port such as 127.0.0.1:9810 or [::1]:9810
line 7, column 14: log.level: \"loud\" is not allowed; allowed: error, warn, info, debug, trace
line 7, column 28: log.format: \"xml\" is not allowed; allowed: text, json
line 8, column 23: reconcile.interval: \"10ms\" is not allowed; allowed: 100ms to 86400s, such as 30s, 5m or 1h
line 9, column 21: reclaim.interval: \"5 minutes\" is not allowed; allowed: 100ms to 86400s, such as 30s, 5m or 1h
line 10, column 19: paths.stateDir: \"run\" is not an absolute path");
}

#[test]
fn the_network_configuration_is_written_where_it_is_said() {
    let cni = |text: &str| Config::parse(&format!("{MINIMAL}cni: {{{text}}}\n"), "n").unwrap().cni;
    let written = cni("confDir: /etc/cni/net.d").unwrap();
    assert_eq!(written.path(), PathBuf::from("/etc/cni/net.d/05-offramp.conflist"));
    assert_eq!(written.version, CniVersion::Negotiated);
    assert_eq!(cni("confDir: /c, version: 1.0.0").unwrap().version, CniVersion::V1_0);
    assert_eq!(cni("confDir: none, confFile: 10-x.conflist"), None);
    assert_eq!(
        faults("cni: {confDir: etc, confFile: x.conf, version: \"1.2\"}").join("\n"),
        "line 2, column 16: cni.confDir: \"etc\" is not an absolute path, or none\n\
         line 2, column 31: cni.confFile: \"x.conf\" is not allowed; allowed: a file name that ends with .conflist, \
         such as 05-offramp.conflist\n\
         line 2, column 48: cni.version: \"1.2\" is not allowed; allowed: auto, 1.0.0, 1.1.0"
    );
    for name in ["a/b.conflist", ".x.conflist", ".conflist"] {
        assert!(only_fault(&format!("cni: {{confFile: {name}}}\n")).contains("cni.confFile"), "{name}");
    }
}

#[test]
fn the_path_is_veth_unless_another_is_named() {
    let path = |text: &str| Config::parse(&format!("{MINIMAL}{text}"), "n").unwrap().path;
    assert_eq!((path(""), path("path: netkit\n")), (PairWish::Veth, PairWish::Netkit));
    assert_eq!(path("path: netkit-l3\n"), PairWish::NetkitL3);
    let refused = only_fault("path: netkit-L3\n");
    assert!(refused.starts_with("line 2, column 7: path: \"netkit-L3\" is not allowed; "), "{refused}");
}

#[test]
fn pod_networks() {
    let told = |list: &str| {
        let text = format!("cluster: {{source: standalone, podCIDRs: [{list}]}}\n");
        let faults = Config::parse(&text, "n").unwrap_err();
        faults.iter().map(|f| f.why.clone()).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(told("10.1.0.0/16, 10.2.0.0/24, 10.1.7.0/24"), "10.1.7.0/24 and 10.1.0.0/16 overlap");
    assert_eq!(
        told("10.1.0.0/31"),
        "subnet 10.1.0.0/31 is too small: it has no room for a gateway and a pod"
    );
    assert_eq!(told("127.0.0.0/24"), "127.0.0.0/24 is not a network that pods can have");
    assert!(told("").starts_with("at least one network is needed"));
    let several = "cluster: {source: standalone, podCIDRs: [10.1.0.0/24, \"fd00::/64\", 10.2.0.0/24]}";
    let Source::Standalone(standalone) = Config::parse(several, "n").unwrap().source else {
        panic!("standalone")
    };
    assert_eq!(standalone.ranges.len(), 3);
}

#[test]
fn what_does_not_fit_together() {
    assert_eq!(
        only_fault("bridge: {name: br0}\noverlay: {device: br0}\n"),
        "line 3, column 19: overlay.device: br0 is the bridge's name too"
    );
    assert_eq!(only_fault("node: {uplink: offramp0}\n"), "bridge.name: offramp0 is the uplink");
    assert_eq!(
        only_fault("node: {addresses: [192.0.2.1]}\noverlay: {underlay: ipv6}\n"),
        "line 3, column 21: overlay.underlay: node.addresses has no IPv6 address"
    );
    assert_eq!(
        only_fault("node: {addresses: [192.0.2.1]}\noverlay: {mode: direct}\n"),
        "line 3, column 17: overlay.mode: direct routes for IPv6 pods need an IPv6 address in node.addresses"
    );
    let deep = format!("/{}", "d".repeat(100));
    assert!(only_fault(&format!("paths: {{stateDir: {deep}}}\n")).starts_with("paths.socket: /ddd"));
    assert!(only_fault(&format!("paths: {{kubelet: {deep}}}\n")).contains("paths.kubelet: it is longer"));
}

#[test]
fn what_is_missing_is_told() {
    let faults = Config::parse("", "Bad_Host").unwrap_err();
    let keys: Vec<&str> = faults.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(keys, ["node.name", "cluster.source", "cluster.podCIDRs"]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    let told = |path: &Path| Config::load(path, "n").unwrap_err().to_string();
    assert!(told(&path).starts_with(&format!("read {}: No such file", path.display())));
    std::fs::write(&path, format!("{MINIMAL}log: {{level: a, format: b}}\n")).unwrap();
    let two = told(&path);
    assert!(
        two.starts_with(&format!("{}: 2 mistakes\n  line 2, column 14: log.level: ", path.display())),
        "{two}"
    );
    std::fs::write(&path, format!("{MINIMAL}log: {{level: a}}\n")).unwrap();
    assert!(told(&path).starts_with(&format!("{}: line 2, column 14: log.level: ", path.display())));
}

#[test]
fn kubernetes_tells_what_standalone_is_told_here() {
    let config = |text: &str| Config::parse(&format!("cluster:\n  source: kubernetes\n{text}"), "n");
    assert_eq!(config("").unwrap().source, Source::Kubernetes(Kubernetes::default()));
    let text = "  kubernetes: {kubeconfig: /etc/k, apiServer: \"https://[2001:db8::10]:6443\", unavailableAfter: 2m, nodeLabels: true}\n";
    let Source::Kubernetes(kubernetes) = config(text).unwrap().source else { panic!("kubernetes") };
    assert_eq!(kubernetes.api_server.unwrap().to_string(), "https://[2001:db8::10]:6443/");
    assert_eq!((kubernetes.unavailable_after, kubernetes.node_labels), (Duration::from_mins(2), true));
    let faults =
        config("  podCIDRs: [10.244.1.0/24]\n  peersFile: /p\n  kubernetes: {apiServer: 192.0.2.1}\n")
            .unwrap_err();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "line 3, column 14: cluster.podCIDRs: it is not allowed with source kubernetes: the API tells",
            "line 4, column 14: cluster.peersFile: it is not allowed with source kubernetes: the API tells",
            "line 5, column 27: cluster.kubernetes.apiServer: \"192.0.2.1\" is not allowed; allowed: a URL such as \
             https://192.0.2.10:6443 or https://[2001:db8::10]:6443",
        ]
    );
}

#[test]
fn what_nics_offer_is_used_as_it_is_said() {
    let said = |text: &str| Config::parse(&format!("{MINIMAL}{text}"), "n").unwrap().offloads;
    let (default, other) = (said(""), said("offloads: {bigTcp: auto, tunnelPort: leave}\n"));
    assert!(default.tunnel_port && !default.big_tcp && !other.tunnel_port && other.big_tcp);
    assert_eq!(said("offloads: {bigTcp: off, tunnelPort: auto}\n"), default, "with no quotes");
    assert_eq!(
        only_fault("offloads: {bigTcp: always}\n"),
        "line 2, column 20: offloads.bigTcp: \"always\" is not allowed; allowed: auto, off"
    );
}
