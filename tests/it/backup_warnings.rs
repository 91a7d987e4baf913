//! What a backup is committed with all the same, and says: in its manifest, where a person finds it who
//! needs the backup, and before it, by doctor.

use serde_json::Value;

use crate::support::backup::{dump_of, server_of, shop_of};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// The manifest's warnings of the newest backup, a line each.
#[track_caller]
fn warnings(drctl: &Drctl) -> String {
    let shown = drctl.run(["show", "--latest", "--output", "json"]).ok();
    let warnings = shown.json()["warnings"].clone();
    let all = warnings.as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect()
}

/// A warning that a backup gives holds these words, and doctor gives it too.
#[track_caller]
fn warned(drctl: &Drctl, words: &[&str]) {
    drctl.run(["backup"]).ok();
    let (manifest, doctor) = (warnings(drctl), drctl.run(["doctor"]).stdout);
    for said in [manifest, doctor] {
        let holds = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(
            said.lines().any(holds),
            "no line has all of {words:?}:\n{said}"
        );
    }
}

/// drctl as an account that may dump this schema of that server, with `more` beside it.
fn dumped_by(drctl: Drctl, server: &Server, user: &str, schema: &str, more: &[&str]) -> Drctl {
    let all = format!("SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON `{schema}`.*");
    let routines = match server.flavour() {
        Flavour::MySql => "SHOW_ROUTINE, PROCESS ON *.*",
        Flavour::MariaDb => "SELECT ON mysql.proc",
    };
    server.account(
        user,
        "a password",
        &[&[all.as_str(), routines], more].concat(),
    );
    drctl
        .env("DRCTL_SOURCE_URL", &server.tcp_url(user))
        .env("DRCTL_SOURCE_PASSWORD", "a password")
}

on_both!(
    fn accounts_that_can_be_listed_and_not_shown(flavour) {
        let (schema, drctl) = shop_of(flavour);
        let server = server_of(flavour);
        let drctl = dumped_by(drctl, server, "lists_accounts", &schema, &["SELECT ON mysql.user"]);
        warned(&drctl, &["accounts are not backed up: grant SELECT on mysql.*"]);
        let drctl = drctl.env("DRCTL_BACKUP_ACCOUNTS", "require");
        drctl.run(["backup"]).refused(4, &["may not read the accounts of the server", "SELECT on mysql.*"]);
    }
);

#[test]
fn accounts_that_mariadb_ignores_as_it_resolves_no_names() {
    need!(MariaDb);
    let server = Server::start_with(Flavour::MariaDb, &["--skip-name-resolve"]);
    server.exec(
        "CREATE DATABASE shop2; CREATE TABLE shop2.t (id INT PRIMARY KEY);
         CREATE USER met@'10.0.0.%' IDENTIFIED BY 'x', ignored@'db.example.com' IDENTIFIED BY 'x';
         GRANT SELECT ON shop2.* TO met@'10.0.0.%', ignored@'db.example.com';
         FLUSH PRIVILEGES",
    );
    let drctl = Drctl::new("shop").source(&server);
    warned(
        &drctl,
        &[
            "the server itself ignores",
            "skip_name_resolve",
            "`ignored`@`db.example.com`",
        ],
    );
    let told = drctl.run(["cat", "--latest", "--accounts"]).ok();
    assert!(
        told.stdout.contains("met") && !told.stdout.contains("example.com"),
        "{told:#?}"
    );
    drctl.run(["verify", "--latest"]).ok();
}

on_both!(
    fn accounts_that_are_denied_only_after_the_dump_began(flavour) {
        let (schema, drctl) = shop_of(flavour);
        let server = server_of(flavour);
        let drctl = dumped_by(drctl, server, "denied_late", &schema, &["SELECT ON mysql.*"]);
        let drctl = dump_of(flavour, drctl, "real \"$@\" && sql 'REVOKE SELECT ON mysql.* FROM denied_late'");
        drctl.run(["backup"]).ok();
        let said = warnings(&drctl);
        assert!(said.contains("accounts are not backed up: grant SELECT on mysql.*"), "{said}");
        assert!(drctl.run(["show", "--latest"]).ok().stdout.contains("accounts  not included"));
    }
);

on_both!(
    fn events_of_a_replica_that_stay_disabled(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(
            "CREATE DATABASE d; USE d; CREATE EVENT other ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;
             CREATE USER gone@localhost; GRANT ALL ON d.* TO gone@localhost;
             CREATE DEFINER=gone@localhost EVENT `e e` ON SCHEDULE EVERY 1 DAY DISABLE ON SLAVE DO SELECT 1",
        );
        let drctl = Drctl::new("replica").source(&source).into(&into);
        let enable = |definer: &str| format!("ALTER DEFINER=`{definer}`@`localhost` EVENT `d`.`e e` ENABLE");
        warned(&drctl, &["event `d`.`e e` is disabled on replicas", &enable("gone")]);
        assert!(!warnings(&drctl).contains("`other`"));
        let args = ["restore", "--latest", "--definer", "root@localhost"];
        let plan = drctl.run([&args[..], &["--plan"]].concat()).ok().stdout;
        let report = drctl.run(args).ok().stdout;
        for said in [plan, report] {
            assert!(said.contains(&enable("root")), "{said}");
        }
        // What it says is what helps.
        into.exec(&enable("root"));
        assert_eq!(into.value("SELECT status FROM information_schema.events WHERE event_name = 'e e'"), "ENABLED");
    }
);

#[test]
fn what_mysql_keeps_beside_its_dumps() {
    need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    let tablespace = "CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd'";
    into.exec(tablespace);
    source.exec(&format!(
        "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT t VALUES (1, 1);
         ANALYZE TABLE t UPDATE HISTOGRAM ON v;
         {tablespace}; CREATE TABLE g (id INT) TABLESPACE ts;
         CREATE DATABASE r; CREATE TABLE r.x (id INT); ALTER SCHEMA r READ ONLY = 1",
    ));
    let drctl = Drctl::new("beside").source(&source).into(&into);
    warned(
        &drctl,
        &[
            "in general tablespaces",
            "table `d`.`g`;",
            "CREATE TABLESPACE",
        ],
    );
    warned(&drctl, &["READ ONLY", "schema `r`;", "after a restore"]);
    warned(&drctl, &["histograms are not dumped", "table `d`.`t`;"]);
    // The plan of a restore repeats them.
    let plan = ["restore", "--latest", "--plan"];
    let page = drctl.run(plan).ok().stdout;
    let json = drctl.run([&plan[..], &["--output", "json"]].concat()).ok();
    let json = json.json()["warnings"].clone();
    for words in [
        ["backup: tables in general tablespaces", "`d`.`g`;"],
        ["backup: ", "READ ONLY"],
        ["backup: histograms are not dumped", "`d`.`t`;"],
    ] {
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        assert_eq!(page.lines().filter(holds).count(), 1, "{words:?}: {page}");
        let lines = json.as_array().unwrap().iter().filter_map(Value::as_str);
        assert_eq!(lines.filter(holds).count(), 1, "{words:?}: {json}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_named_by_the_backup_and_by_the_restore_that_it_ends() {
    need!(MySql);
    let (source, into) = (Server::start(Flavour::MySql), Server::start(Flavour::MySql));
    source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, a VARCHAR(9) CHARACTER SET ucs2);
         CREATE TABLE d.whole (id INT PRIMARY KEY, a TEXT CHARACTER SET utf16); INSERT INTO d.whole VALUES (1, '\u{d7ff}한😀');
         INSERT INTO d.t VALUES (1, 0xD800)",
    );
    let drctl = Drctl::new("half").source(&source).into(&into);
    drctl.run(["backup"]).ok();
    let shown = drctl.run(["show", "--latest"]).ok().stdout;
    assert!(
        shown.contains("unpaired surrogates") && shown.contains("table `d`.`t`;"),
        "{shown}"
    );
    assert!(!shown.contains("whole"), "{shown}");
    drctl
        .run(["restore", "--latest"])
        .refused(7, &["(1300)", "half of a surrogate pair", "back up again"]);
}
