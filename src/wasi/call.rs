//! What goes into a guest call and what comes out, whatever the kind of guest.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::mpsc;

use super::error::Fault;
use super::store::Progress;
use crate::frame::ContextFrame;
use crate::trail::Story;

/// One call, as the guest gets it.
#[derive(Debug)]
pub struct GuestRequest {
    /// The arguments: a JSON object as text, already checked against the tool's schema.
    pub arguments: String,
    /// What the call is bound to.
    pub frame: Arc<ContextFrame>,
    /// When it will be stopped.
    pub deadline: Instant,
    /// Where progress goes, when the client asked for it.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Where is noted what happens, if anybody wants to know.
    pub story: Option<Arc<Story>>,
}

/// One block of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// UTF-8 text.
    Text(String),
    /// Bytes and their media type.
    Blob {
        /// The bytes.
        data: Vec<u8>,
        /// For example `image/png`.
        mime_type: String,
    },
}

impl Content {
    /// Bytes this block takes in the answer: text as it is, a blob as base64.
    fn answer_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob { data, .. } => data.len().div_ceil(3) * 4,
        }
    }
}

/// A finished call.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestOutput {
    /// The blocks, in order.
    pub content: Vec<Content>,
    /// A JSON object for clients that read `structuredContent`.
    pub structured: Option<Value>,
}

impl GuestOutput {
    /// One block of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text(text.into())], structured: None }
    }

    /// Refuses an output larger than `limit_bytes`; nothing is ever cut off silently.
    ///
    /// # Errors
    /// An output-limit fault.
    pub fn within(self, limit_bytes: usize, structured_bytes: usize) -> Result<Self, Fault> {
        let bytes = self.content.iter().map(Content::answer_bytes).sum::<usize>() + structured_bytes;
        if bytes > limit_bytes { Err(Fault::output_limit(limit_bytes)) } else { Ok(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_counts_as_its_base64() {
        let blob = |bytes: usize| GuestOutput {
            content: vec![Content::Blob { data: vec![0; bytes], mime_type: "x/y".to_owned() }],
            structured: None,
        };
        assert!(blob(75).within(100, 0).is_ok());
        assert!(blob(76).within(100, 0).is_err());
        assert!(GuestOutput::text("x".repeat(100)).within(100, 1).is_err());
    }
}
