//! Server programs on this machine, and selection of the one of a backup's flavour and release series.
//!
//! Versions come from the programs themselves; the directories to search are configured. A backup never
//! names a program, and a missing release series is never replaced by another: a drill on another server
//! would test something else.

use std::path::PathBuf;

use crate::mysql::{Flavour, ServerVersion};
use crate::util::error::{Error, Result};
use crate::util::program::ask;
use crate::verify::scratch::layout::Layout;

/// Usual directories of server programs, which PATH seldom contains.
const USUAL_DIRS: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/local/mysql/bin",
];

/// One server program.
#[derive(Debug, Clone)]
pub struct Program {
    /// Path of the program.
    pub path: PathBuf,
    /// Flavour and version.
    pub version: ServerVersion,
    /// Its output of `--version`.
    pub banner: String,
    /// Its installation; MySQL's programs find theirs themselves.
    pub layout: Layout,
}

impl Program {
    /// Options that must come first in every invocation.
    pub fn own_options(&self) -> Vec<String> {
        let base = self.layout.base.iter();
        let base = base.map(|base| format!("--basedir={}", base.display()));
        ["--no-defaults".to_owned()]
            .into_iter()
            .chain(base)
            .collect()
    }
}

/// Finds the program of the same flavour and release series as the target server. Usage error (exit 2) that
/// lists the programs found, if none matches.
pub async fn find(dirs: &[PathBuf], wanted: &ServerVersion) -> Result<Program> {
    let mut seen = Vec::new();
    for path in candidates(dirs, wanted.flavour) {
        // Programs that do not run here, or are not servers, are skipped.
        let banner = ask(&path, &["--version"]).await.unwrap_or_default();
        let Some(version) = parse(&banner) else {
            continue;
        };
        if version.same_series(wanted) {
            let layout = match version.flavour {
                Flavour::MySql => Layout::default(),
                Flavour::MariaDb => Layout::of(&path).await,
            };
            return Ok(Program {
                path,
                version,
                banner,
                layout,
            });
        }
        seen.push(format!("{} is {version}", path.display()));
    }
    let (major, minor) = wanted.version.series();
    let series = format!("{} {major}.{minor}", wanted.flavour);
    let seen = if seen.is_empty() {
        "none was found".to_owned()
    } else {
        seen.join(", ")
    };
    Err(Error::usage(format!(
        "no server program of {series} on this machine: {seen}"
    ))
    .hint(format!(
        "install {series}, add its directory to verify.server_dirs, or use --scratch URL"
    )))
}

fn candidates(dirs: &[PathBuf], flavour: Flavour) -> Vec<PathBuf> {
    let names: &[&str] = match flavour {
        Flavour::MySql => &["mysqld"],
        Flavour::MariaDb => &["mariadbd", "mysqld"],
    };
    let mut dirs = dirs.to_vec();
    if dirs.is_empty() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        dirs.extend(std::env::split_paths(&path));
        dirs.extend(USUAL_DIRS.iter().map(PathBuf::from));
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for path in dirs
        .iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
    {
        if path.is_file() && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Parses `/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)`.
fn parse(line: &str) -> Option<ServerVersion> {
    let (_, rest) = line.split_once(" Ver ")?;
    let (version, comment) = rest.split_once(' ').unwrap_or((rest, ""));
    ServerVersion::parse(version, comment.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_version_is_parsed() {
        for (line, shown) in [
            (
                "/usr/sbin/mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n",
                "MariaDB 10.11.19",
            ),
            (
                "/x/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))",
                "MySQL 9.7.4",
            ),
            (
                "mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28)",
                "MySQL 8.0.36",
            ),
        ] {
            assert_eq!(parse(line).unwrap().to_string(), shown);
        }
        assert!(parse("postgres (PostgreSQL) 15.6").is_none());
    }

    #[tokio::test]
    async fn a_missing_release_series_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("mariadbd");
        std::fs::write(
            &program,
            "#!/bin/sh\necho 'mariadbd  Ver 11.8.2-MariaDB for x'\n",
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let dirs = [dir.path().to_owned()];
        let wanted = |version: &str| ServerVersion::parse(version, "").unwrap();
        let error = find(&dirs, &wanted("10.11.4-MariaDB")).await.unwrap_err();
        assert_eq!(error.outcome().code(), 2);
        assert!(error.to_string().contains("is MariaDB 11.8.2"), "{error}");
        let found = find(&dirs, &wanted("11.8.9-MariaDB")).await.unwrap();
        assert_eq!(found.path, program);
    }
}
