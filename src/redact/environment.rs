//! Which environment variables are secrets: those named so, and the headers for a collector.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::current::secrets;
use super::name;

/// Makes the values of `variables` known that are secrets. What is too short to be known is left out.
pub fn register_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) {
    for (name, value) in variables {
        let shown = name.to_string_lossy();
        if shown.starts_with("OTEL_EXPORTER_OTLP_") && shown.ends_with("HEADERS") {
            for header in header_values(value.as_bytes()) {
                secrets().add(&shown, &header);
            }
        } else if is_secret(&shown, value.as_bytes()) {
            secrets().add(&shown, value.as_bytes());
        }
    }
}

/// `PWD` is no password, and the path of a file that holds a secret is none.
fn is_secret(name: &str, value: &[u8]) -> bool {
    let is_folder = ["PWD", "OLDPWD"].contains(&name);
    let is_file = || value.starts_with(b"/") && Path::new(std::ffi::OsStr::from_bytes(value)).exists();
    !is_folder && name::is_secret(name.as_bytes()) && !is_file()
}

/// The values of `key=value,key=value`, as they are and decoded; of `Bearer x` also the `x`.
fn header_values(headers: &[u8]) -> Vec<Vec<u8>> {
    let pairs = headers.split(|byte| *byte == b',');
    let values = pairs.filter_map(|pair| Some(&pair[memchr::memchr(b'=', pair)? + 1..]));
    let mut all = Vec::new();
    for value in values {
        let decoded = percent_decoded(value);
        all.extend(decoded.split(|byte| *byte == b' ').next_back().map(<[u8]>::to_vec));
        all.extend([value.to_vec(), decoded]);
    }
    all
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) => {
                decoded.push(code);
                rest = &after[2..];
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_named_like_secrets_are_and_folders_and_files_are_not() {
        assert!(is_secret("DB_PASSWORD", b"hunter2") && is_secret("NURONES_TOKEN", b"/no/such/file/Ab"));
        assert!(
            !is_secret("PWD", b"/x") && !is_secret("NURONES_TOOLS", b"tools") && !is_secret("API_KEY", b"/dev/null")
        );
    }

    #[test]
    fn each_header_of_a_collector_is_a_secret_and_its_name_is_none() {
        let values = header_values(b"x-team=abc,authorization=Bearer%20hunter2,odd");
        let values: Vec<_> = values.iter().map(|value| std::str::from_utf8(value).unwrap()).collect();
        assert_eq!(values, ["abc", "abc", "abc", "hunter2", "Bearer%20hunter2", "Bearer hunter2"]);
    }
}
