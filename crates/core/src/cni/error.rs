//! The error that a runtime gets, and its codes.

use super::version::Version;
use serde::{Deserialize, Serialize};

/// An error with its CNI code; `msg` is all that users of Kubernetes see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct CniError {
    /// One of the codes in [`codes`].
    pub code: u32,
    /// What was tried, on what, and why it failed.
    pub msg: String,
    /// What to do, or more evidence; may be empty.
    #[serde(default)]
    pub details: String,
}

/// The codes of the specification (section "Error"), and from 100 on Offramp's own.
pub mod codes {
    /// Incompatible CNI version.
    pub const VERSION: u32 = 1;
    /// Unsupported field in the network configuration; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// Container unknown or does not exist.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// Invalid environment variables; the message names them.
    pub const ENVIRONMENT: u32 = 4;
    /// I/O failure, such as stdin, a file or a socket.
    pub const IO: u32 = 5;
    /// Content that cannot be decoded.
    pub const DECODE: u32 = 6;
    /// Invalid network configuration.
    pub const CONFIG: u32 = 7;
    /// Try again later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: an ADD could not succeed now.
    pub const UNAVAILABLE: u32 = 50;
    /// STATUS: and existing containers may be cut off.
    pub const LIMITED: u32 = 51;
    /// The kernel refused what was asked.
    pub const KERNEL: u32 = 100;
    /// The interface or the attachment exists already.
    pub const EXISTS: u32 = 101;
    /// CHECK: the attachment is not what its record says.
    pub const CHECK_FAILED: u32 = 102;
    /// Plugin and daemon speak different protocols.
    pub const PROTOCOL: u32 = 103;
    /// A limit that waiting does not lift, such as a full bridge.
    pub const LIMIT: u32 = 104;
    /// A fault of Offramp itself.
    pub const INTERNAL: u32 = 105;
    /// No pool of this node has, or could have once all is given back, the device that was asked for.
    pub const NO_DEVICE: u32 = 106;
    /// The pools' policy does not allow what was asked for.
    pub const FORBIDDEN: u32 = 107;
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident),* $(,)?) => {
        $($(#[$doc])*
        pub fn $name(msg: impl Into<String>) -> Self {
            Self::new(codes::$code, msg)
        })*
    };
}

impl CniError {
    /// An error with an explicit code.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    constructors! {
        /// Code 1.
        version => VERSION,
        /// Code 2; prefer [`CniError::unsupported_field`].
        unsupported => UNSUPPORTED_FIELD,
        /// Code 3.
        unknown_container => UNKNOWN_CONTAINER,
        /// Code 4.
        environment => ENVIRONMENT,
        /// Code 5.
        io => IO,
        /// Code 6.
        decode => DECODE,
        /// Code 7.
        config => CONFIG,
        /// Code 11.
        try_again => TRY_AGAIN,
        /// Code 50.
        unavailable => UNAVAILABLE,
        /// Code 100.
        kernel => KERNEL,
        /// Code 101.
        exists => EXISTS,
        /// Code 102.
        check_failed => CHECK_FAILED,
        /// Code 103.
        protocol => PROTOCOL,
        /// Code 104.
        limit => LIMIT,
        /// Code 105.
        internal => INTERNAL,
        /// Code 106.
        no_device => NO_DEVICE,
        /// Code 107.
        forbidden => FORBIDDEN,
    }

    /// Code 2 with the key and value that the specification wants named.
    pub fn unsupported_field(key: &str, value: &serde_json::Value) -> Self {
        let text: String = value.to_string().chars().take(80).collect();
        Self::unsupported(format!("field {key:?} with value {text} is not supported"))
    }

    /// The same error with `details`.
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with `what` was tried in front of its message.
    pub fn context(mut self, what: impl std::fmt::Display) -> Self {
        self.msg = format!("{what}: {}", self.msg);
        self
    }

    /// The JSON that goes to stdout.
    pub fn to_json(&self, version: Version) -> String {
        let mut json = serde_json::json!({"cniVersion": version, "code": self.code, "msg": self.msg});
        if !self.details.is_empty() {
            json["details"] = self.details.clone().into();
        }
        json.to_string()
    }
}

impl From<crate::ids::Invalid> for CniError {
    fn from(e: crate::ids::Invalid) -> Self {
        Self::config(e.to_string())
    }
}
