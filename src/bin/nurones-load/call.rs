//! A call on the command line: `[SERVER:] [WEIGHT*]TOOL [ARGUMENTS]`.

use std::str::FromStr;

use nurones_mcp::load::{Arguments, Call};

/// A call, and the server it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCall {
    /// Of those that are compared; nothing when it is for all.
    pub server: Option<String>,
    pub call: Call,
}

impl FromStr for NamedCall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, rest) = cut(text);
        let (server, text) = match first.strip_suffix(':') {
            Some(server) => (Some(server.to_owned()), rest),
            None => (None, text),
        };
        let (tool, arguments) = cut(text);
        let (weight, tool) = match tool.split_once('*') {
            Some((weight, tool)) => (parse_weight(weight)?, tool),
            None => (1, tool),
        };
        if tool.is_empty() {
            return Err("names no tool; write it as in 'fs.read {\"path\":\"README.md\"}'".to_owned());
        }
        let arguments = Arguments::parse(if arguments.is_empty() { "{}" } else { arguments })?;
        Ok(Self { server, call: Call { tool: tool.to_owned(), arguments, weight } })
    }
}

/// The first word, and what follows it.
fn cut(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace).map_or((text, ""), |(first, rest)| (first, rest.trim_start()))
}

fn parse_weight(text: &str) -> Result<u32, String> {
    let weight = text.parse().ok().filter(|weight| *weight > 0);
    weight.ok_or_else(|| format!("{text:?} is no weight; write a whole number above 0, as in '3*fs.read'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_weight_and_arguments_may_be_there_or_not() {
        for (text, server, tool, weight, arguments) in [
            ("fs.read", None, "fs.read", 1, "{}"),
            ("3*fs.read {\"path\": \"a: b\"}", None, "fs.read", 3, "{\"path\": \"a: b\"}"),
            ("ours:  2*fs.read\t{\"n\":{{i}}} ", Some("ours"), "fs.read", 2, "{\"n\":{{i}}}"),
        ] {
            let arguments = Arguments::parse(arguments).unwrap();
            let call = Call { tool: tool.to_owned(), arguments, weight };
            let wanted = NamedCall { server: server.map(str::to_owned), call };
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_call_is_told() {
        for (text, part) in [
            ("", "names no tool"),
            ("ours:", "names no tool"),
            ("0*a", "weight"),
            ("x*a", "weight"),
            ("a {", "is not JSON"),
            ("a {\"p\":\"{{fiel}}\"}", "{{file}}"),
        ] {
            let error = text.parse::<NamedCall>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
