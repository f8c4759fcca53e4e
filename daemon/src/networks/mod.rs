//! The networks that pods can ask for: NetworkAttachmentDefinitions.

mod file;

use crate::config::{NetworkSource, Networks};
use crate::watch::Api;
use offramp_core::cni::CniError;
use offramp_core::networks::{Definition, NadRef};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A definition as it is written; what it means is looked at when a pod asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `spec.config`
    pub config: String,
    /// The annotation with its device resource.
    pub resource: Option<String>,
}

/// Where definitions are found. Those of the API are watched, so that an ADD asks it for none but what is too new.
pub struct Definitions {
    source: NetworkSource,
    known: Mutex<HashMap<NadRef, Written>>,
    /// Those of a list that has begun.
    listed: Mutex<HashSet<NadRef>>,
}

impl Definitions {
    /// As the configuration has it.
    pub fn new(config: &Networks) -> Self {
        Self { source: config.definitions.clone(), known: Mutex::default(), listed: Mutex::default() }
    }

    /// Whether there can be any; else the pods' annotation is for somebody else.
    pub fn are_known(&self) -> bool {
        self.source != NetworkSource::None
    }

    /// Whether they are in the API.
    pub fn are_in_api(&self) -> bool {
        self.source == NetworkSource::Kubernetes
    }

    /// The one of that name. Error 7 if there is none, or it is wrong; 11 if the API cannot be asked.
    pub fn get(&self, nad: &NadRef, api: Option<&Api>) -> Result<Definition, CniError> {
        match &self.source {
            NetworkSource::None => Err(unknown(nad)),
            NetworkSource::File(path) => file::get(path, nad),
            NetworkSource::Kubernetes => {
                let known = self.known().get(nad).cloned();
                let written = match (known, api) {
                    (Some(written), _) => written,
                    (None, Some(api)) => ask(api, nad)?,
                    (None, None) => return Err(unknown(nad)),
                };
                Definition::parse(nad.clone(), &written.config, written.resource.as_deref())
            }
        }
    }

    /// It is so now.
    pub fn set(&self, nad: NadRef, written: Written) {
        self.known().insert(nad, written);
    }

    /// It is no more.
    pub fn remove(&self, nad: &NadRef) {
        self.known().remove(nad);
    }

    /// A list begins.
    pub fn list_begins(&self) {
        self.listed().clear();
    }

    /// It has this one.
    pub fn list_has(&self, nad: NadRef, written: Written) {
        self.listed().insert(nad.clone());
        self.set(nad, written);
    }

    /// What it did not have is no more.
    pub fn list_ends(&self) {
        let listed = std::mem::take(&mut *self.listed());
        self.known().retain(|nad, _| listed.contains(nad));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NadRef, Written>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> MutexGuard<'_, HashSet<NadRef>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that the watch has not told of: it may be new.
fn ask(api: &Api, nad: &NadRef) -> Result<Written, CniError> {
    let found = api.definition(nad).map_err(|e| {
        CniError::try_again(format!("read NetworkAttachmentDefinition {nad} from the Kubernetes API: {e}"))
    });
    found?.ok_or_else(|| unknown(nad))
}

fn unknown(nad: &NadRef) -> CniError {
    CniError::config(format!("there is no NetworkAttachmentDefinition {nad}"))
}
