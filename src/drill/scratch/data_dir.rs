//! An empty server's data, made by its own program: an account `root@localhost` without a password,
//! behind a socket in a directory that nobody else can enter.

use std::fs::File;
use std::time::Duration;

use crate::drill::scratch::process::{command, last_error};
use crate::drill::scratch::programs::Program;
use crate::drill::scratch::strays::PrivateDir;
use crate::error::{Error, Result};
use crate::server::{Flavour, tie};

/// How long it may take.
const MAKE_TIMEOUT: Duration = Duration::from_secs(600);

/// Makes it.
pub async fn make(program: &Program, dir: &PrivateDir, options: &[String]) -> Result<()> {
    let log = dir.path().join("log");
    let mut arguments = vec![
        format!("--datadir={}", dir.path().join("data").display()),
        // MariaDB clears its temporary directory of other servers' files when it starts.
        format!("--tmpdir={}", dir.path().display()),
    ];
    arguments.extend(options.iter().cloned());
    let mut command = command(program, dir, &log)?;
    let input = match program.version.flavour {
        Flavour::MySql => {
            arguments.extend([
                "--initialize-insecure".to_owned(),
                "--loose-innodb-redo-log-capacity=8M".to_owned(),
                "--loose-innodb-flush-method=nosync".to_owned(),
            ]);
            None
        }
        Flavour::MariaDb => {
            std::fs::create_dir(dir.path().join("data"))
                .map_err(|e| Error::server("make the scratch server's data").because(e))?;
            arguments.extend([
                "--bootstrap".to_owned(),
                "--innodb-log-file-size=8M".to_owned(),
            ]);
            Some(bootstrap_file(program, dir)?)
        }
    };
    command.args(arguments);
    if let Some(file) = input {
        command.stdin(file);
    }
    let failed = |what: String| {
        let why = last_error(&log).map(|line| format!(": {line}"));
        Error::server(format!(
            "{} could not make a scratch server's data ({what}){}",
            program.path.display(),
            why.unwrap_or_default()
        ))
        .hint("check the space in verify.scratch_dir, and that the server runs on this machine")
    };
    let mut child = tie::spawn(command).map_err(|e| failed(e.to_string()))?;
    let status = tokio::time::timeout(MAKE_TIMEOUT, child.wait())
        .await
        .map_err(|_| failed(format!("no end within {} s", MAKE_TIMEOUT.as_secs())))?
        .map_err(|e| failed(e.to_string()))?;
    match status.success() {
        true => Ok(()),
        false => Err(failed(status.to_string())),
    }
}

/// What mariadb-install-db feeds to a server: the definitions of the system tables of its installation.
/// The script itself is missing where only the server is installed.
fn bootstrap_file(program: &Program, dir: &PrivateDir) -> Result<File> {
    let missing = || {
        Error::usage(format!(
            "the installation of {} has no definitions of the system tables",
            program.path.display()
        ))
        .hint("install the server's whole package, mariadb_system_tables.sql included")
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
    let path = dir.path().join("bootstrap.sql");
    std::fs::write(&path, sql)
        .and_then(|()| File::open(&path))
        .map_err(|e| Error::server("write into the scratch directory").because(e))
}
