//! The page.

use std::fmt::Write;

use super::super::claim::Verdict;
use super::super::compare::Comparison;
use super::super::report::Report;
use super::chart::Chart;
use super::text::escaped;
use super::{grid, pictures};

/// A measured server.
pub struct Subject<'a> {
    /// What it is called.
    pub name: String,
    /// What was measured; of several rounds, a typical one.
    pub report: &'a Report,
}

/// What is on the page.
pub struct Sheet<'a> {
    /// The command line that measured it.
    pub command: String,
    /// Where and when it was measured.
    pub circumstances: String,
    /// One server, or several that are compared.
    pub subjects: Vec<Subject<'a>>,
    /// If they are compared.
    pub comparison: Option<&'a Comparison>,
    /// What was asserted.
    pub verdicts: &'a [Verdict],
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>nurones-load</title>
<style>
:root { color-scheme: light dark; --fg: #1c2126; --dim: #66707a; --line: #d9dee3; --card: #f4f6f8; --bad: #c92a2a;
  --blue: #1769c2; --orange: #d9580b; --grey: #868e96; --red: #c92a2a; --green: #2b8a3e; --violet: #8a3ffc;
  --teal: #0b7a75; --pink: #c2255c; font: 15px/1.5 system-ui, sans-serif; color: var(--fg) }
@media (prefers-color-scheme: dark) { :root { --fg: #e3e7eb; --dim: #98a2ac; --line: #343b42; --card: #1f252b;
  --bad: #ff8787; --blue: #5aa9ff; --orange: #ff9f55; --grey: #9aa3ab; --red: #ff8787; --green: #69db7c;
  --violet: #b197fc; --teal: #4fd1c5; --pink: #faa2c1; background: #14181c } }
body { max-width: 96rem; margin: 1.5rem auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem }
p.about { color: var(--dim); margin: .1rem 0 } code { overflow-wrap: anywhere; font-size: .85rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0 }
.cards div { background: var(--card); border-radius: .5rem; padding: .6rem .9rem; display: flex; flex-direction: column }
.cards b { font-size: 1.35rem; font-variant-numeric: tabular-nums } .cards small { color: var(--dim) }
.cards .bad b { color: var(--bad) }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 36rem), 1fr)); gap: 1rem }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .8rem 1rem .4rem }
figcaption span { color: var(--dim); font-size: .85rem; margin-left: .4rem }
svg { width: 100%; height: auto; display: block } svg text { font: 11px system-ui, sans-serif; fill: var(--dim) }
.grid { stroke: var(--line) } .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke: var(--it) }
.dot { fill: var(--it); opacity: 0 } .dot:hover { opacity: 1 }
.good, .c0 { --it: var(--blue) } .shed, .c1 { --it: var(--orange) } .errors { --it: var(--red) }
.offered { --it: var(--grey) } .line.offered { stroke-dasharray: 5 4 } .c2 { --it: var(--green) }
.c3 { --it: var(--violet) } .c4 { --it: var(--teal) } .c5 { --it: var(--pink) }
.key { margin: .2rem 0; font-size: .85rem } .key span { margin-right: 1.1rem; white-space: nowrap }
.key i { display: inline-block; width: 1.1rem; height: .2rem; background: var(--it); margin-right: .35rem;
  vertical-align: middle }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { text-align: right; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { color: var(--dim); font-weight: 500 }
td small { color: var(--dim) } .holds::marker { content: '✓ ' } .broken::marker { content: '✗ ' }
.broken { color: var(--bad); font-weight: 600 } .seen { color: var(--bad); overflow-wrap: anywhere; margin: .2rem 0 }
</style>
</head>
<body>
";

/// The whole page.
pub fn page(sheet: &Sheet<'_>) -> String {
    let mut out = String::from(HEAD);
    // Writing to a String does not fail.
    let _ = writeln!(out, "<h1>{}</h1>", escaped(&title(sheet)));
    let _ = writeln!(out, "<p class=\"about\">{}</p>", escaped(&sheet.circumstances));
    let _ = writeln!(out, "<p class=\"about\"><code>{}</code></p>", escaped(&sheet.command));
    match (sheet.comparison, sheet.subjects.first()) {
        (Some(comparison), _) => several(&mut out, sheet, comparison),
        (None, Some(subject)) => one(&mut out, sheet, subject.report),
        (None, None) => {}
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn title(sheet: &Sheet<'_>) -> String {
    let names: Vec<&str> = sheet.subjects.iter().map(|subject| subject.name.as_str()).collect();
    let Some(report) = sheet.subjects.first().map(|subject| subject.report) else { return String::new() };
    let load = match (report.in_flight, report.arrivals) {
        (Some(in_flight), _) => format!("{in_flight} calls in flight"),
        (None, arrivals) => format!("open loop, {} arrivals", arrivals.unwrap_or_default()),
    };
    match sheet.comparison {
        Some(_) => format!("{} under {load}", names.join(" and ")),
        None => format!("{} under {load}", report.tool),
    }
}

fn one(out: &mut String, sheet: &Sheet<'_>, report: &Report) {
    out.push_str(&grid::cards(report));
    out.push_str(&grid::verdicts(sheet.verdicts));
    draw(out, &pictures::of_one(report));
    out.push_str(&grid::steps(&report.steps));
    out.push_str(&grid::calls(&report.calls));
    out.push_str("<h2>In figures</h2>\n");
    out.push_str(&grid::details(report));
}

fn several(out: &mut String, sheet: &Sheet<'_>, comparison: &Comparison) {
    out.push_str(&grid::compared(comparison));
    out.push_str(&grid::verdicts(sheet.verdicts));
    out.push_str("<p class=\"about\">The pictures show of each server the round whose goodput is in the middle, if ");
    out.push_str("they say nothing else.</p>\n");
    draw(out, &pictures::of_several(&sheet.subjects, comparison));
    out.push_str(&grid::compared_steps(comparison));
    for subject in &sheet.subjects {
        let _ = writeln!(out, "<h2>{}: {}</h2>", escaped(&subject.name), escaped(&subject.report.tool));
        out.push_str(&grid::details(subject.report));
    }
}

fn draw(out: &mut String, charts: &[Chart]) {
    out.push_str("<div class=\"pictures\">\n");
    charts.iter().for_each(|chart| out.push_str(&chart.draw()));
    out.push_str("</div>\n");
}
