//! What the `OTEL_*` variables ask for, as far as the SDK does not read them itself.
//!
//! We send one way only: OTLP as protobuf over plain HTTP. What asks for another way switches sending off and is said,
//! rather than spans going nowhere in silence.

/// What to do about spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// Nobody asked for them, or somebody asked for none.
    Off,
    /// They cannot be sent as asked; the reason, and what to do.
    Wrong(String),
    /// Send them.
    On {
        /// Where batches are posted to.
        endpoint: String,
        /// Spans that may wait to be sent.
        queue: usize,
        /// Variables that are not followed, each with the reason.
        ignored: Vec<String>,
    },
}

/// Where the collector is, for all signals and for traces alone.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Every slot is allocated beforehand, some 400 bytes each.
const MAX_QUEUE: usize = 65_536;

const ADVICE: &str = "spans are sent as http/protobuf to an http:// endpoint, without TLS: put a collector beside this \
                      server and let it carry them on";

impl Settings {
    /// What the environment `var` asks for. An empty variable is the same as none, as OpenTelemetry has it.
    pub fn read(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, var(name)?)));
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::Off;
        }
        let Some((name, endpoint)) = first([TRACES_ENDPOINT, ENDPOINT]) else { return Self::Off };
        match var("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Self::Off,
            Some(other) => return Self::Wrong(format!("OTEL_TRACES_EXPORTER is `{other}`; use otlp or none")),
        }
        if let Some((name, protocol)) = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"])
            && protocol != "http/protobuf"
        {
            return Self::Wrong(format!("{name} is `{protocol}`; {ADVICE}"));
        }
        if let Err(problem) = check(&endpoint) {
            return Self::Wrong(format!("{name} {problem}; {ADVICE}"));
        }
        let endpoint = match name {
            ENDPOINT => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            _ => endpoint,
        };
        if var(DELAY).is_some_and(|delay| delay.parse() == Ok(0)) {
            return Self::Wrong(format!("{DELAY} is 0, which would never let the sender rest; use 1 or more"));
        }
        let mut ignored = Vec::new();
        let queue = queue(var(QUEUE), &mut ignored);
        ignored.extend(sampler_problem(var(SAMPLER)));
        if let Some((name, value)) = first(["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"])
            && value != "none"
        {
            ignored.push(format!("{name} is `{value}` and ignored: spans are sent as they are"));
        }
        Self::On { endpoint, queue, ignored }
    }
}

/// Whether spans can be posted to `endpoint`; otherwise what is wrong with it. A value that may hold a password is not
/// repeated.
fn check(endpoint: &str) -> Result<(), String> {
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return Err("is not a URL like http://localhost:4318".to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("contains credentials; put them into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    // A colon inside brackets belongs to an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    match scheme {
        "http" if host.is_empty() => Err(format!("is `{endpoint}`, which names no host")),
        "http" if port.is_some_and(|port| port.parse::<u16>().is_err()) => {
            Err(format!("is `{endpoint}`, whose port is not a number up to 65535"))
        }
        "http" => Ok(()),
        _ => Err(format!("is `{endpoint}`")),
    }
}

/// Milliseconds between two batches.
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";

const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";

fn queue(given: Option<String>, ignored: &mut Vec<String>) -> usize {
    const DEFAULT: usize = opentelemetry_sdk::trace::OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT;
    let Some(given) = given else { return DEFAULT };
    given.parse().ok().filter(|size| (1..=MAX_QUEUE).contains(size)).unwrap_or_else(|| {
        ignored.push(format!("{QUEUE} is `{given}` and ignored: it must be 1 to {MAX_QUEUE}"));
        DEFAULT
    })
}

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// The SDK falls back to its default without a word.
fn sampler_problem(given: Option<String>) -> Option<String> {
    const KNOWN: [&str; 6] = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    let given = given.filter(|given| !KNOWN.contains(&given.as_str()))?;
    Some(format!("{SAMPLER} is `{given}` and ignored: use one of {}", KNOWN.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        Settings::read(|name| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned()))
    }

    fn endpoint(variables: &[(&str, &str)]) -> String {
        match read(variables) {
            Settings::On { endpoint, ignored, .. } if ignored.is_empty() => endpoint,
            other => panic!("{variables:?}: {other:?}"),
        }
    }

    #[test]
    fn without_an_endpoint_nothing_is_sent() {
        let here = (ENDPOINT, "http://localhost:4318");
        for variables in [
            &[][..],
            &[(ENDPOINT, "")],
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[here, ("OTEL_SDK_DISABLED", "TRUE")],
            &[here, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(read(variables), Settings::Off, "{variables:?}");
        }
    }

    #[test]
    fn the_path_is_added_to_the_common_endpoint_only() {
        assert_eq!(endpoint(&[(ENDPOINT, "http://localhost:4318")]), "http://localhost:4318/v1/traces");
        assert_eq!(endpoint(&[(ENDPOINT, "http://h/base/")]), "http://h/base/v1/traces");
        assert_eq!(endpoint(&[(ENDPOINT, "https://h"), (TRACES_ENDPOINT, "http://[::1]:9/t")]), "http://[::1]:9/t");
        assert_eq!(endpoint(&[(ENDPOINT, "http://h"), ("OTEL_SDK_DISABLED", "false")]), "http://h/v1/traces");
        assert_eq!(endpoint(&[(ENDPOINT, "http://h"), ("OTEL_TRACES_EXPORTER", "otlp")]), "http://h/v1/traces");
    }

    #[test]
    fn what_we_cannot_do_is_said_and_names_the_variable() {
        for (name, value, said) in [
            (ENDPOINT, "https://collector:4318", "without TLS"),
            (ENDPOINT, "localhost:4318", "not a URL"),
            (ENDPOINT, "grpc://localhost", "http/protobuf"),
            (ENDPOINT, "http://", "no host"),
            (ENDPOINT, "http://:4318", "no host"),
            (TRACES_ENDPOINT, "http://localhost:99999/t", "65535"),
            (TRACES_ENDPOINT, "http://localhost:/t", "65535"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            (DELAY, "0", "1 or more"),
        ] {
            let Settings::Wrong(problem) = read(&[(name, value), (ENDPOINT, "http://localhost:4318")]) else {
                panic!("{name}={value} is accepted");
            };
            assert!(problem.starts_with(name) && problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let Settings::Wrong(problem) = read(&[(ENDPOINT, "http://me:secret@localhost")]) else {
            panic!("credentials are accepted");
        };
        assert!(problem.contains("OTEL_EXPORTER_OTLP_HEADERS") && !problem.contains("secret"), "{problem}");
    }

    #[test]
    fn what_is_not_followed_is_said() {
        let odd = [(QUEUE, "0"), (SAMPLER, "xray"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), (ENDPOINT, "http://h")];
        let Settings::On { queue, ignored, .. } = read(&odd) else { panic!("it is off") };
        assert_eq!((queue, ignored.len()), (2048, 3), "{ignored:?}");
        let Settings::On { queue, .. } = read(&[(QUEUE, "7"), (ENDPOINT, "http://h")]) else { panic!("it is off") };
        assert_eq!(queue, 7);
    }
}
