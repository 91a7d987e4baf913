//! Lines of `allowed_signers`, and the signatures that they allow.

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use super::*;

/// A private key for each number.
fn key(n: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[n; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap()
}

fn public(n: u8) -> String {
    key(n).public_key().to_openssh().unwrap()
}

fn signers(lines: &[String]) -> AllowedSigners {
    AllowedSigners(lines.iter().map(|line| parse(line).unwrap()).collect())
}

fn signed(n: u8, namespace: &str, document: &[u8]) -> String {
    let signature = key(n).sign(namespace, HashAlg::Sha512, document).unwrap();
    signature.to_pem(LineEnding::LF).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn only_the_signature_of_an_allowed_key_over_this_document_counts() {
    let all = signers(&[format!("shop {} a comment", public(1))]);
    let now = at("2026-11-30T12:00:00Z");
    let good = signed(1, NAMESPACE, b"document");
    assert_eq!(
        all.verify(b"document", good.as_bytes(), now),
        Ok("shop".into())
    );
    for (document, signature, why) in [
        (
            &b"another"[..],
            good.clone(),
            "does not match its signature by SHA256:",
        ),
        (
            b"document",
            signed(2, NAMESPACE, b"document"),
            "is signed by SHA256:",
        ),
        (b"document", signed(1, "git", b"document"), "does not match"),
        (
            b"document",
            "nothing".into(),
            "has a signature that cannot be read",
        ),
        (
            b"document",
            String::new(),
            "has a signature that cannot be read",
        ),
    ] {
        let error = all.verify(document, signature.as_bytes(), now).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}

#[test]
fn restrictions_of_a_line_are_held() {
    let good = signed(1, NAMESPACE, b"document");
    for (options, time, valid) in [
        ("namespaces=\"drctl\"", "2026-11-30T12:00:00Z", true),
        ("namespaces=\"git,dr*\"", "2026-11-30T12:00:00Z", true),
        ("namespaces=\"git\"", "2026-11-30T12:00:00Z", false),
        ("valid-after=\"20261130Z\"", "2026-11-30T00:00:00Z", true),
        ("valid-after=\"20261130Z\"", "2026-11-29T23:59:59Z", false),
        (
            "valid-before=\"202611301200Z\"",
            "2026-11-30T11:59:59Z",
            true,
        ),
        (
            "valid-before=\"202611301200Z\"",
            "2026-11-30T12:00:00Z",
            false,
        ),
        (
            "valid-after=\"20261101Z\",valid-before=\"20261130120001Z\",namespaces=\"drctl\"",
            "2026-11-30T12:00:00Z",
            true,
        ),
    ] {
        let all = signers(&[format!("\"shop, log\" {options} {}", public(1))]);
        let verified = all.verify(b"document", good.as_bytes(), at(time));
        assert_eq!(verified.is_ok(), valid, "{options} {time}: {verified:?}");
    }
    // Of two lines with one key the one that is valid counts.
    let old = format!("old valid-before=\"20260101Z\" {}", public(1));
    let all = signers(&[old, format!("new {}", public(1))]);
    let verified = all.verify(b"document", good.as_bytes(), at("2026-11-30T12:00:00Z"));
    assert_eq!(verified, Ok("new".into()));
}

#[test]
fn a_line_that_is_not_understood_is_refused() {
    for (line, why) in [
        ("shop".to_owned(), "has no public key"),
        (
            format!("shop no-touch {}", public(1)),
            "has the unknown option no-touch",
        ),
        (
            format!("shop cert-authority {}", public(1)),
            "names an authority",
        ),
        (
            format!("shop valid-after=\"yesterday\" {}", public(1)),
            "has the time",
        ),
        (
            format!("shop valid-after=\"20261399\" {}", public(1)),
            "has the time",
        ),
        ("shop ssh-ed25519 AAAA".to_owned(), "has no public key"),
    ] {
        let error = parse(&line).unwrap_err();
        assert!(error.starts_with(why), "{line}: {error}");
    }
}
