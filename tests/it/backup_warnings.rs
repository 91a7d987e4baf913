//! What a backup is committed with all the same, and says: in its manifest, where a person finds it who
//! needs the backup, and before it, by doctor.

use crate::on_both;
use crate::support::backup::{dump_of, server_of, shop_of};
use crate::support::{Drctl, Flavour, Server};

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
        warned(&drctl, &["without accounts: grant SELECT on mysql.*"]);
        let drctl = drctl.env("DRCTL_BACKUP_ACCOUNTS", "require");
        drctl.run(["backup"]).refused(4, &["may not read the server's accounts", "SELECT on mysql.*"]);
    }
);

on_both!(
    fn accounts_that_are_denied_only_after_the_dump_began(flavour) {
        let (schema, drctl) = shop_of(flavour);
        let server = server_of(flavour);
        let drctl = dumped_by(drctl, server, "denied_late", &schema, &["SELECT ON mysql.*"]);
        let drctl = dump_of(flavour, drctl, "real \"$@\" && sql 'REVOKE SELECT ON mysql.* FROM denied_late'");
        drctl.run(["backup"]).ok();
        let said = warnings(&drctl);
        assert!(said.contains("without accounts: grant SELECT on mysql.*"), "{said}");
        assert!(drctl.run(["show", "--latest"]).ok().stdout.contains("accounts  not included"));
    }
);
