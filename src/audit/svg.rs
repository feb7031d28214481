//! What happened, as a picture: one HTML file that needs nothing else, with a row per child and time from left to right.

use std::fmt::Write;

use super::entry::Entry;
use super::history::{Boot, History};
use super::phrase::{self, many, span};

/// Boots drawn, the last ones; a page with more is of no use.
const BOOTS: usize = 50;

const LABEL_PX: f64 = 190.0;
const WIDTH_PX: f64 = 1000.0;
const ROW_PX: f64 = 26.0;
const BAR_PX: f64 = 14.0;

const STYLE: &str = "\
body{font:13px system-ui,sans-serif;margin:24px;color:#222;background:#fff}h2{font-size:14px;margin:28px 0 4px}
svg{max-width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}
.up{fill:#7fbf7b}.down{fill:#e08214}.backoff{fill:#fdb863}.quarantined{fill:#b2182b}.probing{fill:#f6e27a}
.breaker{fill:#762a83}.half{fill:#c2a5cf}.fault{fill:#d73027;stroke:#fff}.mark{fill:#222}
.key span{display:inline-block;margin-right:16px}.key i{display:inline-block;width:12px;height:12px;margin-right:4px}";

/// What the colours mean: class, colour, words.
const KEY: [(&str, &str, &str); 8] = [
    ("up", "#7fbf7b", "up"),
    ("down", "#e08214", "down"),
    ("backoff", "#fdb863", "waiting to restart"),
    ("quarantined", "#b2182b", "quarantined"),
    ("probing", "#f6e27a", "tried once"),
    ("breaker", "#762a83", "breaker open"),
    ("half", "#c2a5cf", "breaker half open"),
    ("fault", "#d73027", "calls that failed"),
];

/// The page.
pub fn page(history: &History) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>supervision</title>\n<style>{STYLE}</style>\n\
         <h1>What supervision did</h1>\n<p class=\"key\">"
    );
    for (_, colour, words) in KEY {
        let _ = write!(out, "<span><i style=\"background:{colour}\"></i>{words}</span>");
    }
    out.push_str("</p>\n");
    let left_out = history.boots.len().saturating_sub(BOOTS);
    if left_out > 0 {
        let _ = writeln!(out, "<p>{} before these are not drawn.</p>", many(left_out as u64, "boot"));
    }
    if history.not_shown > 0 {
        let _ = writeln!(out, "<p>{} are not drawn: the log is long.</p>", many(history.not_shown, "record"));
    }
    for boot in &history.boots[left_out..] {
        draw_boot(&mut out, boot);
    }
    out.push_str("</html>\n");
    out
}

fn draw_boot(out: &mut String, boot: &Boot) {
    let end = if boot.has_ended { "ended" } else { "seen last" };
    let heading = format!("boot {}, {}, {end} after {}", boot.name, boot.began, span(boot.end_us));
    let height = ROW_PX * (boot.lanes.len() as f64 + 1.0);
    let _ = writeln!(out, "<h2>{}</h2>", escaped(&heading));
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{height}\" viewBox=\"0 0 {w} {height}\">",
        w = LABEL_PX + WIDTH_PX + 20.0
    );
    let scale = Scale { end_us: boot.end_us.max(1) };
    draw_axis(out, &scale, height);
    for (row, (path, entries)) in boot.lanes.iter().enumerate() {
        let top = ROW_PX * row as f64;
        let _ = writeln!(out, "<text x=\"4\" y=\"{}\">{}</text>", top + 16.0, escaped(path));
        draw_bars(out, &scale, top, entries);
        draw_marks(out, &scale, top, entries);
    }
    out.push_str("</svg>\n");
}

struct Scale {
    end_us: u64,
}

impl Scale {
    fn x(&self, at_us: u64) -> f64 {
        LABEL_PX + WIDTH_PX * (at_us as f64 / self.end_us as f64)
    }

    /// A round distance that gives 5 to 10 ticks.
    fn step_us(&self) -> u64 {
        let mut step = 1;
        while self.end_us / step > 10 {
            // 1, 2, 5, 10, 20, 50 …
            let next = if step.to_string().starts_with('2') { step * 5 / 2 } else { step * 2 };
            step = next;
        }
        step
    }
}

fn draw_axis(out: &mut String, scale: &Scale, height: f64) {
    let step = scale.step_us();
    for tick in 0..=scale.end_us / step {
        let x = scale.x(tick * step);
        let bottom = height - ROW_PX + 4.0;
        let _ = writeln!(out, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom}\"/>");
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{}\">{}</text>", height - 6.0, span(tick * step));
    }
}

/// What the child is in after `entry`: a class, nothing when it is gone, `None` when the entry changes nothing.
fn state_after(entry: &Entry) -> Option<Option<&'static str>> {
    Some(match entry.event.as_str() {
        "child_started" | "restart_ok" | "breaker_closed" => Some("up"),
        "child_exited" => Some("down"),
        "restart_scheduled" => Some("backoff"),
        "quarantined" => Some("quarantined"),
        "probe" => Some("probing"),
        "breaker_open" => Some("breaker"),
        "breaker_half_open" => Some("half"),
        "child_stopped" | "escalated" => None,
        _ => return None,
    })
}

fn draw_bars(out: &mut String, scale: &Scale, top: f64, entries: &[Entry]) {
    let changes: Vec<_> = entries.iter().filter_map(|entry| Some((entry, state_after(entry)?))).collect();
    for (index, (entry, state)) in changes.iter().enumerate() {
        let Some(class) = state else { continue };
        let until = changes.get(index + 1).map_or(scale.end_us, |(next, _)| next.mono_us);
        // What was short is still seen.
        let (from, width) = (scale.x(entry.mono_us), (scale.x(until) - scale.x(entry.mono_us)).max(1.0));
        let title = format!("{}: {}, for {}", at(entry), phrase::of(entry), span(until.saturating_sub(entry.mono_us)));
        let _ = writeln!(
            out,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{BAR_PX}\">\
             <title>{}</title></rect>",
            top + 5.0,
            escaped(&title)
        );
    }
}

/// Everything that is no state: faults of calls, and the words of the root.
fn draw_marks(out: &mut String, scale: &Scale, top: f64, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| state_after(entry).is_none()) {
        let x = scale.x(entry.mono_us);
        let title = escaped(&format!("{}: {}", at(entry), phrase::of(entry)));
        let (class, radius) = match entry.event.as_str() {
            // Area grows with the count, within the row.
            "call_faulted" => ("fault", (3.0 + (entry.count.unwrap_or(1) as f64).ln()).min(9.0)),
            _ => ("mark", 3.0),
        };
        let y = top + 5.0 + BAR_PX / 2.0;
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"{radius:.1}\"><title>{title}</title></circle>"
        );
    }
}

fn at(entry: &Entry) -> String {
    format!("{:.6} s", entry.mono_us as f64 / 1e6)
}

/// For text and attributes of HTML. Control characters have no place in either.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}
