//! File and environment to one tree of values: what was written, before anything is checked.
//!
//! A flag beats a variable, a variable beats the file. Unknown keys of the file are refused with
//! the nearest right one named; unknown `DRCTL_*` variables are warned of (`environment`).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::key::Form;
use crate::config::keys::{self, nearest, variable};
use crate::error::{Error, Result};

/// Where the file is looked for when nobody names one.
const DEFAULT_FILES: &[&str] = &["drctl.yaml", "/etc/drctl/drctl.yaml"];

/// A larger file is something else, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Reads the environment: a function, so that tests need not touch their process's own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The tree of all that was configured, and the file it came from.
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
    Ok((tree, path))
}

fn read(path: &Path) -> Result<Value> {
    let shown = path.display();
    let text = text_of(path)?;
    // An empty file, or one of comments only, configures nothing.
    let tree: Value = serde_saphyr::from_str::<Option<Value>>(&text)
        .map_err(|e| not_yaml(path, &e))?
        .unwrap_or_else(|| Value::Object(Map::new()));
    let mut map = match tree {
        Value::Object(map) => map,
        other => {
            let what = noun(&other);
            return Err(
                Error::usage(format!("{shown} holds {what} instead of keys"))
                    .hint("write its keys at the left margin: target:, store: and source:"),
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

/// The text of a file, which may be a pipe.
fn text_of(path: &Path) -> Result<String> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::usage(format!("cannot read the configuration {}", path.display()))
            .because(why.to_string())
            .hint("name a YAML file that can be read, by --config or DRCTL_CONFIG")
    };
    if path.is_dir() {
        return Err(failed(&"it is a directory"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(failed(&"it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| failed(&"it is not text in UTF-8"))
}

/// A parser's message shows the lines around the fault, and one of them may hold a password: only its first
/// line is said. What YAML does not allow most often is said in plain words.
fn not_yaml(path: &Path, error: &serde_saphyr::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line).to_owned();
    let hint = match line.to_ascii_lowercase() {
        line if line.contains("tab") => "indent with spaces: YAML allows no tabs there",
        line if line.contains("duplicate") => "keep one of the two keys",
        line if line.contains("multiple") => "keep one document in it: one file is one target",
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
            // It would be taken for one that is not set: a schedule that never runs.
            if value.is_null() {
                return Err(Error::usage(format!("{shown}: {path} has no value"))
                    .hint("give it one, or take the line out"));
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
                Error::usage(format!("{shown}: {path} holds {what} instead of keys")).hint(
                    format!(
                        "write its keys below it, indented, like {}; or take the line out",
                        &first.path[inner.len()..]
                    ),
                ),
            );
        }
        check_keys(value, &path, file)?;
    }
    Ok(())
}

fn overlay(tree: &mut Value, env: Environment<'_>) -> Result<()> {
    for key in keys::all() {
        let name = variable(key.path);
        let short = (key.path == "store.url")
            .then(|| env("DRCTL_STORE"))
            .flatten();
        if let Some(text) = env(&name).or(short) {
            set(tree, key.path, value_of(&name, key.form, &text)?);
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
        Form::Scalar => match serde_saphyr::from_str(text) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a number or a boolean"))),
        },
        Form::Items => match serde_json::from_str(text) {
            Ok(value @ Value::Array(_)) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a list in JSON"))),
        },
        Form::Map => match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(Error::usage(format!("{name} is not a map in JSON"))),
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

/// Puts a value at a dotted path, making the maps above it.
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
    fn a_variable_beats_the_file() {
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
    fn a_variable_that_is_no_number_is_named() {
        let env = |name: &str| (name == "DRCTL_BACKUP_LEVEL").then(|| "high".to_owned());
        let error = load(None, &env).unwrap_err().to_string();
        assert!(
            error.starts_with("DRCTL_BACKUP_LEVEL is not a number"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_tree_of_keys_is_refused_in_plain_words() {
        for (text, words) in [
            ("- target\n", "holds a list instead of keys; write its keys"),
            ("target\n", "holds a single value instead of keys; write"),
            ("42\n", "holds a single value instead of keys; write"),
            (
                "backup:\n",
                ": backup holds nothing instead of keys; write its keys below it",
            ),
            (
                "backup: 5\n",
                ": backup holds a single value instead of keys",
            ),
            (
                "store:\n  s3: [a]\n",
                ": store.s3 holds a list instead of keys",
            ),
            (
                "verify: {pod: }\n",
                ": verify.pod holds nothing instead of keys",
            ),
            (
                "schedule:\n  verify:\n",
                ": schedule.verify has no value; give it one",
            ),
            ("target: a\ntarget: b\n", "; keep one of the two keys"),
            (
                "backup:\n  level: 3\n  level: 3\n",
                "; keep one of the two keys",
            ),
            ("backup:\n\tlevel: 3\n", "; indent with spaces"),
            ("target: a\n---\ntarget: b\n", "; keep one document in it"),
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
    fn an_anchor_is_its_value_and_a_bomb_of_them_is_refused() {
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
    fn what_is_no_file_of_text_is_refused_in_plain_words() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| {
            let error = load(Some(path), &|_| None).unwrap_err();
            assert_eq!(error.outcome(), crate::Outcome::Usage);
            error.to_string()
        };
        assert!(said(dir.path()).contains(": it is a directory; name a YAML file"));
        assert!(said(&dir.path().join("none")).contains("No such file"));
        assert!(said(Path::new("/dev/zero")).contains("more than 1 MiB"));
        let odd = dir.path().join("odd.yaml");
        std::fs::write(&odd, [b't', 0xff]).unwrap();
        assert!(said(&odd).contains("not text in UTF-8"));
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_part_of_a_key() {
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
