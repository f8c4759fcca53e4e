//! The `ipam` block: Offramp's own (host-local's fields), or the name of a plugin to delegate to.

use super::{error::CniError, fields::Fields, result::Route};
pub use crate::ipam::Range;
use crate::ipam::RangeError;
use ipnetwork::IpNetwork;
use serde_json::Value;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How long a delegated plugin may take for a call: beside `ipam`, whose fields are the plugin's own.
const TIMEOUT: &str = "ipamTimeout";
/// Of [`TIMEOUT`], in seconds. The runtime gives a sandbox four minutes.
const TIMEOUTS: RangeInclusive<u64> = 1..=180;
/// Seconds, where the configuration says nothing: a DHCP lease can take half a minute.
const DEFAULT_TIMEOUT: u64 = 90;

/// Who gives addresses in inline mode.
#[derive(Debug, Clone, PartialEq)]
pub enum Ipam {
    /// Nobody: a link-layer attachment.
    None,
    /// Offramp itself, from ranges.
    Own(OwnIpam),
    /// A plugin found in `CNI_PATH`, called by the specification's delegation rules.
    Delegate {
        /// The `type`, a file name.
        plugin: String,
    },
}

/// Offramp's own IPAM for inline mode; the fields of `host-local`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnIpam {
    /// One address is given of each set.
    pub ranges: Vec<Vec<Range>>,
    /// Routes for the pod.
    pub routes: Vec<Route>,
    /// A resolv.conf to take the pod's DNS from.
    pub resolv_conf: Option<PathBuf>,
    /// Where the address files are kept; default: below the state directory.
    pub data_dir: Option<PathBuf>,
    /// Addresses asked for by the configuration itself.
    pub ips: Vec<IpNetwork>,
}

impl Ipam {
    /// Error 7 or 2 names the field.
    pub fn parse(value: Option<Value>) -> Result<Self, CniError> {
        let Some(value) = value.filter(|v| v.as_object().is_none_or(|o| !o.is_empty())) else {
            return Ok(Self::None);
        };
        let mut f = Fields::new("ipam", value)?;
        let plugin: String = f.require("type")?;
        if plugin != "offramp" {
            if plugin.contains('/') || plugin.starts_with('.') || plugin.is_empty() {
                return Err(CniError::config(format!(
                    "field \"ipam.type\" {plugin:?}: it must be a plugin's file name"
                )));
            }
            return Ok(Self::Delegate { plugin });
        }
        let mut ranges = parse_range_sets("ipam.ranges", f.take("ranges")?)?;
        if let Some(range) = legacy_range(&mut f)? {
            ranges.insert(0, vec![range]);
        }
        let own = OwnIpam {
            ranges,
            routes: f.take_or("routes", Vec::new())?,
            resolv_conf: f.take("resolvConf")?,
            data_dir: f.take("dataDir")?,
            ips: f.take_or("ips", Vec::new())?,
        };
        f.finish()?;
        crate::ipam::check_disjoint(&own.ranges)
            .map_err(|e| CniError::config(format!("field \"ipam.ranges\": {e}")))?;
        Ok(Self::Own(own))
    }

    /// Takes the fields of the configuration `f` that say who gives addresses. Error 7 or 2 names the field.
    pub fn take(f: &mut Fields) -> Result<Self, CniError> {
        let ipam = Self::parse(f.take("ipam")?)?;
        // Of any other the field stays where it is, and is an error: nobody would heed it.
        if matches!(ipam, Self::Delegate { .. })
            && let Some(seconds) = f.take::<u64>(TIMEOUT)?
            && !TIMEOUTS.contains(&seconds)
        {
            let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
            return Err(CniError::config(format!(
                "field {TIMEOUT:?} with value {seconds}: it must be {least} to {most} seconds"
            )));
        }
        Ok(ipam)
    }
}

/// How long a delegated plugin may take for a call with this configuration, which was taken apart before.
pub fn delegate_timeout(config: &Value) -> Duration {
    let seconds = config.get(TIMEOUT).and_then(Value::as_u64).filter(|s| TIMEOUTS.contains(s));
    Duration::from_secs(seconds.unwrap_or(DEFAULT_TIMEOUT))
}

/// `subnet`, `rangeStart`, `rangeEnd`, `gateway` beside `type`, as old configurations have them.
fn legacy_range(f: &mut Fields) -> Result<Option<Range>, CniError> {
    let subnet: Option<IpNetwork> = f.take("subnet")?;
    let (start, end, gateway): (Option<IpAddr>, Option<IpAddr>, Option<IpAddr>) =
        (f.take("rangeStart")?, f.take("rangeEnd")?, f.take("gateway")?);
    match subnet {
        Some(subnet) => {
            Range::new(subnet, start, end, gateway).map(Some).map_err(|e| named("ipam.subnet", &e))
        }
        None if start.or(end).or(gateway).is_some() => Err(CniError::config(
            "field \"ipam.subnet\" is missing, but rangeStart, rangeEnd or gateway is given",
        )),
        None => Ok(None),
    }
}

/// A list of range sets; `name` is the field's name in errors.
pub fn parse_range_sets(name: &str, value: Option<Value>) -> Result<Vec<Vec<Range>>, CniError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let sets: Vec<Vec<Value>> = serde_json::from_value(value)
        .map_err(|e| CniError::config(format!("field {name:?}: a list of lists of ranges: {e}")))?;
    let parse_set = |(i, set): (usize, Vec<Value>)| {
        if set.is_empty() {
            return Err(CniError::config(format!("field \"{name}[{i}]\": a range set cannot be empty")));
        }
        set.into_iter().enumerate().map(|(j, v)| parse_range(&format!("{name}[{i}][{j}]"), v)).collect()
    };
    sets.into_iter().enumerate().map(parse_set).collect()
}

fn parse_range(name: &str, value: Value) -> Result<Range, CniError> {
    let mut f = Fields::new(name, value)?;
    let subnet: IpNetwork = f.require("subnet")?;
    let range = Range::new(subnet, f.take("rangeStart")?, f.take("rangeEnd")?, f.take("gateway")?)
        .map_err(|e| named(name, &e))?;
    f.finish()?;
    Ok(range)
}

fn named(name: &str, e: &RangeError) -> CniError {
    CniError::config(format!("field {name:?}: {e}"))
}
