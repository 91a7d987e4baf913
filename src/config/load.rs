//! Merges file and environment into one tree of values.
//!
//! A flag overrides a variable, a variable overrides the file. An unknown key in the file is an error that names
//! the most similar key; an unknown `DRCTL_*` variable causes a warning (`environment`).

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::keys::{self, Form, nearest, variable};
use crate::util::bounded;
use crate::util::cancel;
use crate::util::error::{Error, Result};

/// Paths of the file if none is given; the first that exists is read.
const DEFAULT_FILES: &[&str] = &["drctl.yaml", "/etc/drctl/drctl.yaml"];

/// Maximum size of the file, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Maximum nesting depth of YAML: more than any key has, and far less than a thread's stack allows.
const MOST_DEPTH: usize = 64;

/// Reads a variable; a function, so that tests need not change the environment of their process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The tree of all configured values, and the path of the file that was read.
pub fn load(file: Option<&Path>, env: Environment<'_>) -> Result<(Value, Option<PathBuf>)> {
    let named = file
        .map(Path::to_owned)
        .or_else(|| env("DRCTL_CONFIG").map(PathBuf::from));
    let path = match named {
        Some(path) => Some(path),
        None => DEFAULT_FILES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists()),
    };
    let mut tree = match &path {
        Some(path) => read(path)?,
        None => Value::Object(Map::new()),
    };
    overlay(&mut tree, env)?;
    for key in keys::all() {
        if let Some(value) = tree.pointer(&format!("/{}", key.path.replace('.', "/"))) {
            check_characters(&key.path, value)?;
        }
    }
    Ok((tree, path))
}

fn read(path: &Path) -> Result<Value> {
    let shown = path.display();
    let text = text_of(path)?;
    // An empty file, or one with only comments, is valid.
    let tree: Value = yaml::<Option<Value>>(&text)
        .map_err(|e| not_yaml(path, &e))?
        .unwrap_or_else(|| Value::Object(Map::new()));
    let mut map = match tree {
        Value::Object(map) => map,
        other => {
            let what = noun(&other);
            return Err(
                Error::usage(format!("{shown} contains {what} instead of keys"))
                    .hint("write the keys at the left margin: target:, store: and source:"),
            );
        }
    };
    if let Some(Value::String(url)) = map.get("store") {
        let url = Value::String(url.clone());
        map.insert(
            "store".into(),
            Value::Object(Map::from_iter([("url".into(), url)])),
        );
    }
    let tree = Value::Object(map);
    check_keys(&tree, "", path)?;
    Ok(tree)
}

/// Reads a file, which may be a pipe.
fn text_of(path: &Path) -> Result<String> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::usage(format!("cannot read the configuration {}", path.display()))
            .because(why.to_string())
            .hint("set --config or DRCTL_CONFIG to a readable YAML file")
    };
    if path.is_dir() {
        return Err(failed(&"it is a directory"));
    }
    let bytes = bounded::read(path, MOST_BYTES).map_err(|error| match cancel::signalled() {
        Some(signal) => signal,
        None => failed(&error),
    })?;
    String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8 text"))
}

/// Parses YAML; the depth is limited during parsing.
fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options = serde_saphyr::Options {
        budget: Some(serde_saphyr::Budget {
            max_depth: MOST_DEPTH,
            ..serde_saphyr::Budget::default()
        }),
        ..serde_saphyr::Options::default()
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Explains a parse error. The parser's message quotes the lines around the error, one of which may contain a
/// password: only its first line is used.
fn not_yaml(path: &Path, error: &serde_saphyr::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
    let hint = match line.to_ascii_lowercase() {
        line if line.contains("tab") => "indent with spaces: YAML does not allow tabs there",
        line if line.contains("duplicate") => "remove one of the two keys",
        line if line.contains("depth") => "no key of drctl is nested so deeply",
        line if line.contains("multiple") => "keep one document: a file configures one target",
        _ => "correct that line; docs/drctl.yaml is an example",
    };
    Error::usage(format!("cannot read {} as YAML", path.display()))
        .because(line)
        .hint(hint)
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "a single value",
        Value::Array(_) => "a list",
        Value::Object(_) => "keys",
    }
}

fn check_keys(tree: &Value, above: &str, file: &Path) -> Result<()> {
    let Value::Object(map) = tree else {
        return Ok(());
    };
    for (name, value) in map {
        let path = if above.is_empty() {
            name.clone()
        } else {
            format!("{above}.{name}")
        };
        let shown = file.display();
        if keys::all().any(|key| key.path == path) {
            // It would count as not set: a schedule would never run.
            if value.is_null() {
                return Err(Error::usage(format!("{shown}: {path} has no value"))
                    .hint("set one, or remove the line"));
            }
            continue;
        }
        let inner = format!("{path}.");
        let Some(first) = keys::all().find(|key| key.path.starts_with(&inner)) else {
            return Err(Error::usage(format!("{shown}: unknown key {path}"))
                .hint(format!("did you mean {}?", nearest(&path))));
        };
        if !value.is_object() {
            let what = noun(value);
            return Err(
                Error::usage(format!("{shown}: {path} contains {what} instead of keys")).hint(
                    format!(
                        "write its keys below it, indented, such as {}; or remove the line",
                        &first.path[inner.len()..]
                    ),
                ),
            );
        }
        check_keys(value, &path, file)?;
    }
    Ok(())
}

/// Refuses control characters in values, by their key: a file of such a name cannot be opened, and a message would print
/// them. Passwords may contain any but NUL, texts such as the SQL of a check those of white space.
fn check_characters(path: &str, value: &Value) -> Result<()> {
    let text = match value {
        Value::String(text) => text,
        Value::Array(items) => {
            return items
                .iter()
                .try_for_each(|item| check_characters(path, item));
        }
        Value::Object(map) => {
            return map
                .values()
                .try_for_each(|item| check_characters(path, item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => return Ok(()),
    };
    let is_name = ["url", "_file", "_dir", "_dirs"]
        .iter()
        .any(|end| path.ends_with(end));
    let is_odd = |c: &char| match c {
        '\0' => true,
        _ if path.ends_with("password") => false,
        '\n' | '\r' | '\t' => is_name,
        c => c.is_control(),
    };
    // The newline at the end of a variable is a common slip.
    match text.trim_end_matches(['\n', '\r']).chars().find(is_odd) {
        Some(odd) => Err(Error::usage(format!(
            "{path} contains the control character {}",
            odd.escape_default()
        ))
        .hint("remove it")),
        None => Ok(()),
    }
}

fn overlay(tree: &mut Value, env: Environment<'_>) -> Result<()> {
    for key in keys::all() {
        let name = variable(&key.path);
        let short = (key.path == "store.url")
            .then(|| env("DRCTL_STORE"))
            .flatten();
        if let Some(text) = env(&name).or(short) {
            set(tree, &key.path, value_of(&name, key.form, &text)?);
        }
    }
    Ok(())
}

fn value_of(name: &str, form: Form, text: &str) -> Result<Value> {
    let items = || {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    match form {
        Form::Text => Ok(Value::String(text.to_owned())),
        Form::Scalar => match yaml(text) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a number or a boolean"))),
        },
        Form::Items => match serde_json::from_str(text) {
            Ok(value @ Value::Array(_)) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a JSON array"))),
        },
        Form::Map => match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a JSON object"))),
        },
        Form::List => Ok(items().map(|item| Value::String(item.to_owned())).collect()),
        Form::Pairs => {
            let mut map = Map::new();
            for item in items() {
                let (name, value) = item.split_once('=').ok_or_else(|| {
                    Error::usage(format!("{name}: {item:?} is not a pair"))
                        .hint("write name=value,name=value")
                })?;
                map.insert(name.to_owned(), Value::String(value.to_owned()));
            }
            Ok(Value::Object(map))
        }
    }
}

/// Sets the value at a dotted path, and creates the maps above it.
pub fn set(tree: &mut Value, path: &str, value: Value) {
    let mut place = tree;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(map) = place else { return };
        place = map.entry(name.to_owned()).or_insert(Value::Null);
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_variable_overrides_the_file() {
        let file = file("target: shop\nstore: file:///a\nbackup: {level: 3}\n");
        let env = |name: &str| match name {
            "DRCTL_STORE" => Some("file:///b".to_owned()),
            "DRCTL_BACKUP_LEVEL" => Some("5".to_owned()),
            "DRCTL_BACKUP_SCHEMAS" => Some("a, b".to_owned()),
            _ => None,
        };
        let (tree, _) = load(Some(file.path()), &env).unwrap();
        assert_eq!(tree["target"], "shop");
        assert_eq!(tree["store"]["url"], "file:///b");
        assert_eq!(tree["backup"]["level"], 5);
        assert_eq!(tree["backup"]["schemas"], serde_json::json!(["a", "b"]));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let file = file("target: shop\nbackup: {shrink_limt: 0.5}\n");
        let error = load(Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(error.contains("unknown key backup.shrink_limt"), "{error}");
        assert!(
            error.contains("did you mean backup.shrink_limit?"),
            "{error}"
        );
    }

    #[test]
    fn a_variable_that_is_not_a_number_is_named() {
        let env = |name: &str| (name == "DRCTL_BACKUP_LEVEL").then(|| "high".to_owned());
        let error = load(None, &env).unwrap_err().to_string();
        assert!(
            error.starts_with("DRCTL_BACKUP_LEVEL is not a number"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_not_a_tree_of_keys_is_refused() {
        for (text, words) in [
            (
                "- target\n",
                "contains a list instead of keys; write the keys",
            ),
            ("target\n", "contains a single value instead of keys; write"),
            ("42\n", "contains a single value instead of keys; write"),
            (
                "backup:\n",
                ": backup contains nothing instead of keys; write its keys below it",
            ),
            (
                "backup: 5\n",
                ": backup contains a single value instead of keys",
            ),
            (
                "store:\n  s3: [a]\n",
                ": store.s3 contains a list instead of keys",
            ),
            (
                "verify: {pod: }\n",
                ": verify.pod contains nothing instead of keys",
            ),
            (
                "schedule:\n  verify:\n",
                ": schedule.verify has no value; set one",
            ),
            ("target: a\ntarget: b\n", "; remove one of the two keys"),
            (
                "backup:\n  level: 3\n  level: 3\n",
                "; remove one of the two keys",
            ),
            ("backup:\n\tlevel: 3\n", "; indent with spaces"),
            ("target: a\n---\ntarget: b\n", "; keep one document"),
            ("backup: {level: 3\n", "; correct that line"),
            ("a: *b\n", "; correct that line"),
        ] {
            let file = file(text);
            let error = load(Some(file.path()), &|_| None).unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            let line = error.to_string();
            assert!(line.contains(words), "{text:?}: {line}");
        }
    }

    #[test]
    fn anchors_are_expanded_and_a_bomb_of_them_is_refused() {
        let good = file("notify: {labels: &a {team: x}}\nbackup: {labels: *a}\n");
        let (tree, _) = load(Some(good.path()), &|_| None).unwrap();
        assert_eq!(tree["backup"]["labels"]["team"], "x");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}, ", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
        }
        let bomb = file(&bomb);
        assert!(load(Some(bomb.path()), &|_| None).is_err());
    }

    #[test]
    fn a_path_that_is_not_a_text_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| {
            let error = load(Some(path), &|_| None).unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            error.to_string()
        };
        assert!(said(dir.path()).contains(": it is a directory; set --config"));
        assert!(said(&dir.path().join("none")).contains("No such file"));
        assert!(said(Path::new("/dev/zero")).contains("larger than 1048576 bytes"));
        let odd = dir.path().join("odd.yaml");
        std::fs::write(&odd, [b't', 0xff]).unwrap();
        assert!(said(&odd).contains("not UTF-8 text"));
    }

    #[test]
    fn deeply_nested_yaml_is_refused_in_every_notation() {
        let keys: String = (0..1300)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect();
        for depth in [65, 500, 2_000, 5_000, 20_000, 300_000] {
            for text in [
                "- ".repeat(depth),
                "? ".repeat(depth),
                "[".repeat(depth),
                "{a: ".repeat(depth),
                keys.clone(),
            ] {
                let file = file(&text);
                let error = load(Some(file.path()), &|_| None).unwrap_err();
                assert_eq!(error.outcome(), crate::Outcome::Usage);
                let env = |name: &str| (name == "DRCTL_BACKUP_LEVEL").then(|| text.clone());
                let error = load(None, &env).unwrap_err().to_string();
                assert!(
                    error.starts_with("DRCTL_BACKUP_LEVEL is not a number"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_a_key() {
        let file = file("\u{feff}target: shop\n");
        let (tree, _) = load(Some(file.path()), &|_| None).unwrap();
        assert_eq!(tree["target"], "shop");
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_its_lines() {
        let file = file("source: {password: hunter2\n");
        let error = load(Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(
            error.contains("as YAML") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn an_empty_file_configures_nothing() {
        let file = file("# nothing yet\n");
        assert_eq!(
            load(Some(file.path()), &|_| None).unwrap().0,
            serde_json::json!({})
        );
    }
}
