//! What the tests of refused backups share: a small schema, a dump program that misbehaves, and
//! the look behind drctl's back for what a failed run left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use super::drctl::Run;
use super::{Drctl, Flavour, Server};

/// One MariaDB server for all of these tests; nothing global may be changed there.
pub fn server() -> &'static Server {
    server_of(Flavour::MariaDb)
}

/// One server of that flavour for all of these tests; nothing global may be changed there.
pub fn server_of(flavour: Flavour) -> &'static Server {
    static MARIADB: LazyLock<Server> = LazyLock::new(|| Server::start(Flavour::MariaDb));
    static MYSQL: LazyLock<Server> = LazyLock::new(|| Server::start(Flavour::MySql));
    match flavour {
        Flavour::MariaDb => &MARIADB,
        Flavour::MySql => &MYSQL,
    }
}

/// A schema of its own on MariaDB with the tables `t` (three rows) and `u` (none), and drctl bound
/// to it.
pub fn shop() -> (String, Drctl) {
    shop_of(Flavour::MariaDb)
}

/// As [`shop`], on a server of that flavour.
pub fn shop_of(flavour: Flavour) -> (String, Drctl) {
    let server = server_of(flavour);
    let schema = server.fresh_schema("shop");
    server.exec(&format!(
        "CREATE TABLE `{schema}`.t (id INT PRIMARY KEY); INSERT `{schema}`.t VALUES (1), (2), (3);
         CREATE TABLE `{schema}`.u LIKE `{schema}`.t"
    ));
    let drctl = Drctl::new(&schema.replace('_', "-"))
        .source(server)
        .env("DRCTL_BACKUP_SCHEMAS", &schema);
    (schema, drctl)
}

/// Makes drctl dump MariaDB, with its rows, by a shell script, in which `real "$@"` is the true dump program and
/// `sql` the client as root. Questions for version and help are passed through.
pub fn dump_by(drctl: Drctl, script: &str) -> Drctl {
    dump_of(Flavour::MariaDb, drctl, script)
}

/// As [`dump_by`], for a server of that flavour.
pub fn dump_of(flavour: Flavour, drctl: Drctl, script: &str) -> Drctl {
    let socket = server_of(flavour).socket().display().to_string();
    let login = format!("--no-defaults -uroot -S{socket}");
    let script = format!("cd {}\n{script}", drctl.home().display());
    in_front_of_dump(flavour, drctl, "SOURCE", &login, &script)
}

/// Puts a script in the place of the dump program by which the source is dumped (`SOURCE`), with its rows, or the
/// restored server (`INTO`): `real "$@"` is that program, `sql "…"` the client with this login.
pub fn in_front_of_dump(
    flavour: Flavour,
    drctl: Drctl,
    whose: &str,
    login: &str,
    script: &str,
) -> Drctl {
    let dir = drctl.home().join(format!("clients-of-{whose}"));
    fs::create_dir_all(&dir).expect("a directory");
    let named = |program: &Path| dir.join(program.file_name().expect("a program"));
    let (dump, client) = (flavour.dump_bin(), flavour.client());
    let program = named(&dump);
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*) exec {dump} \"$@\";; esac\n\
         login=\"{login}\"\nreal() {{ {dump} \"$@\"; }}\nsql() {{ {client} $login -N -e \"$1\"; }}\n{script}\n",
        dump = dump.display(),
        client = client.display(),
    );
    fs::write(&program, text).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    if !named(&client).exists() {
        std::os::unix::fs::symlink(&client, named(&client)).expect("a link");
    }
    let key = format!("DRCTL_{whose}_CLIENT_DIR");
    let drctl = drctl.env("DRCTL_SOURCE_READER", "mysqldump");
    drctl.env(&key, &dir.display().to_string())
}

/// A script for [`dump_of`] that stands still in the midst of the table `a_big`, which is made here,
/// while `act` is done, and then goes on. The process of the dump program is `$child`.
pub fn half_way(flavour: Flavour, schema: &str, act: &str) -> String {
    server_of(flavour).exec(&format!(
        "USE {schema}; CREATE TABLE a_big (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(2000));
         INSERT a_big (v) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           SELECT REPEAT('x', 2000) FROM n;
         INSERT a_big (v) SELECT v FROM a_big; INSERT a_big (v) SELECT v FROM a_big;
         INSERT a_big (v) SELECT v FROM a_big"
    ));
    format!(
        "rm -f pipe; mkfifo pipe; real \"$@\" >pipe & child=$!; exec <pipe; head -c 300000\n\
         {act}\ncat; wait $child"
    )
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

/// The backup was refused so, and nothing is left of it.
#[track_caller]
pub fn refused(drctl: &Drctl, code: i32, words: &[&str]) -> Run {
    let run = drctl.run(["backup"]).refused(code, words);
    nothing_left(drctl);
    run
}

/// Every file below a directory, but for the mark of a store.
pub fn walk(dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if !path.ends_with(".drctl-store") {
            files.push(path.display().to_string());
        }
    }
}
