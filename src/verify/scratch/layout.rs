//! Paths of a MariaDB installation, and of the definitions of its system tables.
//!
//! Packages install the definitions in `share/mysql` or `share/mariadb`, MariaDB's tarballs in `share`. A
//! packaged program has its path compiled in; one of a tarball assumes `/usr/local/mysql`, wherever it was
//! unpacked. So the directories next to the program come first, with symbolic links resolved; then the
//! program's own output, which is the only source for a wrapper script.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::util::program::ask;

/// First bytes of a script.
const SCRIPT: &[u8; 2] = b"#!";

/// Program directories of an installation.
const PROGRAM_DIRS: [&str; 3] = ["bin", "sbin", "libexec"];

/// Directories of definitions in an installation.
const SHARED_DIRS: [&str; 3] = ["share/mysql", "share/mariadb", "share"];

/// The first file of definitions, current name and name before 10.6.
const FIRST_DEFINITIONS: [&str; 2] = ["mariadb_system_tables.sql", "mysql_system_tables.sql"];

/// Paths of a server's installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Base directory, if it must be passed to the program (`--basedir`).
    pub base: Option<PathBuf>,
    /// Directory of the definitions of the system tables; `None` if not found.
    pub definitions: Option<PathBuf>,
}

impl Layout {
    /// Determines the layout of a program's installation.
    pub async fn of(program: &Path) -> Layout {
        let help = ask(program, &["--verbose", "--help"]).await;
        Layout::by(program, &help.unwrap_or_default())
    }

    /// The layout from a program's path and its `--verbose --help` output.
    fn by(program: &Path, help: &str) -> Layout {
        let reported_base = value(help, "basedir");
        if let Some(base) = installation(program)
            && let Some(definitions) = definitions_in(&base)
        {
            let knows =
                reported_base.is_some_and(|help| help.canonicalize().ok() == Some(base.clone()));
            return Layout {
                base: (!knows).then_some(base),
                definitions: Some(definitions),
            };
        }
        let charsets = value(help, "character-sets-dir");
        let beside_charsets = charsets.as_deref().and_then(Path::parent);
        let named = value(help, "lc-messages-dir").into_iter();
        let mut named = named.chain(beside_charsets.map(Path::to_owned));
        Layout {
            base: None,
            definitions: named
                .find(|dir| has_definitions(dir))
                .or_else(|| definitions_in(&reported_base?)),
        }
    }
}

/// Base directory of the installation that contains a program; `None` for a script, which starts a program
/// elsewhere.
fn installation(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    let mut start = [0; SCRIPT.len()];
    let mut file = std::fs::File::open(&real).ok()?;
    if file.read_exact(&mut start).is_ok() && start == *SCRIPT {
        return None;
    }
    let dir = real.parent()?;
    let name = dir.file_name()?.to_str()?;
    PROGRAM_DIRS
        .contains(&name)
        .then(|| dir.parent().map(Path::to_owned))?
}

fn definitions_in(base: &Path) -> Option<PathBuf> {
    let mut dirs = SHARED_DIRS.iter().map(|name| base.join(name));
    dirs.find(|dir| has_definitions(dir))
}

fn has_definitions(dir: &Path) -> bool {
    FIRST_DEFINITIONS
        .iter()
        .any(|name| dir.join(name).is_file())
}

/// Value of a variable in the table at the end of `--verbose --help`.
fn value(help: &str, name: &str) -> Option<PathBuf> {
    let mut lines = help.lines().filter_map(|line| line.strip_prefix(name));
    let line = lines.find(|rest| rest.starts_with([' ', '\t']))?;
    Some(PathBuf::from(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of empty files; those in program directories start as a program does.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "\x7fELF").unwrap();
        }
        root
    }

    fn help(root: &Path, values: &[(&str, &str)]) -> String {
        let mut text = String::from("Usage: mariadbd [OPTIONS]\n\nVariables\n--------- ---\n");
        for (name, value) in values {
            let value = root.join(value);
            text += &format!("{name:<60} {}/\n", value.display());
        }
        text + "lc-messages-dir                                   (No default value)\n"
    }

    #[test]
    fn each_way_to_install_a_server_is_known() {
        const DEFINITIONS: &str = "mariadb_system_tables.sql";
        // Program, definitions, reported base directory, expected base directory to pass.
        for (program, share, reported_base, passed_base) in [
            // Debian 12, RPM packages of MariaDB.
            ("usr/sbin/mariadbd", "usr/share/mysql", "usr", None),
            // Debian 13.
            ("usr/sbin/mariadbd", "usr/share/mariadb", "usr", None),
            // Fedora, RHEL.
            ("usr/libexec/mariadbd", "usr/share/mariadb", "usr", None),
            // MariaDB's tarballs, at the expected path and elsewhere.
            (
                "usr/local/mysql/bin/mariadbd",
                "usr/local/mysql/share",
                "usr/local/mysql",
                None,
            ),
            (
                "opt/mariadb-11.4.5/bin/mariadbd",
                "opt/mariadb-11.4.5/share",
                "usr/local/mysql",
                Some("opt/mariadb-11.4.5"),
            ),
            // Homebrew.
            (
                "opt/homebrew/Cellar/mariadb/11.4.5/bin/mariadbd",
                "opt/homebrew/Cellar/mariadb/11.4.5/share/mysql",
                "opt/homebrew/Cellar/mariadb/11.4.5",
                None,
            ),
            // Images with everything below one directory.
            (
                "opt/vendor/mariadb/sbin/mariadbd",
                "opt/vendor/mariadb/share",
                "opt/vendor/mariadb",
                None,
            ),
        ] {
            let root = tree(&[program, &format!("{share}/{DEFINITIONS}")]);
            let root = root.path().canonicalize().unwrap();
            let expected = Layout {
                base: passed_base.map(|base| root.join(base)),
                definitions: Some(root.join(share)),
            };
            let help = help(&root, &[("basedir", reported_base)]);
            assert_eq!(
                Layout::by(&root.join(program), &help),
                expected,
                "{program}"
            );
            // A symbolic link to the program resolves to it.
            let link = root.join("elsewhere");
            std::os::unix::fs::symlink(root.join(program), &link).unwrap();
            assert_eq!(Layout::by(&link, &help), expected, "a link to {program}");
        }
    }

    #[test]
    fn an_installation_at_the_compiled_in_path_is_not_the_programs_own() {
        let root = tree(&[
            "opt/x/bin/mariadbd",
            "opt/x/share/mariadb_system_tables.sql",
            "usr/local/mysql/share/mariadb_system_tables.sql",
        ]);
        let root = root.path().canonicalize().unwrap();
        let help = help(&root, &[("basedir", "usr/local/mysql")]);
        let found = Layout::by(&root.join("opt/x/bin/mariadbd"), &help);
        assert_eq!(found.base, Some(root.join("opt/x")));
        assert_eq!(found.definitions, Some(root.join("opt/x/share")));
    }

    #[test]
    fn a_script_uses_the_directories_that_it_reports() {
        let root = tree(&[
            "usr/sbin/mariadbd",
            "usr/share/mysql/mariadb_system_tables.sql",
            "srv/a/share/mysql_system_tables.sql",
            "srv/b/messages/mariadb_system_tables.sql",
        ]);
        let root = root.path().canonicalize().unwrap();
        let script = root.join("usr/sbin/mariadbd");
        std::fs::write(&script, "#!/bin/sh\nexec /srv/a/bin/mariadbd \"$@\"\n").unwrap();
        for (values, definitions) in [
            (&[("basedir", "srv/a")][..], Some("srv/a/share")),
            (
                &[
                    ("basedir", "srv/a"),
                    ("character-sets-dir", "srv/b/messages/charsets"),
                ],
                Some("srv/b/messages"),
            ),
            (
                &[("basedir", "srv/a"), ("lc-messages-dir", "srv/b/messages")],
                Some("srv/b/messages"),
            ),
            (&[("basedir", "srv/none")], None),
            (&[], None),
        ] {
            let found = Layout::by(&script, &help(&root, values));
            assert_eq!(found.base, None);
            let definitions = definitions.map(|dir| root.join(dir));
            let same = |dir: &PathBuf| dir.canonicalize().unwrap();
            assert_eq!(
                found.definitions.as_ref().map(same),
                definitions,
                "{values:?}"
            );
        }
    }
}
