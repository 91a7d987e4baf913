//! The schema of the configuration's file, docs/config.schema.json: for editors, and for the values of the chart.
//!
//! It is made by asking the configuration itself. Which kinds of values a key takes, the words of an
//! enumeration, the least and the most of a number are what the rest of this module takes and refuses, so that
//! a new key has its schema by being one. Formats of texts, which nothing can be asked for, stand in [`FORMATS`].

use serde_json::{Map, Value, json};

use super::key::{ConfigKey, Form};
use super::{Config, bounds, keys, load, typed};

/// How texts at some keys look. None is for a URL that may hold a secret: who is refused by a schema is shown the
/// value, on a terminal or in a log of a deployment. The chart's templates look at those and do not repeat them.
const FORMATS: &[Format] = &[
    Format {
        paths: &["schedule.backup", "schedule.verify", "schedule.prune"],
        pattern: SCHEDULE,
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
        ],
    },
    Format {
        paths: &["schedule.time_zone"],
        pattern: r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
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
        pattern: r"^(s3://[^/\s]+(/\S*)?|file:///\S*)$",
        takes: &["s3://bucket/prefix", "s3://bucket", "file:///srv/backups"],
        refuses: &[
            "",
            "bucket/prefix",
            "ftp://bucket",
            "s3://",
            "file://relative",
        ],
    },
    Format {
        paths: &["serve.listen"],
        pattern: r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
        takes: &["0.0.0.0:9898", "[::1]:9898"],
        refuses: &["", "localhost", "localhost:9898", "9898"],
    },
    Format {
        paths: &["store.s3.endpoint_url", "notify.runbooks_url"],
        pattern: r"^https?://[^/?#\s]+\S*$",
        takes: &[
            "https://hooks.example.com/services/x",
            "http://10.0.0.1:9000",
        ],
        refuses: &["", "minio:9000", "hooks.example.com", "http://"],
    },
];

/// A field of a schedule whose values are these: lists of them, ranges, steps.
macro_rules! field {
    ($value:literal) => {
        concat!(
            r"(\*|\?|",
            $value,
            "(-",
            $value,
            r")?)(/0*[1-9][0-9]*)?",
            r"(,(\*|\?|",
            $value,
            "(-",
            $value,
            r")?)(/0*[1-9][0-9]*)?)*",
        )
    };
}

/// As Kubernetes and drctl take it: five fields, or a word for them.
const SCHEDULE: &str = concat!(
    r"^\s*(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|@every ([0-9]+[hms])+|",
    field!("0*[1-5]?[0-9]"),
    r"\s+",
    field!("0*(1?[0-9]|2[0-3])"),
    r"\s+",
    field!("0*([1-9]|[12][0-9]|3[01])"),
    r"\s+",
    field!("(0*([1-9]|1[0-2])|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))"),
    r"\s+",
    field!("(0*[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat))"),
    r")\s*$",
);

/// What an item of a list, and a map, of these keys may have.
fn inner(path: &str) -> Option<Value> {
    let text = json!({"type": "string"});
    let seconds = json!({"type": "integer", "minimum": 0});
    let quantity =
        json!({"type": ["string", "integer", "number"], "pattern": QUANTITY, "minimum": 0});
    let amounts = json!({"type": "object", "additionalProperties": quantity});
    let properties = match path {
        "verify.checks" => json!({
            "name": text, "sql": text, "equals": {"type": ["string", "number"]}, "at_least": {"type": "number"},
            "fresh_within_seconds": seconds, "timeout_seconds": seconds,
        }),
        "verify.pod.tolerations" => {
            json!({"key": text, "operator": text, "value": text, "effect": text})
        }
        "verify.pod.resources" | "verify.pod.production_resources" => {
            json!({"requests": amounts, "limits": amounts})
        }
        _ => return None,
    };
    let mut schema =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if path == "verify.checks" {
        schema["required"] = json!(["sql"]);
        schema["oneOf"] = ["equals", "at_least", "fresh_within_seconds"]
            .map(|one| json!({"required": [one]}))
            .to_vec()
            .into();
    }
    Some(schema)
}

/// An amount as Kubernetes writes it.
const QUANTITY: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|[MGTPE]|[KMGTPE]i|[eE][0-9]+)?$";

/// How texts at some keys look.
struct Format {
    paths: &'static [&'static str],
    pattern: &'static str,
    takes: &'static [&'static str],
    refuses: &'static [&'static str],
}

/// The whole schema.
fn schema() -> Value {
    let mut root = section();
    for key in keys::all() {
        let mut place = &mut root;
        let (above, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        for part in above.split('.').filter(|part| !part.is_empty()) {
            let inner = place["properties"].as_object_mut().expect("a section");
            place = inner.entry(part).or_insert_with(section);
        }
        place["properties"][name] = of(key);
    }
    // `store: URL` is short for `store.url`.
    root["properties"]["store"]["type"] = json!(["object", "string"]);
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "Configuration of drctl".into();
    root
}

fn section() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

/// What may stand at a key.
fn of(key: &ConfigKey) -> Value {
    let mut schema = match key.form {
        Form::List => json!({"type": "array", "items": {"type": "string"}}),
        Form::Pairs => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Form::Items => json!({"type": "array", "items": inner(key.path)}),
        Form::Map => inner(key.path).unwrap_or_else(|| json!({"type": "object"})),
        Form::Text => match words(key.path) {
            Some(words) => json!({"enum": words}),
            None => json!({"type": "string"}),
        },
        Form::Scalar => number(key.path),
    };
    if let Some(format) = format_of(key).filter(|_| key.form == Form::Text) {
        schema["pattern"] = format.pattern.into();
    }
    schema["description"] = key.doc.into();
    schema
}

fn format_of(key: &ConfigKey) -> Option<&'static Format> {
    FORMATS
        .iter()
        .find(|format| format.paths.contains(&key.path))
}

/// Why the configuration refuses a value at a key, if it does.
fn refused(path: &str, value: Value) -> Option<String> {
    let mut tree = json!({"target": "shop", "store": {"url": "s3://bucket/prefix"}});
    // Keys that are nothing without another one.
    if path == "store.s3.object_lock.days" {
        load::set(&mut tree, "store.s3.object_lock.mode", "governance".into());
    }
    if path == "store.s3.object_lock.mode" {
        load::set(&mut tree, "store.s3.object_lock.days", 1.into());
    }
    load::set(&mut tree, path, value);
    let bounded = bounds::check(&tree);
    let checked = bounded.and_then(|()| typed(tree)).and_then(Config::check);
    checked.err().map(|error| error.to_string())
}

fn takes(path: &str, value: impl Into<Value>) -> bool {
    refused(path, value.into()).is_none()
}

/// The words of an enumeration, which the configuration lists when it is given another.
fn words(path: &str) -> Option<Vec<String>> {
    let refusal = refused(path, "no-such-word".into())?;
    let (_, listed) = refusal.split_once("unknown variant `no-such-word`, expected ")?;
    let words: Vec<String> = listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    (!words.is_empty()).then_some(words)
}

/// Whole numbers, shares or booleans, with their limits.
fn number(path: &str) -> Value {
    if takes(path, true) {
        return json!({"type": "boolean"});
    }
    let share = takes(path, 0.25) || takes(path, 1.25);
    let mut schema = Map::new();
    schema.insert(
        "type".into(),
        if share { "number" } else { "integer" }.into(),
    );
    if let Some((least, most)) = limits(path) {
        if let Some(least) = least {
            schema.insert("minimum".into(), least.into());
        }
        if let Some(most) = most {
            schema.insert("maximum".into(), most.into());
        }
    }
    Value::Object(schema)
}

/// Keys whose limits are each other's: the time of an attempt, and that of all of them.
const TOGETHER: &[&str] = &[
    "store.s3.attempt_timeout_seconds",
    "store.s3.operation_timeout_seconds",
];

/// The least and the most that a key takes, by halving; what is as wide as a type is no limit.
fn limits(path: &str) -> Option<(Option<i64>, Option<i64>)> {
    if TOGETHER.contains(&path) {
        return Some((Some(1), None));
    }
    let usual = [1, 0, 60, 3600, 100_000, 1 << 23, 1 << 30];
    let inside = usual.into_iter().find(|number| takes(path, *number))?;
    let edge = |mut good: i64, mut bad: i64| {
        if takes(path, bad) {
            return None;
        }
        while good.abs_diff(bad) > 1 {
            let middle = good + (bad - good) / 2;
            if takes(path, middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Some(good)
    };
    let least = edge(inside, -1_000_000);
    let most = edge(inside, i64::from(i32::MAX));
    Some((least, most))
}

#[test]
fn the_published_schema_is_what_the_configuration_takes() {
    let schema = format!("{:#}\n", schema());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");
    if std::env::var_os("DRCTL_WRITE_DOCS").is_some() {
        std::fs::write(file, &schema).expect("a file of the documentation");
    }
    let published = std::fs::read_to_string(file).unwrap_or_default();
    assert!(published == schema, "run make docs");
}

#[test]
fn keys_have_the_kinds_that_the_configuration_takes() {
    let at = |path: &str| {
        let key = keys::all().find(|key| key.path == path);
        of(key.unwrap_or_else(|| panic!("there is no key {path}")))
    };
    for (path, expected) in [
        (
            "objectives.rpo_seconds",
            json!({"type": "integer", "minimum": 1}),
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
        let mut schema = at(path);
        let inner = schema.as_object_mut().expect("a schema");
        inner.remove("description");
        assert_eq!(schema, expected, "{path}");
    }
}

#[test]
fn what_is_said_of_items_and_maps_is_so() {
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

/// What a pattern takes, the configuration takes; what it refuses, that refuses, too, where it looks at once.
#[test]
fn the_formats_are_those_of_the_configuration() {
    let looked_at_later = ["store.s3.endpoint_url", "notify.runbooks_url"];
    for format in FORMATS {
        for path in format.paths {
            for text in format.takes {
                assert!(takes(path, *text), "{path}: {text:?} is refused");
            }
            for text in format.refuses {
                let later = looked_at_later.contains(path);
                assert!(later || !takes(path, *text), "{path}: {text:?} is taken");
            }
        }
    }
}
