//! What the daemon may do: the ClusterRole of the manifests, which the double keeps to as the real server does.

use super::log::Logged;
use serde::Deserialize;

const MANIFEST: &str = include_str!("../../../manifests/base/rbac.yaml");

/// What a ClusterRole grants.
#[derive(Debug, Clone)]
pub struct Role(Vec<Rule>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    kind: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

impl Role {
    /// The daemon's, as it is applied to clusters.
    pub fn of_the_daemon() -> Self {
        let documents =
            MANIFEST.split("\n---\n").map(|text| serde_saphyr::from_str::<Document>(text).unwrap());
        Self(documents.filter(|d| d.kind == "ClusterRole").flat_map(|d| d.rules).collect())
    }

    /// Whether a request is granted.
    pub fn grants(&self, request: &Logged) -> bool {
        let Logged { verb, group, resource, subresource, .. } = request;
        let full =
            if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        self.0.iter().any(|rule| {
            rule.api_groups.contains(group) && rule.resources.contains(&full) && rule.verbs.contains(verb)
        })
    }
}

#[test]
fn the_manifests_role_grants_what_it_says_and_no_more() {
    let role = Role::of_the_daemon();
    let asked = |verb: &str, group: &str, resource: &str, subresource: &str| {
        let owned = str::to_owned;
        role.grants(&Logged {
            verb: owned(verb),
            group: owned(group),
            resource: owned(resource),
            subresource: owned(subresource),
            ..Logged::default()
        })
    };
    assert!(asked("watch", "", "pods", "") && asked("patch", "", "nodes", "status"));
    assert!(asked("create", "offramp.dev", "offrampnodes", ""));
    for (verb, group, resource) in [
        ("patch", "", "nodes"),
        ("delete", "offramp.dev", "offrampnodes"),
        ("list", "", "secrets"),
        ("update", "", "pods"),
    ] {
        assert!(!asked(verb, group, resource, ""), "{verb} {resource}");
    }
}
