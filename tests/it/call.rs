//! One call, start to end.

use serde_json::json;

use crate::support::Sandbox;

#[test]
fn a_file_is_read_exactly_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.write("data/a.txt", "héllo\r\nworld");
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_text("fs_read", json!({"path": "a.txt"})), "héllo\r\nworld");
    assert_eq!(client.call_text("fs.read", json!({"path": sandbox.path("data/a.txt")})), "héllo\r\nworld");
}

#[test]
fn a_trap_is_answered_and_the_next_call_works() {
    let sandbox = Sandbox::new();
    sandbox.prebuilt_tool("probe", "probe", json!({}));
    let mut client = sandbox.server().start_session();
    assert_eq!(client.call_fault("probe", json!({"verb": "trap"})).0, "tool_trapped");
    assert_eq!(client.call_text("probe", json!({"verb": "echo", "text": "still here"})), "still here");
}
