//! Messages that real drivers sent, little-endian as all machines are that they came from.

use super::{bitset, counts, features, of, rss, tunnels};
use crate::message::Message;
use offramp_core::offload::{Channels, Feature, Ring, Rss, TunnelPort, TunnelTable};

const IGB: &str = include_str!("recorded/igb.txt");
const NETDEVSIM: &str = include_str!("recorded/netdevsim.txt");

fn recorded(from: &str, name: &str) -> Message {
    let hex = from.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    Message { kind: 0, body: bytes.collect() }
}

#[test]
fn features_of_all_four_sets_are_put_together() {
    let features = features::features(&recorded(IGB, "features"));
    let of = |name: &str| features.get(name);
    assert_eq!(of("tx-checksum-ip-generic"), Some(Feature { on: true, fixed: false, wanted: true }));
    assert_eq!(of("rx-all"), Some(Feature { on: false, fixed: false, wanted: false }));
    assert_eq!(of("rx-vlan-filter"), Some(Feature { on: true, fixed: true, wanted: false }));
    assert_eq!(of("hw-tc-offload"), Some(Feature { on: false, fixed: true, wanted: false }));
    assert_eq!(of("tx-warp"), None);
    assert_eq!(features.0.len(), 59);
}

#[test]
fn numbers() {
    let channels = counts::channels(&recorded(IGB, "channels"));
    assert_eq!(channels, Channels { combined: 1, other: 1, max_combined: 2, ..Channels::default() });
    let rings = counts::rings(&recorded(IGB, "rings"));
    assert_eq!((rings.rx, rings.tx.now, rings.tcp_data_split), (Ring { now: 256, max: 4096 }, 256, None));
    let coalescing = counts::coalescing(&recorded(IGB, "coalescing"));
    assert_eq!(coalescing, [("rx-usecs".to_owned(), 3), ("tx-usecs".to_owned(), 3)].into());
    let flags = bitset::bits(&of(&Some(recorded(IGB, "private-flags")), super::A_PRIVFLAGS_FLAGS));
    assert_eq!(
        flags.iter().map(|bit| (bit.name.as_str(), bit.on)).collect::<Vec<_>>(),
        [("legacy-rx", false)]
    );
}

#[test]
fn the_table_of_rss() {
    let expected = Rss { key_bytes: 40, table: 128, queues: vec![0, 1], ..Rss::default() };
    assert_eq!(rss::table(&recorded(IGB, "rss")), expected);
}

#[test]
fn tables_of_tunnel_ports() {
    let tables = tunnels::tables(&recorded(NETDEVSIM, "tunnel-ports"));
    let port = |port| TunnelPort { kind: "vxlan".into(), port };
    assert_eq!(
        tables,
        [
            TunnelTable { types: vec!["vxlan".into()], size: 4, ports: vec![port(4789), port(4788)] },
            TunnelTable { types: vec!["geneve".into(), "vxlan-gpe".into()], size: 4, ports: vec![] },
        ]
    );
}

/// What comes in pieces, or is none, leads to nothing worse than nothing.
#[test]
fn messages_cut_short_are_no_fault() {
    for (from, name) in [(IGB, "features"), (IGB, "rss"), (IGB, "channels"), (NETDEVSIM, "tunnel-ports")] {
        let whole = recorded(from, name);
        for len in 0..whole.body.len() {
            let cut = Message { kind: 0, body: whole.body[..len].to_vec() };
            let _ = (features::features(&cut), counts::channels(&cut), counts::coalescing(&cut));
            let _ = (rss::table(&cut), tunnels::tables(&cut));
        }
    }
}
