//! The day for which all this is there: the database is gone with its volume.

use std::io::Write as _;
use std::time::Instant;

use serde_json::Value;

use crate::protection::no_secret_is_seen;
use crate::stack::Stack;
use crate::support::wait::until;

/// The web server's replicas: asked for, and ready.
fn replicas(stack: &Stack) -> (u64, u64) {
    let web = stack.json(&["get", "deployment", "drctl-web"]);
    let number = |of: &Value| of.as_u64().unwrap_or_default();
    (
        number(&web["spec"]["replicas"]),
        number(&web["status"]["readyReplicas"]),
    )
}

/// The commands that a runbook has for the button, as they stand there.
fn button() -> String {
    let runbook = include_str!("../../runbooks/restore-all.md");
    let blocks = runbook.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let mut with_button = blocks.filter(|block| block.contains("--from=cronjob/drctl-restore"));
    with_button
        .next()
        .expect("the runbook has the button")
        .to_owned()
}

#[test]
fn a_destroyed_volume_comes_back_by_the_runbook_with_every_row() {
    let Some(stack) = Stack::install("") else {
        return;
    };
    stack.fill();
    let before = stack.digest();
    assert!(before.starts_with("20000\t"), "{before}");
    let rows = |backup: &Value| backup["rows"].as_u64().unwrap_or_default();
    stack.run("backup").ok();
    assert!(rows(&stack.backups()[0]) > 26_000);
    stack.run("verify").ok();
    let good = stack.json_of(&["show", "--latest-verified"])["id"].clone();

    let volume = |stack: &Stack| {
        let claims = stack.json(&["get", "persistentvolumeclaims"]);
        claims["items"][0]["spec"]["volumeName"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let lost = volume(&stack);
    let disaster = Instant::now();
    stack.kubectl(&[
        "delete",
        "persistentvolumeclaim",
        "data-drctl-database-0",
        "--wait=false",
    ]);
    stack.space.delete_by_force("drctl-database-0");
    until("another volume", || {
        let new = volume(&stack);
        !new.is_empty() && new != lost
    });
    stack.database_is_up();
    let came_back = disaster.elapsed();
    assert_eq!(stack.sql("SHOW TABLES FROM app"), "");

    // Nobody has noticed anything yet; the next backup does, as the clock begins it.
    assert_eq!(stack.run("backup").code, 9);
    let empty = stack.backups()[0].clone();
    assert_eq!(rows(&empty), 0, "{empty:#}");
    assert_eq!(empty["suspect"], true, "{empty:#}");
    let latest = stack.json_of(&["show", "--latest"])["id"].clone();
    assert_ne!(
        latest, empty["id"],
        "the backup of an empty server is the latest"
    );

    let pressed = Instant::now();
    stack.shell(&button());
    let run = stack.ended("drctl-restore-1").ok();
    until("the application is back", || replicas(&stack) == (3, 3));
    let restored = pressed.elapsed();
    for words in ["\"fenced\"", good.as_str().unwrap()] {
        assert!(run.log.contains(words), "{words}: {run:#?}");
    }
    assert_eq!(stack.digest(), before);
    // Past the test runner's capture.
    let _ = writeln!(
        std::io::stderr(),
        "RTO of the disaster: {} s (an empty server after {} s; from the button to the application with verified \
         data {} s)",
        (came_back + restored).as_secs(),
        came_back.as_secs(),
        restored.as_secs()
    );
    no_secret_is_seen(&stack);
}

#[test]
fn a_restore_that_fails_keeps_the_application_out_and_says_so() {
    let Some(stack) = Stack::install("restore: {backoffLimit: 0}") else {
        return;
    };
    stack.fill();
    let before = stack.digest();
    stack.run("backup").ok();
    stack.run("verify").ok();
    let id = stack.backups()[0]["id"].as_str().unwrap().to_owned();
    let key = format!("backups/shop/{id}/dump.sql.zst");
    let dump = stack.gateway.object(&stack.bucket, &key);
    let whole = std::fs::read(&dump).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    // In its place, so that the server's own attributes of the file stay.
    std::fs::write(&dump, &damaged).unwrap();
    stack.sql("DROP DATABASE app; CREATE DATABASE app");

    stack.shell(&button());
    let run = stack.ended("drctl-restore-1");
    assert_eq!(run.code, 6, "{run:#?}");
    let words = "deployment/drctl-web stays fenced until drctl unfence";
    assert!(
        run.message.contains(words),
        "what kubectl describe shows: {run:#?}"
    );
    until("the application is out", || replicas(&stack) == (0, 0));
    stack.helm("upgrade", &["--wait"]);
    assert_eq!(replicas(&stack), (0, 0), "an upgrade opens no fence");

    // The same command once more, now that the archive is whole: it resumes, compares, and opens the fence.
    std::fs::write(&dump, &whole).unwrap();
    stack.shell(&button().replace("drctl-restore-1", "drctl-restore-2"));
    stack.ended("drctl-restore-2").ok();
    assert_eq!(stack.digest(), before);
    until("the application is back", || replicas(&stack) == (3, 3));
}

/// In the wrong cluster, or on the wrong day: what is refused stops nobody.
#[test]
fn a_button_that_is_pressed_by_mistake_leaves_the_application_alone() {
    let Some(stack) = Stack::install("") else {
        return;
    };
    stack.fill();
    let before = stack.digest();
    stack.run("backup").ok();
    let generation = |stack: &Stack| {
        let web = stack.json(&["get", "deployment", "drctl-web"]);
        (
            web["metadata"]["generation"].clone(),
            web["metadata"]["annotations"]["drctl.io/replicas"].clone(),
        )
    };
    let untouched = generation(&stack);
    let press = |job: &str, which: &str, target: &str| {
        let button = button().replace("drctl-restore-1", job);
        let button = button.replace("latest-verified", which);
        stack.shell(&button.replace("$target", target));
        stack.ended(job)
    };
    for (job, which, target, code, words) in [
        ("well", "latest", "shop", 9, "restore into an empty server"),
        (
            "confirmed-another",
            "latest",
            "shop-eu",
            2,
            "shop-eu is not the target, shop",
        ),
        ("nothing-verified", "latest-verified", "shop", 3, "verified"),
        ("no-backup", "", "shop", 2, "DRCTL_RESTORE"),
        (
            "no-such-time",
            "2020-01-01T00:00:00Z",
            "shop",
            3,
            "at or before",
        ),
    ] {
        let run = press(job, which, target);
        assert_eq!(run.code, code, "{job}: {run:#?}");
        assert!(run.message.contains(words), "{job}: {words}: {run:#?}");
        assert_eq!(generation(&stack), untouched, "{job}: {run:#?}");
    }
    assert_eq!(stack.digest(), before);
}
