//! Accounts: what they have comes back, or is named before the backup; and privileges on what is gone.

use std::collections::BTreeMap;

use super::{Case, drilled};
use crate::fidelity::{backup_in, follow_restore_txt};
use crate::support::backup::listed;
use crate::support::statements::{Statements, Strike};
use crate::support::{Flavour, Server};
use crate::{need, on_both};

/// What a server says of each account that is nobody's own, roles and PUBLIC included.
pub fn accounts(server: &Server) -> BTreeMap<String, String> {
    let maria = server.flavour() == Flavour::MariaDb;
    let role = if maria { "is_role" } else { "'N'" };
    let list = format!(
        "SELECT IF({role} = 'Y', IF(user = 'PUBLIC', user, QUOTE(user)), CONCAT(QUOTE(user), '@', QUOTE(host))), {role} \
         FROM mysql.user WHERE user NOT IN ('root', 'mariadb.sys') AND user NOT LIKE 'mysql.%' ORDER BY 1"
    );
    let mut all = BTreeMap::new();
    for row in server.query(&list) {
        let who = &row[0];
        let mut sql = String::new();
        if !maria {
            sql.push_str("SET print_identified_with_as_hex = ON; ");
        }
        if row[1] == "N" {
            sql.push_str(&format!("SHOW CREATE USER {who}; "));
        }
        // PUBLIC without a privilege is an error, or says nothing.
        let said = server.try_exec(&format!("{sql}SHOW GRANTS FOR {who}"));
        let mut lines: Vec<String> = said
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        all.insert(who.clone(), lines.join("\n"));
    }
    all
}

#[track_caller]
fn alike(case: &Case) {
    assert_eq!(accounts(&case.into), accounts(&case.source));
}

/// What both servers have of accounts.
const BOTH: &str = "CREATE DATABASE s; CREATE TABLE s.t (id INT PRIMARY KEY, a INT); INSERT s.t VALUES (1, 2);
    CREATE PROCEDURE s.p() SELECT 1; CREATE FUNCTION s.f() RETURNS INT DETERMINISTIC RETURN 1;
    CREATE USER expired@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE;
    CREATE USER expired30@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 30 DAY;
    ALTER USER expired30@localhost PASSWORD EXPIRE;
    CREATE USER lasting@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE NEVER;
    ALTER USER lasting@localhost PASSWORD EXPIRE;
    CREATE USER good60@localhost IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 60 DAY;
    CREATE USER locked@localhost IDENTIFIED BY 'x' ACCOUNT LOCK;
    CREATE USER limited@'%' IDENTIFIED BY 'x' WITH MAX_QUERIES_PER_HOUR 1 MAX_UPDATES_PER_HOUR 2 MAX_CONNECTIONS_PER_HOUR 3 MAX_USER_CONNECTIONS 4;
    CREATE USER tls@'%' IDENTIFIED BY 'x' REQUIRE SUBJECT '/CN=x y' AND ISSUER '/CN=is' AND CIPHER 'AES256-SHA';
    CREATE USER tls2@'%' REQUIRE SSL; CREATE USER tls3@'%' IDENTIFIED BY 'x' REQUIRE X509;
    CREATE USER ''@'10.1.2.3'; GRANT SELECT ON s.t TO ''@'10.1.2.3';
    CREATE USER 'quo''te`d \\\\ TO'@'10.0.0.0/255.255.255.0' IDENTIFIED BY 'x';
    CREATE ROLE r1; CREATE ROLE r2; CREATE ROLE r3;
    GRANT r1 TO limited@'%' WITH ADMIN OPTION; GRANT r2 TO r1; GRANT r3 TO tls@'%';
    GRANT SELECT ON s.* TO r1; GRANT INSERT ON *.* TO r2;
    GRANT SELECT (a), INSERT (id, a), UPDATE ON s.t TO limited@'%' WITH GRANT OPTION;
    GRANT EXECUTE ON FUNCTION s.f TO limited@'%'; GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE s.p TO r3;
    GRANT PROXY ON limited@'%' TO tls@'%' WITH GRANT OPTION;
    GRANT ALL ON *.* TO tls3@'%' WITH GRANT OPTION;
    GRANT SELECT ON `s\\_%`.* TO tls2@'%';
    CREATE DATABASE `d TO PUBLIC`; CREATE TABLE `d TO PUBLIC`.` TO x` (` ON x` INT); CREATE USER `x TO PUBLIC`@localhost; CREATE ROLE ` TO PUBLIC`;
    GRANT INSERT ON s.* TO `x TO PUBLIC`@localhost; GRANT SELECT ON `d TO PUBLIC`.* TO locked@localhost;
    GRANT UPDATE (` ON x`) ON `d TO PUBLIC`.` TO x` TO locked@localhost WITH GRANT OPTION; GRANT ` TO PUBLIC` TO locked@localhost;
    GRANT DELETE ON s.* TO ` TO PUBLIC`; GRANT PROXY ON `x TO PUBLIC`@localhost TO locked@localhost;
    CREATE USER cert@localhost REQUIRE SUBJECT '/C=SE/O=A\\\\B/' AND ISSUER '/O=O''Reilly' AND CIPHER 'a\\\\''b';
    CREATE USER smuggler@localhost IDENTIFIED BY 'x' REQUIRE SUBJECT 'x'' ACCOUNT UNLOCK ATTRIBUTE ''{}' ACCOUNT LOCK;";

const MARIADB: &str = "CREATE USER several@'%' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('x');
    CREATE USER as_other@'%' IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket AS 'someone';
    CREATE USER slow@'%' IDENTIFIED BY 'x' WITH MAX_STATEMENT_TIME 5.5;
    CREATE ROLE r4 WITH ADMIN r1; CREATE ROLE r5 WITH ADMIN limited@'%';
    SET DEFAULT ROLE r1 FOR limited@'%';
    GRANT BINLOG ADMIN, CONNECTION ADMIN, SET USER ON *.* TO locked@localhost WITH GRANT OPTION;
    GRANT SELECT ON s.* TO PUBLIC WITH GRANT OPTION; GRANT UPDATE (a) ON s.t TO PUBLIC; GRANT SHOW DATABASES ON *.* TO PUBLIC;
    GRANT EXECUTE ON PROCEDURE s.p TO PUBLIC; GRANT r2 TO PUBLIC;";

const MYSQL: &str = "CREATE USER history@localhost IDENTIFIED BY 'x' PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 10 DAY PASSWORD REQUIRE CURRENT;
    CREATE USER optional@localhost IDENTIFIED BY 'x' PASSWORD REQUIRE CURRENT OPTIONAL PASSWORD HISTORY DEFAULT;
    CREATE USER failing@localhost IDENTIFIED BY 'x' FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME UNBOUNDED;
    CREATE USER said@localhost IDENTIFIED BY 'x' COMMENT 'it''s; a \"comment\" DEFAULT ROLE x REQUIRE y';
    CREATE USER attributes@localhost ATTRIBUTE '{\"a\": 1, \"b\": \"x''y\"}';
    CREATE USER two@'%' IDENTIFIED BY 'old'; ALTER USER two@'%' IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD;
    CREATE USER two_expired@'%' IDENTIFIED BY 'old'; ALTER USER two_expired@'%' IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD;
    ALTER USER two_expired@'%' PASSWORD EXPIRE INTERVAL 9 DAY; ALTER USER two_expired@'%' PASSWORD EXPIRE;
    SET DEFAULT ROLE r1 TO limited@'%'; CREATE ROLE r6@localhost; GRANT r6@localhost TO r2;
    GRANT r1, r2 TO tls2@'%'; SET DEFAULT ROLE ALL TO tls2@'%';
    GRANT BINLOG_ADMIN, SYSTEM_USER ON *.* TO locked@localhost WITH GRANT OPTION; GRANT BACKUP_ADMIN ON *.* TO locked@localhost;
    GRANT PROXY ON ''@'' TO tls2@'%';
    CREATE USER emoji@localhost COMMENT '😀 ü \"q\" it''s \\\\';
    CREATE USER deep@localhost ATTRIBUTE '{\"😀\": [\"😀\\\\\\\\\", 1.50, null]}'; CREATE USER no_attribute@localhost ATTRIBUTE '{}';
    CREATE USER `ATTRIBUTE '{}`@localhost ATTRIBUTE '{\"a\": \"ATTRIBUTE ''x''\"}';";

on_both!(
    fn all_that_an_account_has_comes_back(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(BOTH);
        case.source.exec(match flavour {
            Flavour::MariaDb => MARIADB,
            Flavour::MySql => MYSQL,
        });
        let shown = case.source.exec("SHOW CREATE USER cert@localhost");
        if flavour == Flavour::MariaDb && !shown.contains("O''Reilly") {
            // MariaDB 11.4.5 does not quote such texts.
            let words = ["`cert`@`localhost`", "a statement that does not create it"];
            case.drctl.run(["backup"]).refused(4, &words);
            case.source.exec("DROP USER cert@localhost, smuggler@localhost");
        }
        case.comes_back();
        alike(&case);
        if flavour == Flavour::MySql {
            // What SHOW CREATE USER does not say.
            let hidden = "SELECT user, password_expired, password_lifetime, user_attributes, ssl_type, ssl_cipher, x509_issuer, \
                          x509_subject FROM mysql.user ORDER BY 1, host";
            assert_eq!(case.into.exec(hidden), case.source.exec(hidden));
            let warned = case.drctl.run(["show", "--latest"]).ok();
            assert!(warned.stdout.contains("earlier passwords"), "{}", warned.stdout);
        }
    }
);

#[test]
fn an_expired_password_and_what_everybody_may_come_back() {
    need!(MariaDb);
    let case = Case::load(Flavour::MariaDb, "expire", &[]);
    case.comes_back();
    alike(&case);
    let expired = "SELECT password_expired FROM mysql.user WHERE user = 'ex'";
    assert_eq!(case.into.value(expired), "Y");
    assert_eq!(
        case.into.exec("SHOW GRANTS FOR PUBLIC").trim(),
        "GRANT SELECT ON `expire`.* TO PUBLIC"
    );
}

#[test]
fn what_everybody_may_on_a_server_that_says_so_itself_is_left_alone() {
    need!(MariaDb);
    let case = Case::load(Flavour::MariaDb, "expire", &[]);
    case.drctl.run(["backup"]).ok();
    case.into
        .exec("CREATE DATABASE own; GRANT INSERT ON own.* TO PUBLIC");
    let restored = case.drctl.run(["restore", "--latest", "--accounts"]).ok();
    assert!(
        restored.stdout.contains("not changed: `PUBLIC`"),
        "{}",
        restored.stdout
    );
    assert_eq!(
        case.into.exec("SHOW GRANTS FOR PUBLIC").trim(),
        "GRANT INSERT ON `own`.* TO PUBLIC"
    );
}

#[test]
fn an_error_about_what_everybody_may_ends_the_backup() {
    need!(MariaDb);
    let case = Case::load(Flavour::MariaDb, "expire", &[]);
    let front = Statements::to(&case.source, |text| match text {
        "SHOW GRANTS FOR PUBLIC" => Strike::Refuse,
        _ => Strike::Pass,
    });
    let drctl = case.drctl.env("DRCTL_SOURCE_URL", &front.url());
    let run = drctl.run(["backup"]);
    assert_eq!(run.code, 4, "{run:#?}");
    assert!(run.error_line().contains("SHOW GRANTS"), "{run:#?}");
    assert!(listed(&drctl).is_empty());
}

#[test]
fn privileges_on_packages_come_back() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE u; USE u; SET sql_mode = ORACLE;
DELIMITER $$
CREATE PACKAGE pk AS FUNCTION f RETURN INT; END$$
CREATE PACKAGE BODY pk AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END$$
DELIMITER ;
         CREATE USER a1@localhost; CREATE ROLE r; GRANT EXECUTE ON PACKAGE u.pk TO a1@localhost WITH GRANT OPTION;
         GRANT EXECUTE ON PACKAGE BODY u.pk TO r; GRANT EXECUTE ON PACKAGE u.pk TO PUBLIC",
    );
    case.comes_back();
    alike(&case);
    // By RESTORE.txt too, and where the package is replaced.
    let plain = Server::start(Flavour::MariaDb);
    follow_restore_txt(&backup_in(&case.drctl.store_dir()), &plain);
    assert_eq!(accounts(&plain), accounts(&case.source));
    let again = ["restore", "--latest", "--overwrite", "--confirm", "case"];
    case.drctl.run(again).ok();
    alike(&case);
}

/// Who has which role, and who hands it out.
const ROLES: &str =
    "SELECT host, user, role, admin_option FROM mysql.roles_mapping ORDER BY 1, 2, 3";

#[test]
fn who_administers_a_role_is_who_did() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    case.source.exec(
        "CREATE DATABASE u; CREATE USER chief@localhost; CREATE ROLE r1; CREATE ROLE x WITH ADMIN r1; CREATE ROLE `y '` WITH ADMIN chief@localhost;
         CREATE ROLE own; CREATE ROLE both_of WITH ADMIN chief@localhost;",
    );
    // One that the root of the source has as well.
    case.source.exec(
        "INSERT INTO mysql.roles_mapping VALUES ('localhost', 'root', 'both_of', 'Y'); FLUSH PRIVILEGES",
    );
    case.comes_back();
    assert_eq!(case.into.exec(ROLES), case.source.exec(ROLES));
    let plain = Server::start(Flavour::MariaDb);
    follow_restore_txt(&backup_in(&case.drctl.store_dir()), &plain);
    assert_eq!(plain.exec(ROLES), case.source.exec(ROLES));

    // Another account keeps those alone that nobody else could hand out, and is named.
    let other = Server::start(Flavour::MariaDb);
    other.exec(
        "CREATE USER restorer@localhost; GRANT ALL ON *.* TO restorer@localhost WITH GRANT OPTION",
    );
    let url = other.url_as("restorer");
    let drctl = case.drctl.into(&other).env("DRCTL_INTO_URL", &url);
    let restored = drctl.run(["restore", "--latest", "--accounts"]).ok();
    for role in ["`own`", "`r1`"] {
        let told =
            format!("`restorer`@`localhost` is the only account that administers the role {role}:");
        assert!(restored.stdout.contains(&told), "{}", restored.stdout);
    }
    assert_eq!(
        other.value("SELECT GROUP_CONCAT(role ORDER BY role) FROM mysql.roles_mapping WHERE user = 'restorer'"),
        "own,r1"
    );
}

/// Privileges on each kind of thing that is gone.
const STALE: &str = "CREATE USER IF NOT EXISTS u@localhost; CREATE DATABASE half; CREATE TABLE half.t (id INT PRIMARY KEY, a INT, b INT);
    CREATE TABLE half.gone (id INT PRIMARY KEY); CREATE PROCEDURE half.p() SELECT 1; CREATE FUNCTION half.f() RETURNS INT DETERMINISTIC RETURN 1;
    GRANT SELECT (a, id), UPDATE (b) ON half.t TO u@localhost; GRANT SELECT ON half.gone TO u@localhost;
    ALTER TABLE half.t DROP COLUMN a; DROP TABLE half.gone;
    CREATE DATABASE all_gone; CREATE TABLE all_gone.t (id INT); GRANT INSERT ON all_gone.t TO u@localhost;
    GRANT SELECT ON all_gone.* TO u@localhost; DROP DATABASE all_gone;";

on_both!(
    fn privileges_on_what_is_gone_are_left_out_with_a_warning(flavour) {
        let case = Case::load(flavour, "stale_grant", &[]);
        case.source.exec(STALE);
        let doctor = case.drctl.run(["doctor"]);
        for named in ["gone.t", "half.t.a", "half.gone", "all_gone.t"] {
            assert!(doctor.stdout.contains(named), "{named}: {}", doctor.stdout);
        }
        case.drctl.run(["backup"]).ok();
        let restored = case.drctl.run(["restore", "--latest", "--accounts"]).ok();
        assert!(restored.stdout.contains("was not granted its privileges on `gone`.`t`"), "{}", restored.stdout);
        let grants = case.into.exec("SHOW GRANTS FOR u@localhost");
        assert!(grants.contains("`all_gone`.*"), "{grants}");
        case.passes_drills();
    }
);

on_both!(
    fn names_beyond_ascii_come_back_by_every_path(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec(
            "CREATE DATABASE `données`; CREATE TABLE `données`.t (a INT PRIMARY KEY); INSERT INTO `données`.t VALUES (1);
             CREATE USER 'jürgen'@'%' IDENTIFIED BY 'x'; GRANT SELECT ON `données`.* TO 'jürgen'@'%';
             CREATE USER plain@'%' IDENTIFIED BY 'x'; GRANT SELECT ON `données`.* TO plain@'%'; CREATE ROLE `rôle`;
             GRANT `rôle` TO plain@'%'; CREATE DEFINER='jürgen'@'%' VIEW `données`.v AS SELECT * FROM `données`.t",
        );
        case.comes_back();
        alike(&case);
        let said = drilled(&case.drctl, "client");
        assert!(!said.contains("plugin"), "{said}");
        let plain = Server::start(flavour);
        follow_restore_txt(&backup_in(&case.drctl.store_dir()), &plain);
        assert_eq!(accounts(&plain), accounts(&case.source));
    }
);

on_both!(
    fn default_roles_that_an_account_was_not_granted_are_left_out_by_name(flavour) {
        let case = Case::empty(flavour, &[]);
        case.source.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE ROLE r1; CREATE ROLE r2;");
        case.source.exec(match flavour {
            Flavour::MariaDb => {
                "CREATE USER u1@localhost; GRANT r1 TO u1@localhost; SET DEFAULT ROLE r1 FOR u1@localhost; REVOKE r1 FROM u1@localhost;
                 CREATE USER u2@localhost; GRANT r2 TO u2@localhost; SET DEFAULT ROLE r2 FOR u2@localhost; DROP ROLE r2;
                 CREATE USER u3@localhost; GRANT r1 TO u3@localhost; SET DEFAULT ROLE r1 FOR u3@localhost"
            }
            Flavour::MySql => {
                "SET GLOBAL mandatory_roles = 'r1'; CREATE USER u1@localhost DEFAULT ROLE r1; CREATE USER u2@localhost;
                 GRANT r2 TO u2@localhost; SET DEFAULT ROLE r1, r2 TO u2@localhost; CREATE USER u3@localhost;
                 GRANT r2 TO u3@localhost; SET DEFAULT ROLE r2 TO u3@localhost"
            }
        });
        let doctor = case.drctl.run(["doctor"]).ok();
        let named = "default roles that the account was not granted, or only by mandatory_roles, will not be restored: r1 of `u1`@`localhost`";
        assert!(doctor.stdout.contains(named), "{}", doctor.stdout);
        assert!(!doctor.stdout.contains("of `u3`"), "{}", doctor.stdout);
        case.drctl.run(["backup"]).ok();
        let shown = case.drctl.run(["show", "--latest"]).ok();
        assert!(shown.stdout.contains(named), "{shown:#?}");
        let restored = case.drctl.run(["restore", "--latest", "--accounts"]).ok().stdout;
        for user in ["u1", "u2"] {
            let left_out = format!("`{user}`@`localhost` did not get a default role");
            assert!(restored.contains(&left_out), "{restored}");
        }
        assert!(!restored.contains("`u3`@`localhost` did not"), "{restored}");
        for path in ["lanes", "client"] {
            let said = drilled(&case.drctl, path);
            assert!(said.contains("`u1`@`localhost` did not get a default role"), "{said}");
        }
        if flavour == Flavour::MySql {
            // The role that was granted is the default, and both are where the mandatory one is.
            let roles = "SELECT user, default_role_user FROM mysql.default_roles ORDER BY 1, 2";
            assert_eq!(case.into.exec(roles).trim(), "u2\tr2\nu3\tr2");
            let other = Server::start(flavour);
            other.exec("SET GLOBAL mandatory_roles = 'r1'");
            case.drctl.into(&other).run(["restore", "--latest", "--accounts"]).ok();
            assert_eq!(other.exec(roles), case.source.exec(roles));
        }
    }
);

#[test]
fn an_account_that_the_server_lists_and_does_not_know_is_named_by_doctor_with_what_to_do() {
    need!(MariaDb);
    let case = Case::empty(Flavour::MariaDb, &[]);
    // The tables do not keep the space, and the server goes by it until they are read again.
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE USER a@'%'; CREATE USER 'x '@'%'",
    );
    let words = ["`x`@`%`", "does not know it (1133)", "FLUSH PRIVILEGES"];
    let doctor = case.drctl.run(["doctor"]);
    for word in words {
        assert!(doctor.stdout.contains(word), "{word}: {}", doctor.stdout);
    }
    case.drctl.run(["backup"]).refused(4, &words);
    case.source.exec("FLUSH PRIVILEGES");
    case.comes_back();
    alike(&case);
}

#[test]
fn accounts_that_log_in_by_a_plugin_are_refused_by_a_server_without_it_and_drilled_without_it() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'; SET GLOBAL authentication_policy = '*,*,*';
         CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY);
         CREATE USER sock@localhost IDENTIFIED WITH auth_socket; GRANT SELECT ON d.* TO sock@localhost;
         CREATE USER `both`@localhost IDENTIFIED BY 'x' AND IDENTIFIED WITH auth_socket;
         CREATE DEFINER = sock@localhost VIEW d.v AS SELECT id FROM d.t",
    );
    case.drctl.run(["backup"]).ok();
    let plan = case
        .drctl
        .run(["restore", "--latest", "--accounts", "--plan"]);
    assert!(plan.stdout.contains("auth_socket"), "{}", plan.stdout);
    case.drctl
        .run(["restore", "--latest", "--accounts"])
        .refused(9, &["lacks the authentication plugin auth_socket"]);
    for path in ["lanes", "client"] {
        let said = drilled(&case.drctl, path);
        assert!(
            said.contains("the scratch server lacks the authentication plugin"),
            "{said}"
        );
    }
    case.into.exec("INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'; SET GLOBAL authentication_policy = '*,*,*'");
    case.drctl.run(["restore", "--latest", "--accounts"]).ok();
    alike(&case);
}

#[test]
fn an_account_that_existing_objects_name_as_their_definer_is_refused_without_the_right_to_adopt_them()
 {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE USER owner@localhost, other@localhost;
         GRANT SELECT ON d.* TO owner@localhost; CREATE DEFINER = owner@localhost VIEW d.v AS SELECT id FROM d.t",
    );
    case.drctl.run(["backup"]).ok();
    // SUPER does not do.
    case.into.exec(
        "CREATE DATABASE apart; CREATE DEFINER = owner@localhost PROCEDURE apart.p() SELECT 1;
         CREATE USER restorer@localhost; GRANT ALL ON *.* TO restorer@localhost WITH GRANT OPTION;
         REVOKE ALLOW_NONEXISTENT_DEFINER ON *.* FROM restorer@localhost",
    );
    let url = case.into.url_as("restorer");
    let drctl = case.drctl.env("DRCTL_INTO_URL", &url);
    let restore = ["restore", "--latest", "--accounts"];
    let words = [
        "may not create `owner`@`localhost`",
        "procedure `apart`.`p`",
        "ALLOW_NONEXISTENT_DEFINER",
    ];
    let plan = drctl.run([&restore[..], &["--plan"]].concat());
    for word in words {
        assert!(plan.stdout.contains(word), "{word}: {}", plan.stdout);
    }
    drctl.run(restore).refused(9, &words);
    // Both ways out, and the other account was never in question.
    case.into.exec("CREATE USER owner@localhost");
    drctl.run([&restore[..], &["--plan"]].concat()).ok();
    case.into.exec(
        "DROP USER owner@localhost; GRANT ALLOW_NONEXISTENT_DEFINER ON *.* TO restorer@localhost",
    );
    drctl.run(restore).ok();
    assert_eq!(
        case.into
            .value("SELECT COUNT(*) FROM mysql.user WHERE user IN ('owner', 'other')"),
        "2"
    );
}

#[test]
fn partial_revokes_on_one_side_only_are_refused_by_name() {
    need!(MySql);
    const ON: &str = "SET PERSIST partial_revokes = ON";
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "SET PERSIST partial_revokes = ON; CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE USER u@'%';
         GRANT SELECT, INSERT ON *.* TO u@'%'; REVOKE INSERT ON d.* FROM u@'%'",
    );
    let doctor = case.drctl.run(["doctor"]);
    assert!(
        doctor.stdout.contains("partial_revokes"),
        "{}",
        doctor.stdout
    );
    case.drctl.run(["backup"]).ok();
    case.drctl
        .run(["restore", "--latest", "--accounts"])
        .refused(
            9,
            &["partial_revokes was ON", "SET PERSIST partial_revokes = ON"],
        );
    case.into.exec(ON);
    case.drctl.run(["restore", "--latest", "--accounts"]).ok();
    alike(&case);
    case.passes_drills();

    // The other way round: a wildcard would become a letter.
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE USER u@'%'; GRANT SELECT ON `d%`.* TO u@'%'",
    );
    case.drctl.run(["backup"]).ok();
    case.into.exec(ON);
    case.drctl
        .run(["restore", "--latest", "--accounts"])
        .refused(9, &["partial_revokes was OFF"]);
    case.drctl.run(["restore", "--latest"]).ok();
}

#[test]
fn roles_that_every_account_has_are_named() {
    need!(MySql);
    let case = Case::empty(Flavour::MySql, &[]);
    case.source.exec(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); CREATE ROLE r; SET PERSIST mandatory_roles = 'r'",
    );
    let doctor = case.drctl.run(["doctor"]);
    assert!(
        doctor.stdout.contains("mandatory_roles"),
        "{}",
        doctor.stdout
    );
    case.drctl.run(["backup"]).ok();
    let plan = case
        .drctl
        .run(["restore", "--latest", "--accounts", "--plan"])
        .ok();
    assert!(
        plan.stdout.contains("mandatory_roles is \"\""),
        "{}",
        plan.stdout
    );
}
