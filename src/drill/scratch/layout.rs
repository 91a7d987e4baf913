//! Where a MariaDB server has what belongs to it: its installation, and the definitions of its system
//! tables in there.
//!
//! Packages have them in `share/mysql` or `share/mariadb`, MariaDB's own tarballs in `share`. A program
//! of a package knows its place, for it is compiled in; one of a tarball believes that it is in
//! `/usr/local/mysql`, wherever it was unpacked. So what is beside the program itself comes first, past
//! symbolic links; then what the program says, which is all there is to a wrapper script.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::server::program::ask;

/// What begins every script.
const SCRIPT: &[u8; 2] = b"#!";

/// Where programs are in an installation.
const PROGRAM_DIRS: [&str; 3] = ["bin", "sbin", "libexec"];

/// Where definitions are in an installation.
const SHARED_DIRS: [&str; 3] = ["share/mysql", "share/mariadb", "share"];

/// The first of the definitions, today and before 10.6.
const FIRST_DEFINITIONS: [&str; 2] = ["mariadb_system_tables.sql", "mysql_system_tables.sql"];

/// Where a server's installation is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The installation, where the program has to be told (`--basedir`).
    pub base: Option<PathBuf>,
    /// The directory of the definitions of its system tables, where there are any.
    pub definitions: Option<PathBuf>,
}

impl Layout {
    /// Finds it.
    pub async fn of(program: &Path) -> Layout {
        let said = ask(program, &["--verbose", "--help"]).await;
        Layout::by(program, &said.unwrap_or_default())
    }

    /// The layout of a program whose `--verbose --help` is `said`.
    fn by(program: &Path, said: &str) -> Layout {
        let said_base = value(said, "basedir");
        if let Some(base) = installation(program)
            && let Some(definitions) = definitions_in(&base)
        {
            let knows =
                said_base.is_some_and(|said| said.canonicalize().ok() == Some(base.clone()));
            return Layout {
                base: (!knows).then_some(base),
                definitions: Some(definitions),
            };
        }
        let charsets = value(said, "character-sets-dir");
        let beside_charsets = charsets.as_deref().and_then(Path::parent);
        let named = value(said, "lc-messages-dir").into_iter();
        let mut named = named.chain(beside_charsets.map(Path::to_owned));
        Layout {
            base: None,
            definitions: named
                .find(|dir| has_definitions(dir))
                .or_else(|| definitions_in(&said_base?)),
        }
    }
}

/// The installation that a program is in; `None` of a script, which starts one from elsewhere.
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

/// A variable's value in the table at the end of `--verbose --help`.
fn value(said: &str, name: &str) -> Option<PathBuf> {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix(name));
    let line = lines.find(|rest| rest.starts_with([' ', '\t']))?;
    Some(PathBuf::from(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of empty files; those in a directory of programs hold what a program begins with.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "\x7fELF").unwrap();
        }
        root
    }

    fn said(root: &Path, values: &[(&str, &str)]) -> String {
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
        // Where the program is, where its definitions are, what it says of its base, what it has to be told.
        for (program, share, says, told) in [
            // Debian 12, RPM packages of MariaDB.
            ("usr/sbin/mariadbd", "usr/share/mysql", "usr", None),
            // Debian 13.
            ("usr/sbin/mariadbd", "usr/share/mariadb", "usr", None),
            // Fedora, RHEL.
            ("usr/libexec/mariadbd", "usr/share/mariadb", "usr", None),
            // MariaDB's tarballs, where they expect to be and elsewhere.
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
            // Images that have all below one directory.
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
                base: told.map(|base| root.join(base)),
                definitions: Some(root.join(share)),
            };
            let said = said(&root, &[("basedir", says)]);
            assert_eq!(
                Layout::by(&root.join(program), &said),
                expected,
                "{program}"
            );
            // A link to it elsewhere is it.
            let link = root.join("elsewhere");
            std::os::unix::fs::symlink(root.join(program), &link).unwrap();
            assert_eq!(Layout::by(&link, &said), expected, "a link to {program}");
        }
    }

    #[test]
    fn another_installation_where_it_believes_to_be_is_not_its_own() {
        let root = tree(&[
            "opt/x/bin/mariadbd",
            "opt/x/share/mariadb_system_tables.sql",
            "usr/local/mysql/share/mariadb_system_tables.sql",
        ]);
        let root = root.path().canonicalize().unwrap();
        let said = said(&root, &[("basedir", "usr/local/mysql")]);
        let found = Layout::by(&root.join("opt/x/bin/mariadbd"), &said);
        assert_eq!(found.base, Some(root.join("opt/x")));
        assert_eq!(found.definitions, Some(root.join("opt/x/share")));
    }

    #[test]
    fn a_script_starts_what_it_says() {
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
            let found = Layout::by(&script, &said(&root, values));
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
