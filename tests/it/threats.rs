//! What docs/threat-model.md says that no other test shows, mostly what is not protected; and that each of its lines names a
//! test that exists.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::alerts::repository;
use crate::keys::{Keys, contains};
use crate::need;
use crate::support::backup::{listed, server_of, shop, walk};
use crate::support::{Drctl, Flavour, Server};

/// A row of a table of the page that does not name a test that exists, and why.
fn unproven(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let mut wrong = Vec::new();
    for row in rows.filter(|row| !row.ends_with("| shown by |")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next();
        let names: Vec<&str> = last
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        if names.is_empty() {
            wrong.push(format!("{row}: names no test"));
        }
        let missing = names.into_iter().filter(|name| !exists(name));
        wrong.extend(missing.map(|name| format!("there is no test {name}")));
    }
    wrong
}

/// Whether there is a test of that name, as cargo prints it, `k8s NAME` in a cluster, or `FILE: NAME` in a unit suite of
/// the chart.
fn exists(name: &str) -> bool {
    let read = |path: String| fs::read_to_string(repository(&path)).unwrap_or_default();
    if let Some((file, name)) = name.split_once(": ") {
        return read(file.to_owned()).contains(&format!("  - it: {name}\n"));
    }
    let in_cluster = name.strip_prefix("k8s ");
    let (module, test) = in_cluster
        .unwrap_or(name)
        .rsplit_once("::")
        .unwrap_or_default();
    let path = module.trim_end_matches("::tests").replace("::", "/");
    let here = |place: &str| read(place.to_owned()).contains(&format!("fn {test}("));
    if in_cluster.is_some() {
        return here(&format!("tests/k8s/{path}.rs"));
    }
    let places = [
        format!("tests/it/{path}.rs"),
        format!("tests/it/{path}/mod.rs"),
        format!("src/{path}.rs"),
        format!("src/{path}/mod.rs"),
        format!("src/{path}_tests.rs"),
    ];
    places.iter().any(|place| here(place))
}

#[test]
fn every_line_of_the_threat_model_names_tests_that_exist() {
    let page = fs::read_to_string(repository("docs/threat-model.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ")).count();
    assert!(rows > 30, "only {rows} rows");
    let wrong = unproven(&page);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_line_without_a_test_is_found() {
    let page = "| can | drctl | shown by |\n|---|---|---|\n\
                | read | nothing | `keys::an_agent_signs` |\n\
                | write | refuses | by hand |\n\
                | delete | refuses | `keys::an_agent_sings`, `keys::signers::tests::restrictions_of_a_line_are_held` |\n\
                | mount | refuses | `chart/tests/keys_test.yaml: let a backup decrypt` |\n";
    let wrong = unproven(page);
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
    assert!(wrong[0].contains("names no test"), "{wrong:#?}");
    assert!(wrong[1].contains("an_agent_sings"), "{wrong:#?}");
    assert!(wrong[2].contains("let a backup decrypt"), "{wrong:#?}");
}

/// A schema, drctl that encrypts, signs and decrypts, and its keys.
fn keyed() -> (String, Drctl, Keys) {
    let (schema, drctl) = shop();
    let keys = Keys::new(&drctl);
    let drctl = keys.for_restores(keys.for_backups(drctl));
    (schema, drctl, keys)
}

/// Backs up; returns the id and the directory of that.
fn back_up(drctl: &Drctl) -> (String, PathBuf) {
    // Ids have whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    newest(drctl)
}

/// The same without the signing key: it would be suspect, had its writer not accepted it.
fn back_up_unsigned(drctl: &Drctl) -> (String, PathBuf) {
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let unsigned = drctl.clone().without("DRCTL_SIGNING_KEY_FILE");
    unsigned
        .run(["backup"])
        .fails(9, "it is not signed; the previous one is");
    let (id, place) = newest(drctl);
    fs::write(place.join("accepted"), "{}").unwrap();
    (id, place)
}

fn newest(drctl: &Drctl) -> (String, PathBuf) {
    let id = listed(drctl)[0]["id"].as_str().unwrap().to_owned();
    let target = &drctl.variables()["DRCTL_TARGET"];
    let place = drctl.store_dir().join(target).join(&id);
    (id, place)
}

/// The id of the backup that is selected so.
fn selected(drctl: &Drctl, which: &str) -> String {
    let shown = drctl.run(["show", which, "--output", "json"]).ok().json();
    shown["id"].as_str().unwrap().to_owned()
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn totals_labels_reports_and_run_records_can_be_read_without_a_key() {
    need!(MariaDb);
    let (schema, drctl, keys) = keyed();
    let drctl = drctl.env("DRCTL_BACKUP_LABELS", "team=payments");
    let (id, place) = back_up(&drctl);
    let manifest = json(&place.join("manifest.json"));
    assert_eq!(manifest["totals"]["rows"], 3);
    assert_eq!(manifest["totals"]["objects"]["table"], 2);
    assert_eq!(manifest["labels"]["team"], "payments");
    assert_eq!(manifest["recipients"][0], keys.recipient);
    assert!(manifest["server"]["version"].is_string());
    assert!(!contains(
        &place.join("manifest.json"),
        &[&format!("`{schema}`")]
    ));
    // Something that a drill reports by its name.
    let checked = drctl.env(
        "DRCTL_VERIFY_CHECKS",
        &format!(
            r#"[{{"name": "orders-of-today", "sql": "SELECT COUNT(*) FROM `{schema}`.t", "equals": "4"}}]"#
        ),
    );
    assert_eq!(checked.run(["verify", &id]).code, 7);
    let mut files = Vec::new();
    walk(&place.join("drills"), &mut files);
    walk(&place.parent().unwrap().join("runs"), &mut files);
    assert!(files.len() >= 3, "{files:?}");
    let named = files.iter().filter(|file| {
        json(Path::new(file));
        contains(Path::new(file), &["orders-of-today"])
    });
    assert!(named.count() > 0, "{files:?}");
}

#[test]
fn who_can_encrypt_and_decrypt_cannot_forge() {
    need!(MariaDb);
    let (_, drctl, keys) = keyed();
    let (good, _) = back_up(&drctl);
    // With the recipients, the identity, the account and the bucket, but without the key.
    let (unsigned, _) = back_up_unsigned(&drctl);
    keys.ssh("thief");
    let thief = drctl
        .clone()
        .env("DRCTL_SIGNING_KEY_FILE", &keys.text("thief"));
    let (other, _) = back_up(&thief);
    assert_eq!(selected(&drctl, "--latest"), good);
    drctl
        .run(["verify", &unsigned])
        .refused(6, &["is not signed"]);
    drctl
        .run(["verify", &other])
        .refused(6, &["is signed by SHA256:", "is not an allowed signer"]);
}

#[test]
fn retention_does_not_give_up_a_signed_backup_for_forged_ones() {
    need!(MariaDb);
    let (_, drctl, _) = keyed();
    let drctl = drctl.env("DRCTL_RETENTION_LAST", "1");
    let (good, _) = back_up(&drctl);
    let (forged, _) = back_up_unsigned(&drctl);
    let fate = |drctl: &Drctl, id: &str| {
        let run = drctl.run(["prune", "--dry-run", "--output", "json"]);
        let page = run.json();
        let backups = page["backups"].as_array().unwrap().clone();
        let line = backups.into_iter().find(|line| line["id"] == id);
        line.unwrap()["decision"].as_str().unwrap().to_owned()
    };
    assert_eq!(fate(&drctl, &good), "keep");
    // Who verifies no signatures keeps the forged one in its place.
    let unkeyed = drctl.env("DRCTL_TRUST", "off");
    assert_eq!(fate(&unkeyed, &forged), "keep");
    assert_eq!(fate(&unkeyed, &good), "delete");
}

#[test]
fn the_markers_accepted_and_pin_and_drill_reports_are_believed_unsigned() {
    need!(MariaDb);
    let (schema, drctl, _) = keyed();
    let (first, place) = back_up(&drctl);
    drctl.run(["verify", &first]).ok();
    server_of(Flavour::MariaDb).exec(&format!("DROP TABLE {schema}.u"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).fails(9, "suspect");
    let (second, suspect) = newest(&drctl);
    assert_eq!(selected(&drctl, "--latest"), first);
    // Somebody who can write to the store.
    fs::copy(place.join("RESTORE.txt"), suspect.join("accepted")).unwrap();
    fs::copy(place.join("RESTORE.txt"), suspect.join("pin")).unwrap();
    let row = &listed(&drctl)[0];
    assert_eq!(
        (&row["suspect"], &row["pinned"]),
        (&false.into(), &true.into())
    );
    assert_eq!(selected(&drctl, "--latest"), second);
    assert_eq!(selected(&drctl, "--latest-verified"), first);
    fs::create_dir(suspect.join("drills")).unwrap();
    for report in fs::read_dir(place.join("drills")).unwrap() {
        let report = report.unwrap().path();
        let to = suspect.join("drills").join(report.file_name().unwrap());
        fs::copy(&report, to).unwrap();
    }
    assert_eq!(selected(&drctl, "--latest-verified"), second);
    // What is restored is compared with its signed ledger nevertheless.
    let into = Server::start(Flavour::MariaDb);
    let run = drctl.into(&into).run(["restore", &second]).ok();
    assert!(
        run.stdout
            .contains("3 rows of 1 table and 1 other object are equal"),
        "{run:#?}"
    );
}

#[test]
fn a_deleted_backup_is_missed_by_its_run_record_alone() {
    need!(MariaDb);
    let (_, drctl, _) = keyed();
    let (first, _) = back_up(&drctl);
    let (second, place) = back_up(&drctl);
    fs::remove_dir_all(&place).unwrap();
    // An older backup, validly signed, would be the latest again.
    let words = ["run history", &second, "is gone", "by its ID"];
    for args in [
        &["verify", "--latest"][..],
        &["show", "--latest"],
        &["cat", "--latest"],
    ] {
        drctl.run(args).refused(6, &words);
    }
    drctl.run(["verify", &first, "--level", "archive"]).ok();
    let warned = drctl.clone().env("DRCTL_TRUST", "warn");
    let run = warned.run(["show", "--latest"]).ok();
    assert!(run.stderr.contains("is gone"), "{run:#?}");
    // Who can delete backups can delete the records of runs, too.
    fs::remove_dir_all(place.parent().unwrap().join("runs")).unwrap();
    assert_eq!(selected(&drctl, "--latest"), first);
}

#[test]
fn a_restore_without_its_keys_changes_nothing() {
    need!(MariaDb);
    let (schema, drctl, keys) = keyed();
    let (id, _) = back_up(&drctl);
    let into = Server::start(Flavour::MariaDb);
    let drctl = drctl.into(&into);
    let missing = drctl
        .clone()
        .env("DRCTL_IDENTITY_FILE", "/run/keys/identity");
    missing
        .run(["restore", &id])
        .refused(2, &["cannot read DRCTL_IDENTITY_FILE", "mounted Secret"]);
    keys.age("other.txt");
    let other = drctl
        .clone()
        .env("DRCTL_IDENTITY_FILE", &keys.text("other.txt"));
    other
        .run(["restore", &id])
        .refused(2, &["not encrypted to any identity"]);
    let unsigned = drctl
        .clone()
        .env("DRCTL_ALLOWED_SIGNERS_FILE", "/run/keys/signers");
    unsigned
        .run(["restore", &id])
        .refused(2, &["cannot read DRCTL_ALLOWED_SIGNERS_FILE"]);
    let schemas = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name";
    assert_eq!(
        into.value(&format!("{schemas} IN ('{schema}', 'drctl_restore')")),
        "0"
    );
}

#[test]
fn a_log_that_goes_on_unsigned_is_replayed_only_while_its_file_is_open() {
    need!(MariaDb);
    let options = ["--log-bin=b", "--server-id=7", "--gtid-strict-mode=ON"];
    let start = || Server::start_with(Flavour::MariaDb, &options);
    let (source, into) = (start(), start());
    source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)");
    let drctl = Drctl::new("shop")
        .source(&source)
        .into(&into)
        .env("DRCTL_STREAM_CUT_SECONDS", "1");
    let keys = Keys::new(&drctl);
    let drctl = keys.for_restores(keys.for_backups(drctl));
    back_up(&drctl);
    source.exec("INSERT INTO d.t VALUES (1)");
    drctl.run(["stream", "--once"]).ok();
    // Somebody without the key goes on with it.
    let thief = drctl.clone().without("DRCTL_SIGNING_KEY_FILE");
    source.exec("INSERT INTO d.t VALUES (2)");
    thief.run(["stream", "--once"]).ok();
    drctl.run(["restore", "--to", "latest"]).ok();
    assert_eq!(into.value("SELECT COUNT(*) FROM d.t"), "2");
    source.exec("FLUSH BINARY LOGS; INSERT INTO d.t VALUES (3)");
    thief.run(["stream", "--once"]).ok();
    drctl
        .run(["log", "--check"])
        .refused(6, &["closed.json is not signed"]);
    into.exec("DROP DATABASE d");
    drctl
        .run(["restore", "--to", "latest"])
        .refused(6, &["closed.json is not signed"]);
}
