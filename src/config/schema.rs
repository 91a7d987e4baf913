//! JSON schema of the configuration file, derived from the structs of the sections: docs/config.schema.json,
//! for editors and for the values of the chart, and the list of keys ([`crate::config::keys`]).
//!
//! No pattern rejects a value that may contain a secret: a rejected value is shown, on a terminal or in the log
//! of a deployment. drctl itself checks such values without showing them.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::config::Sections;

/// Marks a map that is a single key: `verify.pod.resources`.
const ONE_KEY: &str = "x-one-key";

/// The whole schema.
pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Sections>();
    let mut root = schema.to_value();
    simplify(&mut root);
    close(&mut root);
    // `store: URL` is short for `store.url`.
    root["properties"]["store"]["type"] = json!(["object", "string"]);
    root["title"] = "Configuration of drctl".into();
    root
}

/// Whether a schema is that of a section, rather than of a key.
pub(super) fn is_section(schema: &Value) -> bool {
    schema["properties"].is_object() && schema.get(ONE_KEY).is_none()
}

/// Rejects unknown keys in all sections, and requires none: each can be set by a variable.
fn close(section: &mut Value) {
    section["additionalProperties"] = false.into();
    let Some(section) = section.as_object_mut() else {
        return;
    };
    section.shift_remove("required");
    section.shift_remove("default");
    let properties = section.get_mut("properties").and_then(Value::as_object_mut);
    for schema in properties.into_iter().flat_map(Map::values_mut) {
        if is_section(schema) {
            close(schema);
        }
    }
}

/// Removes what schemars adds for Rust types: null for what is optional (the configuration rejects null),
/// formats of integers, descriptions of the words of an enumeration.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(simplify),
        Value::Object(map) => {
            map.values_mut().for_each(simplify);
            map.shift_remove("format");
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [name] = types.as_slice() {
                    let name = name.clone();
                    map.insert("type".into(), name);
                }
            }
            if let Some(Value::Array(schemas)) = map.shift_remove("anyOf") {
                let of_value = schemas.into_iter().find(|schema| schema["type"] != "null");
                for (name, value) in of_value
                    .as_ref()
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                {
                    map.entry(name).or_insert_with(|| value.clone());
                }
            }
            let words = map
                .get("oneOf")
                .and_then(Value::as_array)
                .and_then(|schemas| {
                    let words = schemas.iter().map(|schema| schema.get("const").cloned());
                    words.collect::<Option<Vec<Value>>>()
                });
            if let Some(words) = words {
                map.shift_remove("oneOf");
                map.insert("enum".into(), words.into());
            }
            if map.contains_key("enum") {
                map.shift_remove("type");
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            let is_empty = map.get("default").is_some_and(|default| match default {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(items) => items.is_empty(),
                _ => false,
            });
            if is_empty {
                map.shift_remove("default");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{self, ConfigKey, Form, check_bounds};
    use crate::config::{Config, load, typed};
    use crate::util::times::MOST_SECONDS;

    /// Texts that the pattern of a key accepts and rejects: of a key itself, of the items of a list, of the names
    /// of pairs.
    struct Format {
        paths: &'static [&'static str],
        takes: &'static [&'static str],
        refuses: &'static [&'static str],
    }

    const FORMATS: &[Format] = &[
        Format {
            paths: &[
                "schedule.backup",
                "schedule.verify",
                "schedule.prune",
                "schedule.copy",
            ],
            takes: &[
                "*/30 * * * *",
                "0 2,14 1-15 JAN mon-fri",
                "@daily",
                "@every 1h30m",
                "07 3 ? * 6",
            ],
            refuses: &[
                "",
                "0 2 * *",
                "61 * * * *",
                "0 24 * * *",
                "hourly",
                "@often",
                "0 2 0 * *",
                "0 2 * * 7",
                "0/0 * * * *",
                "*/99999999999999999999 0 * * *",
                "@every 1000000000000h",
                "@every 1m1h",
                "@every 1h1h",
            ],
        },
        Format {
            paths: &["schedule.time_zone"],
            takes: &[
                "UTC",
                "Europe/Berlin",
                "America/Argentina/Buenos_Aires",
                "Etc/GMT+3",
            ],
            refuses: &["", "+02:00", "Europe/", "12"],
        },
        Format {
            paths: &["store.url"],
            takes: &[
                "s3://bucket/prefix",
                "s3://bucket",
                "s3://a.b/c/d/",
                "file:///srv/backups",
            ],
            refuses: &[
                "",
                "s3://bucket//prefix",
                "s3://bu!cket",
                "bucket/prefix",
                "ftp://bucket",
                "s3://",
                "file://relative",
            ],
        },
        Format {
            paths: &["serve.listen"],
            takes: &["0.0.0.0:9898", "[::1]:9898"],
            refuses: &["", "localhost", "localhost:9898", "9898"],
        },
        Format {
            paths: &["store.s3.endpoint_url"],
            takes: &[
                "https://minio.example.com/s3",
                "http://10.0.0.1:9000",
                "http://[fd00::1]:65535/",
            ],
            refuses: &[
                "",
                "minio:9000",
                "hooks.example.com",
                "http://",
                "http://minio:65536",
                "http://minio:99999",
                "http://mi nio",
            ],
        },
        Format {
            paths: &["notify.runbooks_url"],
            takes: &["https://runbooks.example.com/drctl"],
            refuses: &["", "runbooks.example.com", "http://"],
        },
        Format {
            paths: &["store.s3.region"],
            takes: &["eu-central-1", "us-gov-west-1", "garage"],
            refuses: &["", "eu west", "eu/west"],
        },
        Format {
            paths: &["store.s3.kms_key_id", "store.s3.storage_class"],
            takes: &["STANDARD_IA", "alias/my key"],
            refuses: &["", "schl\u{fc}ssel", "a\nb"],
        },
        Format {
            paths: &["restore.fence"],
            takes: &["deployment/web", "StatefulSet/worker", "sts/a", "deploy/b"],
            refuses: &["", "web", "deployment/", "daemonset/x"],
        },
        Format {
            paths: &["verify.pod.images"],
            takes: &["mysql-9.7", "mariadb-11.8"],
            refuses: &[
                "",
                "foo",
                "mysql",
                "mysql-9",
                "mysql-9.7.1",
                "postgres-17.1",
            ],
        },
    ];

    /// The schema of a key.
    fn of(path: &str) -> Value {
        let names = path.split('.');
        let of = names.fold(schema(), |schema, name| schema["properties"][name].clone());
        assert!(of.is_object(), "there is no key {path}");
        of
    }

    fn pattern(key: &ConfigKey) -> regex::Regex {
        let schema = of(&key.path);
        let pattern = match key.form {
            Form::List => &schema["items"]["pattern"],
            Form::Pairs => &schema["propertyNames"]["pattern"],
            _ => &schema["pattern"],
        };
        let pattern = pattern
            .as_str()
            .unwrap_or_else(|| panic!("{} has no pattern", key.path));
        regex::Regex::new(pattern).unwrap()
    }

    /// The refusal of a value at a key, if it is refused regardless of other keys.
    fn refused(path: &str, value: Value) -> Option<String> {
        let mut tree = example();
        // Keys that require another one, or are compared with it.
        let other: Option<(&str, Value)> = match path {
            "store.s3.object_lock.days" => Some(("store.s3.object_lock.mode", "governance".into())),
            "store.s3.object_lock.mode" => Some(("store.s3.object_lock.days", 1.into())),
            "store.s3.attempt_timeout_seconds" => {
                Some(("store.s3.operation_timeout_seconds", 86_400.into()))
            }
            "store.s3.operation_timeout_seconds" => {
                Some(("store.s3.attempt_timeout_seconds", 1.into()))
            }
            _ => None,
        };
        if let Some((path, value)) = other {
            load::set(&mut tree, path, value);
        }
        load::set(&mut tree, path, value);
        refused_tree(tree)
    }

    fn example() -> Value {
        json!({"target": "shop", "store": {"url": "s3://bucket/prefix"}})
    }

    fn refused_tree(tree: Value) -> Option<String> {
        let bounded = check_bounds(&tree);
        let checked = bounded.and_then(|()| typed(tree)).and_then(Config::check);
        checked.err().map(|error| error.to_string())
    }

    fn takes(path: &str, value: impl Into<Value>) -> bool {
        refused(path, value.into()).is_none()
    }

    #[test]
    fn the_published_schema_is_what_the_configuration_takes() {
        let mut schema = schema();
        for key in ["resources", "production_resources"] {
            let pod = &mut schema["properties"]["verify"]["properties"]["pod"]["properties"][key];
            pod.as_object_mut().unwrap().shift_remove(ONE_KEY);
        }
        let schema = format!("{schema:#}\n");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");
        if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
            std::fs::write(file, &schema).expect("a file of the documentation");
        }
        let published = std::fs::read_to_string(file).unwrap_or_default();
        assert!(published == schema, "run make docs");
    }

    #[test]
    fn keys_have_the_kinds_that_the_configuration_takes() {
        for (path, expected) in [
            (
                "objectives.rpo_seconds",
                json!({"type": "integer", "minimum": 1, "maximum": MOST_SECONDS}),
            ),
            (
                "store.part_bytes",
                json!({"type": "integer", "minimum": 5 << 20, "maximum": 5_u64 << 30}),
            ),
            (
                "store.s3.tags",
                json!({
                    "type": "object", "maxProperties": 10, "propertyNames": {"minLength": 1, "maxLength": 128},
                    "additionalProperties": {"type": "string", "maxLength": 256},
                }),
            ),
            (
                "restore.lanes",
                json!({"type": "integer", "minimum": 1, "maximum": 64}),
            ),
            (
                "serve.interval_seconds",
                json!({"type": "integer", "minimum": 1, "maximum": 1800}),
            ),
            (
                "backup.shrink_limit",
                json!({"type": "number", "minimum": 0, "maximum": 1}),
            ),
            ("verify.check_table", json!({"type": "boolean"})),
            ("backup.codec", json!({"enum": ["zstd", "gzip", "none"]})),
            ("notify.heartbeat.method", json!({"enum": ["post", "get"]})),
        ] {
            let mut schema = of(path);
            let inner = schema.as_object_mut().unwrap();
            inner.remove("description");
            inner.remove("default");
            assert_eq!(schema, expected, "{path}");
        }
    }

    #[test]
    fn items_and_maps_are_as_the_schema_describes_them() {
        let taken = [
            (
                "verify.checks",
                json!([{"sql": "SELECT 1", "equals": 1, "name": "one", "timeout_seconds": 5}]),
            ),
            (
                "verify.pod.tolerations",
                json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule", "value": "b"}]),
            ),
            (
                "verify.pod.resources",
                json!({"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}),
            ),
        ];
        for (path, value) in taken {
            assert_eq!(refused(path, value), None, "{path}");
        }
        let refusals = [
            ("verify.checks", json!([{"sql": "SELECT 1"}])),
            (
                "verify.checks",
                json!([{"sql": "SELECT 1", "equals": 1, "at_least": 1}]),
            ),
            ("verify.checks", json!([{"equals": 1}])),
            (
                "verify.checks",
                json!([{"sql": "SELECT 1", "equals": 1, "no": 1}]),
            ),
            ("verify.pod.tolerations", json!([{"no": "a"}])),
            ("verify.pod.resources", json!({"no": {}})),
        ];
        for (path, value) in refusals {
            assert!(!takes(path, value.clone()), "{path}: {value}");
        }
    }

    /// What a pattern accepts, the configuration accepts; what it rejects, the configuration rejects, too, if it
    /// checks the value at start.
    #[test]
    fn the_formats_are_those_of_the_configuration() {
        let checked_later = ["notify.runbooks_url"];
        for format in FORMATS {
            for path in format.paths {
                let key = keys::all().find(|key| key.path == *path).expect("a key");
                let pattern = pattern(key);
                let value = |text: &str| match key.form {
                    Form::List => json!([text]),
                    Form::Pairs => json!({ text: "x" }),
                    _ => json!(text),
                };
                for text in format.takes {
                    assert!(pattern.is_match(text), "{path}: {text:?}");
                    assert!(takes(path, value(text)), "{path}: {text:?} is refused");
                }
                for text in format.refuses {
                    assert!(!pattern.is_match(text), "{path}: {text:?}");
                    let later = checked_later.contains(path);
                    assert!(
                        later || !takes(path, value(text)),
                        "{path}: {text:?} is taken"
                    );
                }
            }
        }
    }

    /// The values that the chart is tested to reject (tests/chart/check.sh) are those that drctl would reject in a
    /// pod.
    #[test]
    fn what_the_chart_is_tested_to_refuse_the_configuration_refuses() {
        let rows = include_str!("../../tests/chart/refused.tsv");
        let mut seen = 0;
        for row in rows.lines().filter(|row| !row.starts_with('#')) {
            let (key, value) = row.split_once('\t').expect("a key and a value");
            let path = match (key.strip_prefix("config."), key.split_once('.')) {
                (Some(path), _) => path.to_owned(),
                (None, Some((task, "schedule"))) => format!("schedule.{task}"),
                // Kubernetes' own to refuse.
                _ => continue,
            };
            let mut tree = example();
            load::set(&mut tree, &path, serde_json::from_str(value).expect("JSON"));
            assert!(refused_tree(tree).is_some(), "{row}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }
}
