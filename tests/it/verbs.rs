//! The verbs of README and CONTRIBUTING get what they use: on a machine with the toolchains and nothing else,
//! each asks for its pieces of the lab by itself. Read off the Makefile and the scripts, as to run them all from
//! nothing takes an hour; and run as far as each comes without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::lab::ScratchDir;

/// Where verbs are documented.
const PAGES: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "tests/cluster/README.md",
    "docs/kubernetes.md",
];

/// What the lab makes by itself, by the piece that does; all else is a package of the system.
const MADE: &[(&str, &[&str])] = &[
    ("chart", &["helm", "helm-unittest", "kubeconform"]),
    ("gateway", &["versitygw"]),
    ("kubernetes", &["kubernetes", "kubectl", "pause"]),
    ("node", &["containerd", "ctr"]),
    ("prometheus", &["promtool"]),
    ("deny", &["cargo-deny"]),
    ("cron", &["kubernetes-cron"]),
];

/// Not of the system: what every shell can do by itself.
const BUILTINS: &[&str] = &["kill", "time", "wait", "type"];

/// What ends a cluster runs only where what began it has brought everything.
const EXCUSED: &[(&str, &str)] = &[("make cluster-down", "ip")];

/// Packages that come with the toolchains that CONTRIBUTING asks for.
const TOOLCHAINS: &[&str] = &["make", "git", "gcc", "binutils"];

#[test]
fn each_verb_asks_for_the_pieces_of_the_lab_that_it_uses() {
    let verbs = documented(&texts(PAGES));
    assert!(verbs.len() > 15, "hardly any verbs are found: {verbs:?}");
    let reaches: Vec<Reach> = verbs.iter().map(|verb| Reach::of(verb)).collect();
    let packages = packages_of(&reaches);
    let wrong: Vec<String> = reaches
        .iter()
        .flat_map(|reach| reach.missing(&packages))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_verb_that_does_not_ask_is_found() {
    let mut reach = Reach::of("make install");
    assert!(reach.programs.contains("helm") && reach.programs.contains("versitygw"));
    let packages = packages_of(std::slice::from_ref(&reach));
    assert!(reach.missing(&packages).is_empty());
    reach.asked.remove("chart");
    let missing = reach.missing(&packages);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].starts_with("make install uses helm"),
        "{missing:?}"
    );
    reach.asked.insert("chart".to_owned());
    reach.asked.remove("packages");
    let missing = reach.missing(&packages);
    assert!(
        missing.iter().any(|line| line.contains("uses curl")),
        "{missing:?}"
    );
}

/// Makes this machine look like one with a base system and the toolchains, whose network is down: whatever fetches
/// or builds something says what, and fails. cargo builds nothing and succeeds.
const TOOLS: &[(&str, &str)] = &[
    ("apt-get", "echo \"down: apt-get $*\" >&2; exit 100"),
    ("go", "echo \"down: go $*\" >&2; exit 1"),
    ("dpkg-query", "exit 1"),
    ("rustc", "echo 'host: x86_64-unknown-linux-gnu'"),
    (
        "cargo",
        "for profile in debug release dist; do mkdir -p $CARGO_TARGET_DIR/$profile && : >$CARGO_TARGET_DIR/$profile/drctl; done",
    ),
];

/// Errors of programs that are used before it is asked whether they are there.
const UNASKED: &[&str] = &["not found", "No such file", "cannot stat", "cannot access"];

#[test]
fn on_a_bare_machine_each_verb_names_what_it_lacks() {
    let machine = ScratchDir::new();
    let programs = machine.path().join("bin");
    fs::create_dir(&programs).expect("a scratch directory");
    for path in of_the_base_system()
        .into_iter()
        .chain(["make", "git"].map(on_path))
    {
        let name = path.file_name().expect("a program");
        let _ = std::os::unix::fs::symlink(&path, programs.join(name));
    }
    for (name, script) in TOOLS {
        let program = programs.join(name);
        let _ = fs::remove_file(&program);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let verbs = documented(&texts(PAGES));
    let mut wrong = Vec::new();
    for verb in verbs.iter().filter_map(|verb| verb.strip_prefix("make ")) {
        let home = machine.path().join(verb);
        let run = Command::new("sh")
            .args(["-c", "exec make \"$0\" 2>&1 </dev/null", verb])
            .current_dir(root())
            .env_clear()
            .env("PATH", &programs)
            .env("HOME", &home)
            .env("DRCTL_LAB", home.join("lab"))
            .env("CARGO_TARGET_DIR", home.join("target"))
            // No cluster of this machine.
            .env("DRCTL_CLUSTER", "9")
            .output()
            .expect("sh runs");
        let told = String::from_utf8_lossy(&run.stdout);
        let own: Vec<&str> = told
            .lines()
            .filter(|line| !line.starts_with("make: ***"))
            .collect();
        let unasked = own.iter().find(|line| {
            !line.starts_with("lab: ") && UNASKED.iter().any(|words| line.contains(words))
        });
        let last = own.last().copied().unwrap_or_default();
        let named = ["lab: ", "cluster: ", "down: "];
        let is_named = named.iter().any(|begin| last.starts_with(begin));
        if let Some(line) = unasked {
            wrong.push(format!("make {verb}: {line}"));
        } else if !run.status.success() && !is_named {
            wrong.push(format!("make {verb} ends with {last:?}"));
        }
    }
    assert!(
        verbs.len() > 15 && wrong.is_empty(),
        "\n{}",
        wrong.join("\n")
    );
}

/// The programs that every Debian has.
fn of_the_base_system() -> Vec<PathBuf> {
    let format = "-f=${Package} ${Essential} ${Priority}\n".to_owned();
    let all = dpkg("-W", std::iter::once(&format));
    let base: Vec<String> = all
        .lines()
        .filter_map(everywhere)
        .map(str::to_owned)
        .collect();
    let files = dpkg("-L", base.iter());
    let is_program = |path: &&str| {
        let directory = Path::new(path).parent();
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
            .iter()
            .any(|place| directory == Some(Path::new(place)))
    };
    // Where alternatives lead to, no package says.
    files
        .lines()
        .filter(is_program)
        .map(PathBuf::from)
        .chain([on_path("awk")])
        .collect()
}

fn on_path(name: &str) -> PathBuf {
    Path::new("/usr/bin").join(name)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn texts(names: &[&str]) -> String {
    names.iter().map(|name| text(&root().join(name))).collect()
}

/// The two files that say which piece brings what.
fn lab_scripts() -> String {
    texts(&["tests/lab/setup.sh", "tests/cluster/pieces.sh"])
}

/// `make NAME` and scripts of the tests, as the pages show them.
fn documented(pages: &str) -> BTreeSet<String> {
    let makefile = text(&root().join("Makefile"));
    let is_verb = |name: &str| makefile.contains(&format!("\n{name}:"));
    let ends = |c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c));
    let mut found = BTreeSet::new();
    for (at, _) in pages.match_indices("make ") {
        let name = pages[at + 5..].split(ends).next().unwrap_or_default();
        if is_verb(name) {
            found.insert(format!("make {name}"));
        }
    }
    for (at, _) in pages.match_indices("tests/") {
        let name = pages[at..].split(ends).next().unwrap_or_default();
        if name.ends_with(".sh") && root().join(name).exists() {
            found.insert(name.to_owned());
        }
    }
    found
}

/// What a verb comes to.
#[derive(Debug, Default)]
struct Reach {
    verb: String,
    /// Pieces of the lab that it asks for.
    asked: BTreeSet<String>,
    /// Words where commands stand, and programs named by their place in the lab.
    programs: BTreeSet<String>,
    /// What is a function in one of its scripts.
    functions: BTreeSet<String>,
    seen: BTreeSet<PathBuf>,
}

impl Reach {
    fn of(verb: &str) -> Reach {
        let mut reach = Reach {
            verb: verb.to_owned(),
            ..Reach::default()
        };
        match verb.strip_prefix("make ") {
            Some(name) => reach.rule(name),
            None => reach.script(&root().join(verb)),
        }
        reach
    }

    /// The recipe of a rule, and of what comes before it.
    fn rule(&mut self, name: &str) {
        let makefile = text(&root().join("Makefile"));
        let mut lines = makefile.lines();
        let begin = format!("{name}:");
        let Some(head) = lines.find(|line| line.starts_with(&begin)) else {
            panic!("the Makefile has no rule {name}");
        };
        let before = head[begin.len()..].split("##").next().unwrap_or_default();
        for other in before.split_whitespace() {
            self.rule(other);
        }
        let recipe: Vec<&str> = lines.take_while(|line| line.starts_with('\t')).collect();
        for line in &recipe {
            if let Some((_, inner)) = line.split_once("$(MAKE) ") {
                let inner = inner.split_whitespace().last().unwrap_or_default();
                self.rule(inner);
            }
        }
        let recipe: Vec<String> = recipe
            .iter()
            .map(|line| {
                line.trim_start_matches(['\t', '@'])
                    .replace("$(LAB)", "$LAB")
            })
            .collect();
        self.lines(
            &root(),
            &recipe.join("\n").replace("$(DENY)", "$LAB/bin/cargo-deny"),
        );
    }

    fn script(&mut self, path: &Path) {
        let Ok(path) = path.canonicalize() else {
            return;
        };
        // What brings the pieces needs none.
        if path.ends_with("tests/lab/setup.sh") || !self.seen.insert(path.clone()) {
            return;
        }
        let directory = path.parent().expect("a directory").to_owned();
        self.lines(&directory, &text(&path));
    }

    fn lines(&mut self, directory: &Path, text: &str) {
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if let Some((name, _)) = line.split_once("() {") {
                self.functions.insert(name.to_owned());
            }
            self.asks(line);
            for word in line.split(|c: char| c.is_whitespace() || "\"'=;()".contains(c)) {
                let place = word.rsplit_once('}').map_or(word, |(_, end)| end);
                let place = place
                    .strip_prefix('$')
                    .and_then(|rest| rest.split_once('/'))
                    .map_or(place, |(_, rest)| rest);
                let place = place.trim_start_matches('/');
                if place.ends_with(".sh") {
                    for at in [directory.join(place), root().join(place)] {
                        self.script(&at);
                    }
                }
            }
            for (at, _) in line.match_indices("$LAB/bin/") {
                let name = line[at + 9..].split(|c: char| !(c.is_alphanumeric() || c == '-'));
                self.programs.extend(name.take(1).map(str::to_owned));
            }
            self.programs.extend(commands(line));
        }
    }

    /// `setup.sh PIECE…`, `needs PIECE…`; without a piece: all of them; `servers`: those of that case.
    fn asks(&mut self, line: &str) {
        let scripts = lab_scripts();
        let asked = line
            .split_once("lab/setup.sh")
            .map(|(_, pieces)| pieces)
            .or(line.strip_prefix("needs "));
        let Some(asked) = asked else { return };
        // The definition of `needs`, and what is only said.
        if asked.contains("$@") || says(line) || line.contains("echo ") || line.contains("skip ") {
            return;
        }
        let pieces: Vec<&str> = asked
            .split_whitespace()
            .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
            .filter(|word| !word.starts_with('-'))
            .collect();
        let several = |case: &str| -> Vec<&str> {
            let begin = format!("{case}) everything ");
            let all = scripts.lines().find_map(|line| line.strip_prefix(&*begin));
            let all = all.expect("setup.sh says what everything is");
            all.trim_end_matches(" ;;").split(' ').collect()
        };
        let pieces = match pieces.as_slice() {
            [] => several("''"),
            ["servers"] => several("servers"),
            ["bench"] => several("bench"),
            _ => pieces,
        };
        for piece in pieces {
            assert!(
                scripts.contains(&format!("piece_{piece}()")),
                "{}: there is no piece {piece}",
                self.verb
            );
            self.asked.insert(piece.to_owned());
        }
    }

    /// Programs that neither the system has by itself nor a piece brings that was asked for.
    fn missing(&self, packages: &BTreeMap<String, String>) -> Vec<String> {
        let scripts = lab_scripts();
        let mut wrong = Vec::new();
        for program in &self.programs {
            let excused = EXCUSED.contains(&(self.verb.as_str(), program.as_str()));
            if self.functions.contains(program) || excused {
                continue;
            }
            let made = MADE.iter().find(|(_, all)| all.contains(&program.as_str()));
            let brings: Vec<String> = match made {
                Some((piece, _)) => vec![(*piece).to_owned()],
                None => match packages.get(program) {
                    Some(package) => pieces_with(&scripts, package),
                    None => continue,
                },
            };
            if !brings.iter().any(|piece| self.asked.contains(piece)) {
                let (verb, asked) = (&self.verb, &self.asked);
                wrong.push(format!(
                    "{verb} uses {program}, of the pieces {brings:?}, and asks for {asked:?}"
                ));
            }
        }
        wrong
    }
}

/// Words where a command stands: at the beginning, after what joins commands, after what runs another.
fn commands(line: &str) -> Vec<String> {
    if says(line) && !line.contains("$(") {
        return Vec::new();
    }
    const JOIN: &[&str] = &[
        "|", "||", "&&", ";", "!", "if", "then", "else", "elif", "do", "while", "until", "exec",
        "in_node", "sudo", "-n", "env", "setsid", "run", "check", "xargs", "{",
    ];
    // The label of a case: `file) … ;;`.
    let line = match line.split_once(')') {
        Some((label, rest)) if !label.contains('(') => rest,
        _ => line,
    };
    let spaced = line
        .replace("$(", " ; ")
        .replace("<(", " ; ")
        .replace(['(', ')', '`'], " ; ")
        .replace(';', " ; ")
        .replace('|', " | ");
    let mut found = Vec::new();
    let mut here = true;
    for word in spaced.split_whitespace() {
        let bare = word.trim_matches('"');
        let assignment = bare.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        if here && !assignment {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if !bare.is_empty() && bare.chars().all(is_name) {
                found.push(bare.to_owned());
            }
        }
        here = JOIN.contains(&word) || (here && assignment);
    }
    found
}

/// Whether a line only tells somebody something.
fn says(line: &str) -> bool {
    let first = line.trim_start_matches('@').split_whitespace().next();
    ["echo", "say", "fail", "step", "skip"].contains(&first.unwrap_or_default())
}

/// The package of the system that has each program, unless every Debian or a toolchain does.
fn packages_of(reaches: &[Reach]) -> BTreeMap<String, String> {
    let mut places = BTreeMap::new();
    let programs = reaches.iter().flat_map(|reach| &reach.programs);
    for program in programs.filter(|name| !BUILTINS.contains(&name.as_str())) {
        for place in ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
            let path = Path::new(place).join(program);
            // Where alternatives lead to, which is what a package has.
            if let Ok(real) = path.canonicalize() {
                places.insert(path.display().to_string(), program.clone());
                places.insert(real.display().to_string(), program.clone());
                let short = real
                    .strip_prefix("/usr")
                    .map(|rest| Path::new("/").join(rest));
                if let Ok(short) = short {
                    places.insert(short.display().to_string(), program.clone());
                }
            }
        }
    }
    let owned = dpkg("-S", places.keys());
    let mut packages: BTreeMap<String, String> = BTreeMap::new();
    for line in owned.lines() {
        if let Some((package, path)) = line.split_once(": ")
            && let Some(program) = places.get(path)
        {
            let package = package.split([',', ':']).next().unwrap_or_default();
            packages.insert(program.clone(), package.to_owned());
        }
    }
    let format = "-f=${Package} ${Essential} ${Priority}\n".to_owned();
    let names: BTreeSet<String> = packages.values().cloned().collect();
    let known = dpkg("-W", std::iter::once(&format).chain(&names));
    let everywhere: BTreeSet<&str> = known.lines().filter_map(everywhere).collect();
    let toolchain = |package: &str| {
        let is = |name: &&str| package == *name || package.starts_with(&format!("{name}-"));
        TOOLCHAINS.iter().any(is)
    };
    packages.retain(|_, package| !everywhere.contains(package.as_str()) && !toolchain(package));
    packages
}

/// The package of a line of `dpkg-query -W`, if every Debian has it.
fn everywhere(line: &str) -> Option<&str> {
    let is = line.contains(" yes ") || line.ends_with(" required");
    line.split(' ').next().filter(|_| is)
}

fn dpkg<'a>(verb: &str, names: impl Iterator<Item = &'a String>) -> String {
    let told = Command::new("dpkg-query").arg(verb).args(names).output();
    told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned())
        .unwrap_or_default()
}

/// The pieces whose packages this is among, or needed by.
fn pieces_with(scripts: &str, package: &str) -> Vec<String> {
    let mut of_piece: BTreeMap<String, String> = BTreeMap::new();
    let mut piece = String::new();
    let mut list = None;
    for line in scripts.lines() {
        if let Some((name, _)) = line
            .strip_prefix("piece_")
            .and_then(|rest| rest.split_once("()"))
        {
            piece = name.to_owned();
        }
        match line.split_once("PACKAGES=(") {
            Some(("", _)) => list = Some("packages"),
            Some(("BENCH_", _)) => list = Some("bench"),
            _ => {}
        }
        if let Some(name) = list {
            of_piece
                .entry(name.to_owned())
                .or_default()
                .push_str(&format!(" {line}"));
            if line.ends_with(')') {
                list = None;
            }
        } else if line.contains("install_packages ") {
            of_piece
                .entry(piece.clone())
                .or_default()
                .push_str(&format!(" {line}"));
        }
    }
    let has = |packages: &str| {
        packages
            .split(|c: char| c.is_whitespace() || "();=".contains(c))
            .any(|word| word == package || is_needed_by(package, word))
    };
    let all = of_piece.iter().filter(|(_, packages)| has(packages));
    all.map(|(name, _)| name.clone()).collect()
}

/// Whether a package comes with another one, `mariadb-client-core` with `mariadb-client`.
fn is_needed_by(package: &str, other: &str) -> bool {
    other.contains('-')
        && package
            .strip_suffix("-core")
            .is_some_and(|stem| stem == other)
}
