//! From the configuration as written to the configuration as meant. Goes on past mistakes, to report all.

use super::fault::Fault;
use super::raw;
use super::source::{absolute, cidr};
use super::yaml::{Checker, Text, boolean, duration, number, one_of};
use super::{
    Bridge, Config, Kubelet, Log, LogFormat, Masquerade, Node, Overlay, OverlayMode, Paths, Source,
    Standalone,
};
use offramp_core::net::Family;
use offramp_core::pair::PairWish;
use offramp_core::peer::is_node_address;
use offramp_core::{IfName, Mtu, NodeName};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Below it IPv6 does not work (RFC 8200, section 5).
const IPV6_MIN_MTU: u32 = 1280;

/// `sun_path` has 108 bytes, one of them for the closing zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Leaves room for `/pod-resources/kubelet.sock`, and for the device plugins' sockets, whose names are cut.
const MAX_KUBELET_PATH: usize = 60;

pub(super) fn config(raw: raw::Root, hostname: &str) -> Result<Config, Vec<Fault>> {
    let raw::Root {
        node,
        cluster,
        bridge,
        path,
        overlay,
        masquerade,
        paths,
        cni,
        http,
        log,
        reconcile,
        reclaim,
        kubelet,
        pools,
        nics,
        embedded_switch,
        networks,
        offloads,
    } = raw;
    let (cluster, bridge) = (cluster.unwrap_or_default(), bridge.unwrap_or_default());
    let overlay = overlay.unwrap_or_default();
    let mut check = Checker::default();
    let name = node_name(&mut check, node.as_ref().and_then(|n| n.name.as_ref()), hostname);
    let node = self::node(&mut check, name, node.unwrap_or_default());
    let source = super::source::source(&mut check, &cluster);
    let (pools, queue_pools) = super::pools::pools(&mut check, &pools.unwrap_or_default());
    let config = Config {
        cluster_cidrs: super::source::cluster_cidrs(&mut check, &cluster),
        bridge: self::bridge(&mut check, &bridge, &source),
        path: self::path(&mut check, path.as_ref()),
        overlay: self::overlay(&mut check, &overlay, &node, &source),
        masquerade: self::masquerade(&mut check, masquerade.unwrap_or_default()),
        paths: self::paths(&mut check, paths.unwrap_or_default()),
        cni: super::cni::cni(&mut check, cni.unwrap_or_default()),
        http: self::http(&mut check, http.unwrap_or_default()),
        log: self::log(&mut check, log.unwrap_or_default()),
        reconcile_interval: interval(&mut check, "reconcile.interval", reconcile, 30),
        reclaim_interval: interval(&mut check, "reclaim.interval", reclaim, 60),
        kubelet: self::kubelet(&mut check, kubelet.unwrap_or_default()),
        pools,
        queue_pools,
        nics: super::nics::nics(&mut check, &nics.unwrap_or_default()),
        embedded_switch: super::nics::embedded_switch(&mut check, &embedded_switch.unwrap_or_default()),
        offloads: super::offloads::offloads(&mut check, &offloads.unwrap_or_default()),
        networks: super::networks::networks(&mut check, &networks.unwrap_or_default(), &source),
        source,
        node,
    };
    device_names(&mut check, &config, &bridge, &overlay);
    for (i, pool) in
        config.pools.iter().enumerate().filter(|(_, p)| p.bridge.as_ref() == Some(&config.bridge.name))
    {
        let why = format!("{} is the pods' own: there VFs are eth0", config.bridge.name);
        check.fault(&format!("pools[{i}].bridge"), None, format!("of {}: {why}", pool.name));
    }
    let faults = check.finish();
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn node_name(check: &mut Checker, raw: Option<&Text>, hostname: &str) -> NodeName {
    let given = check.opt("node.name", raw, str::parse);
    given.unwrap_or_else(|| {
        hostname.parse().unwrap_or_else(|why| {
            if raw.is_none() {
                check.fault("node.name", None, format!("it is not set, and the hostname will not do: {why}"));
            }
            constant("node")
        })
    })
}

fn node(check: &mut Checker, name: NodeName, raw: raw::Node) -> Node {
    let raw::Node { name: _, addresses, uplink } = raw;
    let addresses = addresses.unwrap_or_default();
    let addresses = check.list("node.addresses", &addresses, |text| {
        let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is not an IP address"))?;
        if is_node_address(ip) { Ok(ip) } else { Err(format!("{ip} is not an address that peers can reach")) }
    });
    let uplink = check.opt("node.uplink", uplink.as_ref(), str::parse);
    Node { name, addresses: addresses.into_iter().map(|(_, ip)| ip).collect(), uplink }
}

fn bridge(check: &mut Checker, raw: &raw::Bridge, source: &Source) -> Bridge {
    let raw::Bridge { name, mtu, hairpin } = raw;
    let ipv6 = match source {
        Source::Standalone(standalone) => standalone.ranges.iter().any(|r| r.subnet.is_ipv6()),
        // It may come.
        Source::Kubernetes(_) => true,
    };
    let least = if ipv6 { IPV6_MIN_MTU } else { 68 };
    let parsed = check.opt("bridge.mtu", mtu.as_ref(), |text| {
        if text == "auto" {
            return Ok(None);
        }
        let mtu = number(u64::from(least), 65535)(text).map_err(|why| format!("{why}, or auto"))?;
        Mtu::try_from(mtu).map(Some).map_err(|e| e.to_string())
    });
    Bridge {
        name: check
            .opt("bridge.name", name.as_ref(), device)
            .unwrap_or_else(|| constant(crate::DEFAULT_BRIDGE)),
        mtu: parsed.flatten(),
        hairpin: check.opt("bridge.hairpin", hairpin.as_ref(), boolean).unwrap_or(true),
    }
}

fn path(check: &mut Checker, raw: Option<&Text>) -> PairWish {
    let read = |text: &str| text.parse().map_err(|e: offramp_core::CniError| e.msg);
    check.opt("path", raw, read).unwrap_or_default()
}

fn overlay(check: &mut Checker, raw: &raw::Overlay, node: &Node, source: &Source) -> Overlay {
    let raw::Overlay { mode, vni, port, device: name, underlay } = raw;
    let modes = [
        ("auto", OverlayMode::Auto),
        ("vxlan", OverlayMode::Vxlan),
        ("direct", OverlayMode::Direct),
        ("none", OverlayMode::None),
    ];
    let families = [("auto", None), ("ipv4", Some(Family::V4)), ("ipv6", Some(Family::V6))];
    let vni = check.opt("overlay.vni", vni.as_ref(), number(1, (1 << 24) - 1));
    let port = check.opt("overlay.port", port.as_ref(), number(1, 65535));
    let overlay = Overlay {
        mode: check.opt("overlay.mode", mode.as_ref(), one_of(&modes)).unwrap_or(OverlayMode::Auto),
        vni: vni.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        port: port.and_then(|n| u16::try_from(n).ok()).unwrap_or(4789),
        device: check
            .opt("overlay.device", name.as_ref(), device)
            .unwrap_or_else(|| constant(crate::DEFAULT_VXLAN)),
        underlay: check.opt("overlay.underlay", underlay.as_ref(), one_of(&families)).flatten(),
    };
    families_fit(check, raw, &overlay, node, source);
    overlay
}

/// Whether the node's addresses, where they are given, can carry what the overlay is to carry.
fn families_fit(check: &mut Checker, raw: &raw::Overlay, overlay: &Overlay, node: &Node, source: &Source) {
    if node.addresses.is_empty() || overlay.mode == OverlayMode::None {
        return;
    }
    let has = |family| node.addresses.iter().any(|ip| Family::of(*ip) == family);
    if let Some(family) = overlay.underlay.filter(|f| !has(*f)) {
        let why = format!("node.addresses has no {family} address");
        check.fault("overlay.underlay", raw.underlay.as_ref(), why);
    }
    // What families pods will have is not known before the Node is.
    let Source::Standalone(Standalone { ranges, .. }) = source else { return };
    if overlay.mode == OverlayMode::Direct {
        for family in Family::ALL {
            if ranges.iter().any(|r| Family::of(r.gateway) == family) && !has(family) {
                let why =
                    format!("direct routes for {family} pods need an {family} address in node.addresses");
                check.fault("overlay.mode", raw.mode.as_ref(), why);
            }
        }
    }
}

/// Bridge, tunnel and uplink are three devices.
fn device_names(check: &mut Checker, config: &Config, bridge: &raw::Bridge, overlay: &raw::Overlay) {
    let (bridge_name, device) = (&config.bridge.name, &config.overlay.device);
    if bridge_name == device {
        let at = overlay.device.as_ref().or(bridge.name.as_ref());
        check.fault("overlay.device", at, format!("{device} is the bridge's name too"));
    }
    if config.node.uplink.as_ref() == Some(bridge_name) {
        check.fault("bridge.name", bridge.name.as_ref(), format!("{bridge_name} is the uplink"));
    }
    if config.node.uplink.as_ref() == Some(device) {
        check.fault("overlay.device", overlay.device.as_ref(), format!("{device} is the uplink"));
    }
}

fn masquerade(check: &mut Checker, raw: raw::Masquerade) -> Masquerade {
    let raw::Masquerade { enabled, except_cidrs } = raw;
    let except = except_cidrs.unwrap_or_default();
    Masquerade {
        enabled: check.opt("masquerade.enabled", enabled.as_ref(), boolean).unwrap_or(true),
        except: check.list("masquerade.exceptCIDRs", &except, cidr).into_iter().map(|(_, net)| net).collect(),
    }
}

fn paths(check: &mut Checker, raw: raw::Paths) -> Paths {
    let raw::Paths { state_dir, socket, kubelet, cdi, sysfs, sysctl } = raw;
    let state_dir = check
        .opt("paths.stateDir", state_dir.as_ref(), absolute)
        .unwrap_or_else(|| crate::DEFAULT_STATE_DIR.into());
    let given = check.opt("paths.socket", socket.as_ref(), absolute);
    let socket_path = given.unwrap_or_else(|| state_dir.join(crate::SOCKET_NAME));
    let len = socket_path.as_os_str().len();
    if len > MAX_SOCKET_PATH {
        let why = format!("{} has {len} bytes; allowed: {MAX_SOCKET_PATH}", socket_path.display());
        check.fault("paths.socket", socket.as_ref(), why);
    }
    let kubelet_path = check
        .opt("paths.kubelet", kubelet.as_ref(), absolute)
        .unwrap_or_else(|| crate::DEFAULT_KUBELET_DIR.into());
    if kubelet_path.as_os_str().len() > MAX_KUBELET_PATH {
        let why = format!("it is longer than {MAX_KUBELET_PATH} bytes: kubelet's sockets are below it");
        check.fault("paths.kubelet", kubelet.as_ref(), why);
    }
    let cdi = check.opt("paths.cdi", cdi.as_ref(), absolute).unwrap_or_else(|| crate::DEFAULT_CDI_DIR.into());
    let sysfs = check.opt("paths.sysfs", sysfs.as_ref(), absolute).unwrap_or_else(|| "/sys".into());
    let sysctl = check.opt("paths.sysctl", sysctl.as_ref(), absolute);
    Paths {
        state_dir,
        socket: socket_path,
        kubelet: kubelet_path,
        cdi,
        sysfs,
        sysctl: sysctl.unwrap_or_else(|| "/proc/sys/net".into()),
    }
}

fn kubelet(check: &mut Checker, raw: raw::Kubelet) -> Kubelet {
    let raw::Kubelet { interval, settling } = raw;
    let least = |millis| duration(Duration::from_millis(millis), Duration::from_hours(1));
    let interval = check.opt("kubelet.interval", interval.as_ref(), least(100));
    let settling = check.opt("kubelet.settling", settling.as_ref(), least(0));
    Kubelet {
        interval: interval.unwrap_or(Duration::from_secs(10)),
        settling: settling.unwrap_or(Duration::from_mins(1)),
    }
}

fn http(check: &mut Checker, raw: raw::Http) -> Option<SocketAddr> {
    let raw::Http { address } = raw;
    let parsed = check.opt("http.address", address.as_ref(), |text| match text {
        "none" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| {
            format!("{text:?} is not allowed; allowed: none, or an address and a port such as 127.0.0.1:9810 or [::1]:9810")
        }),
    });
    parsed.unwrap_or_else(|| Some(SocketAddr::from(([127, 0, 0, 1], crate::DEFAULT_HTTP_PORT))))
}

fn log(check: &mut Checker, raw: raw::Log) -> Log {
    let raw::Log { level, format } = raw;
    let levels = [
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: check.opt("log.level", level.as_ref(), one_of(&levels)).unwrap_or(tracing::Level::INFO),
        format: check.opt("log.format", format.as_ref(), one_of(&formats)).unwrap_or(LogFormat::Text),
    }
}

fn interval(check: &mut Checker, key: &str, raw: Option<raw::Interval>, default_secs: u64) -> Duration {
    let raw::Interval { interval } = raw.unwrap_or_default();
    let bounds = duration(Duration::from_millis(100), Duration::from_hours(24));
    check.opt(key, interval.as_ref(), bounds).unwrap_or(Duration::from_secs(default_secs))
}

/// The name of a device that Offramp makes. Attachments' devices derive their names from a hash
/// ([`offramp_core::plan::host_ifname`]), which must not be mistaken for another link.
fn device(text: &str) -> Result<IfName, String> {
    let derived = text.len() == 15 && (text.starts_with("of") || text.starts_with("ob"));
    if derived && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return Err(format!("{text:?} is not allowed: names of this form are those of pods' interfaces"));
    }
    text.parse().map_err(|e: offramp_core::ids::Invalid| e.to_string())
}

/// A default, known to be valid.
#[expect(clippy::expect_used, reason = "only called with literals, all of which the tests pass through here")]
fn constant<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &'static str) -> T {
    text.parse().expect("a valid default")
}
