//! Secrets in network configurations, which other plugins' authors invent, and in annotations, which pods' authors write.

use serde_json::Value;

const LEFT_OUT: &str = "(left out)";

/// What a pod asked for in so many words as `offramp.dev/...`, whose texts can be nothing else.
const PLAIN_WISHES: [&str; 3] = ["offload", "pool", "queues"];

/// Parts of keys whose values are nobody's business.
const SECRET: [&str; 8] =
    ["password", "passwd", "secret", "token", "credential", "privatekey", "apikey", "psk"];

/// Replaces values of keys that sound like secrets, wherever they are.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let plain: String = key.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
                if !value.is_null() && SECRET.iter().any(|word| plain.contains(word)) {
                    *value = LEFT_OUT.into();
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Of an attachment's record: what annotations say in free text, the arguments for other plugins in it included. Their
/// names stay.
pub fn redact_record(record: &mut Value) {
    let asked = record.get_mut("asked").and_then(Value::as_object_mut);
    for (name, text) in asked.into_iter().flatten() {
        if !PLAIN_WISHES.contains(&name.as_str()) {
            *text = LEFT_OUT.into();
        }
    }
    let networks = record.get_mut("networks").and_then(Value::as_array_mut);
    for network in networks.into_iter().flatten() {
        let plugins = network.get_mut("plugins").and_then(Value::as_array_mut);
        let args = plugins.into_iter().flatten().filter_map(|plugin| plugin.pointer_mut("/args/cni"));
        args.for_each(|args| *args = LEFT_OUT.into());
    }
    redact(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_left_out_and_nothing_else() {
        let mut value = json!({"plugins": [{"type": "x", "API_Key": "k", "wifi": {"preSharedPsk": "p"}, "mtu": 1,
            "accessToken": ["a"], "secretRef": null}]});
        redact(&mut value);
        assert_eq!(
            value,
            json!({"plugins": [{"type": "x", "API_Key": "(left out)", "wifi": {"preSharedPsk": "(left out)"},
                "mtu": 1, "accessToken": "(left out)", "secretRef": null}]})
        );
    }

    #[test]
    fn of_annotations_names_stay_and_plain_wishes() {
        let plugin = |args: Value| json!({"type": "x", "args": args, "vlan": 7});
        let record = |interfaces: &str, cni: Value| {
            json!({
                "asked": {"offload": "required", "pool": "fast", "queues": "2", "interfaces": interfaces},
                "networks": [{"network": "default/x", "plugins": [plugin(json!({"cni": cni}))]}, {"network": "default/y"}],
            })
        };
        let mut value = record("[] # hunter2", json!({"motto": "hunter2"}));
        redact_record(&mut value);
        assert_eq!(value, record("(left out)", json!("(left out)")));
    }
}
