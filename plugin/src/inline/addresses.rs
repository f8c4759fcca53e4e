//! Addresses of inline mode: what the configuration and the runtime want.

use crate::context::Context;
use offramp_core::cni::CniError;
use offramp_core::cni::ipam::OwnIpam;
use offramp_core::cni::result::Dns;
use offramp_core::ipam::{Range, check_disjoint};
use std::net::IpAddr;

/// The configuration's sets behind the runtime's, as host-local has it.
pub fn range_sets(cx: &Context, own: &OwnIpam) -> Result<Vec<Vec<Range>>, CniError> {
    let sets: Vec<_> = cx.conf.runtime.ip_ranges.iter().chain(&own.ranges).cloned().collect();
    if sets.is_empty() {
        return Err(CniError::config("field \"ipam.ranges\" is missing, and the runtime gave no ipRanges"));
    }
    check_disjoint(&sets)
        .map_err(|e| CniError::config(format!("ipam.ranges with the runtime's ipRanges: {e}")))?;
    Ok(sets)
}

/// The addresses asked for.
pub fn wanted<'a>(cx: &'a Context, own: &'a OwnIpam) -> impl Iterator<Item = IpAddr> + 'a {
    let asked = if cx.conf.runtime.ips.is_empty() { &cx.call.args.ips } else { &cx.conf.runtime.ips };
    asked.iter().chain(&own.ips).map(|net| net.ip())
}

/// resolv.conf(5), as far as CNI carries it.
pub fn resolv_conf(path: &std::path::Path) -> Result<Dns, CniError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| CniError::io(format!("read ipam.resolvConf {}: {e}", path.display())))?;
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => dns.nameservers.extend(words.take(1)),
            Some("domain") => dns.domain = words.next(),
            Some("search") => dns.search = words.collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    Ok(dns)
}
