use super::*;
use serde_json::json;

#[test]
fn both_casings_say_the_same() {
    let go = json!({
        "portMappings": [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}],
        "bandwidth": {"IngressRate": 10_000_000, "IngressBurst": u32::MAX, "EgressRate": 0, "EgressBurst": 0},
        "dns": {"Servers": ["10.96.0.10"], "Searches": null, "Options": ["ndots:2"]},
        "cgroupPath": "/x", "aliases": null,
    });
    let conventions = json!({
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": u32::MAX},
        "dns": {"servers": ["10.96.0.10"], "options": ["ndots:2"]},
    });
    let (a, b) = (RuntimeConfig::parse(Some(go)).unwrap(), RuntimeConfig::parse(Some(conventions)).unwrap());
    assert_eq!(a, b);
    assert_eq!((a.host_ports.len(), a.bandwidth.egress, a.dns.unwrap().options.len()), (1, None, 1));
}

#[test]
fn wrong_values_name_their_field() {
    let cases = [
        (
            json!({"portMappings": [{"hostPort": 0, "containerPort": 80}]}),
            7,
            "runtimeConfig.portMappings[0].hostPort",
        ),
        (json!({"portMappings": [{"hostPort": 80}]}), 7, "runtimeConfig.portMappings[0].containerPort"),
        (json!({"portMappings": [{"hostPort": 80, "containerPort": 70000}]}), 7, "70000"),
        (json!({"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]}), 7, "icmp"),
        (json!({"portMappings": [{"hostPort": 80, "containerPort": 80, "hostIP": "x"}]}), 7, "hostIP"),
        (
            json!({"portMappings": [{"hostPort": 80, "containerPort": 80, "range": 5}]}),
            2,
            "runtimeConfig.portMappings[0].range",
        ),
        (
            json!({"bandwidth": {"ingressRate": 0, "ingressBurst": 5}}),
            7,
            "runtimeConfig.bandwidth.ingressRate",
        ),
        (json!({"bandwidth": {"ingressRate": "fast"}}), 7, "runtimeConfig.bandwidth.ingressRate"),
        (json!({"bandwidth": {"color": 1}}), 2, "runtimeConfig.bandwidth.color"),
        (json!({"mac": "01:00:00:00:00:00"}), 7, "mac"),
        (json!({"ips": ["10.0.0.300"]}), 7, "ips"),
        (json!({"ipRanges": [[{"subnet": "10.0.0.0/24", "rangeStart": "10.1.0.5"}]]}), 7, "rangeStart"),
        (json!({"infinibandGUID": "x"}), 2, "runtimeConfig.infinibandGUID"),
        (json!([]), 6, "runtimeConfig"),
    ];
    for (value, code, text) in cases {
        let e = RuntimeConfig::parse(Some(value)).unwrap_err();
        assert!(e.code == code && e.msg.contains(text), "{} {e}", e.code);
    }
}
