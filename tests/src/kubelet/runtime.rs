//! A container runtime's calls of the plugin, as containerd makes them: keys Go-cased, three DELs a sandbox.

use super::PodSpec;
use crate::lab::Lab;
use crate::node::{Node, over};
use crate::plugin::{Answer, Call};
use crate::pod::Pod;
use serde_json::{Value, json};

/// The runtime of a node, with one network configuration.
pub struct Runtime<'a> {
    lab: &'a Lab,
    node: &'a Node,
    conf: Value,
}

/// A sandbox; its namespace goes with it.
pub struct Sandbox {
    /// Namespace and container ID.
    pub pod: Pod,
    args: String,
    config: Value,
    /// What libcni keeps on disk, over a reboot too.
    pub cached: Option<Value>,
}

impl<'a> Runtime<'a> {
    /// In node mode.
    pub fn new(lab: &'a Lab, node: &'a Node) -> Self {
        let capabilities = json!({"portMappings": true, "bandwidth": true, "dns": true, "io.kubernetes.cri.pod-annotations": true});
        Self { lab, node, conf: node.conf(json!({"capabilities": capabilities})) }
    }

    /// A sandbox for a pod, and the answer to its ADD. After a failed one a DEL follows at once; what tries again makes a
    /// new sandbox.
    pub fn run(&self, spec: &PodSpec) -> (Sandbox, Answer) {
        let pod = self.lab.pod(&spec.name);
        let uid = if spec.uid.is_empty() { format!("uid-{}", spec.name) } else { spec.uid.clone() };
        let args = format!(
            "K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid};IgnoreUnknown=1;K8S_POD_NAMESPACE={}",
            spec.name, pod.container, spec.namespace
        );
        let port = |(host, container): &(u16, u16)| json!({"HostPort": host, "ContainerPort": container, "Protocol": "tcp", "HostIP": ""});
        let mut runtime_config = json!({
            "dns": {"Servers": null, "Searches": null, "Options": null},
            "io.kubernetes.cri.pod-annotations": spec.annotations,
        });
        if !spec.host_ports.is_empty() {
            runtime_config["portMappings"] = spec.host_ports.iter().map(port).collect();
        }
        let config = over(self.conf.clone(), json!({"runtimeConfig": runtime_config}));
        let mut sandbox = Sandbox { pod, args, config, cached: None };
        let answer = self.call("ADD", &sandbox).config(&sandbox.config).run();
        if answer.code == Some(0) {
            sandbox.cached = serde_json::from_str(&answer.stdout).ok();
        } else {
            self.stop(&sandbox);
        }
        (sandbox, answer)
    }

    /// The first DEL of a sandbox: with its namespace, and what its ADD had and said.
    pub fn stop(&self, sandbox: &Sandbox) -> Answer {
        let prev = json!({"prevResult": sandbox.cached});
        self.call("DEL", sandbox).config(&over(sandbox.config.clone(), prev)).run()
    }

    /// The second and the third, which come 37 to 48 s later: the namespace is gone, and so is what was kept.
    pub fn remove(&self, sandbox: &Sandbox) -> Answer {
        self.call("DEL", sandbox).netns("").config(&self.conf).run()
    }

    /// The DEL of a sandbox that ended with a reboot: no namespace, and what its ADD said before.
    pub fn stop_after_reboot(&self, sandbox: &Sandbox) -> Answer {
        let stale = json!({"prevResult": sandbox.cached});
        self.call("DEL", sandbox).netns("").config(&over(sandbox.config.clone(), stale)).run()
    }

    /// Whether the node is Ready, which STATUS decides: any error makes it NotReady.
    pub fn node_is_ready(&self) -> bool {
        self.node.status(&self.conf).code == Some(0)
    }

    fn call(&self, verb: &str, sandbox: &Sandbox) -> Call<'_> {
        self.node.call_for(verb, &sandbox.pod).args(&sandbox.args)
    }
}
