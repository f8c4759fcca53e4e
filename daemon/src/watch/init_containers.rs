//! Which init containers of a pod request devices: kubelet does not tell of those, so that a pod is refused which has
//! requested its device in the wrong place.

use super::api::Api;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use offramp_core::ids::ResourceName;
use offramp_core::record::PodRef;

/// What the pod's author should know of it; none: nothing.
pub async fn hint(api: &Api, pod: &PodRef, resources: &[ResourceName]) -> kube::Result<Option<String>> {
    let found = kube::Api::<Pod>::namespaced(api.client(), &pod.namespace).get_opt(&pod.name).await?;
    let same = |found: &Pod| pod.uid.is_empty() || found.metadata.uid.as_deref() == Some(&pod.uid);
    Ok(found.filter(same).and_then(|found| of(&found.spec?, resources)))
}

fn of(spec: &PodSpec, resources: &[ResourceName]) -> Option<String> {
    // One that is restarted always runs beside the others, and kubelet tells of it.
    let (beside, before): (Vec<&Container>, Vec<&Container>) = spec
        .init_containers
        .iter()
        .flatten()
        .partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let in_vain = |resource: &&ResourceName| {
        !spec.containers.iter().chain(beside.iter().copied()).any(|container| requests(container, resource))
    };
    resources.iter().filter(in_vain).find_map(|resource| {
        let container = before.iter().find(|container| requests(container, resource))?;
        Some(format!(
            "init container {} requests {resource}, and kubelet does not tell of its devices: request them in an ordinary container",
            container.name
        ))
    })
}

fn requests(container: &Container, resource: &ResourceName) -> bool {
    let Some(of) = &container.resources else { return false };
    [&of.limits, &of.requests].into_iter().flatten().any(|list| list.contains_key(resource.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(init: Value, ordinary: Value) -> Option<String> {
        let limits = |of: &str, more: Value| {
            let mut container = json!({"name": of, "resources": {"limits": {"offramp.dev/fast": "1"}}});
            container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            container
        };
        let spec = json!({
            "initContainers": [{"name": "first"}, limits("setup", init)],
            "containers": [{"name": "idle"}, limits("app", ordinary)],
        });
        let resources = ["offramp.dev/dpdk", "offramp.dev/fast"].map(|r| r.parse().unwrap());
        of(&serde_json::from_value(spec).unwrap(), &resources)
    }

    #[test]
    fn one_that_ends_before_the_others_begin_requests_in_vain() {
        let nothing = json!({"resources": {}});
        let hint = told(json!({}), nothing.clone()).unwrap();
        assert!(hint.starts_with("init container setup requests offramp.dev/fast"), "{hint}");
        assert_eq!(told(json!({"restartPolicy": "Always"}), nothing.clone()), None, "a sidecar");
        assert_eq!(told(json!({}), json!({})), None, "the app has one too");
        assert_eq!(told(nothing.clone(), nothing), None);
    }
}
