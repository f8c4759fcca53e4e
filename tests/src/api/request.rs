//! From a request to what is meant by it.

use super::log::Logged;
use super::reply::Form;
use hyper::Method;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use std::collections::HashMap;

/// A request, read completely.
pub struct Ask {
    pub log: Logged,
    pub version: String,
    pub parameters: HashMap<String, String>,
    pub form: Form,
    pub content_type: String,
    pub body: Bytes,
}

impl Ask {
    /// None for a path that is not an object's or a list's.
    pub fn read(parts: &Parts, body: Bytes) -> Option<Self> {
        let segments: Vec<String> = parts.uri.path().split('/').skip(1).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match &segments[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        // `namespaces/NAME` alone is a namespace, and `namespaces/NAME/status` its status.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (*resource, "", ""),
            [resource, name] => (*resource, *name, ""),
            [resource, name, subresource] => (*resource, *name, *subresource),
            _ => return None,
        };
        let parameters = parameters(parts.uri.query().unwrap_or_default());
        let header = |name: &str| {
            let value = parts.headers.get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let form =
            if header("accept").contains("as=PartialObjectMetadata") { Form::Metadata } else { Form::Whole };
        let log = Logged {
            verb: verb(&parts.method, name, &parameters).to_owned(),
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            subresource: subresource.into(),
            field_selector: parameters.get("fieldSelector").cloned().unwrap_or_default(),
            resource_version: parameters.get("resourceVersion").cloned(),
            user_agent: header("user-agent"),
            code: 0,
        };
        let content_type = header("content-type");
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        Some(Self { log, version: version.into(), parameters, form, content_type, body })
    }

    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is true.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1")
    }
}

fn verb(method: &Method, name: &str, parameters: &HashMap<String, String>) -> &'static str {
    let watch = parameters.get("watch").is_some_and(|v| v == "true" || v == "1");
    match (method.as_str(), name.is_empty()) {
        ("GET", true) if watch => "watch",
        ("GET", true) => "list",
        ("GET", false) => "get",
        ("POST", true) => "create",
        ("PUT", false) => "update",
        ("PATCH", false) => "patch",
        ("DELETE", false) => "delete",
        _ => "other",
    }
}

fn parameters(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}

/// `application/x-www-form-urlencoded`
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => out.push(byte),
            None if bytes[i] == b'+' => out.push(b' '),
            None => out.push(bytes[i]),
        }
        i += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
