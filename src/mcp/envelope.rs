//! One line is looked at before rmcp sees it: is it a JSON-RPC message at all, and of which kind?
//!
//! rmcp ignores or misreads much of what is checked here (bad JSON, null ids, batches), and a client that gets no
//! answer waits for ever. No I/O, no state: bytes in, verdict out.

use std::borrow::Cow;

use rmcp::model::RequestId;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::defaults;

/// What a line turned out to be.
#[derive(Debug, PartialEq)]
pub enum Envelope<'a> {
    /// Nothing that needs an answer: a blank line, or a response to a request we never sent.
    Ignore,
    /// Not a message we can take.
    Refuse(Refused),
    /// A request.
    Request {
        /// Its id.
        id: RequestId,
        /// The parameters if it is a `tools/call`, which is what load consists of.
        call: Option<&'a str>,
    },
    /// `notifications/cancelled`.
    Cancel {
        /// The request that is no longer wanted.
        id: RequestId,
    },
    /// Any other notification.
    Notification,
}

/// A line that is refused, and how to say so.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The id, if it could be found and is valid.
    pub id: Option<RequestId>,
    /// JSON-RPC error code.
    pub code: i32,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// For a person.
    pub message: Cow<'static, str>,
}

/// JSON-RPC: the line is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON-RPC: the line is JSON but no request.
pub const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC: the parameters make no sense.
pub const INVALID_PARAMS: i32 = -32602;

/// The members of a message, unparsed. `Option<Present>` tells `"id": null` from no id at all.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Envelope<'a> {
    /// Looks at one line, given without its newline.
    pub fn of(line: &'a [u8]) -> Self {
        Self::checked(line).unwrap_or_else(Self::Refuse)
    }

    fn checked(line: &'a [u8]) -> Result<Self, Refused> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(Self::Ignore);
        }
        let members = parse(line)?;
        let id = members.id.map(|raw| parse_id(raw.get())).transpose();
        let valid_id = id.as_ref().ok().cloned().flatten();
        let invalid = |reason, message| invalid_request(valid_id.clone(), reason, message);
        if depth(line) > defaults::DEPTH {
            return Err(invalid("too_deep", "the message is nested deeper than 64 levels"));
        }
        if !members.jsonrpc.is_some_and(is_two) {
            return Err(invalid("jsonrpc", r#"the member "jsonrpc" must be "2.0""#));
        }
        let id = id?;
        let Some(method) = members.method else {
            let is_response = members.result.is_some() || members.error.is_some();
            return if is_response { Ok(Self::Ignore) } else { Err(invalid("method", "the method is missing")) };
        };
        let Ok(method) = serde_json::from_str::<Cow<'_, str>>(method.get()) else {
            return Err(invalid("method", "the method must be a string"));
        };
        // Read as a tuple, a list would fit many types.
        let params_fit = members.params.is_none_or(|params| params.get().starts_with('{') || params.get() == "null");
        match id {
            Some(id) if !params_fit => {
                let message = Cow::Borrowed("the params of a request must be an object");
                Err(Refused { id: Some(id), code: INVALID_PARAMS, reason: "params", message })
            }
            Some(id) if method == "tools/call" => {
                Ok(Self::Request { id, call: Some(members.params.map_or("{}", RawValue::get)) })
            }
            Some(id) => Ok(Self::Request { id, call: None }),
            None if method == "notifications/cancelled" => Ok(cancelled(members.params)),
            None => Ok(Self::Notification),
        }
    }
}

/// Whether the version is the string `2.0`, however it is escaped.
fn is_two(version: &RawValue) -> bool {
    version.get() == r#""2.0""# || serde_json::from_str::<Cow<'_, str>>(version.get()).is_ok_and(|text| text == "2.0")
}

/// A cancellation whose id cannot be read cancels nothing.
fn cancelled<'a>(params: Option<&RawValue>) -> Envelope<'a> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        #[serde(borrow)]
        request_id: &'a RawValue,
    }
    let id = params
        .filter(|params| params.get().starts_with('{'))
        .and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok())
        .and_then(|params| parse_id(params.request_id.get()).ok());
    id.map_or(Envelope::Ignore, |id| Envelope::Cancel { id })
}

fn parse(line: &[u8]) -> Result<Members<'_>, Refused> {
    let not_json = || Refused {
        id: None,
        code: PARSE_ERROR,
        reason: "parse_error",
        message: Cow::Borrowed("the line is not valid JSON in UTF-8"),
    };
    let text = std::str::from_utf8(line).map_err(|_| not_json())?;
    if !text.starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Err(_) => not_json(),
            Ok(_) if text.starts_with('[') => {
                invalid_request(None, "batch", "batches are not supported; send each message on a line of its own")
            }
            Ok(_) => invalid_request(None, "not_an_object", "a message must be a JSON object"),
        });
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        // The second member is noticed before the rest of the line is read.
        serde_json::error::Category::Data if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            invalid_request(only_id(text), "duplicate_member", "a member appears twice")
        }
        _ => not_json(),
    })
}

/// The id of a message with a member that appears twice, unless that is the id itself.
fn only_id(text: &str) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let only: OnlyId<'_> = serde_json::from_str(text).ok()?;
    parse_id(only.id.get()).ok()
}

fn invalid_request(id: Option<RequestId>, reason: &'static str, message: &'static str) -> Refused {
    Refused { id, code: INVALID_REQUEST, reason, message: Cow::Borrowed(message) }
}

/// An id is an integer of 64 bits or a string of bounded length; anything else could not be answered faithfully.
fn parse_id(raw: &str) -> Result<RequestId, Refused> {
    if let Ok(number) = raw.parse::<i64>() {
        return Ok(RequestId::Number(number));
    }
    match serde_json::from_str::<Cow<'_, str>>(raw) {
        Ok(text) if text.len() <= defaults::ID_BYTES => Ok(RequestId::String(text.into())),
        Ok(_) => Err(invalid_request(None, "id", "the id is longer than 1024 bytes")),
        Err(_) => Err(invalid_request(None, "id", "the id must be a string or an integer of 64 bits")),
    }
}

/// Deepest nesting of a line, counted without recursion.
fn depth(line: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for &byte in line {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The id in the first bytes of an overlong line, if it stands there whole, as a plain top-level member.
pub fn id_in_head(head: &[u8]) -> Option<RequestId> {
    if head.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let (mut depth, mut string_from, mut escaped) = (0_usize, None, false);
    for (at, &byte) in head.iter().enumerate() {
        match (string_from, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => {
                string_from = None;
                // Only at depth 1, and only as a key: the same characters may stand in the arguments.
                if depth == 1
                    && &head[from..=at] == br#""id""#
                    && let Some(value) = head[at + 1..].trim_ascii_start().strip_prefix(b":")
                {
                    return whole_id(value);
                }
            }
            (Some(_), _) => {}
            (None, b'"') => string_from = Some(at),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// The id that `text` begins with. A number at its end may have been cut, and would be somebody else's id.
fn whole_id(text: &[u8]) -> Option<RequestId> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?.get();
    let ends_here = values.byte_offset() < text.len() || raw.ends_with('"');
    parse_id(raw).ok().filter(|_| ends_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (i32, &'static str, Option<RequestId>) {
        match Envelope::of(line.as_bytes()) {
            Envelope::Refuse(refused) => (refused.code, refused.reason, refused.id),
            other => panic!("{line} was taken: {other:?}"),
        }
    }

    #[test]
    fn requests_notifications_and_cancels_are_told_apart() {
        fn of(line: &str) -> Envelope<'_> {
            Envelope::of(line.as_bytes())
        }
        assert_eq!(
            of(r#" {"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}} "#),
            Envelope::Request { id: RequestId::Number(7), call: Some("{}") }
        );
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#),
            Envelope::Request { id: RequestId::String("a".into()), call: None }
        );
        assert_eq!(of(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), Envelope::Notification);
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#),
            Envelope::Cancel { id: RequestId::Number(7) }
        );
        for ignored in [
            "",
            "  \r",
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[7]}"#,
        ] {
            assert_eq!(of(ignored), Envelope::Ignore, "{ignored}");
        }
    }

    #[test]
    fn what_is_not_json_is_a_parse_error_without_id() {
        for line in [
            "{",
            "nope",
            r#"{"jsonrpc":"2.0","id":7,"meth"#,
            "\u{feff}{}",
            r#"{"a":1} x"#,
            r#"{"id":7,"id":8"#,
            "{\"a\":\"\u{1}\"}",
        ] {
            assert_eq!(refused(line), (PARSE_ERROR, "parse_error", None), "{line}");
        }
        assert!(matches!(Envelope::of(b"{\"a\":\"\xff\"}"), Envelope::Refuse(refused) if refused.code == PARSE_ERROR));
    }

    #[test]
    fn what_is_json_but_no_message_is_an_invalid_request() {
        let seven = Some(RequestId::Number(7));
        for (line, reason, id) in [
            ("[]", "batch", None),
            (r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, "batch", None),
            ("7", "not_an_object", None),
            (r#"{"id":7,"method":"ping"}"#, "jsonrpc", seven.clone()),
            (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, "jsonrpc", seven.clone()),
            (r#"{"jsonrpc":"2.0","id":7}"#, "method", seven.clone()),
            (r#"{"jsonrpc":"2.0","id":7,"method":8}"#, "method", seven.clone()),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "id", None),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "id", None),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, "id", None),
            (r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#, "id", None),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"x"}"#, "duplicate_member", seven),
            (r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#, "duplicate_member", None),
        ] {
            assert_eq!(refused(line), (INVALID_REQUEST, reason, id), "{line}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| {
            let list = ["[".repeat(n - 1), "]".repeat(n - 1)].concat();
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":{{"a":{list}}}}}"#)
        };
        assert!(matches!(Envelope::of(nested(63).as_bytes()), Envelope::Request { .. }));
        assert_eq!(refused(&nested(64)), (INVALID_REQUEST, "too_deep", Some(RequestId::Number(7))));
        assert_eq!(refused(&nested(1_000_000)).1, "too_deep");
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":{{"a":"{}"}}}}"#, "[\\\"".repeat(100));
        assert!(matches!(Envelope::of(text.as_bytes()), Envelope::Request { .. }));
    }

    #[test]
    fn the_id_of_an_overlong_line_is_found_only_at_the_top() {
        let head = |text: &str| id_in_head(text.as_bytes());
        assert_eq!(
            head(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"aaaa"#),
            Some(RequestId::Number(7))
        );
        assert_eq!(head(r#"{"params":{"id":3,"x":"\"id\":4"},"id" : "q","#), Some(RequestId::String("q".into())));
        assert_eq!(head(r#"{"params":{"id":3,"aaaa"#), None);
        assert_eq!(head("aaaa"), None);
        assert_eq!(head(r#"{"method":"id","id":7,"#), Some(RequestId::Number(7)), "the first is no key");
        assert_eq!(head(r#"{"id":12"#), None, "it may go on");
        assert_eq!(head(r#"garbage {"id":7,"#), None);
    }
}
