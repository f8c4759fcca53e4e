//! All verbs but watch.

use super::object::{keep_identity, meta, stamp, take_member};
use super::patch;
use super::reply::{Answer, Form, Refusal};
use super::request::Ask;
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Key, Snapshot, Store};
use serde_json::{Value, json};

impl Store {
    /// The answer's code and body.
    pub fn answer(&mut self, ask: &Ask) -> Answer<(u16, Value)> {
        let resource = self.resource(ask)?;
        match ask.log.verb.as_str() {
            "list" => self.list(ask, &resource).map(|list| (200, list)),
            "get" => self.read(ask, &resource).map(|object| (200, object)),
            "create" => self.create(ask, &resource).map(|object| (201, object)),
            "update" => self.update(ask, &resource).map(|object| (200, object)),
            "patch" => self.patch(ask, &resource),
            "delete" => self.delete(ask, &resource).map(|object| (200, object)),
            _ => Err(Refusal::new(405, "MethodNotAllowed", "the server does not allow this method")),
        }
    }

    /// The kind that is asked for, if the caller may.
    pub fn resource(&self, ask: &Ask) -> Answer<Resource> {
        let log = &ask.log;
        let full = if log.subresource.is_empty() {
            log.resource.clone()
        } else {
            format!("{}/{}", log.resource, log.subresource)
        };
        let granted = self.role.as_ref().is_none_or(|role| role.grants(log));
        if !granted || self.forbidden.contains(&(log.verb.clone(), full.clone())) {
            let text = format!("{full} is forbidden: User \"test\" cannot {} resource {full:?}", log.verb);
            return Err(Refusal::new(403, "Forbidden", text));
        }
        let unknown = || Refusal::new(404, "NotFound", "the server could not find the requested resource");
        let resource = self.find(&log.group, &ask.version, &log.resource).ok_or_else(unknown)?;
        let known = log.subresource.is_empty() || (log.subresource == "status" && resource.status);
        let at_home = resource.namespaced || log.namespace.is_empty();
        if known && at_home { Ok(resource) } else { Err(unknown()) }
    }

    fn list(&mut self, ask: &Ask, resource: &Resource) -> Answer {
        let limit = ask.parameter("limit").parse().ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        let (id, from) = match ask.parameter("continue") {
            "" => {
                let selector = selector(ask)?;
                let (version, all) = match ask.parameter("resourceVersion") {
                    "0" => self.any(resource),
                    _ => (self.version, self.all(resource).cloned().collect()),
                };
                let objects = all.into_iter().filter(|o| selector.selects(o)).collect();
                let id = self.snapshots.len() as u64 + self.version * 1000;
                self.snapshots.insert(id, Snapshot { version, objects });
                (id, 0)
            }
            token => {
                let parsed =
                    token.split_once('-').and_then(|(id, n)| Some((id.parse().ok()?, n.parse().ok()?)));
                parsed.ok_or_else(|| Refusal::bad_request("continue key is not valid"))?
            }
        };
        let expired = || Refusal::new(410, "Expired", "The provided continue parameter is too old");
        let snapshot = self.snapshots.get(&id).ok_or_else(expired)?;
        let page = snapshot.objects.iter().skip(from).take(limit);
        let items: Vec<Value> = page.map(|object| ask.form.of(object)).collect();
        let (end, total) = (from + items.len(), snapshot.objects.len());
        let mut metadata = json!({"resourceVersion": snapshot.version.to_string()});
        if end < total {
            metadata["continue"] = json!(format!("{id}-{end}"));
            metadata["remainingItemCount"] = json!(total - end);
        } else {
            self.snapshots.remove(&id);
        }
        let (api_version, kind) = match ask.form {
            Form::Whole => (resource.api_version(), format!("{}List", resource.kind)),
            Form::Metadata => ("meta.k8s.io/v1".into(), "PartialObjectMetadataList".into()),
        };
        Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items}))
    }

    fn read(&self, ask: &Ask, resource: &Resource) -> Answer {
        self.live(&self.key(ask, resource)?).map(|object| ask.form.of(&object))
    }

    fn create(&mut self, ask: &Ask, resource: &Resource) -> Answer {
        let mut object = body(ask, resource)?;
        if meta(&object, "name").is_empty() {
            let prefix = meta(&object, "generateName").to_owned();
            if prefix.is_empty() {
                return Err(Refusal::invalid(
                    "metadata.name: Required value: name or generateName is required",
                ));
            }
            object["metadata"]["name"] = json!(format!("{prefix}{:05x}", self.version));
        }
        let name = meta(&object, "name").to_owned();
        let key = key(ask, resource, &name)?;
        if resource.namespaced {
            object["metadata"]["namespace"] = json!(key.namespace);
        }
        if self.get(&key).is_some() {
            let text = format!("{} {name:?} already exists", resource.name());
            return Err(Refusal::new(409, "AlreadyExists", text));
        }
        stamp(&mut object);
        self.managers.entry(key.clone()).or_default().written(&Value::Null, &object, &manager(ask));
        Ok(Value::clone(&self.write(&key, object)))
    }

    fn update(&mut self, ask: &Ask, resource: &Resource) -> Answer {
        let key = self.key(ask, resource)?;
        let new = body(ask, resource)?;
        self.replace(ask, resource, &key, new)
    }

    /// Stores what an update or a patch makes of an object.
    fn replace(&mut self, ask: &Ask, resource: &Resource, key: &Key, mut new: Value) -> Answer {
        let live = self.live(key)?;
        let version = meta(&new, "resourceVersion");
        if !version.is_empty() && version != meta(&live, "resourceVersion") {
            return Err(Refusal::conflict(format!(
                "Operation cannot be fulfilled on {} {:?}: the object has been modified; please apply your changes to \
                 the latest version and try again",
                key.resource, key.name
            )));
        }
        if meta(&new, "name") != key.name {
            return Err(Refusal::bad_request("the name of the object does not match the name on the URL"));
        }
        let uid = meta(&new, "uid");
        if !uid.is_empty() && uid != meta(&live, "uid") {
            let text = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: other");
            return Err(Refusal::conflict(text));
        }
        keep_identity(&mut new, &live);
        if ask.log.subresource == "status" {
            for key in live.as_object().unwrap().keys().chain(new.clone().as_object().unwrap().keys()) {
                if !["status", "metadata"].contains(&key.as_str()) {
                    take_member(&mut new, &live, key);
                }
            }
        } else if resource.status {
            take_member(&mut new, &live, "status");
        }
        self.managers.entry(key.clone()).or_default().written(&live, &new, &manager(ask));
        Ok(Value::clone(&self.write(key, new)))
    }

    fn patch(&mut self, ask: &Ask, resource: &Resource) -> Answer<(u16, Value)> {
        let key = self.key(ask, resource)?;
        if ask.content_type == "application/apply-patch+yaml" {
            return self.apply(ask, resource, &key);
        }
        let patch: Value = json(ask)?;
        let mut new = Value::clone(&*self.live(&key)?);
        match ask.content_type.as_str() {
            "application/merge-patch+json" => patch::merge(&mut new, &patch),
            // Custom resources have no strategy.
            "application/strategic-merge-patch+json" if !resource.group.contains('.') => {
                patch::strategic(&mut new, &patch);
            }
            other => {
                let text = format!("the body of the request was in an unknown format: {other:?}");
                return Err(Refusal::new(415, "UnsupportedMediaType", text));
            }
        }
        self.replace(ask, resource, &key, new).map(|object| (200, object))
    }

    fn apply(&mut self, ask: &Ask, resource: &Resource, key: &Key) -> Answer<(u16, Value)> {
        let manager = ask.parameter("fieldManager");
        if manager.is_empty() {
            return Err(Refusal::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager is required",
            ));
        }
        let config = body(ask, resource)?;
        if !config["metadata"]["managedFields"].is_null() {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        let live = self.get(key);
        let fresh = live.is_none();
        if fresh && !ask.log.subresource.is_empty() {
            return Err(Refusal::not_found(&key.resource, &key.name));
        }
        let live = live.map_or_else(
            || {
                let mut new = json!({
                    "apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {"name": key.name},
                });
                if resource.namespaced {
                    new["metadata"]["namespace"] = json!(key.namespace);
                }
                stamp(&mut new);
                new
            },
            |object| Value::clone(&object),
        );
        let mut managers = self.managers.get(key).cloned().unwrap_or_default();
        let mut new = managers.apply(&live, &config, manager, ask.flag("force"))?;
        keep_identity(&mut new, &live);
        self.managers.insert(key.clone(), managers);
        Ok((if fresh { 201 } else { 200 }, Value::clone(&self.write(key, new))))
    }

    fn delete(&mut self, ask: &Ask, resource: &Resource) -> Answer {
        let key = self.key(ask, resource)?;
        let live = self.live(&key)?;
        self.remove(&key);
        Ok(Value::clone(&live))
    }

    fn live(&self, key: &Key) -> Answer<std::sync::Arc<Value>> {
        self.get(key).ok_or_else(|| Refusal::not_found(&key.resource, &key.name))
    }

    fn key(&self, ask: &Ask, resource: &Resource) -> Answer<Key> {
        key(ask, resource, &ask.log.name)
    }
}

/// An object of a namespace is found only in it.
fn key(ask: &Ask, resource: &Resource, name: &str) -> Answer<Key> {
    if resource.namespaced && ask.log.namespace.is_empty() {
        return Err(Refusal::new(405, "MethodNotAllowed", "the server does not allow this method"));
    }
    let namespace = ask.log.namespace.clone();
    Ok(Key { resource: resource.name(), namespace, name: name.into() })
}

/// What a list or a watch is confined to.
pub fn selector(ask: &Ask) -> Answer<Selector> {
    let namespace = Some(ask.log.namespace.as_str()).filter(|ns| !ns.is_empty());
    Selector::parse(namespace, ask.parameter("labelSelector"), &ask.log.field_selector)
        .map_err(Refusal::bad_request)
}

fn json(ask: &Ask) -> Answer {
    let wrong = |e| Refusal::bad_request(format!("the body is not JSON (this double reads no YAML): {e}"));
    serde_json::from_slice(&ask.body).map_err(wrong)
}

/// An object of the kind that the path names.
fn body(ask: &Ask, resource: &Resource) -> Answer {
    let object = json(ask)?;
    if object["apiVersion"] != resource.api_version() || object["kind"] != resource.kind {
        let text = format!("the object is {} {}, not that of the URL", object["apiVersion"], object["kind"]);
        return Err(Refusal::bad_request(text));
    }
    if object["metadata"].is_object() {
        Ok(object)
    } else {
        Err(Refusal::invalid("metadata: Required value"))
    }
}

/// Who writes: as given, else the user agent up to its version.
fn manager(ask: &Ask) -> String {
    match ask.parameter("fieldManager") {
        "" => ask.log.user_agent.split('/').next().unwrap_or_default().to_owned(),
        given => given.to_owned(),
    }
}
