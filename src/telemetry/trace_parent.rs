//! The caller's place in its trace, from `_meta.traceparent` and `_meta.tracestate` (W3C Trace Context, SEP-414).
//!
//! Strict, as the specification wants it: what is malformed is ignored, and the call starts a trace of its own. (The
//! SDK's own reader takes short ids, signs and one-digit flags.)

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Longer states are dropped, as the specification permits: a span in the queue must stay small.
const STATE_BYTES: usize = 512;

/// The caller's span, or `None` when `parent` does not name one. A bad `state` is dropped, the parent stays.
pub fn parse(parent: &str, state: Option<&str>) -> Option<SpanContext> {
    let (version, rest) = split(parent, 2)?;
    let (trace, rest) = split(rest?, 32)?;
    let (span, rest) = split(rest?, 16)?;
    let (flags, rest) = split(rest?, 2)?;
    match version {
        0xff => return None,
        0 if rest.is_some() => return None,
        // Later versions may say more behind the flags; what we know of them has not moved.
        _ => {}
    }
    let state = state.filter(|state| state.len() <= STATE_BYTES).and_then(|state| state.parse().ok());
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(u64::try_from(span).expect("16 digits are 64 bits")),
        TraceFlags::new((flags & 1) as u8),
        true,
        state.unwrap_or(TraceState::NONE),
    );
    context.is_valid().then_some(context)
}

/// The number in the first `digits` of `text`, and what follows the hyphen behind them, if there is one.
fn split(text: &str, digits: usize) -> Option<(u128, Option<&str>)> {
    let (number, rest) = text.split_at_checked(digits)?;
    let rest = match rest {
        "" => None,
        rest => Some(rest.strip_prefix('-')?),
    };
    let lower_hex = number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = u128::from_str_radix(number, 16).ok().filter(|_| lower_hex)?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn the_ids_and_the_sampling_flag_are_read() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true), ("fe", false)] {
            let context = parse(&format!("00-{TRACE}-{SPAN}-{flags}"), None).unwrap();
            assert_eq!((context.trace_id().to_string(), context.span_id().to_string()), (TRACE.into(), SPAN.into()));
            assert_eq!((context.is_sampled(), context.is_remote()), (sampled, true), "{flags}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        for text in [format!("01-{TRACE}-{SPAN}-01"), format!("cc-{TRACE}-{SPAN}-01-what-comes-next")] {
            assert_eq!(parse(&text, None).unwrap().trace_id().to_string(), TRACE, "{text}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        let upper = TRACE.to_uppercase();
        for text in [
            "",
            "00",
            "nonsense",
            "00-ü",
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", "0".repeat(32)),
            &format!("00-{TRACE}-{}-01", "0".repeat(16)),
            &format!("00-{upper}-{SPAN}-01"),
            &format!("0A-{TRACE}-{SPAN}-01"),
            &format!("0-{TRACE}-{SPAN}-01"),
            &format!("+0-{TRACE}-{SPAN}-01"),
            &format!("00-{TRACE}-{SPAN}"),
            &format!("00-{TRACE}-{SPAN}-"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-0x"),
            &format!("00-{TRACE}-{SPAN}-01-"),
            &format!("00-{TRACE}-{SPAN}-01-more"),
            &format!("01-{TRACE}-{SPAN}-01more"),
            &format!("00-{}-{SPAN}-01", &TRACE[1..]),
            &format!("00-{TRACE}0-{SPAN}-01"),
            &format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            &format!(" 00-{TRACE}-{SPAN}-01"),
            &format!("00_{TRACE}_{SPAN}_01"),
        ] {
            assert_eq!(parse(text, None), None, "{text:?}");
        }
    }

    #[test]
    fn a_bad_state_does_not_cost_the_parent() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |state: &str| parse(&parent, Some(state)).unwrap().trace_state().header();
        assert_eq!(state("rojo=1,congo=t61"), "rojo=1,congo=t61");
        assert_eq!(state("no pair"), "");
        assert_eq!(state(&format!("a={}", "x".repeat(600))), "");
    }
}
