//! How rules name tools: `fs.read`, `fs.*` or `*`.

use crate::wasi::manifest::published_name;

/// A tool's name, or how names of tools begin. `fs.read` and `fs_read` are the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolGlob {
    begins: String,
    open: bool,
}

impl ToolGlob {
    /// Parses it.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (begins, open) = text.strip_suffix('*').map_or((text, false), |begins| (begins, true));
        let well_formed = begins.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if !well_formed || text.is_empty() {
            return Err(format!("names `{text}`, which is no tool; write a name, or its beginning and *, like fs.*"));
        }
        Ok(Self { begins: published_name(begins), open })
    }

    /// Whether it means the tool of this published name.
    pub fn matches(&self, published: &str) -> bool {
        if self.open { published.starts_with(&self.begins) } else { published == self.begins }
    }

    /// Of two that match, the one that says more of the name is meant.
    pub fn precision(&self) -> (bool, usize) {
        (!self.open, self.begins.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, tool: &str) -> bool {
        ToolGlob::parse(glob).unwrap().matches(tool)
    }

    #[test]
    fn a_name_and_its_published_form_are_the_same() {
        assert!(matches("fs.read", "fs_read"));
        assert!(matches("fs_read", "fs_read"));
        assert!(!matches("fs.read", "fs_read_all"));
        assert!(!matches("fs", "fs_read"));
    }

    #[test]
    fn a_star_stands_for_the_rest() {
        assert!(matches("*", "anything"));
        assert!(matches("fs.*", "fs_read"));
        assert!(!matches("fs.*", "fsx"));
        assert!(!matches("fs.*", "net_read"));
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for wrong in ["", "a*b", "**", "fs read", "fs.{a,b}", "ü"] {
            assert!(ToolGlob::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_whole_name_is_more_precise_than_its_beginning() {
        let precision = |glob| ToolGlob::parse(glob).unwrap().precision();
        assert!(precision("a") > precision("abc*"));
        assert!(precision("fs.*") > precision("*"));
    }
}
