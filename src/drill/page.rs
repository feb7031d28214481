//! What came of drills, as one HTML file that needs nothing else.

use std::fmt::Write;

use super::catalogue::Outcome;
use super::findings::{Figure, shown};

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Fault drills of nurones-mcp</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-left: 4px solid #2e7d32; margin: 1.2rem 0; padding: .2rem 1rem }
section.fail { border-color: #c62828 }
h2 { font-size: 1.05rem; margin: 0 }
p { margin: .2rem 0 .5rem; opacity: .8 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td { padding: .1rem 1.2rem .1rem 0 }
td.number { text-align: right }
.missed { color: #c62828; font-weight: 600 }
.shown { opacity: .7 }
li { color: #c62828; overflow-wrap: anywhere }
</style>
</head>
<body>
";

/// The whole page.
pub fn page(outcomes: &[Outcome]) -> String {
    let good = outcomes.iter().filter(|outcome| outcome.is_good()).count();
    let mut page = String::from(HEAD);
    let (count, version) = (outcomes.len(), env!("CARGO_PKG_VERSION"));
    // Writing to a String does not fail.
    let _ = writeln!(page, "<h1>Fault drills: {good} of {count} passed</h1>");
    let _ = writeln!(
        page,
        "<p>nurones-mcp {version}. Each drill starts a server of its own, makes one thing go wrong, and"
    );
    page.push_str("checks what was promised from what it wrote down. Times count in long runs only.</p>\n");
    outcomes.iter().for_each(|outcome| section(&mut page, outcome));
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, outcome: &Outcome) {
    let (drill, took) = (outcome.drill, outcome.took.as_secs_f64());
    let (class, verdict) = if outcome.is_good() { ("pass", "pass") } else { ("fail", "FAIL") };
    let _ = writeln!(page, "<section class=\"{class}\" id=\"{}\">", drill.id);
    let _ = writeln!(page, "<h2>{} {} · {verdict} · {took:.1} s</h2>", drill.id, drill.name);
    let _ = writeln!(page, "<p>{}</p>", escaped(drill.about));
    if outcome.mutated {
        let _ = writeln!(page, "<p>Against {}: {} has to notice.</p>", escaped(drill.mutant.what), drill.mutant.trips);
    }
    page.push_str("<table>\n");
    outcome.findings.figures.iter().for_each(|figure| row(page, figure));
    page.push_str("</table>\n");
    if !outcome.findings.broken.is_empty() {
        page.push_str("<ul>\n");
        for broken in &outcome.findings.broken {
            let _ = writeln!(page, "<li>{}</li>", escaped(&broken.to_string()));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("</section>\n");
}

fn row(page: &mut String, figure: &Figure) {
    let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
    let class = match (figure.holds(), figure.gates) {
        (true, _) => "",
        (false, true) => "missed",
        (false, false) => "shown",
    };
    let _ = writeln!(
        page,
        "<tr class=\"{class}\"><td>{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
        figure.name,
        shown(figure.value),
        escaped(&target)
    );
}

/// Servers and guests have said some of it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drill::catalogue;
    use crate::drill::findings::{Broken, Findings, Target};

    #[test]
    fn what_a_guest_says_cannot_become_markup() {
        let mut findings = Findings::default();
        findings.count("lost", 1, Target::AtMost(0.0));
        findings.broke(Broken::new("I2", "<script>\u{1b}[31m"));
        let drill = catalogue::named("D21").unwrap();
        let page = page(&[Outcome { drill, findings, mutated: false, took: Duration::from_secs(1) }]);
        assert!(page.contains("&lt;script&gt;\\u{1b}[31m") && !page.contains("<script>"), "{page}");
        assert!(page.contains("0 of 1 passed") && page.contains("&lt;= 0"), "{page}");
    }
}
