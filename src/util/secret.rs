//! Passwords that cannot be printed by accident, and the files that contain them.

use std::fmt;
use std::io;
use std::path::Path;

use crate::util::bounded;
use crate::util::cancel;
use crate::{Error, Result};

/// Maximum size of a secret's file.
pub const MOST_BYTES: u64 = 64 << 10;

/// A password. `Debug` and `Display` print `***`; only [`Secret::reveal`] returns the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// Reads a password from a file or a pipe, without one final newline. `named` is the configuration key
    /// or environment variable that names the file, for messages.
    ///
    /// # Errors
    /// `Usage`, or the outcome of a termination signal that arrived while reading.
    pub fn read(path: &Path, named: &str) -> Result<Self> {
        let shown = path.display();
        let failed = |e: io::Error| match cancel::signalled() {
            Some(error) => error,
            None => Error::usage(format!("cannot read {named} {shown}")).because(e),
        };
        let bytes = bounded::read(path, MOST_BYTES).map_err(failed)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::usage(format!("{named} {shown} is not UTF-8 text")))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        // Any of this may be part of a password, but rarely is.
        if let Some(odd) = odd(text) {
            tracing::warn!("{named} {shown} {odd}, which drctl treats as part of the secret");
        }
        Ok(Secret::new(text))
    }

    /// The password itself, for a handshake or a private option file. Never put it in a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Likely mistakes in a secret's file, as the end of a sentence. `None` if there are none.
fn odd(text: &str) -> Option<&'static str> {
    if text.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if text.ends_with(['\n', '\r']) {
        Some("ends with more than one newline")
    } else if text.contains(['\n', '\r']) {
        Some("has more than one line")
    } else if text.contains('\0') {
        Some("contains a NUL byte")
    } else if text.trim() != text {
        Some("begins or ends with whitespace")
    } else {
        None
    }
}

/// serde's own message for a value of another type would show the value.
impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Secret(text)),
            _ => Err(serde::de::Error::custom(
                "a password must be a string: put it in quotes",
            )),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
    }

    #[test]
    fn one_final_newline_is_not_part_of_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        for (text, secret) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a ", " a "),
            ("", ""),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(
                Secret::read(&file, "x").unwrap().reveal(),
                secret,
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_value_that_is_not_a_string_is_refused_without_being_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        for text in [&b"hunter2\xff"[..], &[b'x'; (64 << 10) + 1]] {
            std::fs::write(&file, text).unwrap();
            let error = Secret::read(&file, "SOME_FILE").unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            let line = error.to_string();
            assert!(
                line.contains("SOME_FILE") && !line.contains("hunter2"),
                "{line}"
            );
        }
        assert!(Secret::read(directory.path(), "x").is_err());
        assert!(Secret::read(Path::new("/dev/zero"), "x").is_err());
    }

    #[test]
    fn a_slow_pipe_is_awaited() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                std::thread::sleep(std::time::Duration::from_millis(200));
                std::fs::write(pipe, "hunter2\n").unwrap();
            }
        });
        assert_eq!(Secret::read(&pipe, "x").unwrap().reveal(), "hunter2");
        writer.join().unwrap();
    }

    #[test]
    fn likely_mistakes_in_a_secret_are_reported() {
        for text in ["\u{feff}a", "a\n", "a\nb", "a\0", " a", "a\t"] {
            assert!(odd(text).is_some(), "{text:?}");
        }
        assert_eq!(odd("a b"), None);
    }
}
