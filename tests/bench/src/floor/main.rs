//! The kernel's floor: the least a process must do to give a pod a network, or to take it away.
//!
//! It sends the netlink requests that any bridge plugin needs, in two batches, waits until a packet would
//! pass, and ends. No addresses are chosen, no state is kept, no configuration is read: what another plugin
//! takes longer is the price of its own work.
//!
//! ```text
//! floor add --bridge BRIDGE --host NAME --netns PATH --ifname NAME (--address IP/LEN --gateway IP)...
//! floor del --host NAME --until ack|notification
//! ```

mod batch;
mod requests;
mod verbs;

use std::net::IpAddr;
use std::process::ExitCode;

use ipnetwork::IpNetwork;

/// What to make: one veth pair and the addresses of its pod end.
struct Add {
    pub bridge: String,
    pub host: String,
    pub netns: String,
    pub ifname: String,
    pub addresses: Vec<IpNetwork>,
    pub gateways: Vec<IpAddr>,
}

/// When a deletion counts as done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The kernel acknowledged it: after its RCU barrier.
    Ack,
    /// The kernel announced it: nobody finds the link any more.
    Notification,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((verb, rest)) if verb == "add" => parse_add(rest).and_then(|add| verbs::add(&add)),
        Some((verb, rest)) if verb == "del" => {
            parse_del(rest).and_then(|(host, until)| verbs::del(&host, until))
        }
        _ => Err("floor: the first argument is add or del".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("floor: {why}");
            ExitCode::FAILURE
        }
    }
}

fn parse_add(args: &[String]) -> Result<Add, String> {
    let mut add = Add {
        bridge: String::new(),
        host: String::new(),
        netns: String::new(),
        ifname: String::new(),
        addresses: Vec::new(),
        gateways: Vec::new(),
    };
    for (option, value) in pairs(args)? {
        match option {
            "--bridge" => add.bridge = value.into(),
            "--host" => add.host = value.into(),
            "--netns" => add.netns = value.into(),
            "--ifname" => add.ifname = value.into(),
            "--address" => add.addresses.push(value.parse().map_err(|e| format!("{value}: {e}"))?),
            "--gateway" => add.gateways.push(value.parse().map_err(|e| format!("{value}: {e}"))?),
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(add)
}

fn parse_del(args: &[String]) -> Result<(String, Until), String> {
    let (mut host, mut until) = (String::new(), Until::Ack);
    for (option, value) in pairs(args)? {
        match (option, value) {
            ("--host", name) => host = name.into(),
            ("--until", "ack") => until = Until::Ack,
            ("--until", "notification") => until = Until::Notification,
            (option, value) => return Err(format!("unknown option {option} {value}")),
        }
    }
    Ok((host, until))
}

fn pairs(args: &[String]) -> Result<Vec<(&str, &str)>, String> {
    let chunks = args.chunks_exact(2);
    if let [odd] = chunks.remainder() {
        return Err(format!("{odd} has no value"));
    }
    Ok(args.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect())
}
