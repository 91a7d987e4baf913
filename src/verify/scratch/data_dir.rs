//! Initialises an empty data directory with the server's own program: an account `root@localhost` without a
//! password, reachable through a socket in a directory that other users cannot enter.

use std::fs::File;
use std::time::Duration;

use crate::mysql::Flavour;
use crate::util::error::{Error, Result};
use crate::util::pdeathsig;
use crate::verify::scratch::orphans::PrivateDir;
use crate::verify::scratch::process::{command, last_error};
use crate::verify::scratch::programs::Program;

/// Time limit for the initialisation.
const INITIALISE_TIMEOUT: Duration = Duration::from_secs(600);

/// Options that prevent MySQL from creating keys and certificates, which a server reached only through its
/// socket does not need.
pub const NO_KEYS: [&str; 3] = [
    "--loose-auto-generate-certs=OFF",
    "--loose-caching-sha2-password-auto-generate-rsa-keys=OFF",
    "--loose-sha256-password-auto-generate-rsa-keys=OFF",
];

/// Initialises the data directory, on MariaDB from these definitions of its system tables.
pub async fn initialise(
    program: &Program,
    dir: &PrivateDir,
    options: &[String],
    definitions: Option<String>,
) -> Result<()> {
    let log = dir.path().join("log");
    let mut arguments = vec![
        format!("--datadir={}", dir.path().join("data").display()),
        // At startup MariaDB clears its temporary directory, with files of other servers in it.
        format!("--tmpdir={}", dir.path().display()),
    ];
    arguments.extend(options.iter().cloned());
    let mut command = command(program, dir, &log)?;
    let input = match definitions {
        None => {
            arguments.extend([
                "--initialize-insecure".to_owned(),
                "--loose-innodb-redo-log-capacity=8M".to_owned(),
                "--loose-innodb-flush-method=nosync".to_owned(),
                "--loose-innodb-doublewrite=OFF".to_owned(),
            ]);
            arguments.extend(NO_KEYS.map(str::to_owned));
            None
        }
        Some(sql) => {
            std::fs::create_dir(dir.path().join("data")).map_err(|e| {
                Error::server("cannot create the data directory of the scratch server").because(e)
            })?;
            arguments.extend([
                "--bootstrap".to_owned(),
                "--innodb-log-file-size=8M".to_owned(),
            ]);
            Some(write_bootstrap(&sql, dir)?)
        }
    };
    command.args(arguments);
    if let Some(file) = input {
        command.stdin(file);
    }
    let failed = |what: String| {
        let why = last_error(&log).map(|line| format!(": {line}"));
        Error::server(format!(
            "{} cannot initialise the scratch server's data ({what}){}",
            program.path.display(),
            why.unwrap_or_default()
        ))
        .hint("check the free space in verify.scratch_dir, and that the server program runs on this machine")
    };
    let mut child = pdeathsig::spawn(command).map_err(|e| failed(e.to_string()))?;
    let status = tokio::time::timeout(INITIALISE_TIMEOUT, child.wait())
        .await
        .map_err(|_| {
            failed(format!(
                "not finished within {} s",
                INITIALISE_TIMEOUT.as_secs()
            ))
        })?
        .map_err(|e| failed(e.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string()))
    }
}

/// The input of mariadb-install-db: the definitions of the system tables of the installation. `None` on
/// MySQL, whose program contains them.
///
/// The script itself is missing if only the server package is installed.
pub fn definitions(program: &Program) -> Result<Option<String>> {
    if program.version.flavour == Flavour::MySql {
        return Ok(None);
    }
    let missing = || {
        Error::usage(format!(
            "the installation of {} lacks the definitions of the system tables",
            program.path.display()
        ))
        .hint("install the complete server package, including mariadb_system_tables.sql")
    };
    let share = program.layout.definitions.as_ref().ok_or_else(missing)?;
    let mut sql = String::from(
        "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\n\
         SET @auth_root_socket = NULL;\nSET @skip_auth_anonymous = 1;\n",
    );
    for parts in [
        &["mariadb_system_tables.sql", "mysql_system_tables.sql"][..],
        &[
            "mariadb_performance_tables.sql",
            "mysql_performance_tables.sql",
        ],
        &[
            "mariadb_system_tables_data.sql",
            "mysql_system_tables_data.sql",
        ],
        &["maria_add_gis_sp_bootstrap.sql"],
        &["mariadb_sys_schema.sql", "mysql_sys_schema.sql"],
    ] {
        let text = parts
            .iter()
            .find_map(|name| std::fs::read_to_string(share.join(name)).ok());
        sql.push_str(&text.ok_or_else(missing)?);
    }
    Ok(Some(sql))
}

fn write_bootstrap(sql: &str, dir: &PrivateDir) -> Result<File> {
    let path = dir.path().join("bootstrap.sql");
    std::fs::write(&path, sql)
        .and_then(|()| File::open(&path))
        .map_err(|e| Error::server("cannot write into the scratch directory").because(e))
}
