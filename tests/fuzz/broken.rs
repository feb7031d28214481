//! The fuzzer finds what it is for: each property fails on a stand-in that is broken in one small way.

use nurones_mcp::frame::FrameDefaults;
use nurones_mcp::mcp::envelope::{Envelope, id_in_head};
use nurones_mcp::mcp::framing::Frame;
use nurones_mcp::wasi::error::LoadError;
use rmcp::model::RequestId;

use crate::campaign::Campaign;
use crate::envelope::Verdict;
use crate::{FRAME, FRAMING, MANIFEST, envelope, frame, framing, manifest};

/// Enough for every one of them.
const CASES: u64 = 20_000;

/// The property must fail, on a small input, and saying this.
fn assert_found(campaign: Campaign, says: &str, property: impl Fn(&[u8]) -> Result<(), String>) {
    let failure = campaign.run(1, CASES, &property).failure;
    let failure = failure.unwrap_or_else(|| panic!("{CASES} cases did not find it"));
    assert!(failure.problem.contains(says), "another mistake was found: {}", failure.problem);
    assert!(property(&failure.smallest).is_err(), "what remains is not wrong any more");
    assert!(failure.smallest.len() <= 400, "it was not made small: {} bytes", failure.smallest.len());
}

#[test]
fn a_framer_that_loses_a_byte_between_chunks_is_found() {
    assert_found(FRAMING, "instead of", |data| {
        framing::check_framing(data, |chunks, limits| {
            // A carriage return at the end of a chunk is taken for half a newline that is still to come.
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.strip_suffix(b"\r").unwrap_or(chunk)).collect();
            framing::ours(&chunks, limits)
        })
    });
}

#[test]
fn a_framer_that_gives_an_empty_line_twice_is_found() {
    assert_found(FRAMING, "instead of", |data| {
        framing::check_framing(data, |chunks, limits| {
            let (mut frames, rest) = framing::ours(chunks, limits)?;
            if let Some(Frame::Line(line)) = frames.last()
                && line.is_empty()
            {
                frames.push(Frame::Line(line.clone()));
            }
            Ok((frames, rest))
        })
    });
}

#[test]
fn a_refusal_that_forgets_the_id_is_found() {
    assert_found(FRAMING, "id: None }", |data| {
        envelope::check_line(data, |line| match Verdict::of(Envelope::of(line)) {
            Verdict::Refused { code, .. } => Verdict::Refused { code, id: None },
            verdict => verdict,
        })
    });
}

#[test]
fn an_id_taken_from_the_arguments_is_found() {
    assert_found(FRAMING, "is found", |data| {
        envelope::check_head(data, |head| {
            let nested = head.windows(7).any(|bytes| bytes == br#"{"id":9"#);
            if nested { Some(RequestId::Number(9)) } else { id_in_head(head) }
        })
    });
}

#[test]
fn a_manifest_refused_without_a_reason_is_found() {
    assert_found(MANIFEST, "no mistake is named", |data| {
        manifest::check_reader(data, |text| {
            manifest::ours(text).map_err(|error| match error {
                LoadError::Manifest { path, name, mistakes } if mistakes[0].key == "isolation" => {
                    LoadError::Manifest { path, name, mistakes: Vec::new() }
                }
                error => error,
            })
        })
    });
}

#[test]
fn a_frame_that_drops_a_key_is_found() {
    assert_found(FRAME, "became None", |data| {
        frame::check_maker(data, |defaults: &FrameDefaults, given| {
            let mut given = given.clone();
            if let Some(map) = given.as_object_mut()
                && map.len() > 2
            {
                map.remove("x-custom");
            }
            defaults.frame(Some(&given))
        })
    });
}
