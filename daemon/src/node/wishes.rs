//! What a pod's annotations ask for. Their author is not trusted: what is not understood is refused by name.

use offramp_core::cni::CniError;
use serde_json::json;
use std::collections::BTreeMap;

/// `offramp.dev/offload`
const OFFLOAD: &str = "offramp.dev/offload";
/// Annotations that Offramp writes itself, or that ask for more of an offload.
const PASSED_OVER: [&str; 3] = ["offramp.dev/status", "offramp.dev/pool", "offramp.dev/queues"];

/// Why eth0 is a veth, or why it cannot be one. This node has no pool of VFs or queues.
pub fn reason_for_veth(annotations: Option<&BTreeMap<String, String>>) -> Result<String, CniError> {
    let Some(annotations) = annotations else { return Ok("no offload was asked for".into()) };
    let mine = annotations.iter().filter(|(k, _)| k.starts_with("offramp.dev/"));
    if let Some((key, value)) =
        mine.into_iter().find(|(k, _)| *k != OFFLOAD && !PASSED_OVER.contains(&k.as_str()))
    {
        return Err(CniError::unsupported_field(&format!("annotation {key}"), &json!(value)));
    }
    match annotations.get(OFFLOAD).map_or("none", String::as_str) {
        "none" => Ok("no offload was asked for".into()),
        "preferred" => Ok("offload is preferred, but this node has no pool to take it from".into()),
        "required" => Err(CniError::limit("offload is required, but this node has no pool to take it from")
            .with_details(format!("annotation {OFFLOAD}: preferred falls back to veth"))),
        other => Err(CniError::config(format!(
            "annotation {OFFLOAD} {other:?}: it is none, preferred or required"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<String, u32> {
        let map = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        reason_for_veth(Some(&map)).map_err(|e| e.code)
    }

    #[test]
    fn preferred_falls_back_with_a_reason_and_required_never() {
        assert!(ask(&[(OFFLOAD, "preferred"), ("offramp.dev/pool", "fast")]).unwrap().contains("no pool"));
        assert_eq!(ask(&[(OFFLOAD, "required")]), Err(104));
        assert_eq!(ask(&[(OFFLOAD, "always")]), Err(7));
        assert_eq!(ask(&[("offramp.dev/interfaces", "- name: net1")]), Err(2));
        assert_eq!(ask(&[("k8s.v1.cni.cncf.io/other", "x")]), Ok("no offload was asked for".into()));
    }
}
