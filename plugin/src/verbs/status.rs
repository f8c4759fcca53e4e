//! STATUS: 50 when an ADD of a plain pod could not succeed, within 500 ms. Runtimes turn it into a node that is not
//! ready, so what is refused pod by pod never shows here.

use crate::client::{Client, Failure};
use crate::context::Context;
use crate::inline;
use crate::verbs::{gc::not_known, since};
use offramp_core::cni::config::ModeConf;
use offramp_core::cni::ipam::Ipam;
use offramp_core::cni::{CniError, Verb, Version};
use offramp_core::wire::Request;
use std::time::Duration;

/// The daemon answers in microseconds; the rest of the 500 ms is the runtime's.
const PATIENCE: Duration = Duration::from_millis(300);
/// A daemon that is away for less is being upgraded: ADD waits for it, and the node stays ready.
const UPGRADE: Duration = Duration::from_secs(30);
/// Touched by the daemon while it lives.
const SEEN: &str = "offrampd.seen";

/// Asks.
pub fn run(cx: &mut Context) -> Result<(), CniError> {
    since(Verb::Status, Version::V1_1_0, cx.conf.version)?;
    match &cx.conf.mode {
        ModeConf::Node => node(cx),
        ModeConf::Inline { ipam, .. } => match &**ipam {
            Ipam::None => Ok(()),
            Ipam::Delegate { plugin } => {
                inline::delegate(cx, plugin).ask(Verb::Status, None, "").or_else(not_known)
            }
            Ipam::Own(own) => {
                let sets = inline::range_sets(cx, own)?;
                let addresses = cx.store.addresses(&cx.conf.name, own.data_dir.as_deref());
                addresses.peek_free(&sets).map_err(|e| CniError::unavailable(e.to_string()))
            }
        },
    }
}

fn node(cx: &Context) -> Result<(), CniError> {
    let asked = Client::connect(&cx.conf.local.socket, PATIENCE).and_then(|mut c| c.ask(Request::Ready));
    match asked {
        Ok(_) => Ok(()),
        Err(Failure::Refused(e, _)) => Err(CniError::unavailable(e.msg).with_details(e.details)),
        Err(Failure::Away(_)) if seen_lately(cx) => Ok(()),
        Err(Failure::Away(why)) => {
            Err(CniError::unavailable(format!("offrampd has been away for more than {UPGRADE:?}: {why}")))
        }
    }
}

fn seen_lately(cx: &Context) -> bool {
    let seen = std::fs::metadata(cx.conf.local.state_dir.join(SEEN)).and_then(|m| m.modified());
    seen.ok().and_then(|t| t.elapsed().ok()).is_some_and(|age| age < UPGRADE)
}
