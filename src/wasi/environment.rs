//! The environment variables of a guest.

use std::fmt;
use std::sync::Arc;

/// Names and values. The values may be secrets, so nothing that shows it shows them.
#[derive(Clone, Default)]
pub struct Environment {
    variables: Arc<[(String, String)]>,
}

impl Environment {
    /// These variables.
    pub fn new(variables: Vec<(String, String)>) -> Self {
        Self { variables: variables.into() }
    }

    /// Names with their values.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_shown() {
        let environment = Environment::new(vec![("TOKEN".to_owned(), "hunter2".to_owned())]);
        assert_eq!(format!("{environment:?}"), r#"["TOKEN"]"#);
    }
}
