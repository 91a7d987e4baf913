//! Encrypted and signed backups: the cluster cannot read what it writes, but for its drills, until the operators bring their
//! identity.

use std::process::Command;

use serde_json::Value;

use crate::cluster::Turn;
use crate::stack::Stack;
use crate::support::lab;

/// What a program prints.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The commands that start an emergency restore.
fn press(job: &str) -> String {
    format!(
        "kubectl -n \"$namespace\" create job {job} --from=cronjob/drctl-restore --dry-run=client -o yaml |
           kubectl set env --local -f - DRCTL_RESTORE=latest-verified DRCTL_CONFIRM=\"$target\" -o yaml |
           kubectl -n \"$namespace\" create -f -"
    )
}

#[test]
fn the_operators_identity_is_needed_for_a_restore_and_for_nothing_before() {
    let keys = lab::ScratchDir::new();
    let path = |name: &str| keys.path().join(name).display().to_string();
    let (operators, drills, signer) = (path("operators.txt"), path("drills.txt"), path("signer"));
    for identity in [&operators, &drills] {
        run("age-keygen", &["-o", identity]);
    }
    let recipient = |identity: &str| run("age-keygen", &["-y", identity]);
    run(
        "ssh-keygen",
        &[
            "-q", "-t", "ed25519", "-N", "", "-C", "drctl", "-f", &signer,
        ],
    );
    let values = format!(
        "config: {{encryption: {{recipients: [{}, {}]}}}}
keys:
  signing: {{existingSecret: signing}}
  allowedSigners: {{text: '{}'}}
  identity: {{verify: {{existingSecret: drills}}, restore: {{existingSecret: operators}}}}
",
        recipient(&operators),
        recipient(&drills),
        format_args!("shop {}", run("ssh-keygen", &["-y", "-f", &signer])),
    );
    let Some(stack) = Stack::prepare(&values, Some(Turn::shared())) else {
        return;
    };
    let secret = |name: &str, key: &str, file: &str| {
        let file = format!("--from-file={key}={file}");
        stack.kubectl(&["create", "secret", "generic", name, &file]);
    };
    secret("signing", "signing-key", &signer);
    secret("drills", "identity", &drills);
    stack.helm("install", &["--wait"]);
    stack.fill();
    let before = stack.digest();

    // A backup encrypts and signs, a drill decrypts, and who only lists can do neither.
    stack.run("backup").ok();
    let backup = stack.backups()[0].clone();
    assert_eq!(
        (&backup["encrypted"], &backup["signed"], &backup["suspect"]),
        (&true.into(), &"by shop".into(), &false.into()),
        "{backup:#}"
    );
    stack.run("verify").ok();
    let read = "kubectl -n \"$namespace\" exec deploy/drctl -- drctl cat --latest 2>&1 || true";
    let said = stack.shell(read);
    assert!(said.contains("no identity is configured"), "{said}");

    // The data are lost; without the identity nothing is changed, and the application is not stopped.
    stack.sql("DROP DATABASE app; CREATE DATABASE app");
    stack.shell(&press("drctl-restore-1"));
    let refused = stack.ended("drctl-restore-1");
    assert_eq!(refused.code, 2, "{refused:#?}");
    let words = "cannot read DRCTL_IDENTITY_FILE /run/keys/identity/identity";
    assert!(refused.message.contains(words), "{refused:#?}");
    let web = stack.json(&["get", "deployment", "drctl-web"]);
    assert_ne!(web["spec"]["replicas"], Value::from(0), "{web:#}");
    let checked = stack.helm("test", &["--logs"]);
    assert!(checked.contains(words), "{checked}");

    secret("operators", "identity", &operators);
    let checked = stack.helm("test", &["--logs"]);
    for words in [
        "the identity decrypts backups",
        "backups are signed by shop",
        "trust: require",
    ] {
        assert!(checked.contains(words), "{words}: {checked}");
    }
    stack.shell(&press("drctl-restore-2"));
    stack.ended("drctl-restore-2").ok();
    assert_eq!(stack.digest(), before);
}
