//! What others rely on.

use super::{Api, Gone};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn api() -> Api {
    Api::start_here("127.0.0.1:0".parse().unwrap())
}

/// Sends a request; the response's reader.
fn send(api: &Api, method: &str, path: &str, kind: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(api.address()).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: api\r\nuser-agent: test/1\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    BufReader::new(stream)
}

/// The code, and the rest of the response without its head.
fn head(reader: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let code = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    code
}

fn call(api: &Api, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
    let mut reader = send(api, method, path, kind, &body.to_string());
    let code = head(&mut reader);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (code, serde_json::from_str(&text).unwrap())
}

fn get(api: &Api, path: &str) -> (u16, Value) {
    call(api, "GET", path, "", &Value::Null)
}

/// The next event of a watch; chunks' sizes are passed over.
fn event(reader: &mut impl BufRead) -> Option<(String, Value)> {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.starts_with('{') {
            let event: Value = serde_json::from_str(&line).unwrap();
            return Some((event["type"].as_str().unwrap().into(), event["object"].clone()));
        }
    }
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": ["10.1.0.0/24"]}})
}

fn pod(name: &str, on: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
           "spec": {"nodeName": on}})
}

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

#[test]
fn lists_have_pages_of_one_version_and_selectors() {
    let api = api();
    (0..5).for_each(|i| drop(api.put(pod(&format!("p{i}"), if i % 2 == 0 { "n1" } else { "n2" }))));
    let (_, first) = get(&api, "/api/v1/pods?limit=2");
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    api.put(pod("p9", "n1"));
    let (_, rest) = get(&api, &format!("/api/v1/pods?limit=9&continue={token}"));
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 3));
    assert_eq!(first["metadata"]["resourceVersion"], rest["metadata"]["resourceVersion"]);
    let names = |query: &str| -> Vec<Value> {
        let (_, list) = get(&api, &format!("/api/v1/namespaces/default/pods?{query}"));
        list["items"].as_array().unwrap().iter().map(|p| p["metadata"]["name"].clone()).collect()
    };
    assert_eq!(names("fieldSelector=spec.nodeName%3Dn2"), ["p1", "p3"]);
    assert_eq!(names("labelSelector=app%3Dp9"), ["p9"]);
    assert_eq!(get(&api, "/api/v1/pods?fieldSelector=spec.other%3D1").0, 400);
    let (_, page) = get(&api, "/api/v1/pods?limit=1");
    api.compact();
    let token = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(get(&api, &format!("/api/v1/pods?continue={token}")).0, 410);
}

#[test]
fn a_watch_tells_what_happened_since_through_its_selector() {
    let api = api();
    api.put(pod("a", "n1"));
    let (_, list) = get(&api, "/api/v1/pods");
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!(
        "watch=1&resourceVersion={version}&allowWatchBookmarks=true&fieldSelector=spec.nodeName%3Dn1"
    );
    api.put(pod("b", "n2"));
    let mut watch = send(&api, "GET", &format!("/api/v1/pods?{query}"), "", "");
    assert_eq!(head(&mut watch), 200);
    api.put(pod("c", "n1"));
    api.put(pod("c", "n2"));
    api.bookmark();
    assert!(api.delete("pods", Some("default"), "a"));
    let seen: Vec<_> =
        (0..4).map(|_| event(&mut watch).unwrap()).map(|(t, o)| (t, o["metadata"]["name"].clone())).collect();
    let told = |t: &str, name: &str| (t.to_owned(), json!(name));
    assert_eq!(seen[..2], [told("ADDED", "c"), told("DELETED", "c")]);
    // A bookmark may come before or after the change beside it.
    assert!(
        seen[2..].contains(&("BOOKMARK".into(), Value::Null)) && seen[2..].contains(&told("DELETED", "a"))
    );
    api.disconnect();
    assert_eq!(event(&mut watch), None);
}

#[test]
fn what_is_forgotten_is_gone_in_both_forms() {
    let api = api();
    let old = api.put(node("n1"))["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.put(node("n2"));
    api.compact();
    let path = format!("/api/v1/nodes?watch=1&resourceVersion={old}");
    let mut watch = send(&api, "GET", &path, "", "");
    assert_eq!(head(&mut watch), 200);
    let (kind, status) = event(&mut watch).unwrap();
    assert_eq!((kind.as_str(), &status["code"], event(&mut watch)), ("ERROR", &json!(410), None));
    api.gone_as(Gone::Http);
    assert_eq!(get(&api, &path).0, 410);
    assert_eq!(api.requests().last().unwrap().code, 410);
}

#[test]
fn writes_keep_to_their_subresource_and_version() {
    let api = api();
    let stored = api.put(node("n1"));
    let patch =
        json!({"spec": {"podCIDRs": []}, "status": {"conditions": [{"type": "A", "status": "True"}]}});
    let (code, patched) = call(&api, "PATCH", "/api/v1/nodes/n1/status", STRATEGIC, &patch);
    assert_eq!((code, &patched["spec"]), (200, &stored["spec"]));
    let patch = json!({"status": {"conditions": [{"type": "B", "status": "False"}]}});
    let (_, patched) = call(&api, "PATCH", "/api/v1/nodes/n1/status", STRATEGIC, &patch);
    assert_eq!(patched["status"]["conditions"].as_array().unwrap().len(), 2);
    let patch = json!({"metadata": {"annotations": {"a": "b"}}, "status": null});
    let (_, patched) = call(&api, "PATCH", "/api/v1/nodes/n1", MERGE, &patch);
    assert_eq!((&patched["metadata"]["annotations"]["a"], patched["status"].is_null()), (&json!("b"), false));
    assert_eq!(call(&api, "PUT", "/api/v1/nodes/n1", "application/json", &stored).0, 409);
    let (_, again) = call(&api, "PUT", "/api/v1/nodes/n1", "application/json", &patched);
    assert_eq!(again, patched, "what changes nothing is no new version");
    assert_eq!(call(&api, "POST", "/api/v1/nodes", "application/json", &patched).0, 409);
    assert_eq!(get(&api, "/api/v1/nodes/n9").0, 404);
    assert_eq!(get(&api, "/api/v1/frogs").0, 404);
    api.forbid("patch", "nodes/status");
    assert_eq!(call(&api, "PATCH", "/api/v1/nodes/n1/status", MERGE, &json!({})).0, 403);
    assert_eq!(api.requests()[0].short(), "patch nodes/status n1");
}

#[test]
fn server_side_apply_knows_whose_fields_are_whose() {
    let api = api();
    let path = "/apis/offramp.dev/v1alpha1/offrampnodes/n1";
    let config = |spec: Value| {
        json!({"apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode",
                                      "metadata": {"name": "n1"}, "spec": spec})
    };
    let apply = |manager: &str, spec| {
        call(&api, "PATCH", &format!("{path}?fieldManager={manager}"), APPLY, &config(spec))
    };
    let (code, made) = apply("a", json!({"mac": "1", "podCIDRs": ["x"]}));
    assert_eq!((code, &made["spec"]["mac"]), (201, &json!("1")));
    assert!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:mac"].is_object());
    let (code, same) = apply("a", json!({"mac": "1", "podCIDRs": ["x"]}));
    assert_eq!((code, same), (200, made));
    assert_eq!(apply("b", json!({"mac": "2"})).0, 409);
    assert_eq!(apply("b", json!({"other": "2"})).0, 200);
    let (_, less) = apply("a", json!({"mac": "1"}));
    assert_eq!(less["spec"], json!({"mac": "1", "other": "2"}));
    assert_eq!(call(&api, "PATCH", path, APPLY, &config(json!({}))).0, 400);
}

#[test]
fn owners_take_what_is_theirs_along_and_outages_end() {
    let api = api();
    let uid = api.put(node("n1"))["metadata"]["uid"].clone();
    api.put(json!({"apiVersion": "offramp.dev/v1alpha1", "kind": "OfframpNode", "metadata": {"name": "n1",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid}]}}));
    api.collect_garbage();
    assert_eq!(api.list("offrampnodes.offramp.dev").len(), 1);
    api.delete("nodes", None, "n1");
    api.collect_garbage();
    assert_eq!(api.list("offrampnodes.offramp.dev").len(), 0);
    api.outage(true);
    let nothing = TcpStream::connect(api.address()).unwrap().read(&mut [0]);
    assert_eq!(nothing.unwrap_or(0), 0);
    api.outage(false);
    assert_eq!(get(&api, "/api/v1/nodes").0, 200);
}

#[test]
fn a_lagging_server_answers_lists_of_any_version_from_the_past() {
    let api = api();
    api.put(node("n1"));
    api.lag(true);
    api.put(node("n2"));
    let count =
        |query: &str| get(&api, &format!("/api/v1/nodes?{query}")).1["items"].as_array().unwrap().len();
    assert_eq!((count("resourceVersion=0"), count("")), (1, 2));
    api.lag(false);
    assert_eq!(count("resourceVersion=0"), 2);
}
