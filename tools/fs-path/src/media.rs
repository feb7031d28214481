//! The media type of bytes that are not text, guessed from the name alone: a guess of ours is a hint, not a check.

/// The media type for the extension of `path`, or that of unknown bytes.
pub fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else {
        return UNKNOWN;
    };
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)).map_or(UNKNOWN, |(_, media)| media)
}

const UNKNOWN: &str = "application/octet-stream";

const TYPES: [(&str, &str); 30] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("ico", "image/x-icon"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("pdf", "application/pdf"),
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("m4a", "audio/mp4"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("zst", "application/zstd"),
    ("wasm", "application/wasm"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("sqlite", "application/vnd.sqlite3"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_whatever_its_case() {
        assert_eq!(media_type("a/b.PNG"), "image/png");
        assert_eq!(media_type("x.tar.gz"), "application/gzip");
        assert_eq!(media_type("song.mp3"), "audio/mpeg");
    }

    #[test]
    fn a_name_without_a_known_extension_is_unknown_bytes() {
        for path in ["a", "a.unknown", "dir.png/file", "", "a."] {
            assert_eq!(media_type(path), UNKNOWN, "{path}");
        }
    }
}
