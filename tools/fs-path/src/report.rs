//! What a finished write says: a sentence for the model and the same as JSON.

use serde::Serialize;

use crate::arguments::WriteMode;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub bytes: u64,
    /// As the caller gave it.
    pub path: String,
    pub mode: WriteMode,
    /// Whether older content is gone.
    pub replaced: bool,
    /// Whether no reader could see a half-written file.
    pub atomic: bool,
    /// What the caller should know about how it was done.
    #[serde(skip)]
    pub note: Option<String>,
}

impl Report {
    /// For example `wrote 12 bytes to notes.txt (created)`.
    pub fn sentence(&self) -> String {
        let Self { bytes, path, .. } = self;
        let unit = if *bytes == 1 { "byte" } else { "bytes" };
        let done = match (self.mode, self.replaced) {
            (_, true) => "replaced",
            (WriteMode::Append, false) => "appended",
            (_, false) => "created",
        };
        match &self.note {
            Some(note) => format!("wrote {bytes} {unit} to {path} ({done}; {note})"),
            None => format!("wrote {bytes} {unit} to {path} ({done})"),
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a report holds nothing but strings, numbers and booleans")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(mode: WriteMode, replaced: bool) -> Report {
        Report { bytes: 12, path: "notes.txt".into(), mode, replaced, atomic: true, note: None }
    }

    #[test]
    fn the_sentence_says_what_happened() {
        assert_eq!(report(WriteMode::Create, false).sentence(), "wrote 12 bytes to notes.txt (created)");
        assert_eq!(report(WriteMode::Overwrite, true).sentence(), "wrote 12 bytes to notes.txt (replaced)");
        assert_eq!(report(WriteMode::Append, false).sentence(), "wrote 12 bytes to notes.txt (appended)");
        let noted = Report { bytes: 1, note: Some("in place".into()), ..report(WriteMode::Overwrite, true) };
        assert_eq!(noted.sentence(), "wrote 1 byte to notes.txt (replaced; in place)");
    }

    #[test]
    fn the_json_holds_no_note() {
        assert_eq!(
            report(WriteMode::Create, false).json(),
            r#"{"bytes":12,"path":"notes.txt","mode":"create","replaced":false,"atomic":true}"#
        );
    }
}
