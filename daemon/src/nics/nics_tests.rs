use super::*;
use crate::cli::fixture::{claim, record, with_vfs};
use offramp_core::vf::VfMode;

/// ens1f0 with VFs 3 to 6.
fn inventory() -> Inventory {
    let vf = |index: u16| {
        serde_json::json!({
            "index": index, "pci": format!("0000:02:10.{index}"), "id": null, "driver": "iavf",
            "netdev": {"in": "none"}, "iommuGroup": null, "representor": null,
        })
    };
    serde_json::from_value(serde_json::json!({"ports": [{
        "key": {"device": "0000:02:00.0"}, "netdev": "ens1f0", "ifindex": 2, "mac": null, "driver": "ice", "id": null,
        "speedMbps": null, "numa": null, "up": true, "carrier": true, "mtu": 1500, "controller": null, "totalVfs": 8,
        "numVfs": 4, "eswitch": "legacy", "switchId": null, "vfs": [vf(3), vf(4), vf(5), vf(6)],
    }]}))
    .unwrap()
}

#[test]
fn a_holder_is_the_pod_and_its_own_interface() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let r = with_vfs();
    store.write(&r).unwrap();
    let claims = store.claims();
    claims.take(&claim(&r, 4, VfMode::Netdev)).unwrap();
    // Of a pod whose record is gone, and of a container that is no pod's.
    let gone = Claim { holder: "dead@eth0".parse().unwrap(), ..claim(&r, 3, VfMode::Netdev) };
    claims.take(&gone).unwrap();
    let nobodys = Claim { pod: None, pool: None, ..claim(&record(), 5, VfMode::Netdev) };
    claims.take(&nobodys).unwrap();
    std::fs::write(claims.path("0000:02:10.6".parse().unwrap()), "{").unwrap();
    let nics = Nics::new(inventory(), Offloads::default(), &store, &[]);
    let states: Vec<&str> = nics.claims.values().map(String::as_str).collect();
    assert_eq!(
        states[..3],
        ["lent to telco/dpu-0@eth0", "lent to telco/dpu-0@net1", "lent to 4f1f8a0c9d2e7@eth0"]
    );
    assert!(states[3].starts_with("unreadable: "), "{states:?}");
    let pools: Vec<String> = nics.pools.iter().map(|(pci, pool)| format!("{pci} {pool}")).collect();
    assert_eq!(pools, ["0000:02:10.3 fast", "0000:02:10.4 fast"]);
}
