//! What the repository promises about itself: heads of files, the verbs, the table of
//! exit codes, and that it speaks of the software alone.

use std::fs;
use std::path::Path;
use std::process::Command;

use drctl::Outcome;

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (name, text) in tracked() {
        if !(name.starts_with("src/") && name.ends_with(".rs")) {
            continue;
        }
        if !text.starts_with("//! ") {
            wrong.push(format!(
                "{name}: does not begin with what it is for (//! …)"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Where packages come from is the machine's affair, and a path of one machine is nobody else's.
#[test]
fn no_file_names_a_package_registry_or_a_path_of_one_machine() {
    let mut wrong = Vec::new();
    for (name, text) in tracked() {
        // Written by cargo, which names its registry there.
        if name == "Cargo.lock" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for found in foreign_names(line) {
                wrong.push(format!("{name}:{}: names {found}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_registry_and_a_machine_path_are_found() {
    let at = |parts: &[&str]| parts.concat();
    assert_eq!(
        foreign_names(&at(&["get it from http://deb.", "debian.org/debian"])).len(),
        1
    );
    assert_eq!(foreign_names(&at(&["cd /wo", "rk/main"])).len(), 1);
    assert_eq!(foreign_names(&at(&["ls '/ro", "ot/.cache'"])).len(), 1);
    assert!(foreign_names("its mysql/root/usr and the network/files").is_empty());
}

fn foreign_names(line: &str) -> Vec<String> {
    // In halves, so that this file does not name them either.
    let hosts = [
        ["deb.", "debian.org"],
        ["crates", ".io"],
        ["pypi", ".org"],
        ["proxy.golang", ".org"],
        ["registry.npm", "js.org"],
        ["repo1.", "maven.org"],
    ]
    .map(|halves| halves.concat());
    let paths = [["/wo", "rk/"], ["/ro", "ot/"]].map(|halves| halves.concat());
    let begins_path = |at: usize| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}'))
    };
    let mut found: Vec<String> = hosts
        .into_iter()
        .filter(|host| line.contains(host))
        .collect();
    found.extend(
        paths
            .into_iter()
            .filter(|path| line.match_indices(path).any(|(at, _)| begins_path(at))),
    );
    found
}

#[test]
fn every_verb_is_explained_in_the_makefile_and_in_contributing() {
    let makefile = file("Makefile");
    let contributing = file("CONTRIBUTING.md");
    let verbs = makefile
        .lines()
        .find_map(|line| line.strip_prefix(".PHONY: "))
        .expect("the Makefile lists its verbs");
    for verb in verbs.split(' ') {
        // A step of `make test`, and the list itself.
        if matches!(verb, "lint" | "help") {
            continue;
        }
        let rule = makefile
            .lines()
            .find(|line| line.starts_with(&format!("{verb}:")))
            .unwrap_or_else(|| panic!("make {verb} has no rule"));
        assert!(rule.contains(" ## "), "make help does not explain {verb}");
        assert!(
            contributing.contains(&format!("`make {verb}`")),
            "CONTRIBUTING.md does not explain make {verb}"
        );
    }
}

#[test]
fn the_readme_has_the_table_of_exit_codes() {
    let readme = file("README.md");
    let rows: Vec<(u8, &str)> = readme.lines().filter_map(exit_code_row).collect();
    let table: Vec<(u8, &str)> = Outcome::TABLE.iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(rows, table, "README.md and src/util/error.rs disagree");
}

/// A row `| 5 | the store failed |`.
fn exit_code_row(line: &str) -> Option<(u8, &str)> {
    let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|');
    let (code, meaning) = (cells.next()?.trim(), cells.next()?.trim());
    cells
        .next()
        .is_none()
        .then(|| Some((code.parse().ok()?, meaning)))?
}

/// A filter that matches nothing runs nothing, in silence.
#[test]
fn every_filter_of_the_test_scripts_matches_a_test() {
    let script = file("tests/lab/run-tests.sh");
    let sources: Vec<(String, String)> = tracked()
        .into_iter()
        .filter(|(name, _)| name.starts_with("tests/it/") && name.ends_with(".rs"))
        .collect();
    let code = script
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let filters: Vec<&str> = code
        .flat_map(str::split_whitespace)
        .filter(|word| word.contains("::") && !word.contains('$'))
        .collect();
    assert!(filters.len() > 50, "hardly any filters: {}", filters.len());
    for filter in filters {
        let (module, test) = filter.rsplit_once("::").unwrap();
        let path = module.replace("::", "/");
        let matches = sources.iter().any(|(name, text)| {
            let of_module = name.strip_prefix("tests/it/").unwrap();
            let of_module = of_module.strip_suffix(".rs").unwrap();
            let of_module = of_module.strip_suffix("/mod").unwrap_or(of_module);
            (of_module == path || of_module.starts_with(&format!("{path}/")))
                && (test.is_empty() || text.contains(&format!("fn {test}")))
        });
        assert!(
            matches,
            "tests/lab/run-tests.sh: no test begins with {filter}"
        );
    }
}

#[test]
fn no_test_is_ignored() {
    let mark = ["#[ign", "ore"].concat();
    for (name, text) in tracked() {
        assert!(
            !(name.ends_with(".rs") && text.contains(&mark)),
            "{name} holds an ignored test"
        );
    }
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every text file that git tracks or would: its name and its text.
fn tracked() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "not a git checkout: {listed:?}");
    let names = String::from_utf8(listed.stdout).expect("names are UTF-8");
    names
        .split_terminator('\0')
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root.join(name)).ok()?)))
        .collect()
}
