//! A VF pod and a bridge pod on each node, and who reaches whom.

use crate::pair::Pair;
use offramp_tests::traffic::{at, ping, serve, tcp};
use offramp_tests::{Netns, Pod, over};
use serde_json::{Value, json};

/// An IPv4 and an IPv6 address.
pub type Ips = [String; 2];

/// What a node has.
#[derive(Clone)]
pub struct Side {
    pub vf: Ips,
    pub bridge: Ips,
    pub host: Ips,
}

/// This node's pods, and both nodes' addresses.
pub struct Pods<'a> {
    pub pair: &'a Pair,
    pub vf: Pod,
    pub bridge: Pod,
    pub here: Side,
    pub there: Side,
}

impl Pair {
    pub fn add(&self, pod: &Pod, name: &str, offload: &str, runtime: Value) -> offramp_tests::Answer {
        let annotations = json!({"offramp.dev/offload": offload});
        let runtime = over(json!({"io.kubernetes.cri.pod-annotations": annotations}), runtime);
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}");
        let conf = self.node.conf(json!({"runtimeConfig": runtime}));
        self.node.call_for("ADD", pod).config(&conf).args(&args).run()
    }

    pub fn del(&self, pod: &Pod) {
        self.node.del(pod, &self.node.conf(json!({}))).ok();
    }

    /// The pods of both nodes. Each serves at port 80, the VF pod's is the node's port 8080 too; the nodes serve at
    /// `host_port`, another one in each test.
    pub fn pods(&self, host_port: u16) -> Pods<'_> {
        let (vf, bridge) = (self.lab.pod("vf"), self.lab.pod("bridge"));
        let ports = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
        let result = self.add(&vf, "vf", "required", ports).ok();
        assert!(result["interfaces"][0]["pciID"].is_string(), "{result}");
        let here = Side {
            vf: ips(&result),
            bridge: ips(&self.add(&bridge, "bridge", "none", json!({})).ok()),
            host: [format!("192.0.2.{}", self.me), format!("2001:db8::{}", self.me)],
        };
        serve(&vf, "vf", 80);
        serve(&bridge, "bridge", 80);
        serve(&self.node, "host", host_port);
        let told = self.swap("pods", &json!([here.vf, here.bridge, here.host]));
        let side = |i: usize| serde_json::from_value(told[i].clone()).unwrap();
        let there = Side { vf: side(0), bridge: side(1), host: side(2) };
        Pods { pair: self, vf, bridge, here, there }
    }
}

pub fn ips(result: &Value) -> Ips {
    let all = result["ips"].as_array().unwrap().iter();
    let all = all.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned());
    let mut all: Vec<String> = all.collect();
    all.sort_by_key(|ip| ip.contains(':'));
    all.try_into().unwrap()
}

impl Pods<'_> {
    /// Where connections come from.
    pub fn clients(&self) -> [(&'static str, &Netns, &Ips); 3] {
        [
            ("VF pod", &self.vf, &self.here.vf),
            ("bridge pod", &self.bridge, &self.here.bridge),
            ("node", &self.pair.node, &self.here.host),
        ]
    }

    /// All ping all, and connect to all pods; pods see each other's own addresses. What is wrong is told at once.
    pub fn all_reach_all(&self) {
        let mut wrong = Vec::new();
        for (client, netns, own) in self.clients() {
            for (place, side) in [("local", &self.here), ("remote", &self.there)] {
                for (server, ips) in [("vf", &side.vf), ("bridge", &side.bridge), ("host", &side.host)] {
                    for (ip, source) in ips.iter().zip(own).filter(|(ip, own)| ip != own) {
                        let what = || format!("{client} -> {place} {server} {ip}");
                        if !ping(netns, ip) {
                            wrong.push(format!("{}: ping", what()));
                        }
                        if server == "host" {
                            continue;
                        }
                        match tcp(netns, at(ip, 80)) {
                            Ok(text) if client == "node" && text.starts_with(server) => {}
                            Ok(text) if text == format!("{server} {source}") => {}
                            other => wrong.push(format!("{}: {other:?}", what())),
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A packet as large as the pods' MTU passes, both ways, and a larger one does not leave the pod.
    pub fn largest_packets_pass(&self, mtu: u32) {
        for pod in [&self.vf, &self.bridge] {
            assert_eq!(pod.link("eth0").unwrap()["mtu"], mtu);
            for (ip, headers) in self.there.vf.iter().chain(&self.there.bridge).zip([28, 48, 28, 48]) {
                pod.run(&format!("ping -n -c1 -W10 -M do -s {} {ip}", mtu - headers));
            }
        }
        let larger = format!("ping -n -c1 -W1 -M do -s {} {}", mtu - 27, self.there.vf[0]);
        let sent = self.vf.command("sh").args(["-c", &larger]).output().unwrap();
        assert!(!sent.status.success(), "a packet of {} bytes passed", mtu + 1);
    }

    /// Both nodes are done with them.
    pub fn end(self) {
        self.pair.meet("end");
        self.pair.del(&self.vf);
        self.pair.del(&self.bridge);
        self.pair.assert_all_free();
    }
}
