//! Secrets in the keyring that Linux keeps for a session and its user, keyrings(7): in memory, never on disk.

/// What stands before the name in the keyring, so that nobody's other keys are found.
const PREFIX: &str = "nurones-mcp:";

/// The secret `name`, which is the key `nurones-mcp:NAME` of the type `user`.
///
/// # Errors
/// Why it cannot be had, and what to do.
#[cfg(target_os = "linux")]
pub(super) fn read(name: &str) -> Result<String, String> {
    use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};

    let description = format!("{PREFIX}{name}");
    let read = |ring: KeyRingIdentifier| {
        let key = KeyRing::from_special_id(ring, false)?.search(&description)?;
        key.read_to_vec()
    };
    // What the session holds it may read; the user's own keyring is usually a part of that.
    let found = read(KeyRingIdentifier::Session).or_else(|_| read(KeyRingIdentifier::User));
    let bytes = found.map_err(|error| match error {
        KeyError::AccessDenied => {
            format!(
                "this session may not read the key {description}; run keyctl link @u @s, and start the server in it"
            )
        }
        KeyError::KeyDoesNotExist => {
            format!("the keyring has no key {description}; add it with: keyctl padd user {description} @u")
        }
        error => format!("the keyring cannot be asked for {description}: {error}; use env:NAME or file:PATH"),
    })?;
    String::from_utf8(bytes).map_err(|_| format!("the key {description} is not text in UTF-8"))
}

/// Elsewhere there is none that can be asked yet.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(name: &str) -> Result<String, String> {
    Err(format!("the keyring of this system cannot be asked for {PREFIX}{name} yet; use env:NAME or file:PATH"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use linux_keyutils::{KeyRing, KeyRingIdentifier};

    use super::*;

    /// Sandboxes without keyrings are common; there, that has to be said.
    #[test]
    fn a_key_of_the_session_is_read_or_it_is_said_why_it_cannot_be() {
        let name = format!("test-{}", std::process::id());
        let missing = read(&name).unwrap_err();
        let ring = KeyRing::from_special_id(KeyRingIdentifier::Session, false);
        match ring.and_then(|ring| ring.add_key(&format!("{PREFIX}{name}"), "swordfish")) {
            Ok(key) => {
                let found = read(&name);
                key.invalidate().unwrap();
                assert!(missing.contains("keyctl padd user"), "{missing}");
                assert_eq!(found.as_deref(), Ok("swordfish"));
            }
            Err(_) => assert!(missing.contains("use env:NAME"), "{missing}"),
        }
    }
}
