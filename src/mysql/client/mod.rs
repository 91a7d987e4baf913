//! The client programs that fit a server, and their execution.
//!
//! A MySQL server is dumped by Oracle's `mysqldump` of the same release series or a newer one, a MariaDB server by
//! `mariadb-dump`; the programs of the other flavour do not work properly. The `--version` of a program decides, not its
//! file name, since Debian's `mysqldump` is MariaDB's.
//!
//! Programs run with an empty environment and a single option file: a `[mysqldump] where=…` in a my.cnf would omit rows
//! with exit 0.

pub mod dump_options;
pub mod dump_process;
pub mod line_ends;
mod login;
pub mod shell;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;

use crate::mysql::client::login::Login;
use crate::mysql::{Connection, Flavour, Role, ServerConfig, ServerVersion, Version, connect};
use crate::util::pdeathsig;
use crate::util::program::{ask, bare};
use crate::{Error, Result};

/// The client programs that fit one server.
#[derive(Debug, Clone)]
pub struct Client {
    /// Flavour of the programs.
    pub flavour: Flavour,
    /// Version of the dump program.
    pub version: Version,
    /// Output of the dump program's `--version`, without its path.
    pub banner: String,
    /// Path of `mysqldump` or `mariadb-dump`.
    dump: PathBuf,
    /// Path of the interactive client, `mysql` or `mariadb`; `None` if it does not exist.
    shell: Option<PathBuf>,
    /// Path of the program that prints a binary log, `mysqlbinlog` or `mariadb-binlog`; `None` if it does not exist.
    log: Option<PathBuf>,
    /// All long options of the dump program, without dashes.
    options: BTreeSet<String>,
    login: Arc<Login>,
    /// Determines the exit code of failures.
    role: Role,
}

impl Client {
    /// Connects to the server, and finds the client that fits it.
    pub async fn of(config: &ServerConfig) -> Result<Client> {
        let mut connection = connect(config).await?;
        let version = connection.version().await?;
        let client = Client::for_server(config, &connection, &version).await?;
        connection.close().await;
        Ok(client)
    }

    /// Finds the client that fits the server of `connection`, and reads its version and options.
    ///
    /// # Errors
    ///
    /// A usage error (exit 2) if no client fits.
    pub async fn for_server(
        config: &ServerConfig,
        connection: &Connection,
        server: &ServerVersion,
    ) -> Result<Client> {
        let (dump_names, shell_names, log_names) = match server.flavour {
            Flavour::MySql => (&["mysqldump"][..], &["mysql"][..], &["mysqlbinlog"][..]),
            Flavour::MariaDb => (
                &["mariadb-dump", "mysqldump"][..],
                &["mariadb", "mysql"][..],
                &["mariadb-binlog", "mysqlbinlog"][..],
            ),
        };
        let dirs = search_dirs(config);
        let mut seen = Vec::new();
        let mut found = None;
        for path in candidates(&dirs, dump_names) {
            let banner = ask(&path, &["--version"]).await.map_err(unfit)?;
            match Banner::parse(&banner) {
                Some(banner) if fits(&banner, server) => {
                    found = Some((path, banner));
                    break;
                }
                Some(banner) => seen.push(format!(
                    "{} is {} {}",
                    path.display(),
                    banner.flavour,
                    banner.version
                )),
                None => seen.push(format!("{} has an unknown --version", path.display())),
            }
        }
        let Some((dump, banner)) = found else {
            return Err(no_client(config, server, dump_names, &seen));
        };
        let options = known_options(&ask(&dump, &["--help"]).await.map_err(unfit)?);
        if !options.contains("single-transaction") {
            return Err(Error::usage(format!(
                "{}: its --help does not list --single-transaction",
                dump.display()
            ))
            .hint("point client_dir at an unmodified client"));
        }
        // The others are expected in the same directory; only some drills and replays need them.
        let beside: Vec<PathBuf> = dump.parent().map(Path::to_owned).into_iter().collect();
        let shell = candidates(&beside, shell_names).into_iter().next();
        let log = candidates(&beside, log_names).into_iter().next();
        Ok(Client {
            flavour: banner.flavour,
            version: banner.version,
            banner: banner.text,
            dump,
            shell,
            log,
            options,
            login: Arc::new(Login::new(config, server.flavour, connection.encrypted())?),
            role: config.role,
        })
    }

    /// Whether the dump program supports a long option, given without dashes.
    pub fn knows(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    /// File name of the dump program: `mysqldump`, `mariadb-dump`.
    pub fn name(&self) -> String {
        let name = self
            .dump
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| "mysqldump".to_owned())
    }

    /// Path of the dump program, for messages.
    pub fn dump_program(&self) -> &Path {
        &self.dump
    }

    /// The role of the server.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Command for the dump program with its login and the given arguments. Started by [`pdeathsig::spawn`], the program
    /// ends with this process.
    pub fn dump_command<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        self.command(&self.dump, args)
    }

    /// Command for the interactive client with its login and the given arguments.
    ///
    /// # Errors
    ///
    /// A usage error (exit 2) if there is none in the directory of the dump program.
    pub fn shell_command<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Command> {
        Ok(self.command(self.beside(self.shell.as_deref(), "mysql")?, args))
    }

    /// Command for the program that prints the binary log of its standard input as SQL; it logs in nowhere.
    ///
    /// # Errors
    ///
    /// A usage error (exit 2) if there is none in the directory of the dump program.
    pub fn log_command(&self) -> Result<Command> {
        let program = self.beside(self.log.as_deref(), "mysqlbinlog")?;
        let mut command = bare(pdeathsig::command(program));
        command.args(["--no-defaults", "--verify-binlog-checksum", "-"]);
        Ok(command)
    }

    fn beside<'a>(&self, program: Option<&'a Path>, name: &str) -> Result<&'a Path> {
        program.ok_or_else(|| {
            Error::usage(format!(
                "there is no {name} in the directory of {}",
                self.dump.display()
            ))
            .hint("install it, or point client_dir at a directory with all client programs")
        })
    }

    fn command<S: AsRef<std::ffi::OsStr>>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = bare(pdeathsig::command(program));
        command.arg(self.login.argument()).args(args);
        command
    }
}

/// Parsed `--version` of a dump program.
#[derive(Debug, PartialEq, Eq)]
struct Banner {
    flavour: Flavour,
    /// Version of the distribution, not that of the program ("Ver 10.19").
    version: Version,
    /// The line, starting at the version.
    text: String,
}

impl Banner {
    fn parse(line: &str) -> Option<Banner> {
        let line = line.trim();
        // MariaDB: "Ver 10.19 Distrib 10.11.19-MariaDB," or "from 11.4.2-MariaDB, client 10.19".
        // Oracle: "Ver 9.7.4 for Linux" or, before 8.0, "Ver 10.13 Distrib 5.7.44,".
        let (start, version) = ["from ", "Distrib ", "Ver "].iter().find_map(|word| {
            let start = line.find(&format!(" {word}"))? + 1;
            let version = line[start + word.len()..].parse().ok()?;
            Some((start, version))
        })?;
        Some(Banner {
            flavour: if line.contains("MariaDB") {
                Flavour::MariaDb
            } else {
                Flavour::MySql
            },
            version,
            text: line[start..].to_owned(),
        })
    }
}

fn fits(client: &Banner, server: &ServerVersion) -> bool {
    client.flavour == server.flavour && client.version.series() >= server.version.series()
}

fn no_client(
    config: &ServerConfig,
    server: &ServerVersion,
    names: &[&str],
    seen: &[String],
) -> Error {
    let (major, minor) = server.version.series();
    let place = match &config.client_dir {
        Some(dir) => format!("in {}", dir.display()),
        None => "in PATH".to_owned(),
    };
    let seen = match seen {
        [] => format!("there is no {}", names.join(" or ")),
        seen => seen.join(", "),
    };
    Error::usage(format!(
        "no client {place} fits the server ({server}): {seen}"
    ))
    .hint(format!(
        "install {}'s {} {major}.{minor} or newer, or point client_dir at it",
        server.flavour, names[0]
    ))
}

fn unfit(why: String) -> Error {
    Error::usage(why).hint("point client_dir at a client that runs on this host")
}

fn search_dirs(config: &ServerConfig) -> Vec<PathBuf> {
    match &config.client_dir {
        Some(dir) => vec![dir.clone()],
        None => std::env::var_os("PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default(),
    }
}

/// Existing programs, the preferred name first.
fn candidates(dirs: &[PathBuf], names: &[&str]) -> Vec<PathBuf> {
    names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .filter(|path| path.is_file())
        .collect()
}

/// The long options in a `--help`: those at the start of a line, after an optional short one, and those in the table of
/// variables at its end, which has some that are not listed elsewhere.
fn known_options(help: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    let mut in_table = false;
    for line in help.lines() {
        if line.starts_with("----") {
            in_table = true;
            continue;
        }
        let name = if in_table {
            line.split_whitespace().next()
        } else {
            // Further indented lines are prose, which may also start with an option.
            const MAX_INDENT: usize = 6;
            let indent = line.len() - line.trim_start().len();
            if indent > MAX_INDENT {
                continue;
            }
            let line = line.trim_start();
            let line = match line.as_bytes() {
                [b'-', short, b',', b' ', ..] if *short != b'-' => &line[4..],
                _ => line,
            };
            line.strip_prefix("--")
        };
        let Some(name) = name else { continue };
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
            .unwrap_or(name.len());
        if end > 0 {
            options.insert(name[..end].replace('_', "-"));
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_decides_and_not_the_file_name() {
        for (line, flavour, version) in [
            (
                "mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)",
                Flavour::MariaDb,
                "10.11.19",
            ),
            (
                "/usr/bin/mariadb-dump from 11.4.2-MariaDB, client 10.19 for debian-linux-gnu (x86_64)",
                Flavour::MariaDb,
                "11.4.2",
            ),
            (
                "mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))",
                Flavour::MySql,
                "9.7.4",
            ),
            (
                "/opt/my client/mysqldump  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28)",
                Flavour::MySql,
                "8.0.36",
            ),
            (
                "mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)",
                Flavour::MySql,
                "5.7.44",
            ),
            // Recorded from documentation.
            (
                "mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
                Flavour::MySql,
                "8.0.36",
            ),
            (
                "mysqldump  Ver 8.0.43-0ubuntu0.22.04.1 for Linux on x86_64 ((Ubuntu))",
                Flavour::MySql,
                "8.0.43",
            ),
            (
                "mysqldump  Ver 8.4.2 for macos14.4 on arm64 (Homebrew)",
                Flavour::MySql,
                "8.4.2",
            ),
            (
                "mysqldump  Ver 10.13 Distrib 5.7.44-48, for debian-linux-gnu (x86_64)",
                Flavour::MySql,
                "5.7.44",
            ),
            (
                "mysqldump  Ver 10.18 Distrib 10.5.23-MariaDB, for Linux (x86_64)",
                Flavour::MariaDb,
                "10.5.23",
            ),
            (
                "mariadb-dump  Ver 10.19 Distrib 10.6.16-MariaDB, for debian-linux-gnu (x86_64)",
                Flavour::MariaDb,
                "10.6.16",
            ),
            (
                "mariadb-dump from 11.8.2-MariaDB, client 10.19 for debian-linux-gnu (x86_64)",
                Flavour::MariaDb,
                "11.8.2",
            ),
        ] {
            let banner = Banner::parse(line).unwrap();
            assert_eq!(banner.flavour, flavour, "{line}");
            assert_eq!(banner.version, version.parse().unwrap(), "{line}");
            assert!(
                !banner.text.contains('/') || !banner.text.starts_with('/'),
                "{line}"
            );
        }
        assert_eq!(Banner::parse("pg_dump (PostgreSQL) 15.6"), None);
        assert_eq!(Banner::parse(""), None);
    }

    #[test]
    fn a_client_of_the_other_flavour_or_of_an_older_line_does_not_fit() {
        let server = |version| ServerVersion::parse(version, "").unwrap();
        let client = |line| Banner::parse(line).unwrap();
        let oracle_84 = client("mysqldump  Ver 8.4.3 for Linux on x86_64");
        assert!(fits(&oracle_84, &server("8.4.9")));
        assert!(fits(&oracle_84, &server("8.0.36")));
        assert!(!fits(&oracle_84, &server("9.7.4")));
        assert!(!fits(&oracle_84, &server("10.11.19-MariaDB")));
        let mariadb = client("mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for x");
        assert!(fits(&mariadb, &server("10.11.4-MariaDB")));
        assert!(!fits(&mariadb, &server("11.4.2-MariaDB")));
        assert!(!fits(&mariadb, &server("8.0.36")));
    }

    #[test]
    fn options_are_parsed_from_their_lines_and_from_the_table() {
        let help = "Usage: x [OPTIONS]\n  -A, --all-databases Dump\n  --dump-slave[=#] This\n                      --prose-only text\n--no-defaults  x\n---- ---\nsource-data  0\nmax_allowed_packet 1\n";
        let options = known_options(help);
        for known in [
            "all-databases",
            "dump-slave",
            "no-defaults",
            "source-data",
            "max-allowed-packet",
        ] {
            assert!(options.contains(known), "{known}");
        }
        assert!(!options.contains("prose-only"));
    }

    #[test]
    fn the_table_of_features_agrees_with_the_help_of_each_client() {
        use crate::mysql::compat::{FEATURES, What};
        // Recorded from documentation: the lines of each `--help` for options that not all programs have, shortened.
        const ALL: &str = "  --master-data[=#]   This causes the binary log position and filename\n  -y, --no-tablespaces \n";
        const ORACLE: &str = "  --set-gtid-purged[=name] \n";
        const V80: &str = "  --column-statistics Add an ANALYZE TABLE statement\n  -M, --network-timeout \n  (Defaults to on; use --skip-network-timeout to disable.)\n";
        const SOURCE: &str =
            "  --source-data[=#]   This causes the binary log position and filename\n";
        const FIRST: &str = "  --init-command=name Single SQL Command to execute when connecting\n";
        const MASKS: &str =
            "  --masking-policies  (Defaults to on; use --skip-masking-policies to disable.)\n";
        const HISTORY: &str = "  -H, --dump-history  Dump system-versioned tables with history\n";
        for (banner, help) in [
            ("Ver 8.0.13 for x", [ALL, ORACLE, V80].concat()),
            ("Ver 8.0.25 for x", [ALL, ORACLE, V80].concat()),
            ("Ver 8.0.36 for x", [ALL, ORACLE, V80, SOURCE].concat()),
            (
                "Ver 8.4.2 for x",
                [ALL, ORACLE, V80, SOURCE, FIRST].concat(),
            ),
            (
                "Ver 9.7.4 for x",
                [ALL, ORACLE, V80, SOURCE, FIRST, MASKS].concat(),
            ),
            ("Ver 10.18 Distrib 10.5.23-MariaDB, for x", ALL.to_owned()),
            ("Ver 10.19 Distrib 10.6.16-MariaDB, for x", ALL.to_owned()),
            (
                "from 10.11.6-MariaDB, client 10.19 for x",
                [ALL, HISTORY].concat(),
            ),
            (
                "from 11.8.2-MariaDB, client 10.19 for x",
                [ALL, HISTORY].concat(),
            ),
        ] {
            let client = Banner::parse(&format!("mysqldump  {banner}")).unwrap();
            let known = known_options(&help);
            for feature in FEATURES.iter().filter(|row| row.what == What::DumpOption) {
                let name = feature.name.strip_prefix("skip-").unwrap_or(feature.name);
                let versions = match client.flavour {
                    Flavour::MySql => feature.mysql,
                    Flavour::MariaDb => feature.mariadb,
                };
                let listed = versions.has(client.version);
                assert_eq!(known.contains(name), listed, "{name} of {banner}");
            }
        }
    }
}
