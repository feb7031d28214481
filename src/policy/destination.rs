//! Where on the network a tool may go. No guest has a network yet; what is written is checked, and shown by `explain`.

use std::net::IpAddr;

use crate::fields::Fields;

/// A place on the network: `https://example.com:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `https`, `http` or another.
    pub scheme: String,
    /// A name in lower case, or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Destination {
    /// Parses `SCHEME://HOST[:PORT]`; anything after that says nothing of where it leads.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("`{url}` is no URL like https://example.com or http://127.0.0.1:8080");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let bracketed = |rest: &str| rest.split_once(']').map(|(host, port)| (host.to_owned(), port.to_owned()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => bracketed(rest).ok_or_else(wrong)?,
            None => match authority.split_once(':') {
                Some((host, port)) => (host.to_owned(), format!(":{port}")),
                None => (authority.to_owned(), String::new()),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if port.is_empty() => default_port(scheme).ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let host = host.to_ascii_lowercase();
        if !is_host(&host) || !is_scheme(scheme) {
            return Err(wrong());
        }
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host, port })
    }

    /// Whether it is an address, or a name for one, that only this machine or its network knows.
    pub fn is_private(&self) -> bool {
        if self.host == "localhost" || [".localhost", ".local", ".internal"].iter().any(|end| self.host.ends_with(end))
        {
            return true;
        }
        match self.host.parse() {
            Ok(IpAddr::V4(v4)) => {
                let [first, second, ..] = v4.octets();
                let shared = first == 100 && second & 0xC0 == 64;
                let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified();
                special || v4.is_broadcast() || v4.is_multicast() || shared
            }
            Ok(IpAddr::V6(v6)) => {
                if let Some(v4) = v6.to_ipv4_mapped() {
                    return Self { host: v4.to_string(), ..self.clone() }.is_private();
                }
                let first = v6.segments()[0];
                let local = first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFE80;
                local || v6.is_loopback() || v6.is_unspecified() || v6.is_multicast()
            }
            Err(_) => false,
        }
    }

    /// Whether a tool with this grant may go to `wanted`. A beginning with `*.` never means anything private.
    pub fn covers(&self, wanted: &Self) -> bool {
        let host = match self.host.strip_prefix('*') {
            Some(end) => wanted.host.ends_with(end) && !wanted.is_private(),
            None => wanted.host == self.host,
        };
        host && self.port == wanted.port && self.scheme == wanted.scheme
    }

    /// Reads `{"host": …, "port": …, "scheme": …}`; without the last two, https on its own port.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let scheme = fields.string("scheme").unwrap_or("https").to_ascii_lowercase();
        let port = fields.integer("port", 1..=65_535).map(|port| port as u16).or_else(|| default_port(&scheme));
        let host = fields.required_string("host")?.to_ascii_lowercase();
        if !is_host(host.strip_prefix("*.").unwrap_or(&host)) {
            fields.mistake("host", "must be a name, an address, or *. and a name, without scheme, port or path");
        }
        if !is_scheme(&scheme) {
            fields.mistake("scheme", "must be a word like https");
        }
        if port.is_none() {
            fields.mistake("port", format!("is missing; {scheme} has no port of its own here"));
        }
        Some(Self { scheme, host, port: port? })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

fn is_scheme(scheme: &str) -> bool {
    !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_host(host: &str) -> bool {
    let name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    name || host.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Destination {
        Destination::parse(url).unwrap()
    }

    #[test]
    fn a_url_says_where_it_leads() {
        assert_eq!(at("HTTPS://Example.com/a?b").to_string(), "https://example.com:443");
        assert_eq!(at("http://[::1]:80").to_string(), "http://[::1]:80");
        for wrong in
            ["example.com", "https://", "ftp://a", "https://a:b", "https://a b", "https://u@h", "https://[::1]x"]
        {
            assert!(Destination::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grant_covers_its_own_scheme_host_and_port_and_no_other() {
        let grant = at("https://api.example.com");
        assert!(grant.covers(&at("https://api.example.com:443/v1")));
        for other in ["http://api.example.com:443", "https://api.example.com:444", "https://b.api.example.com"] {
            assert!(!grant.covers(&at(other)), "{other}");
        }
    }

    #[test]
    fn private_ranges_have_to_be_named() {
        let any = Destination { host: "*.internal".to_owned(), ..at("http://x:80") };
        assert!(!any.covers(&at("http://db.internal")), "a star names nothing private");
        assert!(at("http://10.0.0.1").covers(&at("http://10.0.0.1")));
        for private in
            ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"]
                .map(|host| format!("http://{host}"))
                .iter()
                .map(String::as_str)
                .chain([
                    "http://[::1]",
                    "http://[fe80::1]",
                    "http://[fc00::1]",
                    "http://[::ffff:10.0.0.1]",
                    "http://localhost",
                ])
        {
            assert!(at(private).is_private(), "{private}");
        }
        for public in ["http://1.1.1.1", "http://100.128.0.1", "http://[2606:4700::1]", "https://example.com"] {
            assert!(!at(public).is_private(), "{public}");
        }
    }
}
