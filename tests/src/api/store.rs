//! Objects, and the events that watches read.

use super::Gone;
use super::log::Logged;
use super::object::{differ, meta, stamp};
use super::patch::Managers;
use super::rbac::Role;
use super::resource::Resource;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

/// A change of one object; none before: it is new; none after: it was deleted.
pub struct Change {
    pub version: u64,
    pub resource: String,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
    /// A deleted object's last state has the deletion's version.
    pub last: Arc<Value>,
}

/// A list that is handed out in pages: all of the first page's version.
pub struct Snapshot {
    pub version: u64,
    pub objects: Vec<Arc<Value>>,
}

pub struct Store {
    resources: Vec<Resource>,
    objects: BTreeMap<Key, Arc<Value>>,
    /// Who has set which fields by server-side apply.
    pub managers: HashMap<Key, Managers>,
    pub version: u64,
    pub changes: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    pub compacted: u64,
    pub snapshots: HashMap<u64, Snapshot>,
    lagging: Option<(u64, BTreeMap<Key, Arc<Value>>)>,
    pub gone: Gone,
    pub bookmarks: u64,
    pub forbidden: HashSet<(String, String)>,
    pub role: Option<Role>,
    pub log: Vec<Logged>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            resources: Resource::known(),
            objects: BTreeMap::new(),
            managers: HashMap::new(),
            version: 1,
            changes: VecDeque::new(),
            compacted: 0,
            snapshots: HashMap::new(),
            lagging: None,
            gone: Gone::default(),
            bookmarks: 0,
            forbidden: HashSet::new(),
            role: None,
            log: Vec::new(),
        }
    }
}

impl Store {
    pub fn define(&mut self, resource: Resource) {
        self.resources.retain(|r| r.name() != resource.name());
        self.resources.push(resource);
    }

    pub fn undefine(&mut self, resource: &Resource) {
        self.resources.retain(|r| r.name() != resource.name());
        self.objects.retain(|key, _| key.resource != resource.name());
    }

    /// By the group, version and plural of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Resource> {
        let fits = |r: &&Resource| r.group == group && r.version == version && r.plural == plural;
        self.resources.iter().find(fits).cloned()
    }

    pub fn named(&self, name: &str) -> Resource {
        let found = self.resources.iter().find(|r| r.name() == name);
        found.unwrap_or_else(|| panic!("no resource {name}")).clone()
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    pub fn all(&self, resource: &Resource) -> impl Iterator<Item = &Arc<Value>> {
        of(&self.objects, resource.name())
    }

    /// What a list of any version may answer, and its version.
    pub fn any(&self, resource: &Resource) -> (u64, Vec<Arc<Value>>) {
        match &self.lagging {
            Some((version, objects)) => (*version, of(objects, resource.name()).cloned().collect()),
            None => (self.version, self.all(resource).cloned().collect()),
        }
    }

    pub fn lag(&mut self, on: bool) {
        self.lagging = on.then(|| (self.version, self.objects.clone()));
    }

    /// An administrator's.
    pub fn put(&mut self, mut object: Value) -> Value {
        let (api_version, kind) = (object["apiVersion"].clone(), object["kind"].clone());
        let is = |r: &&Resource| api_version == r.api_version() && kind == r.kind;
        let resource = self
            .resources
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("{api_version} {kind} is not known"))
            .clone();
        if resource.namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        let namespace = resource.namespaced.then(|| meta(&object, "namespace").to_owned());
        let key = resource.key(namespace.as_deref(), meta(&object, "name"));
        match self.get(&key) {
            None => stamp(&mut object),
            Some(old) => super::object::keep_identity(&mut object, &old),
        }
        Value::clone(&self.write(&key, object))
    }

    /// Stores an object and tells of it, unless it is what is there already.
    pub fn write(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        let before = self.objects.get(key).cloned();
        if let Some(old) = &before {
            if !differ(old, &object) {
                return old.clone();
            }
            if old["spec"] != object["spec"] {
                object["metadata"]["generation"] =
                    json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let after = Arc::new(object);
        self.objects.insert(key.clone(), after.clone());
        self.tell(key, before, Some(after.clone()), after.clone());
        after
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(before) = self.objects.remove(key) else { return false };
        self.managers.remove(key);
        self.version += 1;
        let mut last = Value::clone(&before);
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(key, Some(before), None, Arc::new(last));
        true
    }

    fn tell(&mut self, key: &Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>, last: Arc<Value>) {
        let (version, resource) = (self.version, key.resource.clone());
        self.changes.push_back(Change { version, resource, before, after, last });
    }

    pub fn collect_garbage(&mut self) {
        let uids: HashSet<String> = self.objects.values().map(|o| meta(o, "uid").to_owned()).collect();
        let orphan = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            !owners.is_empty() && owners.iter().all(|o| !uids.contains(o["uid"].as_str().unwrap_or_default()))
        };
        let orphans: Vec<Key> =
            self.objects.iter().filter(|(_, o)| orphan(o)).map(|(key, _)| key.clone()).collect();
        for key in orphans {
            self.remove(&key);
        }
    }

    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.changes.clear();
        self.snapshots.clear();
    }
}

fn of(objects: &BTreeMap<Key, Arc<Value>>, resource: String) -> impl Iterator<Item = &Arc<Value>> {
    let first = Key { resource: resource.clone(), namespace: String::new(), name: String::new() };
    objects.range(first..).take_while(move |(key, _)| key.resource == resource).map(|(_, object)| object)
}
