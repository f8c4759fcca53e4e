//! What plugin and command line say to the daemon, and its answers.
//!
//! A frame is a 4-byte big-endian length and that many bytes of JSON. A connection carries requests and their
//! answers in turn. Every request carries [`PROTOCOL`]; the daemon answers another one with code 103 and its own
//! number, so that a mismatch is a clear error and not a parse failure.

use crate::cni::error::CniError;
use crate::cni::runtime::RuntimeConfig;
use crate::ids::{AttachmentId, MacAddr, NetworkName};
use crate::record::{NetnsRef, PodRef, Record};
use crate::spec::{Bandwidth, HostPort};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The protocol's version.
pub const PROTOCOL: u32 = 1;

/// The largest frame: stdin's limit with room for its envelope.
pub const MAX_FRAME: usize = 1 << 20;

/// A request with its protocol version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`PROTOCOL`]
    pub protocol: u32,
    /// The request.
    pub request: Request,
}

/// What is asked of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Plan an attachment and reserve what it needs; the answer is the record, already on disk as `adding`.
    /// If the connection ends without `Commit` or `Abort`, the daemon takes it back.
    Prepare(Box<Prepare>),
    /// All steps were executed: the record becomes `ready`. Answered when its ports are mapped.
    Commit(Commit),
    /// All steps were executed, and the plugin itself has made the record `ready`, since there is no port to map.
    /// Not answered: the plugin does not wait for it.
    Committed(Commit),
    /// The plugin has undone its steps: forget the attachment.
    Abort {
        /// Whose.
        attachment: AttachmentId,
    },
    /// Take the attachment back, whatever is left of it. The caller holds the attachment's lock.
    Release {
        /// Whose.
        attachment: AttachmentId,
    },
    /// May an interface have these addresses? Whoever gave them, none may be a node's, or of the cluster's pods.
    Judge {
        /// The network, for messages.
        network: String,
        /// What its `ipam` gave.
        ips: Vec<IpAddr>,
    },
    /// Could an ADD of a plain pod succeed?
    Ready,
    /// The node's state, for the command line.
    Status,
    /// All records, for the command line.
    Attachments,
    /// The node's NICs, for the command line.
    Nics,
    /// Test anew what NICs promise; answered when that is done.
    Probe {
        /// First turn on again what was turned off, and leave it so.
        undo: bool,
    },
}

/// See [`Request::Prepare`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prepare {
    /// Whose.
    pub attachment: AttachmentId,
    /// The network's `name`.
    pub network: NetworkName,
    /// Where the plugin keeps records and locks, as device and inode: it must be the daemon's directory too, or
    /// each would take back what the other makes.
    pub state: (u64, u64),
    /// The pod's netns.
    pub netns: NetnsRef,
    /// The pod, where the runtime told.
    pub pod: Option<PodRef>,
    /// `ips`, or `IP=` of `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpNetwork>,
    /// `mac`, or `MAC=` of `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// `portMappings`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// `bandwidth`
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// `CNIDeviceInfoFile`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_info: Option<PathBuf>,
    /// The pod's annotations, where the runtime passes them; only those that Offramp reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Whether the caller executes the networks of a record. A plugin of before does not say so, and would pass over
    /// them in silence.
    #[serde(default)]
    pub runs_networks: bool,
    /// Whether the caller knows the step that makes netkit pairs. To one of before a plan with it would be no plan.
    #[serde(default)]
    pub makes_netkit: bool,
    /// Whether the caller knows the step that has a NIC lead packets to queues. Likewise.
    #[serde(default)]
    pub steers_queues: bool,
    /// Likewise the steps that make a routed one.
    #[serde(default)]
    pub makes_netkit_l3: bool,
    /// Whether the caller asks the `ipam` of a network that is a VF of a pool. One of before would attach it without any
    /// address.
    #[serde(default)]
    pub gives_addresses: bool,
}

impl Prepare {
    /// The annotations of `runtime` that the daemon reads; others were left behind when stdin was read.
    pub fn relevant_annotations(runtime: &RuntimeConfig) -> Option<BTreeMap<String, String>> {
        runtime.annotations.clone()
    }
}

/// See [`Request::Commit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Whose.
    pub attachment: AttachmentId,
    /// From the start of the plugin to here, in microseconds.
    pub micros: u64,
}

/// The daemon's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Response {
    /// To `Prepare`.
    Planned {
        /// The record as it is on disk.
        record: Box<Record>,
        /// Attachments with networks that only a plugin can take back, and whose DEL never came.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leftovers: Vec<AttachmentId>,
    },
    /// It is done.
    Done,
    /// It is not done.
    Refused {
        /// Why.
        error: CniError,
        /// To `Prepare`: as in `Planned`. Who is refused for want of a VF may find that one of them holds it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        leftovers: Vec<AttachmentId>,
    },
    /// To `Status`.
    Status {
        /// What the command line shows; its shape is the daemon's own (`offrampd status -o json`).
        status: serde_json::Value,
    },
    /// To `Attachments`.
    Attachments {
        /// Records, in no order.
        records: Vec<Record>,
        /// Record files that could not be read, and why.
        #[serde(default)]
        unreadable: Vec<String>,
        /// Another frame of the same answer follows: a full node's records are larger than one frame.
        #[serde(default)]
        more: bool,
    },
    /// To `Nics`.
    Nics {
        /// As in `Status`: plugins need not know what a NIC is (`offrampd nics -o json`).
        nics: serde_json::Value,
    },
    /// To `Probe`.
    Probed {
        /// What was found, as in `Status` (`offrampd probe -o json`).
        probes: serde_json::Value,
    },
}

impl Response {
    /// It is not done.
    pub fn refused(error: CniError) -> Self {
        Self::Refused { error, leftovers: Vec::new() }
    }

    /// The answer to `Attachments`, as the frames that it takes; at least one.
    pub fn attachments(records: Vec<Record>, mut unreadable: Vec<String>) -> Vec<Self> {
        const ROOM: usize = MAX_FRAME / 2;
        let (mut pages, mut page, mut size) = (Vec::new(), Vec::new(), 0);
        for record in records {
            match serde_json::to_vec(&record).map(|json| json.len()) {
                Ok(len) if len <= ROOM => {
                    if size + len > ROOM {
                        pages.push(std::mem::take(&mut page));
                        size = 0;
                    }
                    size += len + 1;
                    page.push(record);
                }
                Ok(len) => unreadable.push(format!("{}: a record of {len} bytes", record.attachment)),
                Err(e) => unreadable.push(format!("{}: {e}", record.attachment)),
            }
        }
        pages.push(page);
        let last = pages.len() - 1;
        let frame = |(i, records)| Self::Attachments {
            records,
            unreadable: if i == last { std::mem::take(&mut unreadable) } else { Vec::new() },
            more: i < last,
        };
        pages.into_iter().enumerate().map(frame).collect()
    }
}

impl Envelope {
    /// The request in today's protocol.
    pub fn new(request: Request) -> Self {
        Self { protocol: PROTOCOL, request }
    }

    /// Decodes a frame's JSON. Error 103 for another protocol version, error 6 for what is no request.
    pub fn parse(frame: &[u8]) -> Result<Self, CniError> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            protocol: u32,
        }
        let no_request = |e: serde_json::Error| CniError::decode(format!("not a request: {e}"));
        let OnlyVersion { protocol } = serde_json::from_slice(frame).map_err(no_request)?;
        if protocol != PROTOCOL {
            return Err(CniError::protocol(format!(
                "the caller speaks protocol {protocol}, this offrampd speaks {PROTOCOL}"
            ))
            .with_details("install the plugin and the daemon of one release"));
        }
        serde_json::from_slice(frame).map_err(no_request)
    }
}

/// The length prefix of a frame. Error 6 if the payload is larger than [`MAX_FRAME`].
pub fn frame_header(len: usize) -> Result<[u8; 4], CniError> {
    match u32::try_from(len) {
        Ok(n) if len <= MAX_FRAME => Ok(n.to_be_bytes()),
        _ => Err(CniError::decode(format!("a frame of {len} bytes is larger than {MAX_FRAME}"))),
    }
}

/// The payload's length behind a header. Error 6 if it is larger than [`MAX_FRAME`].
pub fn frame_len(header: [u8; 4]) -> Result<usize, CniError> {
    let len = u32::from_be_bytes(header) as usize;
    frame_header(len).map(|_| len)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
