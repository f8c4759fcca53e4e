//! What the server answers.

use super::serve::Body;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};

/// A refusal: becomes a Status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

pub type Answer<T = Value> = Result<T, Refusal>;

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} {name:?} not found"))
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Of a version that is no longer known.
    pub fn gone(version: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {version} ({oldest})"))
    }

    pub fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }

    pub fn response(&self) -> Response<Body> {
        json_response(self.code, &self.status())
    }
}

pub fn json_response(code: u16, value: &Value) -> Response<Body> {
    let text = value.to_string();
    let head = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    head.header(CONTENT_LENGTH, text.len()).body(Full::from(text).boxed_unsync()).unwrap()
}

/// How objects are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Whole,
    /// `PartialObjectMetadata`, or a list of them.
    Metadata,
}

impl Form {
    pub fn of(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
            }),
        }
    }
}
