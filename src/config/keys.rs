//! The configuration keys: paths, environment variables, bounds. All of it is read from the [`schema`], so a
//! field of a section's struct is all that a key needs.
//!
//! Key `a.b_c` is the variable `DRCTL_A_B_C`. For a Service named drctl, Kubernetes injects
//! `DRCTL_PORT=tcp://…` and `DRCTL_SERVICE_…`: no key is named `port` or begins with `service`.

use std::sync::LazyLock;

use serde_json::{Number, Value};

use crate::config::schema::{is_section, schema};
use crate::util::error::{Error, Result};
use crate::util::times::MOST_SECONDS;

/// How the text of a variable becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text itself.
    Text,
    /// A number or a boolean in YAML notation.
    Scalar,
    /// Texts separated by commas.
    List,
    /// `name=value` pairs separated by commas.
    Pairs,
    /// A list of maps in JSON.
    Items,
    /// A map in JSON.
    Map,
}

/// A configuration key.
#[derive(Debug)]
pub struct ConfigKey {
    /// Path in the file, with dots.
    pub path: String,
    /// Notation of its variable.
    pub form: Form,
    /// Description with unit and default, in Markdown.
    pub doc: String,
    /// Minimum and maximum of a number.
    pub bounds: Option<(Number, Number)>,
    /// Whether the value is a whole number.
    is_integer: bool,
}

static KEYS: LazyLock<Vec<ConfigKey>> = LazyLock::new(|| {
    let mut keys = Vec::new();
    collect(&schema(), "", &mut keys);
    keys
});

/// All keys, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static ConfigKey> {
    KEYS.iter()
}

fn collect(section: &Value, above: &str, keys: &mut Vec<ConfigKey>) {
    let properties = section["properties"].as_object().into_iter().flatten();
    for (name, schema) in properties {
        let path = format!("{above}{name}");
        if is_section(schema) {
            collect(schema, &format!("{path}."), keys);
        } else {
            keys.push(ConfigKey::new(path, schema));
        }
    }
}

impl ConfigKey {
    fn new(path: String, schema: &Value) -> ConfigKey {
        let form = match schema["type"].as_str() {
            Some("integer" | "number" | "boolean") => Form::Scalar,
            Some("array") if schema["items"]["type"] == "object" => Form::Items,
            Some("array") => Form::List,
            Some("object") if schema.get("properties").is_some() => Form::Map,
            Some("object") => Form::Pairs,
            _ => Form::Text,
        };
        let default = match &schema["default"] {
            Value::Null => String::new(),
            Value::String(text) => format!(" Default `{text}`."),
            other => format!(" Default {other}."),
        };
        let bound = |name: &str| schema[name].as_number().cloned();
        let bounds = bound("minimum").zip(bound("maximum"));
        let range = match &bounds {
            // A century means no limit in practice.
            Some((_, most)) if most.as_u64() == Some(MOST_SECONDS) => String::new(),
            Some((least, most)) => format!(" Range {least} to {most}."),
            None => String::new(),
        };
        let description = schema["description"].as_str().unwrap_or_default();
        ConfigKey {
            path,
            form,
            doc: format!("{description}{default}{range}"),
            bounds,
            is_integer: schema["type"] == "integer",
        }
    }

    /// Checks that a number is within the bounds.
    fn check(&self, number: &Number) -> Result<()> {
        let Some((least, most)) = &self.bounds else {
            return Ok(());
        };
        let value = number.as_f64();
        let is_within = least.as_f64() <= value && value <= most.as_f64();
        // A fraction is rejected as a value of another type.
        let is_fraction = value.is_some_and(|value| value.fract() != 0.0);
        if is_within || self.is_integer && is_fraction {
            return Ok(());
        }
        let path = &self.path;
        let error = Error::usage(format!("{path} is not between {least} and {most}"));
        if path == "retention.evidence_days" {
            return Err(
                error.hint("the RPO of the last 30 days requires the records of past backups")
            );
        }
        Err(error)
    }
}

/// Checks the bounds of all numbers, so that no later arithmetic on them can overflow.
pub fn check_bounds(tree: &Value) -> Result<()> {
    for key in all() {
        let mut names = key.path.split('.');
        if let Some(Value::Number(number)) = names.try_fold(tree, |tree, name| tree.get(name)) {
            key.check(number)?;
        }
    }
    Ok(())
}

/// The environment variable of a key.
pub fn variable(path: &str) -> String {
    format!("DRCTL_{}", path.replace('.', "_").to_ascii_uppercase())
}

/// Keys that were renamed, and their current names.
pub const RENAMED: &[(&str, &str)] = &[("backup.churn", "backup.ignore_ddl_on")];

/// The current name of a renamed key, otherwise the known key most similar to `path`.
pub fn nearest(path: &str) -> &'static str {
    if let Some((_, current)) = RENAMED.iter().find(|(old, _)| *old == path) {
        return current;
    }
    let distance = |key: &&ConfigKey| strsim::damerau_levenshtein(path, &key.path);
    all()
        .min_by_key(distance)
        .map_or("target", |key| key.path.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    /// docs/config.md.
    fn page() -> String {
        let mut page = String::from(
            "# Configuration\n\n\
             Generated from `src/config` by `make docs`.\n\n\
             One YAML file configures one target: `--config FILE`, else `DRCTL_CONFIG`, `./drctl.yaml`,\n\
             `/etc/drctl/drctl.yaml`. A flag overrides a variable, a variable overrides the file. An unknown key in\n\
             the file is an error. Example: [drctl.yaml](drctl.yaml).\n\n\
             In a variable, list items are separated by commas (`a,b`), and pairs are `name=value,name=value`.\n\n\
             | key | variable | meaning |\n|---|---|---|\n",
        );
        for key in all() {
            let (path, variable) = (&key.path, variable(&key.path));
            page.push_str(&format!("| `{path}` | `{variable}` | {} |\n", key.doc));
        }
        page
    }

    #[test]
    fn the_documentation_is_generated_from_these_keys() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(file, page()).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == page(), "run make docs");
    }

    #[test]
    fn every_key_has_a_description_and_every_number_its_bounds() {
        for key in all() {
            assert!(key.doc.ends_with('.'), "{}: {:?}", key.path, key.doc);
            let is_number = key.form == Form::Scalar && key.path != "verify.check_table";
            assert_eq!(key.bounds.is_some(), is_number, "{}", key.path);
        }
    }

    #[test]
    fn a_number_out_of_bounds_is_refused_with_its_bounds() {
        for key in all() {
            let (path, Some((least, most))) = (&key.path, &key.bounds) else {
                continue;
            };
            let with = |number: Value| {
                let mut tree = serde_json::json!({});
                load::set(&mut tree, path, number);
                check_bounds(&tree).map_err(|error| error.to_string())
            };
            assert!(with(least.clone().into()).is_ok() && with(most.clone().into()).is_ok());
            let more = most.as_u64().unwrap() + 1;
            for number in [u64::MAX.into(), more.into(), (-1).into(), 1e300.into()] {
                let error = with(number).unwrap_err();
                let begin = format!("{path} is not between {least} and {most}; ");
                assert!(error.starts_with(&begin), "{error}");
            }
        }
    }

    #[test]
    fn a_typo_is_led_to_the_key_that_was_meant() {
        assert_eq!(nearest("source.passwordfile"), "source.password_file");
        assert_eq!(nearest("backup.schema"), "backup.schemas");
        assert_eq!(nearest("backup.churn"), "backup.ignore_ddl_on");
    }
}
