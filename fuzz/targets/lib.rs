//! What all targets ask of an error.

use offramp_core::cni::error::codes;
use offramp_core::cni::{CniError, Version};

/// A runtime can make something of it: a code that is documented, a message, and JSON that carries both.
pub fn is_presentable(error: &CniError) {
    const KNOWN: [u32; 16] = [
        codes::VERSION,
        codes::UNSUPPORTED_FIELD,
        codes::UNKNOWN_CONTAINER,
        codes::ENVIRONMENT,
        codes::IO,
        codes::DECODE,
        codes::CONFIG,
        codes::TRY_AGAIN,
        codes::UNAVAILABLE,
        codes::LIMITED,
        codes::KERNEL,
        codes::EXISTS,
        codes::CHECK_FAILED,
        codes::PROTOCOL,
        codes::LIMIT,
        codes::INTERNAL,
    ];
    assert!(KNOWN.contains(&error.code), "code {}", error.code);
    assert_ne!(error.code, codes::INTERNAL, "bad input is no fault of ours: {error}");
    assert!(!error.msg.is_empty());
    for version in Version::ALL {
        let json: serde_json::Value = serde_json::from_str(&error.to_json(version)).expect("JSON");
        assert_eq!(json["code"], error.code);
    }
}
