//! The networks that pods can ask for: NetworkAttachmentDefinitions.

mod file;

use crate::config::{NetworkSource, Networks};
use offramp_core::cni::CniError;
use offramp_core::networks::{Definition, NadRef};

/// Where definitions are found.
pub struct Definitions {
    source: NetworkSource,
}

impl Definitions {
    /// As the configuration has it.
    pub fn new(config: &Networks) -> Self {
        Self { source: config.definitions.clone() }
    }

    /// Whether there can be any; else the pods' annotation is for somebody else.
    pub fn are_known(&self) -> bool {
        self.source != NetworkSource::None
    }

    /// The one of that name. Error 7 if there is none, or it is wrong.
    pub fn get(&self, nad: &NadRef) -> Result<Definition, CniError> {
        match &self.source {
            NetworkSource::None => Err(unknown(nad)),
            NetworkSource::File(path) => file::get(path, nad),
        }
    }
}

fn unknown(nad: &NadRef) -> CniError {
    CniError::config(format!("there is no NetworkAttachmentDefinition {nad}"))
}
