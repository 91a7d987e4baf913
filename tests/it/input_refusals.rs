//! Input that is wrong: refused by every verb before anything is touched, in a line that says which.

use std::os::unix::fs::PermissionsExt as _;

use crate::on_both;
use crate::support::backup::{listed, nothing_left, server, shop, shop_of};
use crate::support::{Drctl, Flavour, Server};

#[track_caller]
fn wrong(name: &str, value: &str, code: i32, words: &[&str]) {
    let (_, drctl) = shop();
    let drctl = drctl.env(name, value);
    drctl.run(["backup"]).refused(code, words);
    nothing_left(&drctl.without(name));
}

#[test]
fn an_unknown_key() {
    let (_, drctl) = shop();
    std::fs::write(drctl.home().join("drctl.yaml"), "backup: {coddec: zstd}\n").unwrap();
    let drctl = drctl.env("DRCTL_CONFIG", "drctl.yaml");
    let words = [
        "drctl.yaml: unknown key backup.coddec",
        "did you mean backup.codec?",
    ];
    drctl.run(["backup"]).refused(2, &words);
    drctl.run(["list"]).refused(2, &words);
    std::fs::remove_file(drctl.home().join("drctl.yaml")).unwrap();
    nothing_left(&drctl.without("DRCTL_CONFIG"));
}

#[test]
fn a_value_that_a_key_cannot_have() {
    wrong(
        "DRCTL_BACKUP_ATTEMPTS",
        "many",
        2,
        &["DRCTL_BACKUP_ATTEMPTS is not a number or a boolean"],
    );
    wrong(
        "DRCTL_BACKUP_ATTEMPTS",
        "0",
        2,
        &["backup.attempts is not between 1 and 10"],
    );
    wrong(
        "DRCTL_BACKUP_CODEC",
        "lzma",
        2,
        &["backup.codec is invalid: unknown variant `lzma`, expected"],
    );
}

#[test]
fn a_configuration_from_a_pipe_that_nobody_writes_to_ends_by_a_signal() {
    let drctl = Drctl::new("shop");
    let pipe = drctl.home().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let running = drctl.start(["--config", pipe.to_str().unwrap(), "list"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.signal(rustix::process::Signal::TERM);
    let begun = std::time::Instant::now();
    assert_eq!(running.wait().code, 143);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn a_url_of_something_else() {
    let shape = "write mysql://user@host:3306";
    wrong(
        "DRCTL_SOURCE_URL",
        "http://x",
        2,
        &["starts with http://, not mysql://", shape],
    );
    wrong("DRCTL_SOURCE_URL", "mysql://h", 2, &["has no user", shape]);
    wrong(
        "DRCTL_SOURCE_URL",
        "mysql://u@h/shop",
        2,
        &["the server URL", "schemas are selected"],
    );
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let (_, drctl) = shop();
    let drctl = drctl.env("DRCTL_SOURCE_URL", "mysql://u:hunter2@h");
    let run = drctl
        .run(["backup"])
        .refused(2, &["the server URL", "password", "DRCTL_SOURCE_PASSWORD"]);
    assert!(!format!("{run:?}").contains("hunter2"));
    let run = drctl.run(["restore", "--latest", "--into", "mysql://u:hunter2@h"]);
    assert!(!run.refused(2, &["password"]).stderr.contains("hunter2"));
}

#[test]
fn a_store_url_of_something_else() {
    let write = "write s3://bucket/prefix or file:///absolute/directory";
    for url in ["ftp://x", "file://relative", "s3://", "nonsense"] {
        let (_, drctl) = shop();
        let drctl = drctl.env("DRCTL_STORE", url);
        drctl
            .run(["backup"])
            .refused(2, &["invalid store URL", write]);
    }
}

#[test]
fn control_characters_in_what_is_configured() {
    let (_, drctl) = shop();
    for (variable, value, words) in [
        (
            "DRCTL_STORE",
            "file:///x/%00",
            ["invalid store URL", "control character"],
        ),
        (
            "DRCTL_STORE",
            "file:///x/%1b",
            ["invalid store URL", "control character"],
        ),
        ("DRCTL_STORE", "file:///x/\u{7}", ["store.url", "\\u{7}"]),
        (
            "DRCTL_STORE_S3_CA_FILE",
            "/x/\u{1b}[2J",
            ["store.s3.ca_file", "\\u{1b}"],
        ),
        (
            "DRCTL_BACKUP_SCHEMAS",
            "a,b\u{1}",
            ["backup.schemas", "\\u{1}"],
        ),
        (
            "DRCTL_SOURCE_PASSWORD_FILE",
            "/x\n/y",
            ["source.password_file", "\\n"],
        ),
        (
            "DRCTL_SOURCE_URL",
            "mysql://a%00@x",
            ["server URL", "control character"],
        ),
    ] {
        let run = drctl
            .clone()
            .env(variable, value)
            .run(["backup"])
            .refused(2, &words);
        let printed = run.stderr.trim_end_matches('\n');
        assert!(!printed.contains(char::is_control), "{run:#?}");
    }
}

#[test]
fn a_character_device_is_read_like_a_file() {
    let (_, drctl) = shop();
    let since = std::time::Instant::now();
    drctl
        .without("DRCTL_TARGET")
        .env("DRCTL_CONFIG", "/dev/null")
        .run(["backup"])
        .refused(2, &["target", "not configured"]);
    assert!(since.elapsed().as_secs() < 20, "{:?}", since.elapsed());
}

#[test]
fn a_target_or_a_source_that_is_not_named() {
    let (_, drctl) = shop();
    let unnamed = drctl.without("DRCTL_SOURCE_URL");
    unnamed
        .run(["backup"])
        .refused(2, &["source.url is not configured", "set DRCTL_SOURCE_URL"]);
    unnamed.run(["restore", "--latest"]).refused(
        2,
        &[
            "no server to restore into",
            "--into URL or set DRCTL_INTO_URL",
        ],
    );
    let unnamed = unnamed.without("DRCTL_STORE");
    unnamed
        .run(["list"])
        .refused(2, &["store", "is not configured", "DRCTL_STORE"]);
}

on_both!(
    fn a_wrong_password(flavour) {
        let server = Server::shared(flavour);
        let schema = server.fresh_schema("locked");
        server.account(&schema, "the right one", &["ALL ON *.*"]);
        let drctl = Drctl::new(&schema.replace('_', "-"))
            .clients_of(server)
            .env("DRCTL_BACKUP_SCHEMAS", &schema)
            .env("DRCTL_SOURCE_URL", &server.tcp_url(&schema))
            .env("DRCTL_SOURCE_PASSWORD", "wr0ng-and-secret")
            .env("DRCTL_INTO_URL", &server.tcp_url(&schema))
            .env("DRCTL_INTO_PASSWORD", "wr0ng-and-secret");
        let denied = format!("Access denied for user '{schema}'");
        drctl.run(["backup"]).refused(4, &[&denied, "DRCTL_SOURCE_PASSWORD"]);
        nothing_left(&drctl);
        let drctl = drctl.env("DRCTL_SOURCE_PASSWORD", "the right one");
        drctl.run(["backup"]).ok();
        drctl.run(["restore", "--latest"]).refused(10, &[&denied, "DRCTL_INTO_PASSWORD"]);
    }
);

#[test]
fn a_password_file_that_is_not_there() {
    wrong(
        "DRCTL_SOURCE_PASSWORD_FILE",
        "/no/such/file",
        2,
        &["cannot read DRCTL_SOURCE_PASSWORD_FILE /no/such/file"],
    );
}

#[test]
fn a_client_that_is_missing() {
    wrong(
        "DRCTL_SOURCE_CLIENT_DIR",
        "/nonexistent",
        2,
        &[
            "no client in /nonexistent",
            "install MariaDB's mariadb-dump",
        ],
    );
    let (_, drctl) = shop();
    let empty = drctl.home().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let drctl = drctl.env("PATH", &empty.display().to_string());
    drctl
        .run(["backup"])
        .refused(2, &["mariadb-dump", "install"]);
    nothing_left(&drctl);
}

on_both!(
    fn a_client_that_belongs_to_another_server(flavour) {
        let (_, drctl) = shop_of(flavour);
        let (other, server) = match flavour {
            Flavour::MariaDb => (Flavour::MySql, "MariaDB"),
            Flavour::MySql => (Flavour::MariaDb, "MySQL"),
        };
        let dir = drctl.home().join("other");
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(other.dump_bin(), dir.join("mysqldump")).unwrap();
        let drctl = drctl.env("DRCTL_SOURCE_CLIENT_DIR", &dir.display().to_string());
        let fits = format!("fits the server ({server} ");
        drctl.run(["backup"]).refused(2, &[&fits, "other/mysqldump is ", "; install "]);
        nothing_left(&drctl);
    }
);

#[test]
fn a_client_that_does_not_run() {
    let (_, drctl) = shop();
    let broken = drctl.home().join("broken");
    std::fs::create_dir(&broken).unwrap();
    for name in ["mariadb-dump", "mariadb"] {
        let program = broken.join(name);
        std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let drctl = drctl.env("DRCTL_SOURCE_CLIENT_DIR", &broken.display().to_string());
    drctl
        .run(["backup"])
        .refused(2, &["broken/mariadb-dump", "point client_dir at"]);
    nothing_left(&drctl);
}

#[test]
fn a_store_that_is_empty() {
    let (_, drctl) = shop();
    let drctl = drctl.into(server());
    assert!(listed(&drctl).is_empty());
    for verb in ["show", "cat", "restore"] {
        drctl
            .run([verb, "--latest"])
            .refused(3, &["has no backup in file://", "see drctl list"]);
    }
    nothing_left(&drctl);
}

#[test]
fn a_backup_that_is_not_there() {
    let (_, drctl) = shop();
    let drctl = drctl.into(server());
    drctl.run(["backup"]).ok();
    let unknown = "20200101T000000Z-aaaaaa";
    for verb in ["show", "cat", "restore", "accept", "pin"] {
        drctl
            .run([verb, unknown])
            .refused(3, &[unknown, "in file://", "see drctl list"]);
    }
    drctl
        .run(["restore", "--before", "2001-01-01T00:00:00Z"])
        .refused(3, &["2001-01-01", "see drctl list"]);
    drctl
        .run(["restore", "--latest-verified"])
        .refused(3, &["verified", "see drctl list"]);
    drctl
        .run(["restore"])
        .refused(2, &["no backup selected", "pass a backup ID, --latest"]);
    let run = drctl.run(["show", "not-an-id"]);
    assert!(run.code == 2 && run.stderr.contains("not-an-id"), "{run:?}");
}

#[test]
fn a_table_that_is_not_there() {
    let (schema, drctl) = shop();
    let target = Server::start(Flavour::MariaDb);
    let drctl = drctl.into(&target);
    drctl.run(["backup"]).ok();
    let table = format!("{schema}.nope");
    let words = format!("the backup has no table {table}");
    drctl
        .run(["restore", "--latest", "--tables", &table])
        .refused(3, &[&words, "see drctl show"]);
    drctl
        .run(["restore", "--latest", "--tables", "nope"])
        .refused(2, &["--tables nope has no schema", "write SCHEMA.TABLE"]);
    drctl
        .run(["restore", "--latest", "--rename", "nope=x"])
        .refused(3, &["the backup has no schema nope", "see drctl show"]);
    let rename = format!("{schema}=mysql");
    drctl
        .run(["restore", "--latest", "--rename", &rename])
        .refused(2, &["the name is reserved by the server", "; "]);
    assert_eq!(
        target.query(&format!("SHOW DATABASES LIKE '{schema}'")),
        Vec::<Vec<String>>::new()
    );
}

on_both!(
    fn a_schema_that_is_not_there(flavour) {
        let server = Server::shared(flavour);
        let drctl = Drctl::new("nowhere").source(server).env("DRCTL_BACKUP_SCHEMAS", "nowhere_at_all");
        drctl.run(["backup"]).refused(4, &["no schema nowhere_at_all", "correct the list of schemas"]);
        nothing_left(&drctl);
    }
);
