//! `drctl doctor` on the keys of encryption and signatures.

use std::fs;

use serde_json::Value;

use crate::doctor::{checks, drctl, says};
use crate::keys::Keys;
use crate::need;
use crate::support::{Drctl, Flavour, Server};

/// A server of its own, drctl that backs it up and restores into it, without keys, and keys.
fn begin() -> (Server, Drctl, Keys) {
    let server = Server::start(Flavour::MariaDb);
    let drctl = drctl(&server);
    let keys = Keys::new(&drctl);
    (server, drctl, keys)
}

/// What is said about keys, with its status.
fn about_keys(checks: &[Value]) -> Vec<(&str, &str)> {
    let text = |check: &'_ Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
    let ours = checks
        .iter()
        .filter(|check| ["encryption", "signatures"].contains(&text(check, "check").as_str()));
    ours.map(|check| {
        (
            check["status"].as_str().unwrap(),
            check["what"].as_str().unwrap(),
        )
    })
    .collect()
}

#[test]
fn keys_that_fit_are_ok_and_named() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    assert_eq!(about_keys(&checks(&drctl, 0)), []);
    let drctl = keys.for_restores(keys.for_backups(drctl));
    drctl.run(["backup"]).ok();
    let found = checks(&drctl, 0);
    let ours = about_keys(&found);
    assert!(ours.iter().all(|(status, _)| *status == "OK"), "{ours:?}");
    says(
        &found,
        "OK",
        &format!("1 recipient: {}", keys.recipient),
        "",
    );
    says(&found, "OK", "the identity decrypts backups", "");
    says(
        &found,
        "OK",
        "trust: require; allowed signers: ops (SHA256:",
        "",
    );
    says(&found, "OK", "backups are signed by ops (SHA256:", "");
    let secret = fs::read_to_string(keys.path("identity.txt")).unwrap();
    assert!(!format!("{found:?}").contains(secret.lines().last().unwrap()));
}

#[test]
fn a_recipient_or_a_signing_key_that_is_none_fails_as_a_backup_would() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    let drctl = keys.for_backups(drctl);
    let broken = drctl
        .clone()
        .env("DRCTL_ENCRYPTION_RECIPIENTS", "age1xyz")
        .env("DRCTL_SIGNING_KEY_FILE", &keys.text("identity.txt"));
    let found = checks(&broken, 2);
    says(
        &found,
        "FAIL",
        "recipient 1 in DRCTL_ENCRYPTION_RECIPIENTS is malformed",
        "correct the list",
    );
    says(
        &found,
        "FAIL",
        "no private key in OpenSSH's format",
        "ssh-keygen -t ed25519",
    );
    let unread = drctl.env("DRCTL_ALLOWED_SIGNERS_FILE", "/nowhere");
    says(
        &checks(&unread, 2),
        "FAIL",
        "cannot read DRCTL_ALLOWED_SIGNERS_FILE /nowhere",
        "mounted Secret",
    );
}

#[test]
fn an_identity_that_decrypts_nothing_is_a_warning_where_restores_run() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    let drctl = keys.for_backups(drctl);
    drctl.run(["backup"]).ok();
    says(
        &checks(&drctl, 0),
        "WARN",
        "no identity is configured",
        "set DRCTL_IDENTITY_FILE",
    );
    // Where only backups run, none belongs.
    let alone = drctl.clone().without("DRCTL_INTO_URL");
    let found = checks(&alone, 0);
    assert!(
        !format!("{found:?}").contains("no identity is configured"),
        "{found:#?}"
    );
    let drills = alone.env("DRCTL_SCHEDULE_VERIFY", "@daily");
    says(
        &checks(&drills, 0),
        "WARN",
        "no identity is configured",
        "set DRCTL_IDENTITY_FILE",
    );
    let missing = drctl.clone().env("DRCTL_IDENTITY_FILE", "/nowhere");
    says(
        &checks(&missing, 0),
        "WARN",
        "cannot read DRCTL_IDENTITY_FILE /nowhere",
        "mounted Secret",
    );
    // Of nobody.
    let other = keys.age("other.txt");
    let drctl = drctl.env("DRCTL_IDENTITY_FILE", &keys.text("other.txt"));
    let found = checks(&drctl, 0);
    says(&found, "WARN", "is that of no recipient", "age-keygen -y");
    says(
        &found,
        "WARN",
        "the newest backup is not encrypted to the identity",
        "drctl show --latest",
    );
    // Of a recipient that the newest backup does not have yet.
    let both = format!("{},{other}", keys.recipient);
    let drctl = drctl.env("DRCTL_ENCRYPTION_RECIPIENTS", &both);
    let found = checks(&drctl, 0);
    says(&found, "OK", "2 recipients: age1", "");
    says(&found, "WARN", "the newest backup is not encrypted to", "");
    assert!(!format!("{found:?}").contains("is that of no recipient"));
    drctl.run(["backup"]).ok();
    let found = checks(&drctl, 0);
    says(&found, "OK", "the identity decrypts backups", "");
}

#[test]
fn backups_that_are_no_longer_encrypted_or_signed_are_a_warning() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    keys.for_backups(drctl.clone()).run(["backup"]).ok();
    let drctl = keys
        .for_restores(drctl)
        .env("DRCTL_SCHEDULE_BACKUP", "@hourly");
    let found = checks(&drctl, 0);
    says(
        &found,
        "WARN",
        "new ones will not be",
        "set DRCTL_ENCRYPTION_RECIPIENTS",
    );
    says(
        &found,
        "WARN",
        "will not be signed, and restores will refuse them",
        "set DRCTL_SIGNING_KEY_FILE",
    );
    // Where no backups run, nothing is missing.
    let found = checks(&drctl.without("DRCTL_SCHEDULE_BACKUP"), 0);
    let ours = about_keys(&found);
    assert!(ours.iter().all(|(status, _)| *status == "OK"), "{ours:?}");
}

#[test]
fn a_signing_key_that_is_not_an_allowed_signer_is_a_warning() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    let unverified = keys.for_backups(drctl);
    let found = checks(&unverified, 0);
    says(&found, "OK", "trust: off", "");
    let drctl = keys.for_restores(unverified);
    let public = keys.ssh("next");
    for line in [
        format!("next {public}"),
        // Its own key, for another purpose or another time.
        format!("ops namespaces=\"git\" {}", own(&keys)),
        format!("ops valid-before=\"20200101Z\" {}", own(&keys)),
    ] {
        fs::write(keys.path("allowed_signers"), line).unwrap();
        let found = checks(&drctl, 0);
        says(
            &found,
            "WARN",
            "is not an allowed signer now",
            "ssh-keygen -y",
        );
    }
    let both = format!("ops {}next {public}", own(&keys));
    fs::write(keys.path("allowed_signers"), both).unwrap();
    let drctl = drctl.env("DRCTL_TRUST", "warn");
    let found = checks(&drctl, 0);
    says(
        &found,
        "OK",
        "trust: warn; allowed signers: ops (SHA256:",
        "",
    );
    says(&found, "OK", "backups are signed by ops", "");
}

/// The public key of the signing key.
fn own(keys: &Keys) -> String {
    fs::read_to_string(keys.path("signer.pub")).unwrap()
}

#[test]
fn a_drill_says_which_identity_it_used_and_what_earlier_ones_did() {
    need!(MariaDb);
    let (_server, drctl, keys) = begin();
    let safe = keys.age("safe.txt");
    let both = format!("{},{safe}", keys.recipient);
    let drctl = keys.for_restores(keys.for_backups(drctl));
    let drctl = drctl
        .env("DRCTL_ENCRYPTION_RECIPIENTS", &both)
        .env("DRCTL_ENCRYPTION_DRILL_DAYS", "1");
    drctl.run(["backup"]).ok();
    let drill = ["verify", "--latest", "--level", "archive"];
    let used = |drctl: &Drctl| {
        let reports = drctl.run(["report", "--output", "json"]).ok().json();
        let identities = reports[0]["evidence"]["identities"].clone();
        let identities = identities.as_object().unwrap().clone();
        identities.into_iter().collect::<Vec<_>>()
    };
    drctl.run(drill).ok();
    let first = used(&drctl);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].0, keys.recipient);
    // Names of reports have whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let offline = drctl
        .clone()
        .env("DRCTL_IDENTITY_FILE", &keys.text("safe.txt"));
    offline.run(drill).ok();
    let second = used(&drctl);
    assert_eq!(second.len(), 2);
    assert!(second.contains(&first[0]), "{second:?}");
    assert!(second.iter().any(|(recipient, _)| *recipient == safe));
    // A drill that decrypts nothing proves no identity.
    let other = keys.age("other.txt");
    let without = drctl
        .clone()
        .env("DRCTL_IDENTITY_FILE", &keys.text("other.txt"));
    without
        .run(drill)
        .refused(2, &["not encrypted to any identity"]);
    assert!(
        used(&drctl)
            .iter()
            .all(|(recipient, _)| *recipient != other)
    );
    let found = checks(&drctl, 0);
    let ours = about_keys(&found);
    assert!(
        ours.iter().all(|(_, what)| !what.contains("no drill")),
        "{ours:?}"
    );
}
