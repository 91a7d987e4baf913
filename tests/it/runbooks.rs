//! The runbooks: one for each alert, no dead link, and no command that does not exist or does not do
//! what the page says.
//!
//! Blocks marked `sh` are for reading: each `drctl` in them has to parse. Those marked `sh run` are run,
//! in their order, against a real server and store; `exits=N` says with what they end, else 0.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::Parser as _;
use drctl::cli::args::Cli;

use crate::alerts::{OF_NOTIFIERS, repository, rules};
use crate::keys::{Keys, forge};
use crate::need;
use crate::support::backup::{listed, shop};
use crate::support::{Drctl, Flavour, Server};

/// What the pages ask the reader to set, and what it is where a command is only parsed.
const VARIABLES: [(&str, &str); 9] = [
    ("id", "20261121T020000Z-3f9a1c"),
    ("target", "shop"),
    ("table", "shop.orders"),
    ("schema", "shop"),
    ("into", "mysql://admin@spare.example:3306"),
    ("namespace", "dr"),
    ("job", "drctl-backup-1"),
    ("keys", "keys"),
    ("forged", "20261121T020000Z-3f9a1d"),
];

/// The pages on which backups are encrypted and signed.
const WITH_KEYS: [&str; 4] = [
    "key-lost",
    "key-compromised",
    "key-rotation",
    "bucket-forged",
];

/// One fenced block of shell commands.
#[derive(Debug)]
struct Block {
    /// The page's name without `.md`.
    page: String,
    /// The exit code, where it is to be run.
    run: Option<i32>,
    /// Its lines.
    text: String,
}

/// All pages: their names without `.md`, and their texts.
fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = fs::read_dir(repository("runbooks"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    pages.sort();
    pages
}

fn blocks() -> Vec<Block> {
    let pages = pages();
    let blocks: Vec<Block> = pages
        .iter()
        .flat_map(|(page, text)| blocks_of(page, text))
        .collect();
    assert!(blocks.len() > 30, "hardly any blocks: {}", blocks.len());
    blocks
}

#[track_caller]
fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, bool) = (Vec::new(), false);
    for line in text.lines() {
        let Some(info) = line.strip_prefix("```") else {
            if open {
                let block = blocks.last_mut().expect("an open one");
                block.text.push_str(line);
                block.text.push('\n');
            }
            continue;
        };
        open = !open;
        if open {
            let run = match info.split(' ').collect::<Vec<_>>()[..] {
                ["sh"] => None,
                ["sh", "run"] => Some(0),
                ["sh", "run", code] => Some(
                    code.strip_prefix("exits=")
                        .expect(info)
                        .parse()
                        .expect(info),
                ),
                _ => panic!("{page}: a block of another kind: {info:?}"),
            };
            blocks.push(Block {
                page: page.to_owned(),
                run,
                text: String::new(),
            });
        }
    }
    assert!(!open, "{page}: a block does not end");
    blocks
}

/// The arguments of each `drctl` in a script, with the variables in their places.
fn commands(script: &str) -> Vec<Vec<String>> {
    let lines = script.lines().flat_map(|line| line.split('|'));
    let ours = lines.filter_map(|command| {
        let at = command.find("drctl ").filter(|at| {
            *at == 0 || command[..*at].ends_with("-- ") || command[..*at].trim().is_empty()
        })?;
        Some(&command[at..])
    });
    ours.map(|command| command.split_whitespace().map(filled_in).collect())
        .collect()
}

fn filled_in(word: &str) -> String {
    let mut word = word.replace('"', "");
    for (name, value) in VARIABLES {
        word = word
            .replace(&format!("${{{name}}}"), value)
            .replace(&format!("${name}"), value);
    }
    assert!(
        !word.contains(['$', '\'', '`']),
        "{word}: more shell than this test reads"
    );
    word
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_is_listed_with_its_severity() {
    let pages = pages();
    let index = &pages
        .iter()
        .find(|page| page.0 == "README")
        .expect("an index")
        .1;
    let rules = rules();
    let mut alerts: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    alerts.extend(OF_NOTIFIERS);
    let of_alerts: BTreeSet<&str> = pages
        .iter()
        .map(|page| page.0.as_str())
        .filter(|name| name.starts_with("Drctl"))
        .collect();
    assert_eq!(of_alerts, alerts);
    for (name, text) in pages.iter().filter(|page| page.0 != "README") {
        assert!(
            index.contains(&format!("[{name}]({name}.md)")),
            "README.md does not list {name}"
        );
        let severity = rules
            .iter()
            .find(|rule| rule.name == *name)
            .map(|rule| rule.severity.as_str());
        let severity = severity.or(OF_NOTIFIERS.contains(&name.as_str()).then_some("warning"));
        if let Some(severity) = severity {
            assert!(
                text.starts_with(&format!("# {name}\n\n**{severity}.**")),
                "{name}: not {severity}"
            );
            assert!(
                index.contains(&format!("[{name}]({name}.md) | {severity} |")),
                "README.md: {name}"
            );
        }
        assert!(text.contains("```sh"), "{name} has no command");
        assert!(
            text.lines().count() < 100,
            "{name} is too long for the middle of the night"
        );
    }
}

#[test]
fn no_link_of_a_runbook_is_dead() {
    let pages = pages();
    let mut links = 0;
    for (name, text) in &pages {
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().expect("a link ends");
            links += 1;
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let text = fs::read_to_string(repository("runbooks").join(file));
            let text = text.unwrap_or_else(|_| panic!("{name}: a link to {link}"));
            let headings = text.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings.map(|line| {
                let words = line.trim_start_matches('#').trim().to_lowercase();
                words.replace(' ', "-")
            });
            let there = section.is_empty() || anchors.any(|anchor| anchor == section);
            assert!(there, "{name}: a link to {link}, which has no such heading");
        }
    }
    assert!(links > 50, "{links} links");
}

#[test]
fn every_drctl_command_of_a_runbook_exists() {
    let mut seen = 0;
    for block in blocks() {
        for command in commands(&block.text) {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{}: {command:?}: {error}", block.page);
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
}

#[test]
fn every_command_spoken_of_in_a_runbook_exists() {
    for (page, text) in pages() {
        for rest in text.split("`drctl ").skip(1) {
            let spoken = rest.split('`').next().expect("it ends");
            let verb = filled_in(spoken.split(' ').next().expect("a verb"));
            let parsed =
                Cli::try_parse_from(["drctl", &verb, "--help"]).map_err(|error| error.kind());
            assert_eq!(
                parsed.err(),
                Some(clap::error::ErrorKind::DisplayHelp),
                "{page}: drctl {spoken}"
            );
        }
    }
}

#[test]
fn every_block_is_shell() {
    for block in blocks() {
        let checked = Command::new("bash")
            .args(["-n", "-c", &block.text])
            .output()
            .expect("bash runs");
        assert!(
            checked.status.success(),
            "{}: {}\n{checked:?}",
            block.page,
            block.text
        );
    }
}

#[test]
fn a_block_that_claims_too_much_is_found() {
    let text = "# A\n```sh run exits=9\ndrctl backup --lable \"$id\" | head\n```\n";
    let [block] = &blocks_of("A", text)[..] else {
        panic!("one block")
    };
    assert_eq!(block.run, Some(9));
    let [command] = &commands(&block.text)[..] else {
        panic!("one command")
    };
    assert_eq!(
        command[1..],
        ["backup", "--lable", "20261121T020000Z-3f9a1c"]
    );
    assert!(Cli::try_parse_from(command).is_err());
}

/// Each page meets a store with one backup of its own, and a server to restore into.
#[test]
fn every_block_that_can_run_does_what_its_page_says() {
    need!(MariaDb);
    let into = Server::start(Flavour::MariaDb);
    let blocks = blocks();
    let names: BTreeSet<&str> = blocks.iter().map(|block| block.page.as_str()).collect();
    let mut ran = 0;
    for page in names {
        let here: Vec<&Block> = blocks
            .iter()
            .filter(|block| block.page == page && block.run.is_some())
            .collect();
        if here.is_empty() {
            continue;
        }
        let (schema, drctl) = shop();
        let mut drctl = drctl.into(&into);
        if WITH_KEYS.contains(&page) {
            let keys = Keys::new(&drctl);
            drctl = keys.for_restores(keys.for_backups(drctl));
            drctl = drctl.env("keys", &keys.text(""));
        }
        drctl.run(["backup"]).ok();
        let id = listed(&drctl)[0]["id"].as_str().expect("an id").to_owned();
        let drctl = drctl
            .env("DRCTL_RETENTION_DAILY", "30")
            .env("id", &id)
            .env("into", &into.url())
            .env("table", &format!("{schema}.t"))
            .env("target", &schema.replace('_', "-"));
        let drctl = match page {
            "bucket-forged" => forged(drctl),
            _ => drctl,
        };
        for block in here {
            let run = drctl.shell(&block.text);
            assert_eq!(Some(run.code), block.run, "{page}:\n{}{run:#?}", block.text);
            ran += 1;
        }
    }
    assert!(ran > 20, "only {ran} blocks ran");
}

/// Adds a backup, changed by somebody who can write to the store.
fn forged(drctl: Drctl) -> Drctl {
    std::thread::sleep(std::time::Duration::from_millis(1100));
    drctl.run(["backup"]).ok();
    let newest = listed(&drctl)[0]["id"].as_str().expect("an id").to_owned();
    let target = &drctl.variables()["DRCTL_TARGET"];
    let place = drctl.store_dir().join(target).join(&newest);
    let name = format!("\"target\": \"{target}\"");
    forge(
        &place,
        &name,
        &format!("{name},\n  \"labels\": {{\"forged\": \"yes\"}}"),
    );
    drctl.env("forged", &newest)
}
