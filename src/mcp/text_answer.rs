//! The answer to a call that ended with text, which is what nearly all of them end with, written as bytes.
//!
//! It is the same line, byte for byte, that rmcp's types make of the result; those take a tree of values to be built,
//! serialised and dropped for what is one text between two constant pieces.

use rmcp::model::RequestId;
use serde_json::Value;

use crate::wasi::call::{Content, GuestOutput};

/// The texts of an output that is nothing but text.
pub fn texts(output: &GuestOutput) -> Option<Vec<&str>> {
    fn text(content: &Content) -> Option<&str> {
        match content {
            Content::Text(text) => Some(text),
            Content::Blob { .. } => None,
        }
    }
    output.content.iter().map(text).collect()
}

/// What an answer is made of.
pub struct TextAnswer<'a> {
    /// The request it answers.
    pub id: &'a RequestId,
    /// The blocks of its content.
    pub texts: &'a [&'a str],
    /// A JSON object for clients that read it.
    pub structured: Option<&'a Value>,
    /// The ContextFrame that was used, as JSON.
    pub context: &'a str,
    /// Whether the client's version knows types of results, and wants to know who answered.
    pub modern: bool,
}

impl TextAnswer<'_> {
    /// Appends the answer to `line`, without a newline.
    pub fn write(&self, line: &mut Vec<u8>) {
        const SERVER: &str = concat!(
            r#""io.modelcontextprotocol/serverInfo":{"name":"nurones-mcp","version":""#,
            env!("CARGO_PKG_VERSION"),
            r#""},"#
        );
        let bytes: usize = self.texts.iter().map(|text| text.len() + 32).sum();
        line.reserve(bytes + bytes / 8 + self.context.len() + 256);
        line.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        match self.id {
            RequestId::Number(number) => line.extend_from_slice(number.to_string().as_bytes()),
            RequestId::String(text) => quote(text, line),
        }
        line.extend_from_slice(br#","result":{"#);
        if self.modern {
            line.extend_from_slice(br#""resultType":"complete","#);
        }
        line.extend_from_slice(br#""content":["#);
        for (index, text) in self.texts.iter().enumerate() {
            line.extend_from_slice(if index == 0 { b"" } else { b"," });
            line.extend_from_slice(br#"{"type":"text","text":"#);
            quote(text, line);
            line.push(b'}');
        }
        line.push(b']');
        if let Some(structured) = self.structured {
            line.extend_from_slice(br#","structuredContent":"#);
            line.extend_from_slice(structured.to_string().as_bytes());
        }
        line.extend_from_slice(br#","isError":false,"_meta":{"#);
        if self.modern {
            line.extend_from_slice(SERVER.as_bytes());
        }
        line.extend_from_slice(br#""io.nurones/context":"#);
        line.extend_from_slice(self.context.as_bytes());
        line.extend_from_slice(b"}}}");
    }
}

/// Appends `text` as a JSON string.
fn quote(text: &str, line: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    line.push(b'"');
    loop {
        let plain = plain(rest);
        line.extend_from_slice(&rest[..plain]);
        let Some(&special) = rest.get(plain) else { break };
        escape(special, line);
        rest = &rest[plain + 1..];
    }
    line.push(b'"');
}

fn escape(byte: u8, line: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            line.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
            return;
        }
    };
    line.extend_from_slice(&[b'\\', short]);
}

/// How many bytes from the beginning need no escape: those before the first control character, quote or backslash.
/// Eight at a time, by the well-known tricks for finding a byte in a word (Anderson, "Bit Twiddling Hacks").
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let special = control | zero_in(word ^ (ONES * u64::from(b'"'))) | zero_in(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            // Only the lowest is sure to be one; that is the one asked for.
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    words.len() * 8 + tail.iter().position(is_special).unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmcp::model::{CallToolResult, ContentBlock, MetaObject, ServerJsonRpcMessage, ServerResult};
    use serde_json::json;

    use super::*;
    use crate::frame::META_KEY;
    use crate::mcp::tools;

    /// The same answer by rmcp's types.
    fn by_types(answer: &TextAnswer<'_>) -> String {
        let mut result = CallToolResult::success(answer.texts.iter().map(|text| ContentBlock::text(*text)).collect());
        result.structured_content = answer.structured.cloned();
        let mut meta = MetaObject::default();
        meta.insert(META_KEY.to_owned(), serde_json::from_str(answer.context).unwrap());
        if answer.modern {
            tools::sign(&mut meta);
        } else {
            result.result_type = None;
        }
        result.meta = Some(meta);
        let message = ServerJsonRpcMessage::response(ServerResult::CallToolResult(result), answer.id.clone());
        serde_json::to_string(&message).unwrap()
    }

    #[test]
    fn every_byte_that_needs_an_escape_has_it_wherever_it_stands() {
        for byte in 0..0x80_u8 {
            for before in 0..9 {
                let text = format!("{}{}é{}", "x".repeat(before), char::from(byte), "\u{7f}y".repeat(5));
                let mut line = Vec::new();
                quote(&text, &mut line);
                assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&text).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_line_that_rmcp_would_write(
            texts in prop::collection::vec("\\PC{0,40}|[\\x00-\\x7f\\u{80}-\\u{ff}]{0,40}", 0..3),
            number: i64, string in prop::option::of("[ -~]{0,10}"), structured: Option<bool>, modern: bool,
        ) {
            let id = string.map_or(RequestId::Number(number), |id| RequestId::String(id.into()));
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let structured = structured.map(|value| json!({"a": value, "b": "\n"}));
            let answer = TextAnswer {
                id: &id, texts: &texts, structured: structured.as_ref(), context: r#"{"tenant_id":"x"}"#, modern,
            };
            let mut line = Vec::new();
            answer.write(&mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), by_types(&answer));
        }
    }
}
