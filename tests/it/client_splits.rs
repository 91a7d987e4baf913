//! That the plain client takes a dump apart at the same places as the scanner: an archive has to
//! restore through either.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use drctl::sql::scan::Scanner;
use drctl::sql::statement::Kind;

use crate::on_both;
use crate::support::{Flavour, Server};

/// What the client prints around each statement that it sends, under `--verbose`.
const RULE: &str = "--------------";

on_both!(
    fn the_client_sends_what_the_scanner_gives(flavour) {
        let server = Server::start(flavour);
        let prefix = match flavour {
            Flavour::MariaDb => "mariadb",
            Flavour::MySql => "mysql",
        };
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dumps");
        let mut dumps = 0;
        for entry in fs::read_dir(corpus).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !(name.starts_with(prefix) && name.ends_with(".sql")) {
                continue;
            }
            dumps += 1;
            // What fails on this server is sent all the same.
            let output = server
                .client_command()
                .args(["--verbose", "--comments", "--force", "--database=mysql"])
                .stdin(fs::File::open(&path).unwrap())
                .stderr(Stdio::null())
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            let sent: Vec<String> = printed
                .split(&format!("{RULE}\n"))
                .map(essence)
                .filter(|statement| !statement.is_empty())
                .collect();
            let scanned = statements(&fs::read(&path).unwrap());
            for (sent, scanned) in sent.iter().zip(&scanned) {
                assert_eq!(sent, scanned, "{name}");
            }
            assert_eq!(sent.len(), scanned.len(), "{name}");
        }
        assert!(dumps > 0);
    }
);

fn statements(dump: &[u8]) -> Vec<String> {
    let mut scanner = Scanner::new();
    scanner.push(dump);
    scanner.finish();
    let mut statements = Vec::new();
    while let Some(statement) = scanner.next().unwrap() {
        if !matches!(statement.kind, Kind::Comment | Kind::Delimiter) {
            statements.push(essence(std::str::from_utf8(statement.sql).unwrap()));
        }
    }
    statements
}

/// A statement without the comment lines before it, which the client sends with it or on their own,
/// and without newlines: the clients lose one after a line of a body that begins with DELIMITER.
fn essence(statement: &str) -> String {
    let lines = statement.lines().skip_while(|line| {
        let skipped = ["--", "/*M!999999"].iter().any(|it| line.starts_with(it));
        skipped || line.trim().is_empty()
    });
    lines.collect::<String>().trim().to_owned()
}
