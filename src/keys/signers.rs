//! The signers whose signatures count: OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS).
//!
//! A line names the principals, optional restrictions, and a public key. The times of a restriction are compared with the
//! time in the signed document, so that documents signed before a key was replaced stay valid. Whoever holds the
//! private key chooses that time: the line of a key that was compromised must be removed.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Serialize, Serializer};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey, SshSig};

use crate::keys::signing::NAMESPACE;
use crate::keys::{Keys, Trust, entries, read_file};
use crate::util::error::{Error, Result};

/// The variable that names the file.
const VARIABLE: &str = "DRCTL_ALLOWED_SIGNERS_FILE";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedSigner {
    principals: String,
    key: KeyData,
    /// Whether it may sign for drctl.
    in_namespace: bool,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// All lines of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners(Vec<AllowedSigner>);

/// Who signed a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// Signatures are not verified.
    Unverified,
    /// An allowed signer, by the principals of the line.
    By(String),
    /// Nobody whose signature counts, for this reason; it is used nevertheless.
    Warned(String),
    /// Nobody whose signature counts, for this reason; it is not used.
    Refused(String),
}

impl Signed {
    /// Fails with `Archive` if the document, called `named`, must not be used.
    pub fn check(&self, named: &str) -> Result<()> {
        match self {
            Signed::Refused(why) => Err(Error::archive(format!("{named} {why}")).hint(
                "restore another backup, and find out who wrote this one; DRCTL_TRUST=off uses it nevertheless",
            )),
            _ => Ok(()),
        }
    }

    /// As [`Signed::check`]; warns if the document is used although nobody whose signature counts has signed it.
    pub fn admit(&self, named: &str) -> Result<()> {
        self.check(named)?;
        if let Signed::Warned(why) = self {
            tracing::warn!("{named} {why}");
        }
        Ok(())
    }
}

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signed::Unverified => f.write_str("not verified"),
            Signed::By(signer) => write!(f, "by {signer}"),
            Signed::Warned(why) | Signed::Refused(why) => write!(f, "not trusted: it {why}"),
        }
    }
}

impl AllowedSigners {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<AllowedSigners> {
        let shown = path.display();
        let invalid = |why: String| {
            Error::usage(format!("{VARIABLE} {shown} {why}"))
                .hint("write a line for each signer: shop ssh-ed25519 AAAA…")
        };
        let mut all = Vec::new();
        for (number, line) in entries(&read_file(path, VARIABLE)?) {
            let signer = parse(line).map_err(|why| invalid(format!("line {number} {why}")))?;
            all.push(signer);
        }
        match all.is_empty() {
            true => Err(invalid("contains no signer".into())),
            false => Ok(AllowedSigners(all)),
        }
    }

    /// Principals and fingerprint of each.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let name = |one: &AllowedSigner| {
            format!(
                "{} ({})",
                one.principals,
                one.key.fingerprint(HashAlg::Sha256)
            )
        };
        self.0.iter().map(name)
    }

    /// Verifies a signature of a document that was made at some time by its own word; else returns the reason, as the end
    /// of a sentence.
    fn verify(&self, document: &[u8], signature: &[u8], at: Timestamp) -> Result<String, String> {
        let signature =
            SshSig::from_pem(signature).map_err(|_| "has a signature that cannot be read")?;
        let fingerprint = signature.public_key().fingerprint(HashAlg::Sha256);
        let of_key = self
            .0
            .iter()
            .filter(|one| one.key == *signature.public_key());
        let of_key: Vec<&AllowedSigner> = of_key.collect();
        if of_key.is_empty() {
            return Err(format!(
                "is signed by {fingerprint}, which is not an allowed signer"
            ));
        }
        PublicKey::from(signature.public_key().clone())
            .verify(NAMESPACE, document, &signature)
            .map_err(|_| {
                format!("does not match its signature by {fingerprint}: it was changed")
            })?;
        let valid = of_key.iter().find(|one| {
            one.in_namespace
                && one.after.is_none_or(|after| at >= after)
                && one.before.is_none_or(|before| at < before)
        });
        match valid {
            Some(signer) => Ok(signer.principals.clone()),
            None => Err(format!(
                "is signed by {fingerprint}, which was not allowed to sign for {NAMESPACE} at {at}"
            )),
        }
    }
}

impl Keys {
    /// Who signed a document, which was made at the time `at` by its own word.
    ///
    /// # Errors
    /// `Usage` if the allowed signers cannot be read.
    pub fn verify(
        &self,
        document: &[u8],
        signature: Option<&[u8]>,
        at: Timestamp,
    ) -> Result<Signed> {
        let trust = self.trust();
        if trust == Trust::Off {
            return Ok(Signed::Unverified);
        }
        let verified = match signature {
            Some(signature) => self.signers()?.verify(document, signature, at),
            None => Err("is not signed".to_owned()),
        };
        Ok(match verified {
            Ok(signer) => Signed::By(signer),
            Err(why) if trust == Trust::Require => Signed::Refused(why),
            Err(why) => Signed::Warned(why),
        })
    }
}

/// Parses a line; else returns the reason, as the end of a sentence.
fn parse(line: &str) -> Result<AllowedSigner, String> {
    let (principals, rest) = word(line);
    // Without options, the type of the key follows.
    let (options, key) = match word(rest) {
        (first, _) if is_type(&first) => (String::new(), rest),
        (options, key) => (options, key),
    };
    let key = PublicKey::from_openssh(key).map_err(|_| "has no public key that can be read")?;
    let mut signer = AllowedSigner {
        principals,
        key: key.key_data().clone(),
        in_namespace: true,
        after: None,
        before: None,
    };
    for option in split_unquoted(&options, |c| c == ',') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "" => {}
            "namespaces" => {
                signer.in_namespace = value.split(',').any(|pattern| matches(pattern, NAMESPACE));
            }
            "valid-after" => signer.after = Some(time(value)?),
            "valid-before" => signer.before = Some(time(value)?),
            "cert-authority" => {
                return Err("names an authority of certificates, which is not supported".into());
            }
            other => return Err(format!("has the unknown option {other}")),
        }
    }
    Ok(signer)
}

fn is_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|kind| word.starts_with(kind))
}

/// The first word of a line, in which quoted white space does not count, and the rest.
fn word(line: &str) -> (String, &str) {
    let line = line.trim_start();
    let first = split_unquoted(line, char::is_whitespace)
        .next()
        .unwrap_or_default();
    (
        first.trim_matches('"').to_owned(),
        line[first.len()..].trim_start(),
    )
}

/// Splits a text where `at` holds outside of double quotes.
fn split_unquoted(text: &str, at: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && at(c)
    })
}

/// Whether a pattern with `*` and `?` matches a text.
fn matches(pattern: &str, text: &str) -> bool {
    fn rest(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', after)), _) => {
                rest(after, text)
                    || text
                        .split_first()
                        .is_some_and(|(_, text)| rest(pattern, text))
            }
            (Some((b'?', pattern)), Some((_, text))) => rest(pattern, text),
            (Some((a, pattern)), Some((b, text))) if a == b => rest(pattern, text),
            _ => false,
        }
    }
    rest(pattern.as_bytes(), text.as_bytes())
}

/// A time: `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, with `Z` for UTC; otherwise in the time zone of the system.
fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("has the time {text:?}, which is not YYYYMMDD[HHMM[SS]][Z]");
    let (digits, utc) = match text.strip_suffix('Z') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    if !matches!(digits.len(), 8 | 12 | 14) {
        return Err(wrong());
    }
    let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{digits:0<14}")).map_err(|_| wrong())?;
    let zone = match utc {
        true => jiff::tz::TimeZone::UTC,
        false => jiff::tz::TimeZone::system(),
    };
    let time = time.to_zoned(zone).map_err(|_| wrong())?;
    Ok(time.timestamp())
}

#[cfg(test)]
#[path = "signers_tests.rs"]
mod tests;
