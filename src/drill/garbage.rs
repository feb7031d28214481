//! Lines that are no requests, among those that are: whatever a client sends, the server answers what it must and goes
//! on.

use serde_json::json;

use super::catalogue::{Drill, Mutant, Part};
use super::findings::{Broken, Target};
use super::history::{Class, Heard, Id, Outcome};
use super::scene::Scene;
use super::session::{PATIENCE, Session};
use crate::failpoint::control::Doing;

/// This family.
pub const DRILLS: &[Drill] = &[Drill {
    id: "D23",
    name: "garbage",
    about: "sends thousands of lines, a third of them malformed in every known way; each is answered as it must be",
    own: Part::Nothing,
    prepare: |stage| stage.budget.rss_growth_bytes = 32 << 20,
    run: garbage,
    mutant: Mutant {
        what: "a server that does not answer bad lines",
        trips: "I1",
        spoil: |stage| stage.arm("mutant.ignore_bad_lines", Doing::Fail),
    },
}];

/// Lines in the short form.
const LINES: u64 = 20_000;

/// Requests that may be open while more are sent: far fewer than the server takes on.
const OPEN: usize = 200;

/// How many of a hundred lines are malformed.
const MALFORMED_PCT: u32 = 30;

/// Malformed lines that name no id, with the answers they are owed.
const UNNAMED: &[(&[u8], u64)] = &[
    (b"garbage", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} trailing", 1),
    (b"\xef\xbb\xbf{}", 1),
    (b"\xff\xfe\x00\x01", 1),
    (b"{\"a\":\"\x01\"}", 1),
    (b"[]", 1),
    (b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", 1),
    (b"17", 1),
    (b"\"text\"", 1),
    (b"null", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", 1),
    (b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", 1),
    (b"", 0),
    (b"\r", 0),
    (b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unheard-of\"}", 0),
    (b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":\"nobody\"}}", 0),
    (b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":7}", 0),
    (b"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}", 0),
];

/// Malformed lines with an id: what stands around it, and the code of the answer.
const NAMED: &[(&str, &str, i64)] = &[
    ("{\"id\":", ",\"method\":\"ping\"}", -32600),
    ("{\"jsonrpc\":\"1.0\",\"id\":", ",\"method\":\"ping\"}", -32600),
    ("{\"jsonrpc\":\"2.0\",\"id\":", "}", -32600),
    ("{\"jsonrpc\":\"2.0\",\"id\":", ",\"method\":7}", -32600),
    ("{\"jsonrpc\":\"2.0\",\"id\":", ",\"method\":\"no/such\"}", -32601),
    ("{\"jsonrpc\":\"2.0\",\"id\":", ",\"method\":\"tools/call\"}", -32602),
    ("{\"jsonrpc\":\"2.0\",\"id\":", ",\"method\":\"tools/call\",\"params\":{\"name\":\"nobody\"}}", -32602),
    ("{\"jsonrpc\":\"2.0\",\"id\":", ",\"method\":\"tools/call\",\"params\":{\"name\":9}}", -32602),
];

fn garbage(scene: &mut Scene) -> Result<(), Broken> {
    let session = scene.open()?;
    let mut random = fastrand::Rng::with_seed(23);
    let (mut valid, mut refused, mut malformed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..scene.scaled(LINES) {
        if random.u32(0..100) >= MALFORMED_PCT {
            valid.push(session.request("ping", &json!({})));
            session.until(PATIENCE, "requests stay open", |state| (state.open() < OPEN).then_some(()))?;
            continue;
        }
        malformed += 1;
        if random.bool() {
            let (line, owed) = UNNAMED[random.usize(..UNNAMED.len())];
            session.send_raw([line, b"\n"].concat(), owed);
        } else {
            let (before, after, code) = NAMED[random.usize(..NAMED.len())];
            let id = session.send_formed(Class::Fault, |id| format!("{before}{id}{after}\n").into_bytes());
            refused.push((id, code));
        }
    }
    session.settle(PATIENCE)?;
    let good = session.history(|history| history.answers_to(&valid, |outcome| *outcome == Outcome::Good));
    scene.findings.note("malformed", f64::from(malformed));
    scene.findings.count("valid_unanswered", valid.len() as u64 - good, Target::Exactly(0.0));
    let wrong = wrong_codes(&session, &refused);
    scene.findings.count("wrong_codes", wrong.len() as u64, Target::Exactly(0.0));
    scene.findings.check("wrong_codes", wrong.is_empty(), || format!("the first is {:?}", wrong[0]));
    scene.end(&session)
}

/// The ids, with what should have come and what came.
fn wrong_codes(session: &Session, refused: &[(Id, i64)]) -> Vec<(Id, i64, Outcome)> {
    session.history(|history| {
        let answers = history.lines.iter().filter_map(|line| match &line.heard {
            Heard::Answer(Some(id), outcome) => Some((*id, outcome)),
            _ => None,
        });
        let wrong = answers.filter_map(|(id, outcome)| {
            let (_, wanted) = refused[refused.binary_search_by_key(&id, |(id, _)| *id).ok()?];
            let is_right = matches!(outcome, Outcome::Error { code, .. } if *code == wanted);
            (!is_right).then(|| (id, wanted, outcome.clone()))
        });
        wrong.collect()
    })
}
