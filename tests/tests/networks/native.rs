//! Networks of type offramp: our own plugin in inline mode, without another process.

use super::{asks, call, define, with_wire};
use offramp_tests::{Lab, assert_same, over, traffic};
use serde_json::json;

#[test]
fn a_bridge_of_our_own_with_our_own_addresses() {
    let lab = Lab::new();
    let node = with_wire(&lab);
    let own = json!({"cniVersion": "1.1.0", "type": "offramp", "bridge": "own0", "isGateway": true,
        "ipam": {"type": "offramp", "ranges": [[{"subnet": "10.97.0.0/24"}], [{"subnet": "fd97::/64"}]]}});
    let delegated = over(
        own.clone(),
        json!({"cniVersion": "1.0.0", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.96.0.0/24"}]],
        "dataDir": node.state().join("host-local")}}),
    );
    let tuned = json!({"cniVersion": "1.0.0", "plugins": [delegated, {"type": "tuning", "mtu": 1400, "dataDir": node.state().join("tuning")}]});
    let _daemon = node.daemon(define(&node, &[("default/own", own), ("default/tuned", tuned)]));
    let (a, b) = (lab.pod("a"), lab.pod("b"));
    let conf = asks(&node, &json!("default/own@own0,default/tuned"));
    call(&node, "ADD", &a, &conf).run().ok();
    call(&node, "DEL", &a, &conf).run().ok();
    let before = node.snapshot();
    let result = call(&node, "ADD", &a, &conf).run().ok();
    call(&node, "ADD", &b, &conf).run().ok();
    assert_eq!(node.records().len(), 6, "each interface of ours has its record: {:?}", node.records());
    let ip = b.addresses("own0")[1].split('/').next().unwrap().to_owned();
    assert!(traffic::ping(&a, &ip), "{ip}");
    assert_eq!(a.link("net2").unwrap()["mtu"], 1400);
    let checked = over(conf.clone(), json!({"prevResult": result}));
    call(&node, "CHECK", &a, &checked).run().ok();
    a.ip("link del own0");
    call(&node, "CHECK", &a, &checked).run().failed(102, &["default/own"]);
    for pod in [&a, &b] {
        call(&node, "DEL", pod, &conf).run().ok();
    }
    assert_same(&before, &node.snapshot());
}
