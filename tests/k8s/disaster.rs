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

/// Writes rows one after the other, each in a transaction of its own, for as long as the database lives; its client prints
/// the number of each row that is committed, and when.
const WRITER: &str = r#"
kubectl -n "$namespace" exec drctl-database-0 -- sh -c '
    export MYSQL_PWD=$(cat /run/secrets/database/root-password)
    while :; do
        echo "INSERT INTO app.written VALUES (); SELECT LAST_INSERT_ID(), UNIX_TIMESTAMP(NOW(6)); DO SLEEP(0.05);"
    done | mysql --no-defaults --user=root --unbuffered --batch --skip-column-names' 2>/dev/null || true
"#;

#[test]
fn a_volume_destroyed_under_load_comes_back_up_to_seconds_before() {
    let Some(stack) = Stack::install(
        "stream: {enabled: true, cutSeconds: 10, resources: {requests: {cpu: 20m, memory: 64Mi, ephemeral-storage: \
         16Mi}, limits: {memory: 512Mi, ephemeral-storage: 64Mi}}}",
    ) else {
        return;
    };
    stack.fill();
    let before = stack.digest();
    stack.sql("CREATE TABLE app.written (id INT PRIMARY KEY AUTO_INCREMENT, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6))");
    stack.run("backup").ok();
    let covered = |stack: &Stack| {
        let log = stack.json_of(&["log"]);
        let timelines = log["timelines"].as_array().cloned().unwrap_or_default();
        timelines
            .first()
            .map(|first| first["covered"][0]["to"].clone())
    };
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| stack.shell(WRITER));
        until("the log is archived while it is written", || {
            stack.sql("SELECT COUNT(*) > 600 FROM app.written") == "1" && covered(&stack).is_some()
        });
        stack.kubectl(&["delete", "pvc", "data-drctl-database-0", "--wait=false"]);
        stack.space.delete_by_force("drctl-database-0");
        writer.join().expect("the writer ends with the database")
    });
    let acknowledged: Vec<(u64, f64)> = acknowledged
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(id, at)| Some((id.parse().ok()?, at.parse().ok()?)))
        .collect();
    let &(last_id, last_at) = acknowledged.last().expect("rows were written");
    until("an empty server", || {
        let pods = stack.pods("database");
        let ready = &pods
            .first()
            .map(|pod| pod["status"]["containerStatuses"][0]["ready"].clone());
        *ready == Some(true.into()) && stack.sql("SHOW TABLES FROM app").is_empty()
    });

    let all = button().replace("DRCTL_RESTORE=latest-verified", "DRCTL_RESTORE_TO=latest");
    stack.shell(&all);
    let run = stack.ended("drctl-restore-1").ok();
    until("the application is back", || replicas(&stack) == (3, 3));
    assert_eq!(stack.digest(), before);
    let held = stack.sql("SELECT COUNT(*), MAX(id), UNIX_TIMESTAMP(MAX(at)) FROM app.written");
    let held: Vec<f64> = held
        .split('\t')
        .map(|value| value.parse().unwrap())
        .collect();
    let [count, newest, newest_at] = held[..] else {
        panic!("{held:?}");
    };
    assert!(count > 0.0 && count == newest, "a hole: {held:?}");
    let lost = last_at - newest_at;
    assert!(lost <= 15.0, "{lost} s of commits are lost");
    // It says itself how far it came.
    assert!(run.log.contains("left out  none: the log ends"), "{run:#?}");
    assert!(run.log.contains(", committed at 20"), "{run:#?}");
    let _ = writeln!(
        std::io::stderr(),
        "disaster under load: {lost:.1} s of commits lost, {} of {last_id} rows",
        last_id as f64 - newest
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
