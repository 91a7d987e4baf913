//! What servers answer that are not to be had here: MySQL 8.0 and 8.4, and hosted ones.
//!
//! Recorded from documentation: the manuals of MySQL and of the hosts, and public bug reports. Names of hosts,
//! accounts and schemas are made up.

use crate::server::ServerVersion;
use crate::server::schemas::own;
use crate::source::grants::Grants;
use crate::source::scope::Scope;

/// What the first account of RDS for MySQL 8.0 holds by the role `rds_superuser_role`, and that of Aurora 3.
const RDS: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE ROLE, DROP ROLE ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT APPLICATION_PASSWORD_ADMIN,FLUSH_OPTIMIZER_COSTS,FLUSH_STATUS,FLUSH_TABLES,FLUSH_USER_RESOURCES,ROLE_ADMIN,SENSITIVE_VARIABLES_OBSERVER,SESSION_VARIABLES_ADMIN,SET_USER_ID,SHOW_ROUTINE,XA_RECOVER_ADMIN ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT `rds_superuser_role`@`%` TO `admin`@`%`",
];

/// The same where the role is not active: nothing but its name.
const RDS_WITHOUT_ITS_ROLE: &[&str] = &[
    "GRANT USAGE ON *.* TO `admin`@`%`",
    "GRANT `rds_superuser_role`@`%` TO `admin`@`%`",
];

/// Aurora 2 names its own functions among the static privileges.
const AURORA: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, LOAD FROM S3, SELECT INTO S3, INVOKE LAMBDA, INVOKE SAGEMAKER, INVOKE COMPREHEND ON *.* TO 'admin'@'%' WITH GRANT OPTION",
];

/// Cloud SQL keeps the system schemas from its first account by partial revokes.
const CLOUD_SQL: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE TABLESPACE, CREATE ROLE, DROP ROLE ON *.* TO `root`@`%` WITH GRANT OPTION",
    "GRANT APPLICATION_PASSWORD_ADMIN,CONNECTION_ADMIN,ROLE_ADMIN,SET_USER_ID,XA_RECOVER_ADMIN ON *.* TO `root`@`%` WITH GRANT OPTION",
    "REVOKE INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, LOCK TABLES, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER ON `mysql`.* FROM `root`@`%`",
    "REVOKE INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE TEMPORARY TABLES, LOCK TABLES, CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER ON `sys`.* FROM `root`@`%`",
    "GRANT `cloudsqlsuperuser`@`%` TO `root`@`%`",
];

/// Azure Database for MySQL, flexible server.
const AZURE: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE ROLE, DROP ROLE ON *.* TO `dba`@`%` WITH GRANT OPTION",
    "GRANT CONNECTION_ADMIN,ROLE_ADMIN,SESSION_VARIABLES_ADMIN,SET_USER_ID,XA_RECOVER_ADMIN ON *.* TO `dba`@`%` WITH GRANT OPTION",
];

fn grants(lines: &[&str], partial_revokes: bool) -> Grants {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    Grants::parse(&lines, partial_revokes, own("8.0.36", false, false)).unwrap()
}

fn missing(lines: &[&str], partial_revokes: bool, version: &str) -> Vec<String> {
    let server = ServerVersion::parse(version, "").unwrap();
    let grants = grants(lines, partial_revokes);
    let missing = grants.missing(&server, &Scope::default(), &["shop".to_owned()]);
    missing.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_accounts_of_hosts_see_everything_and_hold_the_privilege_whose_lock_is_refused() {
    for (host, lines, revokes) in [
        ("RDS", RDS, false),
        ("Aurora", AURORA, false),
        ("Cloud SQL", CLOUD_SQL, true),
        ("Azure", AZURE, false),
    ] {
        assert_eq!(missing(lines, revokes, "8.0.36"), [""; 0], "{host}");
        let held = grants(lines, revokes);
        assert!(held.has_globally("RELOAD"), "{host}");
        assert!(!held.has_globally("SUPER"), "{host}");
    }
}

#[test]
fn a_role_that_is_not_active_holds_nothing_and_the_refusal_says_what_to_do() {
    let held = grants(RDS_WITHOUT_ITS_ROLE, false);
    let server = ServerVersion::parse("8.0.36", "").unwrap();
    let missing = held.missing(&server, &Scope::default(), &["shop".to_owned()]);
    let refusal = held.refusal(&missing).unwrap().to_string();
    assert!(
        refusal.contains("make the role that holds it a default role"),
        "{refusal}"
    );
}
