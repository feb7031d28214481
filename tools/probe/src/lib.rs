//! A test guest: does on demand what a tool may do, and what it may not, so that tests and drills can watch the host.

mod bindings;
mod files;
mod hostile;
mod network;
mod start;
mod verb;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bindings::nurones::tool::host;
use bindings::nurones::tool::types::{
    Completion, Content, Description, ErrorCode, Hints, InputRequest, InputRequired, LogLevel, Outcome, Resume,
    ToolError,
};
use verb::{SCHEMA, Verb};

/// Calls that this instance has served: more than one shows that it is warm.
static SERVED: AtomicU64 = AtomicU64::new(0);

struct Tool;

impl bindings::Guest for Tool {
    fn describe() -> Description {
        Description {
            text: "Test tool that does what its verb says, including crashing, looping and using up memory. For tests \
                   and drills of the server, not for work."
                .into(),
            input_schema: SCHEMA.into(),
            hints: Hints::empty(),
        }
    }

    fn call(arguments: String, context: String, resume: Option<Resume>) -> Result<Outcome, ToolError> {
        let served = SERVED.fetch_add(1, Ordering::Relaxed) + 1;
        let verb: Verb = serde_json::from_str(&arguments).map_err(|error| {
            failure(ErrorCode::InvalidArguments, format!("no such verb or wrong arguments: {error}"))
        })?;
        match verb {
            Verb::Count {} => text(served.to_string()),
            Verb::Context {} => text(context),
            Verb::Frame {} => text(view::frame()),
            Verb::InputRequired {} => input_required(resume),
            verb => run(verb),
        }
    }
}

fn run(verb: Verb) -> Result<Outcome, ToolError> {
    match verb {
        Verb::Echo { text: said } => text(said),
        Verb::Sleep { ms } => {
            std::thread::sleep(Duration::from_millis(ms));
            text(format!("slept {ms} ms"))
        }
        Verb::Burn { ms } => text(format!("burnt {ms} ms in {} rounds", burn(ms))),
        Verb::Spin {} => hostile::spin(),
        Verb::Trap {} => hostile::trap(),
        Verb::Exit { code } => std::process::exit(code),
        Verb::Panic { text } => panic!("{text}"),
        Verb::Alloc { mb } => text(format!("allocated {} MB", hostile::alloc(mb))),
        Verb::Fill { mb, times } => text(format!("moved {} MB", hostile::fill(mb, times))),
        Verb::Recurse {} => text(hostile::recurse(1).to_string()),
        Verb::OpenMany { path, n } => files::open_many(&path, n).and_then(text),
        Verb::PrintMany { bytes } => files::print_many(bytes).and_then(text),
        Verb::Read { path } => files::read(&path).and_then(text),
        Verb::Write { path, content } => files::write(&path, &content).and_then(text),
        Verb::Connect { address } => network::connect(&address).and_then(text),
        Verb::Log { text: line, n } => {
            (0..n).for_each(|_| host::log(LogLevel::Info, &line));
            text(format!("logged {n} lines"))
        }
        Verb::Progress { steps } => {
            for step in 1..=steps {
                host::progress(step as f64, Some(steps as f64), Some(&format!("step {step} of {steps}")));
            }
            text(format!("made {steps} steps"))
        }
        Verb::Big { bytes } => text("x".repeat(bytes)),
        Verb::Random { bytes } => text(view::random(bytes)),
        Verb::Env {} => text(view::inherited()),
        Verb::Count {} | Verb::Context {} | Verb::Frame {} | Verb::InputRequired {} => unreachable!("answered by call"),
    }
}

/// Asks once; the answers come back with `resume`.
fn input_required(resume: Option<Resume>) -> Result<Outcome, ToolError> {
    if let Some(resume) = resume {
        return text(view::resumed(resume.responses, resume.state));
    }
    let params = r#"{"mode":"form","message":"What is your name?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}"#;
    let request = InputRequest { key: "name".into(), method: "elicitation/create".into(), params: params.into() };
    Ok(Outcome::InputRequired(InputRequired { requests: vec![request], state: Some(b"asked by probe".to_vec()) }))
}

/// Keeps the processor busy until the clock has advanced.
fn burn(ms: u64) -> u64 {
    let (start, end) = (Instant::now(), Duration::from_millis(ms));
    let mut rounds = 0_u64;
    while start.elapsed() < end {
        // Asking the clock crosses into the host; most of the time should pass in the guest itself.
        for round in 0..1000_u64 {
            std::hint::black_box(round);
        }
        rounds += 1;
    }
    rounds
}

fn text(text: String) -> Result<Outcome, ToolError> {
    Ok(Outcome::Complete(Completion { content: vec![Content::Text(text)], structured: None }))
}

fn failure(code: ErrorCode, message: String) -> ToolError {
    ToolError { code, message }
}
