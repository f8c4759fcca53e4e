//! Secrets in network configurations, which other plugins' authors invent.

use serde_json::Value;

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
                    *value = "(left out)".into();
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(redact),
        _ => {}
    }
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
}
