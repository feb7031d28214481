//! A `tools/call` request without its id, ready to be written again and again.

use std::io::Write;

use serde_json::json;

use super::arguments::{Arguments, Filling};
use super::plan::Call;
use super::protocol::Protocol;

/// See the module documentation.
#[derive(Debug)]
pub struct Template {
    /// What stands between the id and the arguments.
    middle: Vec<u8>,
    arguments: Arguments,
}

impl Template {
    /// A request for `call`, by a client that shook hands.
    pub fn new(call: &Call) -> Self {
        Self::spoken(call, Protocol::default())
    }

    /// A request for `call` in the words of `protocol`.
    pub(super) fn spoken(call: &Call, protocol: Protocol) -> Self {
        let meta = protocol.meta().map(|meta| format!("\"_meta\":{meta},")).unwrap_or_default();
        let name = json!(call.tool);
        let middle = format!(",\"method\":\"tools/call\",\"params\":{{{meta}\"name\":{name},\"arguments\":");
        Self { middle: middle.into_bytes(), arguments: call.arguments.clone() }
    }

    /// Appends the request with `id`. Places in the arguments are filled with nothing but zeros.
    pub fn render(&self, id: u64, into: &mut Vec<u8>) {
        self.fill(id, Filling { number: 0, files: &[], random: &mut fastrand::Rng::with_seed(0) }, into);
    }

    /// Appends the request with `id`, its arguments filled in.
    pub(super) fn fill(&self, id: u64, filling: Filling<'_>, into: &mut Vec<u8>) {
        write!(into, "{{\"jsonrpc\":\"2.0\",\"id\":{id}").expect("writing to memory does not fail");
        into.extend_from_slice(&self.middle);
        self.arguments.fill(filling, into);
        into.extend_from_slice(b"}}\n");
    }

    /// Bytes of one request, at most.
    pub(super) fn len(&self, files: &[String]) -> usize {
        self.middle.len() + self.arguments.len(files) + 45
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn requests_are_rendered_around_their_id() {
        let arguments = json!({"path": "a \"b\".txt"});
        let template = Template::new(&Call::new("fs.read", arguments.as_object().unwrap()));
        let mut bytes = Vec::new();
        template.render(7, &mut bytes);
        template.render(u64::MAX, &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines[0],
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
                   "params": {"name": "fs.read", "arguments": {"path": "a \"b\".txt"}}})
        );
        assert_eq!(lines[1]["id"], u64::MAX);
        assert!(text.lines().all(|line| line.len() < template.len(&[])));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn every_request_of_the_modern_era_says_its_version() {
        let call =
            Call { arguments: Arguments::parse(r#"{"n":{{i}}}"#).unwrap(), ..Call::new("t", &Default::default()) };
        let template = Template::spoken(&call, "2026-07-28".parse().unwrap());
        let mut bytes = Vec::new();
        template.fill(1, Filling { number: 5, files: &[], random: &mut fastrand::Rng::new() }, &mut bytes);
        let request: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(request["params"]["arguments"]["n"], 5);
    }
}
