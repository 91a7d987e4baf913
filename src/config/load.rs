//! File and environment to one tree of values: what was written, before anything is checked.
//!
//! A flag beats a variable, a variable beats the file. Unknown keys of the file are refused with
//! the nearest right one named; unknown `DRCTL_*` variables are not, because Kubernetes injects
//! some of its own.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::key::Form;
use crate::config::keys::{self, nearest, variable};
use crate::error::{Error, Result};

/// Where the file is looked for when nobody names one.
const DEFAULT_FILES: &[&str] = &["drctl.yaml", "/etc/drctl/drctl.yaml"];

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
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::usage(format!("cannot read the configuration {shown}")).because(e))?;
    // An empty file, or one of comments only, configures nothing.
    let tree: Value = serde_saphyr::from_str::<Option<Value>>(&text)
        .map_err(|e| Error::usage(format!("{shown} is not YAML")).because(first_line(&e)))?
        .unwrap_or_else(|| Value::Object(Map::new()));
    let Value::Object(mut map) = tree else {
        return Err(Error::usage(format!("{shown} holds no keys"))
            .hint("begin with target:, store: and source:"));
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

/// A parser's message shows the lines around the fault, and one of them may hold a password.
fn first_line(error: &impl std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
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
        if keys::all().any(|key| key.path == path) {
            continue;
        }
        let inner = format!("{path}.");
        if value.is_null() && keys::all().any(|key| key.path.starts_with(&inner)) {
            continue;
        }
        if !value.is_object() || !keys::all().any(|key| key.path.starts_with(&inner)) {
            return Err(
                Error::usage(format!("{}: unknown key {path}", file.display()))
                    .hint(format!("did you mean {}?", nearest(&path))),
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
    fn what_kubernetes_injects_is_not_an_error() {
        let env = |name: &str| (name == "DRCTL_PORT").then(|| "tcp://10.0.0.1:80".to_owned());
        assert!(load(None, &env).is_ok());
    }

    #[test]
    fn a_broken_file_is_refused_without_showing_its_lines() {
        let file = file("source: {password: hunter2\n");
        let error = load(Some(file.path()), &|_| None).unwrap_err().to_string();
        assert!(
            error.contains("is not YAML") && !error.contains("hunter2"),
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
