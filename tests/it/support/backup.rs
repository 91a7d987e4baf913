//! What the tests of refused backups share: a small schema, a dump program that misbehaves, and
//! the look behind drctl's back for what a failed run left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use super::drctl::Run;
use super::{Drctl, Flavour, Server};

/// One server for all of these tests; nothing global may be changed there.
pub fn server() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Flavour::MariaDb));
    &SERVER
}

/// A schema of its own with the tables `t` (three rows) and `u` (none), and drctl bound to it.
pub fn shop() -> (String, Drctl) {
    let schema = server().fresh_schema("shop");
    server().exec(&format!(
        "CREATE TABLE `{schema}`.t (id INT PRIMARY KEY); INSERT `{schema}`.t VALUES (1), (2), (3);
         CREATE TABLE `{schema}`.u LIKE `{schema}`.t"
    ));
    let drctl = Drctl::new(&schema.replace('_', "-"))
        .source(server())
        .env("DRCTL_BACKUP_SCHEMAS", &schema);
    (schema, drctl)
}

/// Makes drctl dump by a shell script, in which `real "$@"` is the true dump program and `sql` the
/// client as root. Questions for version and help are passed through.
pub fn dump_by(drctl: Drctl, script: &str) -> Drctl {
    let dir = drctl.home().join("clients");
    fs::create_dir_all(&dir).expect("a directory");
    let program = dir.join("mariadb-dump");
    let text = format!(
        "#!/bin/sh\nreal() {{ /usr/bin/mariadb-dump \"$@\"; }}\n\
         sql() {{ /usr/bin/mariadb --no-defaults -uroot -S{} -e \"$1\"; }}\n\
         cd {}\n\
         case \"$*\" in *--version*|*--help*) real \"$@\"; exit;; esac\n{script}\n",
        server().socket().display(),
        drctl.home().display(),
    );
    fs::write(&program, text).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let shell = dir.join("mariadb");
    if !shell.exists() {
        std::os::unix::fs::symlink("/usr/bin/mariadb", shell).expect("a link");
    }
    drctl.env("DRCTL_SOURCE_CLIENT_DIR", &dir.display().to_string())
}

/// The backups that `list` knows.
#[track_caller]
pub fn listed(drctl: &Drctl) -> Vec<serde_json::Value> {
    let list = drctl.run(["list", "--output", "json"]);
    list.json().as_array().expect("an array").clone()
}

/// No backup is listed, and of the failed ones nothing is left in the directory.
#[track_caller]
pub fn nothing_left(drctl: &Drctl) {
    assert_eq!(listed(drctl), Vec::<serde_json::Value>::new());
    let mut files = Vec::new();
    walk(&drctl.store_dir(), &mut files);
    files.retain(|file| !file.contains("/runs/") && !file.ends_with("/target.json"));
    assert_eq!(files, Vec::<String>::new());
}

/// The backup failed so, and nothing is left of it.
#[track_caller]
pub fn refused(drctl: &Drctl, code: i32, text: &str) -> Run {
    let run = drctl.run(["backup"]).fails(code, text);
    nothing_left(drctl);
    run
}

/// Every file below a directory.
pub fn walk(dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path.display().to_string());
        }
    }
}
