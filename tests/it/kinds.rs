//! Sources other than MySQL: a directory, and the output of a program.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::keys::Keys;
use crate::support::Drctl;
use crate::support::backup::listed;

/// drctl with this `source` section.
fn with_source(source: &Value) -> Drctl {
    let drctl = Drctl::new("vol");
    configure(&drctl, source);
    drctl.env("DRCTL_RETENTION_LAST", "1")
}

fn configure(drctl: &Drctl, source: &Value) {
    let config = json!({ "source": source });
    fs::write(drctl.home().join("drctl.yaml"), config.to_string()).unwrap();
}

/// drctl that backs up a directory of its home, and the directory with some of everything.
fn files() -> (Drctl, PathBuf) {
    let drctl = Drctl::new("vol").env("DRCTL_RETENTION_LAST", "1");
    let dir = drctl.home().join("data");
    configure(&drctl, &json!({"kind": "files", "files": {"path": dir}}));
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::set_permissions(dir.join("empty"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::write(dir.join("deep/text"), "one\ntwo\n").unwrap();
    fs::write(dir.join("deep/er/nothing"), "").unwrap();
    let noise: Vec<u8> = (0..9 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(dir.join("large"), noise).unwrap();
    fs::write(dir.join("n".repeat(200)), "a long name").unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"middle", 32 << 20).unwrap();
    fs::hard_link(dir.join("deep/text"), dir.join("hard")).unwrap();
    symlink("../large", dir.join("deep/link")).unwrap();
    rustix::fs::setxattr(
        dir.join("deep/text"),
        "user.note",
        b"kept",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    fs::set_permissions(dir.join("large"), fs::Permissions::from_mode(0o2640)).unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(dir.join("deep/text"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    (drctl, dir)
}

/// Everything of a tree that a restore has to bring back, a line for each name.
fn tree(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let contents = match meta.file_type() {
                of_type if of_type.is_dir() => {
                    open.push(path.clone());
                    "directory".to_owned()
                }
                of_type if of_type.is_symlink() => {
                    format!("→ {}", fs::read_link(&path).unwrap().display())
                }
                _ => {
                    let mut note = [0; 64];
                    let note = rustix::fs::getxattr(&path, "user.note", &mut note).unwrap_or(0);
                    let bytes = fs::read(&path).unwrap();
                    let sum = bytes.iter().fold(7u64, |sum, byte| {
                        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                    });
                    format!(
                        "{} bytes, {sum:x}, {} links, note {note}",
                        bytes.len(),
                        meta.nlink()
                    )
                }
            };
            lines.push(format!(
                "{name} {:o} {}:{} {} {contents}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime()
            ));
        }
    }
    lines.sort();
    lines
}

fn sh(script: &str) -> Value {
    json!(["/bin/sh", "-c", script])
}

/// The only backup.
fn only(drctl: &Drctl) -> Value {
    let mut all = listed(drctl);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn backup_dir(drctl: &Drctl) -> PathBuf {
    drctl
        .store_dir()
        .join("vol")
        .join(only(drctl)["id"].as_str().unwrap())
}

#[test]
fn a_directory_is_backed_up_drilled_and_restored_as_it_was() {
    let (drctl, dir) = files();
    drctl.run(["doctor"]).ok();
    drctl.run(["backup"]).ok();
    let row = only(&drctl);
    assert_eq!(
        (&row["kind"], &row["objects"]),
        (&json!("files"), &json!(10))
    );
    let objects = drctl
        .run(["show", "--latest", "--objects", "--output", "json"])
        .ok()
        .json();
    let names: Vec<&str> = objects
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"deep/er/nothing") && names.contains(&"hard"),
        "{names:?}"
    );
    let report = drctl
        .run(["verify", "--latest", "--output", "json"])
        .ok()
        .json();
    assert_eq!(
        (&report["verdict"], &report["verified"]["objects"]),
        (&json!("pass"), &json!(10))
    );
    let stages: Vec<&str> = report["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["locate", "check", "load", "compare", "teardown"]);
    assert!(
        report["rto"]["seconds"].as_f64().unwrap() > 0.0,
        "{report:#}"
    );
    assert_eq!(
        fs::read_dir(drctl.home().join("tmp")).unwrap().count(),
        0,
        "the scratch data are gone"
    );
    assert!(only(&drctl)["verified_at"].is_string());
    let out = drctl.home().join("out");
    drctl.run(["restore", "--latest", "--into", "out"]).ok();
    assert_eq!(tree(&out), tree(&dir));
    assert!(
        fs::metadata(out.join("sparse")).unwrap().blocks() * 512 < 1 << 20,
        "holes stay holes"
    );
    drctl
        .run(["restore", "--latest", "--into", "out"])
        .fails(9, "out is not empty");
    assert_eq!(tree(&out), tree(&dir));
}

#[test]
fn a_directory_is_restored_with_ordinary_tools_alone() {
    for encrypted in [false, true] {
        let (drctl, dir) = files();
        let keys = Keys::new(&drctl);
        let drctl = if encrypted {
            keys.for_backups(drctl)
        } else {
            drctl
        };
        drctl.run(["backup"]).ok();
        let backup = backup_dir(&drctl);
        let text = fs::read_to_string(backup.join("RESTORE.txt")).unwrap();
        let command = text
            .lines()
            .find(|line| line.contains("| tar "))
            .unwrap()
            .trim();
        let out = drctl.home().join("by-hand");
        fs::create_dir(&out).unwrap();
        fs::copy(keys.path("identity.txt"), backup.join("identity.txt")).unwrap();
        let command = command.replace("EMPTY_DIRECTORY", &out.display().to_string());
        let script = format!("set -o pipefail; sha256sum -c SHA256SUMS && {command}");
        let done = Command::new("bash")
            .args(["-c", &script])
            .current_dir(&backup)
            .output()
            .unwrap();
        assert!(done.status.success(), "{script}: {done:?}");
        assert_eq!(tree(&out), tree(&dir), "encrypted: {encrypted}");
        assert_eq!(
            encrypted,
            !fs::read_dir(&backup)
                .unwrap()
                .any(|one| one.unwrap().file_name() == "dump.zst")
        );
    }
}

#[test]
fn an_encrypted_and_signed_directory_is_copied_drilled_from_the_copy_and_pruned() {
    let (drctl, dir) = files();
    let keys = Keys::new(&drctl);
    let second = drctl.home().join("second");
    fs::create_dir(&second).unwrap();
    fs::write(second.join(".drctl-store"), "").unwrap();
    let drctl = drctl.env("DRCTL_COPY_TO", &format!("file://{}", second.display()));
    let writer = keys.for_backups(drctl.clone());
    let reader = keys.for_restores(drctl.clone());
    writer.run(["backup"]).ok();
    let row = &listed(&reader)[0];
    assert_eq!(
        (&row["encrypted"], &row["authenticated"]),
        (&json!(true), &json!(true))
    );
    for name in ["manifest.json", "RESTORE.txt", "SHA256SUMS"] {
        let text = fs::read_to_string(backup_dir(&drctl).join(name)).unwrap();
        assert!(!text.contains("deep/text"), "{name} names a file");
    }
    drctl.run(["verify", "--latest"]).refused(2, &["identity"]);
    reader.run(["verify", "--latest"]).ok();
    keys.for_copies(drctl.clone()).run(["copy", "--once"]).ok();
    reader.run(["verify", "--latest", "--store", "copy"]).ok();
    reader
        .run(["restore", "--latest", "--store", "copy", "--into", "out"])
        .ok();
    assert_eq!(tree(&drctl.home().join("out")), tree(&dir));
    // The two newest verified ones are always kept.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1100));
        writer.run(["backup"]).ok();
        reader.run(["verify", "--latest"]).ok();
    }
    keys.for_copies(drctl.clone()).run(["copy", "--once"]).ok();
    let pruned = reader.run(["prune"]).ok();
    assert_eq!(listed(&reader).len(), 2, "{pruned:#?}");
    assert_eq!(
        listed(&reader.env("DRCTL_STORE", &format!("file://{}", second.display()))).len(),
        3
    );
}

#[test]
fn every_damaged_byte_is_found_before_anything_is_restored() {
    let (drctl, _) = files();
    drctl.run(["backup"]).ok();
    let backup = backup_dir(&drctl);
    for name in [
        "dump.zst",
        "index.jsonl.zst",
        "manifest.json",
        "SHA256SUMS",
        "RESTORE.txt",
    ] {
        let whole = fs::read(backup.join(name)).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(backup.join(name), damaged).unwrap();
            for args in [
                &["verify", "--latest", "--level", "archive"][..],
                &["restore", "--latest", "--into", "out"],
            ] {
                let run = drctl.run(args);
                assert_eq!(run.code, 6, "{name} at {at}: {run:#?}");
            }
            assert!(!drctl.home().join("out").exists(), "{name} at {at}");
        }
        fs::write(backup.join(name), &whole[..whole.len() - 1]).unwrap();
        assert_eq!(
            drctl.run(["verify", "--latest"]).code,
            6,
            "{name} truncated"
        );
        fs::write(backup.join(name), whole).unwrap();
    }
    drctl.run(["verify", "--latest"]).ok();
}

#[test]
fn a_file_that_changes_while_it_is_read_fails_the_backup_or_is_named() {
    let (drctl, dir) = files();
    let busy = dir.join("busy");
    fs::write(&busy, vec![0; 32 << 20]).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = std::thread::spawn({
        let (busy, stop) = (busy.clone(), stop.clone());
        move || {
            let mut file = fs::OpenOptions::new().write(true).open(&busy).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"x").unwrap();
            }
        }
    });
    let failing = drctl.clone().env("DRCTL_BACKUP_ATTEMPTS", "2");
    failing.run(["backup"]).refused(
        4,
        &[
            "1 file changed while the directory was read: busy",
            "snapshot",
        ],
    );
    assert_eq!(listed(&drctl).len(), 0);
    let warned = drctl.clone().env("DRCTL_SOURCE_FILES_CHANGED", "warn");
    warned.run(["backup"]).ok();
    let shown = drctl.run(["show", "--latest"]).ok();
    assert!(
        shown.stdout.contains("changed while it was read: busy"),
        "{shown:#?}"
    );
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    drctl.run(["verify", "--latest"]).ok();
    drctl.run(["backup"]).ok();
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_refused_by_name() {
    let (drctl, dir) = files();
    symlink("/etc/passwd", dir.join("outside")).unwrap();
    drctl.run(["backup"]).refused(
        4,
        &[
            "outside points out of the directory, to /etc/passwd",
            "exclude",
        ],
    );
    let keeping = drctl
        .clone()
        .env("DRCTL_SOURCE_FILES_OUTSIDE_LINKS", "keep");
    keeping.run(["backup"]).ok();
    keeping.run(["verify", "--latest"]).ok();
    drctl
        .run(["restore", "--latest", "--into", "out"])
        .fails(6, "outside is a symbolic link out of the directory");
    let excluding = drctl
        .clone()
        .env("DRCTL_SOURCE_FILES_EXCLUDE", "outside,deep/**")
        .env("DRCTL_BACKUP_SHRINK_LIMIT", "0.2");
    std::thread::sleep(Duration::from_millis(1100));
    excluding
        .run(["backup"])
        .refused(9, &["suspect", "objects"]);
    let missing = drctl
        .clone()
        .env("DRCTL_SOURCE_FILES_PATH", "/nonexistent/data");
    missing
        .run(["backup"])
        .fails(4, "cannot read /nonexistent/data");
    let relative = drctl.clone().env("DRCTL_SOURCE_FILES_PATH", "data");
    relative.run(["backup"]).fails(2, "is not absolute");
    for args in [
        &["restore", "--latest", "--into", "x", "--tables", "a.b"][..],
        &["restore", "--to", "2026-01-01T00:00:00Z", "--into", "x"],
        &["restore", "--latest", "--into", "x", "--plan"],
        &["verify", "--latest", "--level", "log"],
        &["verify", "--latest", "--scratch", "local"],
        &["backup", "--against-source"],
        &["backup", "--jobs", "2"],
        &["stream"],
        &["log"],
        &["lease", "--help"],
    ] {
        let run = drctl.run(args);
        if args.contains(&"--help") {
            run.ok();
            continue;
        }
        run.refused(
            2,
            &["needs a MySQL or MariaDB server, but source.kind is files"],
        );
    }
}

#[test]
fn another_source_or_a_smaller_one_is_suspect() {
    let (drctl, dir) = files();
    drctl.run(["backup"]).ok();
    std::thread::sleep(Duration::from_millis(1100));
    fs::remove_dir_all(dir.join("deep")).unwrap();
    fs::remove_file(dir.join("large")).unwrap();
    drctl
        .run(["backup"])
        .refused(9, &["committed but suspect", "objects, 10 before"]);
    let other = drctl.home().join("other");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&dir)
        .arg(&other)
        .status()
        .unwrap();
    assert!(copied.success());
    let moved = drctl
        .clone()
        .env("DRCTL_SOURCE_FILES_PATH", &other.display().to_string());
    moved
        .run(["backup"])
        .refused(9, &["committed but suspect", "files:"]);
}

#[test]
fn a_backup_of_one_kind_is_not_restored_as_another() {
    let (drctl, _) = files();
    drctl.run(["backup"]).ok();
    configure(
        &drctl,
        &json!({"kind": "command", "command": {
            "stream": ["echo"], "restore": sh("cat > {into}/x"), "compare": sh("cat {into}/x"),
        }}),
    );
    drctl
        .run(["restore", "--latest", "--into", "out"])
        .fails(2, "is of kind files, but the configured kind is command");
    drctl
        .run(["verify", "--latest"])
        .fails(2, "is of kind files");
    // What needs no kind works with any.
    drctl
        .run(["verify", "--latest", "--level", "archive"])
        .refused(2, &["is of kind files"]);
    drctl.run(["cat", "--latest"]).ok();
}

/// A program that writes lines, is restored into a file, and compared.
fn lines(stream: &str) -> Value {
    json!({"kind": "command", "command": {
        "stream": sh(stream),
        "trailer": "^-- complete$",
        "ledger": "lines",
        "section": "^COPY (\\w+)",
        "restore": sh("cat > {into}/dump"),
        "compare": ["/bin/cat", "{into}/dump"],
    }})
}

const GOOD: &str = "printf 'COPY a\\n1\\n2\\nCOPY b\\n3\\n-- complete\\n'";

#[test]
fn the_output_of_a_program_is_backed_up_drilled_and_restored() {
    let drctl = with_source(&lines(GOOD));
    drctl.run(["doctor"]).ok();
    drctl.run(["backup"]).ok();
    assert_eq!(
        (&only(&drctl)["rows"], &only(&drctl)["objects"]),
        (&json!(6), &json!(2))
    );
    drctl.run(["verify", "--latest"]).ok();
    fs::create_dir(drctl.home().join("out")).unwrap();
    drctl.run(["restore", "--latest", "--into", "out"]).ok();
    let cat = drctl.run(["cat", "--latest"]).ok();
    assert_eq!(
        fs::read_to_string(drctl.home().join("out/dump")).unwrap(),
        cat.stdout
    );
    assert_eq!(cat.stdout.lines().last(), Some("-- complete"));
    let text = fs::read_to_string(backup_dir(&drctl).join("RESTORE.txt")).unwrap();
    assert!(
        text.contains("zstd -dc dump.zst | /bin/sh -c 'cat > {into}/dump'"),
        "{text}"
    );
}

#[test]
fn a_stream_that_is_not_known_to_be_complete_is_no_backup() {
    let drctl = with_source(&lines(GOOD));
    let tar = drctl.home().join("half.tar");
    let made = Command::new("sh")
        .args([
            "-c",
            "tar -cf - /etc/passwd /etc/group 2>/dev/null | head -c 1536 > \"$0\"",
        ])
        .arg(&tar)
        .status();
    assert!(made.unwrap().success());
    let half = format!("cat {}", tar.display());
    let command = |changes: Value| {
        let mut source = lines(GOOD);
        for (name, value) in changes.as_object().unwrap() {
            source["command"][name] = value.clone();
        }
        source
    };
    for (source, words) in [
        (
            lines("printf 'COPY a\\n1\\n'"),
            "does not match source.command.trailer",
        ),
        (
            lines("printf 'x\\n-- complete\\nx\\n'"),
            "does not match source.command.trailer",
        ),
        (
            lines(&format!("{GOOD}; exit 3")),
            "sh exited with 3 without a message",
        ),
        (
            lines(&format!("{GOOD}; kill -9 $$")),
            "sh was killed by signal 9",
        ),
        (
            lines(&format!("{GOOD}; echo careful >&2")),
            "sh exited with 0 but wrote to stderr: careful",
        ),
        (lines("true"), "wrote nothing to its stdout"),
        (
            command(json!({"stream": ["no-such-program"]})),
            "no-such-program",
        ),
        (
            command(
                json!({"stream": sh(&half), "ledger": "tar", "section": null, "trailer": null}),
            ),
            "the tar is truncated",
        ),
        (
            command(json!({"stream": sh(GOOD), "ledger": "tar", "section": null})),
            "not of its format",
        ),
        (lines("echo x; sleep 60"), "wrote nothing for 1 s"),
    ] {
        let mut source = source;
        let command = source["command"].as_object_mut().unwrap();
        command.retain(|_, value| !value.is_null());
        command.insert("stall_seconds".into(), 1.into());
        configure(&drctl, &source);
        drctl.run(["backup"]).fails(4, words);
        assert_eq!(listed(&drctl).len(), 0, "{words}");
        let left = fs::read_dir(drctl.store_dir().join("vol")).unwrap();
        let left: Vec<_> = left
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "runs")
            .collect();
        assert!(left.is_empty(), "{words}: {left:?}");
    }
    let mut harmless = lines(&format!("{GOOD}; echo NOTICE: careful >&2"));
    harmless["command"]["harmless"] = json!(["^NOTICE: "]);
    configure(&drctl, &harmless);
    drctl.run(["backup"]).ok();
}

#[test]
fn a_program_receives_the_named_variables_and_no_other() {
    let mut source = lines(
        "test \"$HOME\" = /nonexistent || exit 9; printf '%s\\n' \"$SECRET_PASSWORD\" | wc -c; env | grep -c DRCTL; echo '-- complete'",
    );
    source["command"]["env"] = json!(["SECRET_PASSWORD"]);
    let drctl = with_source(&source);
    drctl
        .run(["backup"])
        .fails(2, "names SECRET_PASSWORD, which is not set");
    let drctl = drctl.env("SECRET_PASSWORD", "hunter2hunter2");
    drctl.run(["backup"]).ok();
    let said = drctl.run(["cat", "--latest"]).ok().stdout;
    assert_eq!(said, "15\n0\n-- complete\n");
    for entry in fs::read_dir(backup_dir(&drctl)).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(14).any(|part| part == b"hunter2hunter2"));
    }
}

#[test]
fn a_drill_fails_if_the_restored_data_differ_or_nothing_is_compared() {
    let drctl = with_source(&lines(GOOD));
    drctl.run(["backup"]).ok();
    for (changes, code, words) in [
        (
            json!({"restore": sh("sed s/2/4/ > {into}/dump")}),
            7,
            "a (backup: ",
        ),
        (
            json!({"restore": sh("grep -v 3 > {into}/dump")}),
            7,
            "first: b",
        ),
        (
            json!({"compare": sh("cat {into}/dump; echo more")}),
            10,
            "source.command.trailer",
        ),
        (
            json!({"compare": sh("head -n 3 {into}/dump; echo '-- complete'")}),
            7,
            "differ from the backup",
        ),
        (
            json!({"restore": sh("cat > {into}/dump; exit 1")}),
            10,
            "exited with 1",
        ),
        (
            json!({"restore": sh("exec cat > /nonexistent/{into}")}),
            10,
            "sh",
        ),
        (json!({"restore": sh("cat > dump")}), 2, "has no {into}"),
        (
            json!({"compare": []}),
            2,
            "nothing would show that a backup was restored",
        ),
        (
            json!({"compare": [], "check": sh("grep -q 9 {into}/dump")}),
            7,
            "exited with 1",
        ),
    ] {
        let mut source = lines(GOOD);
        for (name, value) in changes.as_object().unwrap() {
            source["command"][name] = value.clone();
        }
        configure(&drctl, &source);
        drctl.run(["verify", "--latest"]).fails(code, words);
        assert!(only(&drctl)["verified_at"].is_null(), "{words}");
        assert_eq!(
            fs::read_dir(drctl.home().join("tmp")).unwrap().count(),
            0,
            "{words}"
        );
    }
    let mut source = lines(GOOD);
    source["command"]["compare"] = json!([]);
    source["command"]["check"] = sh("grep -q 3 {into}/dump");
    configure(&drctl, &source);
    let said = drctl.run(["verify", "--latest"]).ok().stdout;
    assert!(said.contains("not compared with the dump"), "{said}");
}

#[test]
fn one_backup_of_a_target_runs_at_a_time_and_a_killed_one_leaves_nothing() {
    let slow = "printf 'COPY a\\n'; touch begun; sleep 5; printf -- '-- complete\\n'";
    let drctl = with_source(&lines(slow));
    let begun = drctl.home().join("begun");
    let until_begun = || {
        let since = std::time::Instant::now();
        while !begun.exists() {
            assert!(since.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::remove_file(&begun).unwrap();
    };
    let first = drctl.start(["backup"]);
    until_begun();
    drctl
        .run(["backup"])
        .refused(11, &["is in progress", "wait for its end"]);
    first.wait().ok();
    assert_eq!(listed(&drctl).len(), 1);
    for (signal, code) in [
        (rustix::process::Signal::KILL, 137),
        (rustix::process::Signal::TERM, 143),
    ] {
        std::thread::sleep(Duration::from_millis(1100));
        let killed = drctl.start(["backup"]);
        until_begun();
        killed.signal(signal);
        assert_eq!(killed.wait().code, code);
        assert_eq!(listed(&drctl).len(), 1);
    }
    // The process that wrote the heartbeat is known to have ended.
    configure(&drctl, &lines("printf 'COPY a\\n-- complete\\n'"));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 2);
}
