//! What the load generator says about what it measured: several servers beside each other, whether what was asserted
//! holds, and a page that can be sent around.

use crate::load::{against, fake, generator, run};
use crate::support::Sandbox;

/// A server in shell as a word of `--compare`.
fn compared(name: &str, on_call: &str, argument: &str) -> String {
    let script = fake(on_call).replace('\'', r"'\''");
    format!("{name}=sh -c '{script}' '{argument}'")
}

#[test]
fn servers_are_measured_in_turn_and_set_beside_the_first() {
    let sandbox = Sandbox::new();
    let order = sandbox.path("order").to_str().unwrap().to_owned();
    let a = compared("a", r#"[ $n = 1 ] && echo a >> "$0"; good "$id""#, &order);
    let b = compared("b.1", r#"[ $n = 1 ] && echo b >> "$0"; [ $n = 9 ] && error "$id" 1 no || good "$id""#, &order);
    let args = ["--json", "--rate", "100", "--duration", "200ms", "--warm-up", "0s", "--rounds", "2", "--call", "one"];
    let mut command = generator(&args);
    command.args(["--compare", &a, "--compare", &b, "--call", "b.1: 2*two", "--call", "b.1: one"]);
    command.args(["--assert", "errors==0", "--assert", "b.1.errors==2", "--assert", "ratio>0"]);
    let page = sandbox.path("page.html");
    let ran = run(command.arg("--html").arg(&page));
    let report = ran.report();
    assert_eq!(std::fs::read_to_string(order).unwrap(), "a\nb\na\nb\n", "{}", ran.stderr);
    assert_eq!((ran.code, &report["stopped"]), (2, &false.into()), "{report}");
    for (server, name, tool, errors) in [(0, "a", "one", 0), (1, "b.1", "2*two + one", 1)] {
        let server = &report["servers"][server];
        assert_eq!((&server["name"], server["rounds"].as_array().unwrap().len()), (&name.into(), 2), "{server}");
        for round in server["rounds"].as_array().unwrap() {
            let seen = (&round["tool"], &round["sent"], &round["errors"]);
            assert_eq!(seen, (&tool.into(), &20.into(), &errors.into()), "{round}");
        }
        assert!(server["median"]["goodput"].as_f64().unwrap() > 0.0, "{server}");
    }
    let ratios = &report["ratios"][0];
    assert_eq!((&ratios["name"], &ratios["to"]), (&"b.1".into(), &"a".into()), "{ratios}");
    let [low, median, high] = ["low", "median", "high"].map(|key| ratios["figures"]["goodput"][key].as_f64().unwrap());
    assert!(0.0 < low && low <= median && median <= high, "{ratios}");
    let holds = report["asserts"].as_array().unwrap().iter();
    let holds: Vec<_> = holds.map(|verdict| (verdict["server"].as_str().unwrap(), verdict["holds"] == true)).collect();
    assert_eq!(holds, [("a", true), ("b.1", false), ("b.1", true), ("b.1", true)], "{report}");
    assert!(ran.stderr.contains("b.1: errors==0 DOES NOT HOLD: 2"), "{}", ran.stderr);
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["b.1 / a", "Goodput by round", "b.1: 2*two + one"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn a_comparison_is_a_table_too() {
    let [a, b] = ["a", "b"].map(|name| compared(name, r#"good "$id""#, ""));
    let args = ["--in-flight", "1", "--duration", "200ms", "--warm-up", "0s", "--rounds", "1", "--call", "one"];
    let ran = run(generator(&args).args(["--compare", &a, "--compare", &b, "--assert", "lost==0"]));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    for part in ["median", "b / a", "times the goodput of a; rounds: 1", "assert  a: lost==0 holds: 0"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
}

#[test]
fn steps_are_compared_part_by_part() {
    let sandbox = Sandbox::new();
    let page = sandbox.path("page.html");
    let [a, b] = ["a", "b"].map(|name| compared(name, r#"good "$id""#, ""));
    let args = ["--steps", "100,200", "--duration", "200ms", "--warm-up", "0s", "--rounds", "1", "--call", "one"];
    let ran = run(generator(&args).args(["--compare", &a, "--compare", &b, "--html"]).arg(&page));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().skip_while(|line| !line.is_empty()).map(|line| line.split("  ").collect()).collect();
    let cells = |row: &[&str]| -> Vec<String> {
        row.iter().map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    assert_eq!(cells(&rows[1]), ["seconds", "offered/s", "a good/s", "a p99", "b good/s", "b p99"], "{}", ran.stdout);
    for (row, times, rate) in [(&rows[2], "0 to 0.1", "100.0"), (&rows[3], "0.1 to 0.2", "200.0")] {
        let row = cells(row);
        assert_eq!([&row[..3], &row[4..5]].concat(), [times, rate, rate, rate], "{}", ran.stdout);
    }
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["Goodput by load", "Latency by load", "<th>b good/s</th>", "0.1 to 0.2 s"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let ran = run(generator(&args).args(["--compare", &a, "--compare", &b, "--json"]));
    for server in ran.report()["servers"].as_array().unwrap() {
        let goodput: Vec<f64> =
            server["steps"].as_array().unwrap().iter().map(|step| step["goodput"].as_f64().unwrap()).collect();
        assert_eq!(goodput, [100.0, 200.0], "{server}");
        assert!(server["steps"][0]["p99_us"].is_f64(), "{server}");
    }
}

#[test]
fn a_server_that_cannot_be_compared_is_named() {
    let good = compared("good", r#"good "$id""#, "");
    let args = ["--compare", &good, "--compare", "bad=/no/such/program", "--duration", "100ms", "--warm-up", "0s"];
    let ran = run(generator(&args).args(["--call", "one"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (69, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("bad: cannot start the server /no/such/program"), "{}", ran.stderr);
}

#[test]
fn what_is_asserted_decides_how_it_ends() {
    let sometimes = r#"[ $((n % 2)) = 0 ] && error "$id" 1 no || good "$id""#;
    for (claims, code, part) in [
        (&["errors==50", "lost==0", "p99<10s", "goodput>0", "goodput==50%"][..], 0, ""),
        (&["errors<50", "lost==0"], 2, "errors<50 DOES NOT HOLD: 50"),
        (&["shed_p99<1s"], 2, "nothing was measured"),
    ] {
        let args: Vec<&str> = claims.iter().flat_map(|claim| ["--assert", *claim]).collect();
        let ran = against(sometimes, &args);
        let report = ran.report();
        assert_eq!(ran.code, code, "{claims:?}: {report}\n{}", ran.stderr);
        assert!(ran.stderr.contains(part) && ran.stderr.is_empty() == part.is_empty(), "{}", ran.stderr);
        let verdicts = report["asserts"].as_array().unwrap();
        let texts: Vec<&str> = verdicts.iter().map(|verdict| verdict["assert"].as_str().unwrap()).collect();
        assert_eq!(texts, claims);
        assert_eq!(verdicts.iter().all(|verdict| verdict["holds"] == true), code == 0, "{report}");
    }
}

#[test]
fn a_page_needs_nothing_else_and_nothing_said_becomes_markup() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("page.html");
    std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
    let path = file.to_str().unwrap();
    let answer = r#"[ $((n % 2)) = 0 ] && error "$id" 1 '<script>alert(1)</script>' || good "$id""#;
    let ran = against(answer, &["--steps", "100,300", "--html", path, "--assert", "errors==0", "--tool", "one"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "what was there is replaced");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    for picture in ["Latency by percentile", "Throughput over time", "Latency over time", "Goodput by load", "Steps"] {
        assert!(page.contains(picture), "{picture} is not in {page}");
    }
    for part in ["--steps 100,300", "errors==0 DOES NOT HOLD: 50", "prefers-color-scheme: dark"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for part in ["<script", "<link", "<img", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(part), "{part} is in {page}");
    }
}

#[test]
fn what_a_server_says_cannot_take_over_the_terminal() {
    let esc = "\u{1b}[31m";
    let dying = format!("printf '{esc}red\\n' >&2; exit 3");
    let refusing = r#"read -r x; printf '{"id":1,"error":{"code":1,"message":"\\u001b[31mred"}}\n'; read -r x"#;
    for script in [dying.as_str(), refusing] {
        let ran = run(&mut generator(&["--", "sh", "-c", script]));
        assert_eq!(ran.code, 69, "{}", ran.stderr);
        assert!(!ran.stderr.contains('\u{1b}') && ran.stderr.contains("\\u{1b}[31mred"), "{}", ran.stderr);
    }
    let ran = against(&format!(r#"[ $n = 9 ] && printf '{esc}red\n' >&2 && exit 3; good "$id""#), &[]);
    assert!(!ran.stderr.contains('\u{1b}') && ran.stderr.contains("\\u{1b}[31mred"), "{}", ran.stderr);
}
