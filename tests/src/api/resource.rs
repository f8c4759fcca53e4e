//! The kinds of objects.

use super::store::Key;

/// A kind of object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Empty for the core's.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// As in paths.
    pub plural: String,
    /// As in objects.
    pub kind: String,
    /// Whether objects are in a namespace.
    pub namespaced: bool,
    /// Whether `status` is a subresource: then it is written by that path only.
    pub status: bool,
}

impl Resource {
    /// A cluster-scoped kind without a status subresource.
    pub fn new(group: &str, version: &str, plural: &str, kind: &str) -> Self {
        let [group, version, plural, kind] = [group, version, plural, kind].map(str::to_owned);
        Self { group, version, plural, kind, namespaced: false, status: false }
    }

    /// Its objects are in namespaces.
    #[must_use]
    pub fn namespaced(self) -> Self {
        Self { namespaced: true, ..self }
    }

    /// Its status is a subresource.
    #[must_use]
    pub fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    /// What Offramp has to do with.
    pub(super) fn known() -> Vec<Self> {
        vec![
            Self::new("", "v1", "nodes", "Node").with_status(),
            Self::new("", "v1", "namespaces", "Namespace").with_status(),
            Self::new("", "v1", "pods", "Pod").namespaced().with_status(),
            Self::new("", "v1", "events", "Event").namespaced(),
            Self::new("", "v1", "configmaps", "ConfigMap").namespaced(),
            Self::new("events.k8s.io", "v1", "events", "Event").namespaced(),
            Self::new("coordination.k8s.io", "v1", "leases", "Lease").namespaced(),
            Self::new("offramp.dev", "v1alpha1", "offrampnodes", "OfframpNode"),
            Self::new(
                "k8s.cni.cncf.io",
                "v1",
                "network-attachment-definitions",
                "NetworkAttachmentDefinition",
            )
            .namespaced(),
        ]
    }

    /// `v1`, `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `offrampnodes.offramp.dev`
    pub fn name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn key(&self, namespace: Option<&str>, name: &str) -> Key {
        assert_eq!(self.namespaced, namespace.is_some(), "the namespace of {} {name}", self.name());
        Key { resource: self.name(), namespace: namespace.unwrap_or_default().into(), name: name.into() }
    }
}
