//! VERSION.

use offramp_core::cni::Version;
use serde_json::json;

/// The answer, in the version that was asked in.
pub fn answer(asked: Version) -> String {
    json!({"cniVersion": asked, "supportedVersions": Version::ALL}).to_string()
}
