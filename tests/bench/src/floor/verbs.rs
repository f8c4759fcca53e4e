//! ADD and DEL of the floor.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, State};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{ForkResult, fork};

use crate::batch::{ask, index_of, open, open_in, receive, run};
use crate::{Add, Until, requests};

/// How long a link may take to come up, or to go, before the floor gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// RTMGRP_LINK's group number (RTNLGRP_LINK of linux/rtnetlink.h).
const LINK_GROUP: u32 = 1;

/// Makes the pair, configures the pod end, and returns when both ends have carrier.
pub fn add(add: &Add) -> Result<(), String> {
    let netns = File::open(&add.netns).map_err(|e| format!("open {}: {e}", add.netns))?;
    let node = open().map_err(|e| format!("netlink socket: {e}"))?;
    let pod = open_in(&netns).map_err(|e| format!("netlink socket in {}: {e}", add.netns))?;

    let bridge = index_of(&node, &add.bridge)?;
    let pair = requests::create_pair(&add.host, bridge, &add.ifname, netns.as_raw_fd());
    let quiet = requests::no_link_local(requests::named(&add.host));
    run(&node, vec![pair, quiet, requests::up(requests::named(&add.host))])?;

    let index = index_of(&pod, &add.ifname)?;
    let mut batch = Vec::new();
    if add.addresses.iter().all(|address| address.is_ipv4()) {
        // An IPv4 pod has no use for a link-local address, and a full bridge suffers from its reports.
        batch.push(requests::no_link_local(requests::indexed(index)));
    }
    batch.extend(add.addresses.iter().map(|address| requests::address(index, *address)));
    batch.push(requests::up(requests::indexed(index)));
    batch.extend(add.gateways.iter().map(|gateway| requests::default_route(index, *gateway)));
    run(&pod, batch)?;

    wait_for_carrier(&node, &requests::named(&add.host))?;
    wait_for_carrier(&pod, &requests::indexed(index))
}

/// Until then the link's queue drops what is sent; reading the link makes the kernel hurry.
fn wait_for_carrier(socket: &Socket, link: &LinkMessage) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let RouteNetlinkMessage::NewLink(state) = ask(socket, requests::get(link.clone()))? else {
            return Err("read the link: an answer of another kind".into());
        };
        let carrier = state.attributes.contains(&LinkAttribute::Carrier(1));
        if carrier && state.attributes.contains(&LinkAttribute::OperState(State::Up)) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err("no carrier".into());
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Deletes the pair by its host end.
pub fn del(host: &str, until: Until) -> Result<(), String> {
    let node = open().map_err(|e| format!("netlink socket: {e}"))?;
    match until {
        Until::Ack => run(&node, vec![requests::delete(host)]),
        Until::Notification => del_until_notified(&node, host),
    }
}

/// The sender sits in the kernel's RCU barrier until long after the link is gone, and so would the exit of
/// its process: a child sends, this process listens and leaves.
fn del_until_notified(node: &Socket, host: &str) -> Result<(), String> {
    let mut listener = open().map_err(|e| format!("netlink socket: {e}"))?;
    listener.add_membership(LINK_GROUP).map_err(|e| format!("listen for links: {e}"))?;
    let patience = TimeVal::seconds(PATIENCE.as_secs() as i64);
    setsockopt(&listener, ReceiveTimeout, &patience).map_err(|e| format!("set a timeout: {e}"))?;

    // SAFETY: this process has one thread, so the child may do all that the parent may.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => {
            // Whoever waits for the end of our output must not wait for the barrier.
            for descriptor in 0..=2 {
                let _ = nix::unistd::close(descriptor);
            }
            let failed = run(node, vec![requests::delete(host)]).is_err();
            std::process::exit(i32::from(failed));
        }
        ForkResult::Parent { .. } => wait_for_notification(&mut listener, host),
    }
}

fn wait_for_notification(listener: &mut Socket, host: &str) -> Result<(), String> {
    let name = LinkAttribute::IfName(host.into());
    loop {
        for message in receive(listener).map_err(|e| format!("wait for the end of {host}: {e}"))? {
            let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) = message.payload else {
                continue;
            };
            // The bridge announces the loss of its port first, under its own family.
            if link.header.interface_family == AddressFamily::Unspec && link.attributes.contains(&name) {
                return Ok(());
            }
        }
    }
}
