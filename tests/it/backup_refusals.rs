//! What the account may not see, and a dump whose server or whose statement never ends well.

use std::time::Duration;

use crate::support::backup::{dump_by, listed, nothing_left, server, shop};
use crate::support::{Drctl, Flavour, Server};
use crate::{need, on_both};

/// A schema with one of everything, on the server that all tests share.
fn one_of_everything(server: &Server) -> String {
    let schema = server.fresh_schema("sight");
    server.exec(&format!(
        "USE `{schema}`; CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT t VALUES (1, 1);
         CREATE VIEW v AS SELECT id FROM t;
         CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1;
         CREATE PROCEDURE p() SELECT 1;
         CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;"
    ));
    schema
}

/// What a schema's dump needs besides its routines.
const NEEDED: [&str; 4] = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"];

/// The grants that show routines.
fn routines(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "SHOW_ROUTINE ON *.*",
        Flavour::MariaDb => "SELECT ON mysql.proc",
    }
}

/// Of the accounts here: a secret that no line may hold.
const PASSWORD: &str = "sees-no-more-than-granted";

/// drctl for that schema, as a new account with these grants.
fn seen_by(server: &Server, schema: &str, user: &str, grants: &[&str]) -> Drctl {
    server.account(user, PASSWORD, grants);
    Drctl::new(&schema.replace('_', "-"))
        .source(server)
        .env("DRCTL_SOURCE_URL", &server.tcp_url(user))
        .env("DRCTL_SOURCE_PASSWORD", PASSWORD)
        .env("DRCTL_BACKUP_SCHEMAS", schema)
}

/// A schema's name as a grant writes it, where `_` stands for any letter.
fn pattern(schema: &str) -> String {
    schema.replace('_', "\\_")
}

fn refused_without(flavour: Flavour, privilege: &str) {
    let server = Server::shared(flavour);
    let schema = one_of_everything(server);
    let rest: Vec<_> = NEEDED.into_iter().filter(|p| *p != privilege).collect();
    let rest = format!("{} ON `{schema}`.*", rest.join(", "));
    let drctl = seen_by(server, &schema, &schema, &[&rest, routines(flavour)]);
    drctl.run(["backup"]).fails(
        4,
        &format!("missing: {privilege} on `{}`.*", pattern(&schema)),
    );
    nothing_left(&drctl);
    server.exec(&format!(
        "GRANT {privilege} ON `{schema}`.* TO `{schema}`@'%'"
    ));
    drctl.run(["backup"]).ok();
    assert_eq!(listed(&drctl).len(), 1);
}

on_both!(fn tables_out_of_sight(flavour) { refused_without(flavour, "SELECT"); });
on_both!(fn views_out_of_sight(flavour) { refused_without(flavour, "SHOW VIEW"); });
on_both!(fn triggers_out_of_sight(flavour) { refused_without(flavour, "TRIGGER"); });
on_both!(fn events_out_of_sight(flavour) { refused_without(flavour, "EVENT"); });

on_both!(
    fn routines_out_of_sight(flavour) {
        let server = Server::shared(flavour);
        let schema = one_of_everything(server);
        let all = format!("{} ON `{schema}`.*", NEEDED.join(", "));
        let drctl = seen_by(server, &schema, &schema, &[&all]);
        let privilege = routines(flavour).replace("mysql.proc", "`mysql`.`proc`").replace(" ON ", " on ");
        drctl.run(["backup"]).refused(4, &[&format!("missing: {privilege}"), "run: GRANT "]);
        nothing_left(&drctl);
        server.exec(&format!("GRANT {} TO `{schema}`@'%'", routines(flavour)));
        drctl.run(["backup"]).ok();
    }
);

on_both!(
    fn one_table_of_a_schema_out_of_sight(flavour) {
        let server = Server::shared(flavour);
        let schema = one_of_everything(server);
        let one = format!("SELECT ON `{schema}`.t");
        let rest = format!("SHOW VIEW, TRIGGER, EVENT ON `{schema}`.*");
        let drctl = seen_by(server, &schema, &schema, &[&one, &rest, routines(flavour)]);
        drctl.run(["backup"]).fails(4, "missing: SELECT on");
        nothing_left(&drctl);
    }
);

on_both!(
    fn a_schema_out_of_sight(flavour) {
        let server = Server::shared(flavour);
        let schema = one_of_everything(server);
        let all = format!("{} ON `{schema}`.*", NEEDED.join(", "));
        let drctl = seen_by(server, &schema, &schema, &[&all, routines(flavour)]);
        let every = drctl.without("DRCTL_BACKUP_SCHEMAS");
        every.run(["backup"]).refused(4, &["missing: EVENT on *.*, SELECT on", "run: GRANT "]);
        nothing_left(&every);
    }
);

on_both!(
    fn a_role_that_is_not_active(flavour) {
        let server = Server::shared(flavour);
        let schema = one_of_everything(server);
        let role = format!("r_{schema}");
        server.exec(&format!(
            "CREATE ROLE {role}; GRANT {} ON `{schema}`.* TO {role}; GRANT {} TO {role}",
            NEEDED.join(", "),
            routines(flavour),
        ));
        let drctl = seen_by(server, &schema, &schema, &[]);
        server.exec(&format!("GRANT {role} TO `{schema}`@'%'"));
        drctl.run(["backup"]).refused(4, &["missing: EVENT on", "default role"]);
        nothing_left(&drctl);
        server.exec(&match flavour {
            Flavour::MySql => format!("ALTER USER `{schema}`@'%' DEFAULT ROLE {role}"),
            Flavour::MariaDb => format!("SET DEFAULT ROLE {role} FOR `{schema}`@'%'"),
        });
        drctl.run(["backup"]).ok();
    }
);

#[test]
fn a_partial_revoke() {
    need!(MySql);
    let server = Server::start_with(Flavour::MySql, &["--partial-revokes=ON"]);
    let schema = one_of_everything(&server);
    let all = format!("{} ON *.*", NEEDED.join(", "));
    let drctl = seen_by(
        &server,
        &schema,
        "backup",
        &[&all, routines(Flavour::MySql)],
    );
    server.exec(&format!("REVOKE SELECT ON `{schema}`.* FROM backup@'%'"));
    let text = format!("SELECT on `{}`.*", pattern(&schema));
    drctl.run(["backup"]).fails(4, &text);
    let every = drctl.without("DRCTL_BACKUP_SCHEMAS");
    every.run(["backup"]).fails(4, &text);
    nothing_left(&every);
    server.exec(&format!("GRANT SELECT ON `{schema}`.* TO backup@'%'"));
    every.run(["backup"]).ok();
}

on_both!(
    fn what_an_account_without_process_cannot_notice_is_recorded(flavour) {
        let server = Server::shared(flavour);
        let schema = one_of_everything(server);
        let all = format!("{} ON `{schema}`.*", NEEDED.join(", "));
        let drctl = seen_by(server, &schema, &schema, &[&all, routines(flavour)]);
        drctl.run(["backup"]).ok();
        let manifest = drctl.run(["show", "--latest", "--output", "json"]).ok().stdout;
        assert!(manifest.contains("exchanged by RENAME"), "{manifest}");
    }
);

#[test]
fn a_dump_whose_connection_the_server_kills() {
    let (schema, drctl) = shop();
    server().exec(&format!(
        "CREATE TABLE {schema}.big (id INT PRIMARY KEY, v TEXT);
         INSERT {schema}.big SELECT seq, REPEAT('x', 1000) FROM mysql.seq_1_to_30000"
    ));
    // The dump stands at a full pipe when its connection goes.
    let script = format!(
        "mkfifo dump; real \"$@\" >dump & child=$!; exec <dump; head -c 300000\n\
         id=$(sql \"SELECT id FROM information_schema.processlist WHERE db = '{schema}'\" | tail -1)\n\
         echo $id >killed; sql \"KILL $id\"; cat; wait $child"
    );
    let drctl = dump_by(drctl, &script);
    drctl
        .run(["backup"])
        .fails(4, "the server dropped the dump's connection");
    let killed = std::fs::read_to_string(drctl.home().join("killed")).unwrap();
    assert!(killed.trim().parse::<u64>().is_ok(), "nothing was killed");
    nothing_left(&drctl);
}

#[test]
fn a_statement_that_does_not_end() {
    let (_, drctl) = shop();
    let script = "real \"$@\" | grep -m1 -B99 '^INSERT' | head -c -20\n\
                  exec tr '\\0' '1' </dev/zero";
    // Of address space it may have the limit of a statement twice and little more.
    let drctl = dump_by(drctl, script)
        .limit(Duration::from_secs(200))
        .behind("ulimit -v 6000000");
    drctl
        .run(["backup"])
        .fails(4, "a statement of more than 1073741824 bytes");
    nothing_left(&drctl);
}
