//! Recorded results of servers that the tests do not run: MySQL 8.0 and 8.4, and hosted servers.
//!
//! The sources are the manuals of MySQL and of hosting providers, and public bug reports. Names of hosts, accounts and
//! schemas, and all hashes, are made up.

use std::time::Duration;

use crate::mysql::ServerVersion;
use crate::mysql::connect::NamedRow;
use crate::mysql::grants::{Grants, Patterns};
use crate::mysql::replication::{Channel, channel};
use crate::mysql::schemas::own;
use crate::mysql::scope::Scope;

/// Grants of the master account of RDS for MySQL 8.0 with the role `rds_superuser_role`, and of Aurora 3.
const RDS: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE ROLE, DROP ROLE ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT APPLICATION_PASSWORD_ADMIN,FLUSH_OPTIMIZER_COSTS,FLUSH_STATUS,FLUSH_TABLES,FLUSH_USER_RESOURCES,ROLE_ADMIN,SENSITIVE_VARIABLES_OBSERVER,SESSION_VARIABLES_ADMIN,SET_USER_ID,SHOW_ROUTINE,XA_RECOVER_ADMIN ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT `rds_superuser_role`@`%` TO `admin`@`%`",
];

/// The same for RDS for MySQL 8.4, where no account may define objects of missing definers.
const RDS_8_4: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, CREATE ROLE, DROP ROLE ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT APPLICATION_PASSWORD_ADMIN,FLUSH_OPTIMIZER_COSTS,FLUSH_PRIVILEGES,FLUSH_STATUS,FLUSH_TABLES,FLUSH_USER_RESOURCES,ROLE_ADMIN,SENSITIVE_VARIABLES_OBSERVER,SESSION_VARIABLES_ADMIN,SET_ANY_DEFINER,SHOW_ROUTINE,XA_RECOVER_ADMIN ON *.* TO `admin`@`%` WITH GRANT OPTION",
    "GRANT `rds_superuser_role`@`%` TO `admin`@`%`",
];

/// The same with an inactive role.
const RDS_WITHOUT_ITS_ROLE: &[&str] = &[
    "GRANT USAGE ON *.* TO `admin`@`%`",
    "GRANT `rds_superuser_role`@`%` TO `admin`@`%`",
];

/// Aurora 2 has privileges of its own among the static ones.
const AURORA: &[&str] = &[
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, LOAD FROM S3, SELECT INTO S3, INVOKE LAMBDA, INVOKE SAGEMAKER, INVOKE COMPREHEND ON *.* TO 'admin'@'%' WITH GRANT OPTION",
];

/// Cloud SQL protects the system schemas by partial revokes.
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

fn grants(lines: &[&str], patterns: Patterns) -> Grants {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    Grants::parse(&lines, patterns, own("8.0.36", false, false)).unwrap()
}

fn missing(lines: &[&str], patterns: Patterns, version: &str) -> Vec<String> {
    let server = ServerVersion::parse(version, "").unwrap();
    let grants = grants(lines, patterns);
    let missing = grants.missing(&server, &Scope::default(), &["shop".to_owned()]);
    missing.iter().map(ToString::to_string).collect()
}

#[test]
fn master_accounts_of_hosted_servers_lack_no_privileges() {
    for (host, lines, patterns) in [
        ("RDS", RDS, Patterns::Wildcards),
        ("RDS 8.4", RDS_8_4, Patterns::Wildcards),
        ("Aurora", AURORA, Patterns::Wildcards),
        ("Cloud SQL", CLOUD_SQL, Patterns::Literal),
        ("Azure", AZURE, Patterns::Wildcards),
    ] {
        assert_eq!(missing(lines, patterns, "8.0.36"), [""; 0], "{host}");
        let held = grants(lines, patterns);
        assert!(held.has_globally("RELOAD"), "{host}");
        assert!(!held.has_globally("SUPER"), "{host}");
    }
}

#[test]
fn the_refusal_suggests_to_activate_an_inactive_role() {
    let held = grants(RDS_WITHOUT_ITS_ROLE, Patterns::Wildcards);
    let server = ServerVersion::parse("8.0.36", "").unwrap();
    let missing = held.missing(&server, &Scope::default(), &["shop".to_owned()]);
    let refusal = held.refusal(&missing).unwrap().to_string();
    assert!(
        refusal.contains("make the role that holds it a default role"),
        "{refusal}"
    );
}

/// SHOW SLAVE STATUS of MySQL 5.7; in its manual, one column has another case.
const SLAVE_5_7: &str = "
               Slave_IO_State: Waiting for master to send event
                  Master_Host: db-0
                  Master_User: repl
                  Master_Port: 3306
                Connect_Retry: 60
              Master_Log_File: source-bin.000002
          Read_Master_Log_Pos: 1307
               Relay_Log_File: replica-relay-bin.000003
                Relay_Log_Pos: 1508
        Relay_Master_Log_File: source-bin.000002
             Slave_IO_Running: Yes
            Slave_SQL_Running: Yes
              Replicate_Do_DB:
                   Last_Errno: 0
                   Last_Error:
                 Skip_Counter: 0
          Exec_Master_Log_Pos: 1307
           Master_SSL_Allowed: No
        Seconds_Behind_Master: 7
Master_SSL_Verify_Server_Cert: No
                Last_IO_Errno: 0
                Last_IO_Error:
               Last_SQL_Errno: 0
               Last_SQL_Error:
             Master_Server_Id: 1
                  Master_UUID: 3e11fa47-71ca-11e1-9e33-c80aa9429562
             Master_Info_File: /var/lib/mysql/master.info
          SQL_Remaining_Delay: NULL
      Slave_SQL_Running_State: Reading event from the relay log
            Executed_Gtid_Set: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5
                Auto_Position: 1
                 Channel_name:
           Master_TLS_Version: TLSv1.2";

/// SHOW SLAVE STATUS of MySQL 8.0; the applier has stopped.
const SLAVE_8_0: &str = "
               Slave_IO_State: Waiting for master to send event
                  Master_Host: 10.0.0.7
             Slave_IO_Running: Yes
            Slave_SQL_Running: No
        Seconds_Behind_Master: NULL
                Last_IO_Errno: 0
                Last_IO_Error:
               Last_SQL_Errno: 1062
               Last_SQL_Error: Error 'Duplicate entry '1' for key 'orders.PRIMARY'' on query.
             Master_Info_File: mysql.slave_master_info
                 Channel_Name: eu
       Master_public_key_path:
        Get_master_public_key: 0
            Network_Namespace:";

/// SHOW REPLICA STATUS of MySQL 8.0.22 and later, with some older column names.
const REPLICA_8_0: &str = "
             Replica_IO_State: Waiting for source to send event
                  Source_Host: 127.0.0.1
                  Source_User: root
                  Source_Port: 13000
                Connect_Retry: 1
              Source_Log_File: master-bin.000001
          Read_Source_Log_Pos: 927
               Relay_Log_File: slave-relay-bin.000002
                Relay_Log_Pos: 1145
        Relay_Source_Log_File: master-bin.000001
           Replica_IO_Running: Yes
          Replica_SQL_Running: Yes
                   Last_Errno: 0
                   Last_Error:
          Exec_Source_Log_Pos: 927
           Source_SSL_Allowed: No
        Seconds_Behind_Source: 0
Source_SSL_Verify_Server_Cert: No
                Last_IO_Errno: 0
                Last_IO_Error:
               Last_SQL_Errno: 0
               Last_SQL_Error:
             Source_Server_Id: 1
                  Source_UUID: 73f86016-978b-11ee-ade5-8d2a2a562feb
             Source_Info_File: mysql.slave_master_info
          SQL_Remaining_Delay: NULL
    Replica_SQL_Running_State: Replica has read all relay log; waiting for more updates
           Source_Retry_Count: 10
           Retrieved_Gtid_Set: 73f86016-978b-11ee-ade5-8d2a2a562feb:1-3
            Executed_Gtid_Set: 73f86016-978b-11ee-ade5-8d2a2a562feb:1-3
                Auto_Position: 1
                 Channel_Name:
        Get_Source_public_key: 0
            Network_Namespace:";

/// The same for MySQL 8.4; the source is unreachable.
const REPLICA_8_4: &str = "
             Replica_IO_State: Connecting to source
                  Source_Host: db-1
           Replica_IO_Running: Connecting
          Replica_SQL_Running: Yes
        Seconds_Behind_Source: 3600
                Last_IO_Errno: 2003
                Last_IO_Error: Error connecting to source 'repl@db-1:3306'. This was attempt 2/10, with a delay of 60 seconds between attempts.
               Last_SQL_Error:
                 Channel_Name: us
           Source_Retry_Count: 10";

/// Parses a row in vertical format.
fn shown(rows: &str) -> NamedRow {
    let columns: Vec<(&str, Option<&str>)> = rows
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), Some(value.trim()).filter(|it| *it != "NULL")))
        .collect();
    NamedRow::of(&columns)
}

#[test]
fn the_status_of_replicas_of_all_versions_is_parsed() {
    let is = |source: &str, name: &str, running, lag: Option<u64>, error: &str| Channel {
        name: name.into(),
        source: source.into(),
        running,
        lag: lag.map(Duration::from_secs),
        error: error.into(),
    };
    for (version, row, expected) in [
        ("5.7", SLAVE_5_7, is("db-0", "", true, Some(7), "")),
        (
            "8.0.21",
            SLAVE_8_0,
            is(
                "10.0.0.7",
                "eu",
                false,
                None,
                "Error 'Duplicate entry '1' for key 'orders.PRIMARY'' on query.",
            ),
        ),
        (
            "8.0.36",
            REPLICA_8_0,
            is("127.0.0.1", "", true, Some(0), ""),
        ),
        (
            "8.4.2",
            REPLICA_8_4,
            is(
                "db-1",
                "us",
                false,
                Some(3600),
                "Error connecting to source 'repl@db-1:3306'. This was attempt 2/10, with a delay of 60 seconds between attempts.",
            ),
        ),
    ] {
        assert_eq!(channel(&shown(row)), expected, "{version}");
    }
}

/// A result of SHOW CREATE USER.
pub struct CreateUser {
    /// The server.
    pub version: &'static str,
    /// The account.
    pub user: &'static str,
    /// The authentication plugins, in order.
    pub plugins: &'static [&'static str],
    /// The hash of the first plugin, as in the result.
    pub hash: Option<&'static str>,
    /// The DEFAULT ROLE clause, as in the result.
    pub roles: &'static str,
    /// The result; since 8.0.17 with `print_identified_with_as_hex`, unless noted otherwise.
    pub answer: &'static str,
}

/// Accounts of MySQL 8.0 and 8.4.
pub const CREATE_USER: &[CreateUser] = &[
    CreateUser {
        version: "8.0.11",
        user: "app",
        plugins: &["caching_sha2_password"],
        hash: Some("'$A$005$!|u1:f)%N<%/+2gITudWXWtLafukpuKexUBvRHqly0MZZYnj9qclJ8uwW2'"),
        roles: "",
        answer: "CREATE USER 'app'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$!|u1:f)%N<%/+2gITudWXWtLafukpuKexUBvRHqly0MZZYnj9qclJ8uwW2' REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT",
    },
    CreateUser {
        version: "8.0.36, without print_identified_with_as_hex",
        user: "O'Brien",
        plugins: &["caching_sha2_password"],
        hash: Some(r"'$A$005$.R\'`S^2)\Z>tVxOSrZeBCRpWBu.HH1tP.Yj7UoWJLIdwsWvSoK2ui5oWd2'"),
        roles: "",
        answer: r"CREATE USER `O'Brien`@`%` IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$.R\'`S^2)\Z>tVxOSrZeBCRpWBu.HH1tP.Yj7UoWJLIdwsWvSoK2ui5oWd2' REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
    },
    CreateUser {
        version: "8.0.36",
        user: "u1",
        plugins: &["caching_sha2_password"],
        hash: Some(
            "0x244124303035240C7745603626313D613C4C10633E0A104B1E14135A544A7871567245614F4872344643546336546F624F6C7861326932752F45622F4F473273597557627139",
        ),
        roles: " DEFAULT ROLE `reader`@`%`,`writer REQUIRE`@`%`",
        answer: "CREATE USER `u1`@`localhost` IDENTIFIED WITH 'caching_sha2_password' AS 0x244124303035240C7745603626313D613C4C10633E0A104B1E14135A544A7871567245614F4872344643546336546F624F6C7861326932752F45622F4F473273597557627139 DEFAULT ROLE `reader`@`%`,`writer REQUIRE`@`%` REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
    },
    CreateUser {
        version: "8.0.36, two factors",
        user: "u2",
        plugins: &["authentication_fido", "caching_sha2_password"],
        hash: Some("'sha2_password'"),
        roles: "",
        answer: "CREATE USER `u2`@`localhost` IDENTIFIED WITH 'caching_sha2_password' AS 'sha2_password' AND IDENTIFIED WITH 'authentication_fido' REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
    },
    CreateUser {
        version: "8.0.36, an account that logs in elsewhere",
        user: "iam",
        plugins: &["awsauthenticationplugin"],
        hash: Some("'RDS'"),
        roles: "",
        answer: "CREATE USER `iam`@`%` IDENTIFIED WITH 'AWSAuthenticationPlugin' AS 'RDS' REQUIRE SSL PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
    },
    CreateUser {
        version: "8.4.2",
        user: "ops",
        plugins: &["caching_sha2_password"],
        hash: Some(
            "0x244124303035247D6F2856632B233F703A555B4D42351B7E462D78464F5878703332553746366F777350525A37783341614E3073705046366276552F68366F6F693261317338",
        ),
        roles: " DEFAULT ROLE `r`@`%`",
        answer: r#"CREATE USER `ops`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x244124303035247D6F2856632B233F703A555B4D42351B7E462D78464F5878703332553746366F777350525A37783341614E3073705046366276552F68366F6F693261317338 DEFAULT ROLE `r`@`%` REQUIRE SUBJECT '/CN=ops' WITH MAX_USER_CONNECTIONS 3 PASSWORD EXPIRE INTERVAL 90 DAY ACCOUNT LOCK PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 365 DAY PASSWORD REQUIRE CURRENT OPTIONAL FAILED_LOGIN_ATTEMPTS 4 PASSWORD_LOCK_TIME 2 ATTRIBUTE '{"team": "it\'s DEFAULT ROLE x REQUIRE"}'"#,
    },
    CreateUser {
        version: "8.4.2, a role",
        user: "reader",
        plugins: &["caching_sha2_password"],
        hash: None,
        roles: "",
        answer: "CREATE USER `reader`@`%` IDENTIFIED WITH 'caching_sha2_password' REQUIRE NONE PASSWORD EXPIRE ACCOUNT LOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
    },
];
