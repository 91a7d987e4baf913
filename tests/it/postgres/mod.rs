//! A database of PostgreSQL: its script, an empty server from it, and the same script again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use drctl::Outcome;
use drctl::entries::Ledger;
use drctl::entries::record::Recorder;
use drctl::kind::postgres::PostgresKind;
use drctl::kind::postgres::programs::{Connection, Programs};
use drctl::kind::{Kind as _, Proof, Stream};

use crate::need;
use crate::support::Drctl;
use crate::support::backup::listed;
use crate::support::lab::ScratchDir;
use crate::support::wait::until;

/// Where Debian has the programs of a version.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server of a test's own.
struct Pg {
    directory: ScratchDir,
    child: Child,
}

/// A program of the server, which does not run as root.
fn as_postgres(program: &str) -> Command {
    let path = format!("{PROGRAMS}/{program}");
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        "--pdeathsig=KILL",
        "--",
    ]);
    command.arg(path).current_dir("/");
    command
}

impl Pg {
    fn start() -> Pg {
        let directory = ScratchDir::new();
        let path = directory.path().display().to_string();
        if rustix::process::geteuid().is_root() {
            let owned = Command::new("chown").args(["postgres:", &path]).status();
            assert!(owned.unwrap().success());
        }
        let data = format!("{path}/data");
        let mut initdb = as_postgres("initdb");
        initdb.args([
            "-D",
            &data,
            "-U",
            "boss",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success());
        let mut postgres = as_postgres("postgres");
        postgres.args([
            "-D",
            &data,
            "-k",
            &path,
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = postgres.stderr(log).spawn().unwrap();
        let server = Pg { directory, child };
        until("the server answers", || {
            server.psql("postgres", "SELECT 1").status.success()
        });
        server
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        self.psql_as("boss", database, sql)
    }

    fn psql_as(&self, user: &str, database: &str, sql: &str) -> Output {
        let mut command = Command::new(format!("{PROGRAMS}/psql"));
        command.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-U",
            user,
            "-h",
        ]);
        command
            .arg(self.directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(sql.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn run(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// With the corpus.
    fn filled() -> Pg {
        let server = Pg::start();
        server.run("postgres", include_str!("corpus.sql"));
        server
    }

    fn url(&self, user: &str, database: &str) -> String {
        let socket = self.directory.path().display();
        format!("postgresql://{user}@localhost/{database}?host={socket}")
    }

    fn kind(&self, user: &str) -> PostgresKind {
        let connection = Connection::parse(&self.url(user, "sh%20op"), "url").unwrap();
        let programs = Programs {
            directory: PathBuf::from(PROGRAMS),
            stall: None,
        };
        PostgresKind::new(connection, programs, user == "boss")
    }
}

impl Drop for Pg {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stream, its ledger and its warnings.
async fn read(
    kind: &PostgresKind,
    mut stream: Box<dyn Stream>,
) -> drctl::Result<(Vec<u8>, Ledger, Vec<String>)> {
    let recorder = Recorder::begin(&kind.format())?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await? {
        all.extend_from_slice(&chunk);
        recorder.push(chunk).await.unwrap();
    }
    let ledger = recorder.finish(Outcome::Source).await?;
    Ok((all, ledger, stream.warnings()))
}

async fn restore(kind: &PostgresKind, script: &[u8], into: &str) -> drctl::Result<()> {
    let mut sink = kind.restore(into).await?;
    for chunk in script.chunks(10_000) {
        sink.write(chunk.to_vec().into()).await?;
    }
    sink.finish().await
}

async fn proven(kind: &PostgresKind, into: &str) -> Ledger {
    match kind.prove(into).await.unwrap() {
        Proof::Stream(stream) => read(kind, stream).await.unwrap().1,
        _ => panic!("a stream"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_database_comes_back() {
    need!(Postgres);
    let server = Pg::filled();
    let kind = server.kind("boss");
    let (script, ledger, warnings) = read(&kind, kind.stream().await.unwrap()).await.unwrap();
    assert!(
        warnings
            .iter()
            .any(|one| one.contains("foreign tables") && one.contains("shop.far")),
        "{warnings:?}"
    );
    let scratch = ScratchDir::new();
    let into = scratch.path().join("s").display().to_string();
    restore(&kind, &script, &into).await.unwrap();
    let again = proven(&kind, &into).await;
    assert_eq!(ledger.differences(&again), []);

    // By a look that is not drctl's.
    let question = "SELECT count(*), sum(hashtext(k::text)) FROM shop.kinds k";
    let connect = |sql: &str| {
        let output = Command::new(format!("{PROGRAMS}/psql"))
            .args(["-XAt", "-U", "boss", "-d", "sh op", "-c", sql, "-h", &into])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(connect(question), server.run("sh op", question));
    assert!(!connect(question).is_empty());

    // What changes in the restored server is seen.
    for change in [
        "UPDATE shop.parts SET k = 4711 WHERE k = 17",
        "ALTER TABLE shop.parent ENABLE TRIGGER noisy",
        "ALTER ROLE app CONNECTION LIMIT 8",
        "SELECT setval('shop.parent_id_seq', 4712)",
        "REVOKE UPDATE (v) ON shop.kinds FROM readers CASCADE",
        "SELECT lo_put((SELECT oid FROM pg_largeobject_metadata), 0, '\\x01')",
    ] {
        let before = proven(&kind, &into).await;
        connect(change);
        let after = proven(&kind, &into).await;
        assert_ne!(before.differences(&after), [], "{change}");
    }
    kind.complete(&into).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_is_restored_into_and_no_other() {
    need!(Postgres);
    let server = Pg::filled();
    let kind = server.kind("boss");
    let (script, ledger, _) = read(&kind, kind.stream().await.unwrap()).await.unwrap();
    let empty = Pg::start();
    let into = empty.url("boss", "postgres");
    restore(&kind, &script, &into).await.unwrap();
    assert_eq!(ledger.differences(&proven(&kind, &into).await), []);
    let refused = restore(&kind, &script, &into).await.unwrap_err();
    assert_eq!(refused.outcome(), Outcome::Refused, "{refused}");
    // The client of an administrator, as RESTORE.txt says.
    let plain = Pg::start();
    plain.run("postgres", std::str::from_utf8(&script).unwrap());
    let count = "SELECT count(*) FROM shop.kinds";
    assert_eq!(plain.run("sh op", count), server.run("sh op", count));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_sees_half_of_it_is_refused_by_name() {
    need!(Postgres);
    let server = Pg::filled();
    let half = server.kind("app");
    let refused = half.about().await.unwrap_err();
    assert_eq!(refused.outcome(), Outcome::Source);
    assert!(refused.to_string().contains("may not read"), "{refused}");
    server.run(
        "postgres",
        "GRANT pg_read_all_data TO app; ALTER ROLE app BYPASSRLS",
    );
    let refused = half.about().await.unwrap_err();
    assert!(refused.to_string().contains("large object"), "{refused}");
    // With all of it, but no superuser, the passwords of roles are left out and named.
    server.run(
        "sh op",
        "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
            EXECUTE 'GRANT SELECT ON LARGE OBJECT ' || o || ' TO app'; END LOOP; END $$",
    );
    let (script, _, warnings) = match half.stream().await {
        Ok(stream) => read(&half, stream).await.unwrap(),
        Err(error) => panic!("{error}"),
    };
    assert!(
        warnings
            .iter()
            .any(|one| one.contains("passwords of roles")),
        "{warnings:?}"
    );
    assert!(!String::from_utf8_lossy(&script).contains("SCRAM-SHA-256"));
    // That role may read them.
    let mut all = half.clone();
    all.role_passwords = true;
    let (script, ..) = read(&all, all.stream().await.unwrap()).await.unwrap();
    assert!(String::from_utf8_lossy(&script).contains("SCRAM-SHA-256"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_a_server_refuses_fails_and_one_of_another_kind_is_damage() {
    need!(Postgres);
    let server = Pg::filled();
    let kind = server.kind("boss");
    let (script, ..) = read(&kind, kind.stream().await.unwrap()).await.unwrap();
    let place =
        |name: &str, directory: &ScratchDir| directory.path().join(name).display().to_string();
    let scratch = ScratchDir::new();
    let text = String::from_utf8(script).unwrap();
    let broken = text.replacen("CREATE TABLE shop.egg", "CREATE TABEL shop.egg", 1);
    let error = restore(&kind, broken.as_bytes(), &place("a", &scratch))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Verification, "{error}");
    let error = restore(&kind, b"SELECT 1;\n", &place("b", &scratch))
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Archive, "{error}");
    let occupied = place("c", &scratch);
    std::fs::create_dir_all(Path::new(&occupied).join("x")).unwrap();
    let error = restore(&kind, text.as_bytes(), &occupied)
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Refused, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_ends_early_is_no_dump() {
    need!(Postgres);
    let server = Pg::filled();
    let programs = ScratchDir::new();
    for name in ["psql", "pg_dumpall"] {
        std::os::unix::fs::symlink(format!("{PROGRAMS}/{name}"), programs.path().join(name))
            .unwrap();
    }
    let cut = |script: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = programs.path().join("pg_dump");
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut kind = server.kind("boss");
    kind.programs.directory = programs.path().to_owned();
    let version = format!("[ \"$1\" != --version ] || exec {PROGRAMS}/pg_dump --version");
    for (script, says) in [
        (
            format!("{version}; {PROGRAMS}/pg_dump \"$@\" | head -c 3000; exit 0"),
            "incomplete",
        ),
        (
            format!("{version}; {PROGRAMS}/pg_dump \"$@\"; exit 3"),
            "exited with 3",
        ),
        (
            format!("{version}; {PROGRAMS}/pg_dump \"$@\"; echo oh >&2"),
            "oh",
        ),
        ("echo 'pg_dump (PostgreSQL) 14.2'".to_owned(), "version 14"),
    ] {
        cut(&script);
        let read = async {
            let stream = kind.stream().await?;
            read(&kind, stream).await
        };
        let error = read.await.err().unwrap_or_else(|| panic!("{script}"));
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.outcome(), Outcome::Source);
    }
}

/// drctl with a target on this server.
fn drctl(server: &Pg) -> Drctl {
    let drctl = Drctl::new("shop");
    let config = serde_json::json!({"source": {"kind": "postgres", "postgres": {
        "url": server.url("boss", "sh%20op"), "program_dir": PROGRAMS,
    }}});
    std::fs::write(drctl.home().join("drctl.yaml"), config.to_string()).unwrap();
    drctl
}

#[test]
fn a_database_is_backed_up_drilled_and_restored_by_the_verbs_of_all_kinds() {
    need!(Postgres);
    let server = Pg::filled();
    let drctl = drctl(&server);
    drctl.run(["doctor"]).ok();
    drctl.run(["backup"]).ok();
    drctl.run(["verify", "--latest"]).ok();
    let backup = listed(&drctl).remove(0);
    assert!(backup["verified_at"].is_string(), "{backup:#}");
    let objects = drctl.run(["show", "--latest", "--objects"]).ok().stdout;
    assert!(
        objects.contains("kinds; Type: TABLE; Schema: shop"),
        "{objects}"
    );
    let into = drctl.home().join("restored");
    let shown = into.display().to_string();
    drctl.run(["restore", "--latest", "--into", &shown]).ok();
    // The plain tools, as RESTORE.txt says.
    let plain = Pg::start();
    let script = drctl.run(["cat", "--latest"]).ok().stdout;
    plain.run("postgres", &script);
    let count = "SELECT count(*) FROM shop.kinds";
    assert_eq!(plain.run("sh op", count), server.run("sh op", count));
    // A table that was changed behind its back, in the archive's ledger: rows that are lost make it suspect.
    server.run("sh op", "TRUNCATE shop.kinds; DROP TABLE shop.booked");
    drctl.run(["backup"]).fails(9, "suspect");
}
