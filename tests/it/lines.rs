//! Lines that are no proper message: each is answered by its rule, or ignored, and the service goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stdio_kinds::in_time;
use crate::support::{Client, Sandbox, ServerCommand};

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// The longest line that is taken.
const LINE_BYTES: usize = 4 << 20;

fn session() -> Client {
    ServerCommand::bare().start_session()
}

/// Sends a line that must be refused, sees that the service goes on, and returns the refusal.
fn refused(client: &mut Client, line: &[u8]) -> Value {
    client.send_bytes(line);
    client.send_bytes(b"\n");
    let refusal = client.next();
    assert_goes_on(client);
    refusal
}

fn assert_goes_on(client: &mut Client) {
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    assert!(client.leftovers().is_empty(), "nobody asked for {:?}", client.leftovers());
}

fn assert_refused(client: &mut Client, line: impl AsRef<[u8]>, code: i64, reason: &str, id: Option<Value>) {
    let line = line.as_ref();
    let shown = String::from_utf8_lossy(&line[..line.len().min(200)]);
    let refusal = refused(client, line);
    assert_eq!(refusal["error"]["code"], code, "{shown}: {refusal}");
    assert_eq!(refusal["error"]["data"]["reason"], reason, "{shown}: {refusal}");
    assert!(refusal["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{refusal}");
    assert_eq!(refusal.get("id"), id.as_ref(), "{shown}: {refusal}");
}

fn assert_ignored(client: &mut Client, line: impl AsRef<[u8]>) {
    client.send_bytes(line.as_ref());
    client.send_bytes(b"\n");
    assert_goes_on(client);
}

#[test]
fn what_is_not_json_is_a_parse_error_without_id() {
    let mut client = session();
    for line in [
        &b"garbage"[..],
        b"{",
        b"}",
        br#"{"jsonrpc":"2.0","id":7,"meth"#,
        br#"{"jsonrpc":"2.0","id":7,"method":"ping"} x"#,
        br#"{"jsonrpc":"2.0","id":7,"method":"ping"}{"jsonrpc":"2.0","id":8,"method":"ping"}"#,
        br#"{'jsonrpc':'2.0','id':7,'method':'ping'}"#,
        b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"pi\x01ng\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"pi\0ng\"}",
        b"\0",
        b"Content-Length: 52",
        b"[1,",
        b"nul",
    ] {
        assert_refused(&mut client, line, PARSE_ERROR, "parse_error", None);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_a_parse_error() {
    let mut client = session();
    for line in
        [&b"\xff\xfe"[..], b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":{\"a\":\"\xc3\x28\"}}"]
    {
        assert_refused(&mut client, line, PARSE_ERROR, "parse_error", None);
    }
    let utf16: Vec<u8> =
        r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_refused(&mut client, utf16, PARSE_ERROR, "parse_error", None);
}

#[test]
fn a_byte_order_mark_is_a_parse_error() {
    let line = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}";
    assert_refused(&mut session(), line, PARSE_ERROR, "parse_error", None);
}

#[test]
fn a_batch_is_refused_as_a_whole() {
    let mut client = session();
    for line in ["[]", r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, r#"["2.0",7,"ping",null,null,null]"#] {
        assert_refused(&mut client, line, INVALID_REQUEST, "batch", None);
    }
}

#[test]
fn a_scalar_is_no_message() {
    let mut client = session();
    for line in ["7", "null", "true", r#""ping""#, "1e400"] {
        assert_refused(&mut client, line, INVALID_REQUEST, "not_an_object", None);
    }
}

#[test]
fn nesting_is_bounded_and_said_so_with_the_id() {
    let mut client = session();
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{{"a":{open}{close}}}}}"#)
    };
    assert_refused(&mut client, nested(63), INVALID_REQUEST, "too_deep", Some(json!(7)));
    assert_refused(&mut client, nested(1_000_000), INVALID_REQUEST, "too_deep", Some(json!(7)));
    client.send_line(&nested(62));
    assert_eq!(client.answer(7)["result"], json!({}), "64 levels are taken");
}

#[test]
fn the_protocol_version_of_json_rpc_must_be_said_right() {
    let mut client = session();
    for member in ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, r#""jsonrpc":null,"#, r#""jsonrpc":"2.00","#] {
        let line = format!(r#"{{{member}"id":7,"method":"ping"}}"#);
        assert_refused(&mut client, line, INVALID_REQUEST, "jsonrpc", Some(json!(7)));
    }
    assert_refused(&mut client, r#"{"id":"s","method":"ping"}"#, INVALID_REQUEST, "jsonrpc", Some(json!("s")));
    assert_refused(&mut client, r#"{"method":"ping"}"#, INVALID_REQUEST, "jsonrpc", None);
    assert_refused(&mut client, "{}", INVALID_REQUEST, "jsonrpc", None);
}

#[test]
fn a_message_without_a_method_is_refused_with_its_id() {
    let mut client = session();
    for line in [
        r#"{"jsonrpc":"2.0","id":7}"#,
        r#"{"jsonrpc":"2.0","id":7,"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":["ping"]}"#,
    ] {
        assert_refused(&mut client, line, INVALID_REQUEST, "method", Some(json!(7)));
    }
    assert_refused(&mut client, r#"{"jsonrpc":"2.0"}"#, INVALID_REQUEST, "method", None);
}

#[test]
fn an_id_that_is_no_string_and_no_integer_is_refused_and_not_repeated() {
    let mut client = session();
    for id in ["null", "true", "{}", "[1]", "1.5", "1.0", "1e3", "9223372036854775808", "-9223372036854775809"] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_refused(&mut client, line, INVALID_REQUEST, "id", None);
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "i".repeat(1025));
    assert_refused(&mut client, long, INVALID_REQUEST, "id", None);
}

#[test]
fn every_other_id_comes_back_as_it_was_sent() {
    let mut client = session();
    let longest = json!("i".repeat(1024));
    for id in
        [json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN), json!(""), json!("7"), json!("ü\n\"\u{0}"), longest]
    {
        client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}));
        assert_eq!(client.next(), json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
}

#[test]
fn a_number_and_the_same_digits_as_a_string_are_two_ids() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    for id in [json!(900), json!("900")] {
        let params = json!({"name": "probe", "arguments": {"verb": "echo", "text": id.to_string()}});
        client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }
    assert_eq!(client.answer(900)["result"]["content"][0]["text"], "900");
    assert_eq!(client.answer("900")["result"]["content"][0]["text"], "\"900\"");
}

#[test]
fn a_second_request_with_an_id_in_flight_is_refused_and_the_first_is_unaffected() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({"deadline_ms": 3_600_000}));
    let mut client = sandbox.server().start_session();
    // The one worker is busy, so the first request cannot be over before the second is read.
    let busy = client.begin_call("probe", json!({"verb": "sleep", "ms": 3_600_000}));
    let call = json!({
        "jsonrpc": "2.0", "id": "twice", "method": "tools/call",
        "params": {"name": "probe", "arguments": {"verb": "echo", "text": "first"}}
    });
    client.send(&call);
    let refusals = [call, json!({"jsonrpc": "2.0", "id": "twice", "method": "ping"})].map(|second| {
        client.send(&second);
        client.next()
    });
    for refusal in refusals {
        assert_eq!(refusal["error"]["code"], INVALID_REQUEST, "{refusal}");
        assert_eq!(refusal["error"]["data"]["reason"], "duplicate_id", "{refusal}");
        assert_eq!(refusal["id"], "twice");
    }
    client.notify("notifications/cancelled", json!({"requestId": busy}));
    assert_eq!(client.answer("twice")["result"]["content"][0]["text"], "first");
    assert_goes_on(&mut client);
}

#[test]
fn a_duplicate_member_is_refused() {
    let mut client = session();
    for line in [
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":7,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{},"params":{}}"#,
    ] {
        let refusal = refused(&mut client, line.as_bytes());
        assert_eq!(refusal["error"]["code"], INVALID_REQUEST, "{line}: {refusal}");
        assert_eq!(refusal["error"]["data"]["reason"], "duplicate_member", "{line}: {refusal}");
    }
}

#[test]
fn parameters_that_are_no_object_are_invalid() {
    let mut client = session();
    for params in ["5", r#""x""#, "true", "[1]"] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        let refusal = refused(&mut client, line.as_bytes());
        assert_eq!(refusal["error"]["code"], -32602, "{line}: {refusal}");
        assert_eq!(refusal["id"], 7);
    }
}

#[test]
fn responses_and_unknown_notifications_are_never_answered() {
    let mut client = session();
    for line in [
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":"never asked","result":{"tools":[]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard_of"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard_of","params":[1,2]}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard_of","params":7}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","method":"initialize"}"#,
    ] {
        assert_ignored(&mut client, line);
    }
}

#[test]
fn blank_lines_are_ignored_and_carriage_returns_belong_to_the_newline() {
    let mut client = session();
    for line in ["", " ", "\t", "\r", "\n\n", " \r"] {
        assert_ignored(&mut client, line);
    }
    client.send_bytes(b"  {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}\t\r\n");
    assert_eq!(client.next()["id"], 7);
}

#[test]
fn lines_are_found_however_the_bytes_arrive() {
    let mut client = session();
    for byte in br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"# {
        client.send_bytes(&[*byte]);
    }
    client.send_bytes(b"\n{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":9,");
    client.send_bytes(b"\"method\":\"ping\"}\n");
    for id in [7, 8, 9] {
        assert_eq!(client.answer(id)["result"], json!({}));
    }
}

fn ping_of_length(bytes: usize, id_first: bool) -> Vec<u8> {
    let (front, back) = if id_first {
        (r#"{"jsonrpc":"2.0","id":"big","method":"ping","params":{"x":""#.to_owned(), r#""}}"#.to_owned())
    } else {
        (r#"{"jsonrpc":"2.0","method":"ping","params":{"id":1,"x":""#.to_owned(), r#""},"id":"big"}"#.to_owned())
    };
    let filling = "x".repeat(bytes - front.len() - back.len());
    format!("{front}{filling}{back}").into_bytes()
}

#[test]
fn a_line_of_the_longest_length_is_taken() {
    let mut client = session();
    client.send_bytes(&ping_of_length(LINE_BYTES, true));
    client.send_bytes(b"\n");
    assert_eq!(client.answer("big")["result"], json!({}));
}

#[test]
fn an_overlong_line_is_refused_with_its_id_if_that_stands_in_front() {
    let mut client = session();
    for length in [LINE_BYTES + 1, 3 * LINE_BYTES] {
        let line = ping_of_length(length, true);
        assert_refused(&mut client, line, INVALID_REQUEST, "message_too_large", Some(json!("big")));
        let line = ping_of_length(length, false);
        assert_refused(&mut client, line, INVALID_REQUEST, "message_too_large", None);
    }
    let garbage = vec![b'x'; LINE_BYTES + 1];
    assert_refused(&mut client, garbage, INVALID_REQUEST, "message_too_large", None);
}

#[test]
fn a_line_that_never_ends_ends_the_session() {
    in_time(|| {
        let mut server = ServerCommand::bare();
        let mut child =
            server.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let block = vec![b'x'; 1 << 20];
        // It goes on until the server has closed its end, and the input is never closed from this side before that.
        while stdin.write_all(&block).is_ok() {}
        let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let refusal: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(refusal["error"]["data"]["reason"], "message_too_large");
        assert_eq!(child.wait().unwrap().code(), Some(1));
    });
}

#[test]
fn bad_lines_before_the_first_request_change_nothing() {
    let mut client = ServerCommand::bare().start();
    for line in ["garbage", "[]", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#] {
        client.send_line(line);
        assert!(client.next()["error"]["code"].is_i64());
    }
    client.send_line(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(client.initialize("2025-11-25")["protocolVersion"], "2025-11-25");
}

#[test]
fn good_requests_between_bad_lines_are_all_answered() {
    let mut input = String::new();
    for id in 0..500 {
        input.push_str(["garbage\n", "[]\n", "{}\n", "\n", "{\"jsonrpc\":\"2.0\",\"id\":null}\n"][id % 5]);
        input.push_str(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n"));
    }
    let output = ServerCommand::bare().run(input);
    output.assert_success();
    (0..500).for_each(|id| assert_eq!(output.answer(id)["result"], json!({})));
    assert_eq!(output.messages().iter().filter(|message| message.get("error").is_some()).count(), 400);
}
