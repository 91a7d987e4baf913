//! Arrows between the modules of `src/` go one way: down, and never sideways.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

/// From the command line down to what knows no other module. A module may use those of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["config"],
    &["standby"],
    &["verify"],
    &["backup", "restore"],
    &["monitor"],
    &["replay", "copy"],
    &["stream"],
    &["comparison", "catalog"],
    &["reader", "switch"],
    &["archive", "k8s", "lease"],
    &["mysql", "binlog", "kind"],
    &["sql", "entries", "store", "objectives"],
    &["layout", "keys"],
    &["util"],
];

/// One use of another module.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    /// The line it stands in, from 1.
    line: usize,
    /// The module used.
    to: String,
}

#[test]
fn every_arrow_between_modules_goes_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in sources(&src) {
        let below = file.strip_prefix(&src).unwrap();
        let Some(from) = module_of(below) else {
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        wrong.extend(
            offences(&from, depth_of(below), &text)
                .into_iter()
                .map(|(line, why)| format!("src/{}:{line}: {why}", below.display())),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_documentation_has_these_layers() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    let documented: Vec<(usize, &str)> = page
        .lines()
        .filter_map(|row| {
            let mut cells = row.strip_prefix('|')?.split('|').map(str::trim);
            let layer = cells.next()?.parse::<usize>().ok()?;
            Some((layer, cells.next()?.trim_matches('`')))
        })
        .collect();
    let layers: Vec<(usize, &str)> = (1..)
        .zip(LAYERS)
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (layer, *module)))
        .collect();
    assert_eq!(documented, layers);
}

#[test]
fn an_arrow_that_goes_up_or_sideways_is_found() {
    let snippet = "//! crate::cli may be spoken of\nuse crate::{\n    util::error::Error,\n    sql::{scan, rows},\n    restore::plan,\n};\n\
                   fn f() { crate::archive::x(super::super::verify::url(\"crate::cli\")) }\n";
    let arrow = |line, to: &str| Arrow {
        line,
        to: to.into(),
    };
    assert_eq!(
        arrows(2, snippet),
        [
            arrow(2, "util"),
            arrow(2, "sql"),
            arrow(2, "restore"),
            arrow(7, "archive"),
            arrow(7, "verify"),
        ]
    );
    let reasons = offences("archive", 2, snippet);
    assert_eq!(
        reasons,
        [
            (2, "archive → restore goes up".to_owned()),
            (7, "archive → verify goes up".to_owned()),
        ]
    );
    assert_eq!(
        offences("backup", 2, "use crate::restore::plan;"),
        [(1, "backup → restore goes sideways".to_owned())]
    );
    assert_eq!(
        offences("nowhere", 1, "use crate::sql;"),
        [(
            1,
            "the module nowhere has no layer yet: give it one in tests/it/layers.rs".to_owned()
        )]
    );
}

#[test]
fn an_arrow_that_goes_down_is_fine() {
    let snippet = "use crate::{Error, Result};\nuse crate::store::{Store, StoreError};\nuse super::frame::Frame;\n";
    assert_eq!(offences("archive", 2, snippet), []);
    assert_eq!(
        offences("cli", 2, "use crate::config::Config; use crate::sql;"),
        []
    );
}

/// Every Rust file below a directory, sorted.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The top-level module a file belongs to; none for the crate's root, which sees everything.
fn module_of(below_src: &Path) -> Option<String> {
    let first = below_src.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    // A file of tests is a part of what it tests.
    let name = name.strip_suffix("_tests").unwrap_or(name);
    (!matches!(name, "lib" | "main")).then(|| name.to_owned())
}

/// How many `super::` lead from a file to the crate's root.
fn depth_of(below_src: &Path) -> usize {
    let parts = below_src.iter().count();
    if below_src.ends_with("mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// The arrows of a text that go elsewhere than down, with the line and the reason.
fn offences(from: &str, depth: usize, text: &str) -> Vec<(usize, String)> {
    let layer = |module: &str| LAYERS.iter().position(|names| names.contains(&module));
    let Some(own) = layer(from) else {
        let why = format!("the module {from} has no layer yet: give it one in tests/it/layers.rs");
        return vec![(1, why)];
    };
    arrows(depth, text)
        .into_iter()
        .filter(|arrow| arrow.to != from)
        .filter_map(|arrow| {
            // What has no layer is no module: an item that a nested `mod tests` takes by `super::`.
            let other = layer(&arrow.to)?;
            let why = match other.cmp(&own) {
                Ordering::Less => format!("{from} → {} goes up", arrow.to),
                Ordering::Equal => format!("{from} → {} goes sideways", arrow.to),
                _ => return None,
            };
            Some((arrow.line, why))
        })
        .collect()
}

/// Each module reached by `crate::module` or `crate::{module, …}`, or by as many `super::` as lead
/// to the root. Names that begin with a capital are the root's own re-exports, not modules.
fn arrows(depth: usize, text: &str) -> Vec<Arrow> {
    let code = without_comments_and_strings(text);
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for to in heads(&code[at + root.len()..]) {
                if to.starts_with(|c: char| c.is_ascii_lowercase()) && to != "super" && to != "self"
                {
                    found.push(Arrow { line, to });
                }
            }
        }
    }
    found.sort_by_key(|arrow| arrow.line);
    found
}

/// The first names of a path, or of each path in a braced list.
fn heads(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut heads, mut nesting, mut begin) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => nesting += 1,
            '}' if nesting > 0 => nesting -= 1,
            ',' | '}' if nesting == 0 => {
                heads.push(name(&list[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// The text with line comments and the insides of plain strings blanked, every line in its place.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut in_string = false;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '/' if !in_string && chars.peek() == Some(&'/') => {
                    code.push('\n');
                    break;
                }
                '\\' if in_string => {
                    chars.next();
                }
                '"' => in_string = !in_string,
                _ if in_string && c != '\n' => {}
                _ => code.push(c),
            }
        }
    }
    code
}
