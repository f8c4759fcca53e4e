//! The kinds of patches.

use super::object::timestamp;
use super::reply::{Answer, Refusal};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            object(target).remove(key);
        } else {
            merge(object(target).entry(key).or_insert(Value::Null), value);
        }
    }
    object(target);
}

/// As [`merge`], but some lists are merged by a key of their items
/// (the `patchMergeKey` of the types that Offramp has to do with).
pub fn strategic(target: &mut Value, patch: &Value) {
    strategic_at("", target, patch);
}

fn strategic_at(name: &str, target: &mut Value, patch: &Value) {
    match (patch, merge_key(name)) {
        (Value::Object(patch), _) => {
            for (key, value) in patch {
                if value.is_null() {
                    object(target).remove(key);
                } else {
                    strategic_at(key, object(target).entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(items), Some(key)) => {
            if !target.is_array() {
                *target = json!([]);
            }
            for item in items {
                strategic_item(key, target.as_array_mut().unwrap(), item);
            }
        }
        _ => *target = patch.clone(),
    }
}

fn strategic_item(key: &str, list: &mut Vec<Value>, item: &Value) {
    let same = |other: &Value| other[key] == item[key];
    if item["$patch"] == "delete" {
        list.retain(|other| !same(other));
        return;
    }
    match list.iter_mut().find(|other| same(other)) {
        Some(old) => strategic_at("", old, item),
        None => list.push(item.clone()),
    }
}

fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
        _ => None,
    }
}

type Path = Vec<String>;

/// Who has set which fields of an object. Maps are sets of fields, all else is one field.
#[derive(Debug, Clone, Default)]
pub struct Managers(BTreeMap<String, Owned>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Owned {
    fields: BTreeSet<Path>,
    time: String,
}

impl Managers {
    /// What `live` becomes when `manager` applies `config`: its fields are as there, those that it has given up go, and
    /// those of others are a conflict unless they agree or `force` is given.
    pub fn apply(&mut self, live: &Value, config: &Value, manager: &str, force: bool) -> Answer {
        let fields = leaves(config);
        let mut conflicts = Vec::new();
        for (other, owned) in self.0.iter().filter(|(name, _)| *name != manager) {
            let differs = |path: &&Path| at(live, path) != at(config, path);
            let taken = owned.fields.intersection(&fields).filter(differs);
            conflicts.extend(taken.map(|path| format!("conflict with {other:?}: .{}", path.join("."))));
        }
        if !conflicts.is_empty() && !force {
            let n = conflicts.len();
            let text = format!("Apply failed with {n} conflicts: {}", conflicts.join(", "));
            return Err(Refusal::conflict(text));
        }
        let mut object = live.clone();
        let before = self.0.get(manager).cloned().unwrap_or_default();
        for path in before.fields.difference(&fields) {
            if !self.0.iter().any(|(name, o)| name != manager && o.fields.contains(path)) {
                remove(&mut object, path);
            }
        }
        for path in &fields {
            set(&mut object, path, at(config, path).clone());
        }
        for (_, owned) in self.0.iter_mut().filter(|(name, _)| *name != manager) {
            owned.fields.retain(|path| !fields.contains(path) || at(live, path) == at(config, path));
        }
        if before.fields != fields {
            self.0.insert(manager.to_owned(), Owned { fields, time: timestamp() });
        }
        object["metadata"]["managedFields"] = self.render(&config["apiVersion"]);
        Ok(object)
    }

    /// What `manager` has changed by another kind of write is its own now.
    pub fn written(&mut self, before: &Value, after: &Value, manager: &str) {
        let (old, new) = (leaves(before), leaves(after));
        let changed: BTreeSet<Path> =
            new.iter().filter(|p| !old.contains(*p) || at(before, p) != at(after, p)).cloned().collect();
        for owned in self.0.values_mut() {
            owned.fields.retain(|path| new.contains(path) && !changed.contains(path));
        }
        if !changed.is_empty() {
            self.0.entry(manager.to_owned()).or_default().fields.extend(changed);
        }
    }

    /// As the real server shows it: it is most of a small object.
    fn render(&self, api_version: &Value) -> Value {
        let one = |(manager, owned): (&String, &Owned)| {
            let mut fields = json!({});
            for path in &owned.fields {
                let at = path.iter().fold(&mut fields, |at, key| {
                    object(at).entry(format!("f:{key}")).or_insert_with(|| json!({}))
                });
                object(at);
            }
            json!({
                "manager": manager, "operation": "Apply", "apiVersion": api_version,
                "time": owned.time, "fieldsType": "FieldsV1", "fieldsV1": fields,
            })
        };
        self.0.iter().map(one).collect()
    }
}

fn leaves(value: &Value) -> BTreeSet<Path> {
    fn walk(value: &Value, path: &mut Path, into: &mut BTreeSet<Path>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    path.push(key.clone());
                    walk(value, path, into);
                    path.pop();
                }
            }
            _ => drop(into.insert(path.clone())),
        }
    }
    let mut into = BTreeSet::new();
    walk(value, &mut Vec::new(), &mut into);
    // Identity belongs to nobody, and the rest of these to the server.
    const SERVERS: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "generateName",
    ];
    into.retain(|path| match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["apiVersion" | "kind", ..] | [] => false,
        ["metadata"] => false,
        ["metadata", key, ..] => !SERVERS.contains(&key),
        _ => true,
    });
    into
}

fn at<'a>(value: &'a Value, path: &Path) -> &'a Value {
    path.iter().fold(value, |at, key| &at[key])
}

fn set(value: &mut Value, path: &Path, to: Value) {
    let at = path.iter().fold(value, |at, key| object(at).entry(key).or_insert(Value::Null));
    *at = to;
}

fn remove(value: &mut Value, path: &Path) {
    if let Some((last, way)) = path.split_last() {
        let at = way.iter().fold(value, |at, key| object(at).entry(key).or_insert(Value::Null));
        object(at).remove(last);
    }
}

/// The value's members; whatever else it was is gone.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().unwrap()
}
