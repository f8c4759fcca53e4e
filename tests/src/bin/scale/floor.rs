//! The kernel's own time for the messages that the daemon sends: the very same batches, made beforehand, in a namespace
//! where nothing of it is yet.

use super::remote;
use nix::libc::{NLM_F_ACK, NLM_F_REQUEST};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use offramp_core::ids::{Mtu, Vni};
use offramp_core::overlay::{Actual, Mode, Node, Settings, Underlay, VXLAN_PORT, desired, diff};
use offramp_core::peer::Peer;
use offramp_kernel::netlink::Request;
use offramp_kernel::overlay::{Links, batches};
use offramp_tests::Lab;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const DEVICE: &str = "offramp-vxlan";
/// struct nlmsghdr, and the type of an answer (include/uapi/linux/netlink.h).
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;

pub struct Floor {
    pub time: Duration,
    pub batches: usize,
}

/// For so many peers.
pub fn measure(lab: &Lab, peers: u32) -> Floor {
    let fresh = lab.netns("floor");
    for line in [
        "link add up0 type bridge",
        "addr add 10.99.0.1/16 dev up0",
        "link set up0 up",
        "link add pods0 type bridge",
        "addr add 10.244.1.1/24 dev pods0",
        "addr add fd44:1::1/64 dev pods0 nodad",
        "link set pods0 up",
        "link add offramp-vxlan type vxlan id 1 local 10.99.0.1 dev up0 dstport 4789 nolearning",
        "link set offramp-vxlan up",
    ] {
        fresh.ip(line);
    }
    let index = |name: &str| fresh.link(name).unwrap()["ifindex"].as_u64().unwrap() as u32;
    let links = Links { tunnel: Some(index(DEVICE)), uplink: Some(index("up0")) };
    let peers: Vec<Peer> = (0..peers).map(remote::peer).collect();
    let settings = Settings {
        mode: Mode::Vxlan,
        device: DEVICE.parse().unwrap(),
        vni: Vni::try_from(1).unwrap(),
        port: VXLAN_PORT,
        family: None,
    };
    let node = Node {
        name: "n1".parse().unwrap(),
        mac: None,
        gateways: vec!["10.244.1.1".parse().unwrap(), "fd44:1::1".parse().unwrap()],
        pod_mtu: Mtu::try_from(1450).ok(),
    };
    let addresses = vec!["10.99.0.1/16".parse().unwrap()];
    let underlay = Underlay { index: index("up0"), name: "up0".into(), mtu: 1500, addresses };
    let (wanted, has) = (desired(&settings, &node, &underlay, &peers), Actual::default());
    let encoded: Vec<Vec<u8>> = batches(DEVICE, &links, diff(&wanted, &has))
        .map(|batch| encode(&batch.into_iter().map(|(_, request)| request).collect::<Vec<_>>()))
        .collect();
    let time = fresh.inside(|| send_all(&encoded));
    let there =
        fresh.run(&format!("bridge fdb show dev {DEVICE}")).lines().filter(|l| l.contains("dst ")).count();
    assert_eq!(there, peers.len());
    Floor { time, batches: encoded.len() }
}

/// As the daemon's socket does: only the last is acknowledged.
fn encode(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let ack = if at + 1 == requests.len() { NLM_F_ACK } else { 0 };
        let flags = request.flags | (NLM_F_REQUEST | ack) as u16;
        bytes.extend(((HEADER + request.message.body.len()) as u32).to_ne_bytes());
        bytes.extend(request.message.kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&request.message.body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn send_all(batches: &[Vec<u8>]) -> Duration {
    let netlink: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .unwrap();
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, 0)).unwrap();
    let mut answer = vec![0; 64 << 10];
    let began = Instant::now();
    for batch in batches {
        send(netlink.as_raw_fd(), batch, MsgFlags::empty()).unwrap();
        let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        let (kind, code) = (&answer[4..6], &answer[HEADER..HEADER + 4]);
        assert_eq!((kind, code), (&NLMSG_ERROR.to_ne_bytes()[..], &[0; 4][..]), "{:?}", &answer[..len]);
    }
    began.elapsed()
}
