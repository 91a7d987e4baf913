//! Files without a key that signs.

use super::*;

const PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio comment";

#[test]
fn what_is_no_signing_key_is_refused_without_showing_it() {
    for (text, why) in [
        ("", "is no private key"),
        ("hunter2", "is no private key"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n",
            "is no private key",
        ),
        (PUBLIC, "is a public key, and SSH_AUTH_SOCK names no agent"),
    ] {
        let error = SigningKey::parse(text, None).unwrap_err();
        assert!(error.starts_with(why), "{error}");
        assert!(!error.contains("hunter2"));
    }
}

#[test]
fn an_agent_that_is_not_there_is_a_usage_error() {
    let socket = Some("/nowhere/agent".into());
    let key = SigningKey::parse(PUBLIC, socket).unwrap();
    let error = key.sign(b"document").unwrap_err();
    assert_eq!(error.outcome(), crate::Outcome::Usage);
    assert!(error.to_string().contains("/nowhere/agent"), "{error}");
}
