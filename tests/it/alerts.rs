//! The alert rules: promtool accepts them, their tests pass and cover every rule, and they use documented
//! metrics only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use drctl::monitor::notify::Task;
use drctl::monitor::notify::event::Alert;
use serde_json::Value;

use crate::need;
use crate::support::lab;

/// Severities of alerts.
const SEVERITIES: [&str; 2] = ["critical", "warning"];

/// Alerts that drctl itself sends and no rule raises.
pub const OF_NOTIFIERS: [&str; 2] = ["DrctlObjectiveMissed", "DrctlTest"];

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// `DrctlBackupOverdue`
    pub name: String,
    /// Its PromQL.
    pub expr: String,
    /// Its severity.
    pub severity: String,
    /// Its annotations.
    pub annotations: Value,
}

/// A file of the repository.
pub fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The rules in the file that Prometheus loads.
pub fn rules() -> Vec<Rule> {
    let tree = yaml(&repository("chart/alerts/rules.yaml"));
    let groups = tree["groups"].as_array().expect("groups");
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rules: Vec<Rule> = rules
        .map(|rule| Rule {
            name: text(&rule["alert"]),
            expr: text(&rule["expr"]),
            severity: text(&rule["labels"]["severity"]),
            annotations: rule["annotations"].clone(),
        })
        .collect();
    assert!(rules.len() > 10, "hardly any rules: {rules:?}");
    rules
}

fn yaml(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[track_caller]
fn promtool(args: &[&str]) -> (bool, String) {
    let output = Command::new(lab::root().join("prometheus/bin/promtool"))
        .args(args)
        .current_dir(repository("chart/alerts"))
        .output()
        .expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn promtool_accepts_the_rules() {
    need!(Prometheus);
    let (accepted, said) = promtool(&["check", "rules", "rules.yaml"]);
    assert!(accepted, "{said}");
    assert!(
        said.contains(&format!("{} rules found", rules().len())),
        "{said}"
    );
}

#[test]
fn the_tests_of_the_rules_pass() {
    need!(Prometheus);
    let (hold, said) = promtool(&["test", "rules", "rules_test.yaml"]);
    assert!(hold, "{said}");
}

#[test]
fn every_rule_is_tested_inactive_and_firing() {
    let tree = yaml(&repository("chart/alerts/rules_test.yaml"));
    let groups = tree["tests"].as_array().expect("tests");
    let cases = groups
        .iter()
        .flat_map(|group| group["alert_rule_test"].as_array().expect("cases"));
    let (mut silent, mut raised) = (BTreeSet::new(), BTreeSet::new());
    for case in cases {
        let name = case["alertname"].as_str().expect("a name").to_owned();
        let alerts = case["exp_alerts"].as_array().expect("an array");
        match alerts.is_empty() {
            true => silent.insert(name),
            false => raised.insert(name),
        };
    }
    let all: BTreeSet<String> = rules().into_iter().map(|rule| rule.name).collect();
    assert_eq!(
        silent, all,
        "each rule needs a case in which it is inactive"
    );
    assert_eq!(raised, all, "each rule needs a case in which it fires");
}

#[test]
fn every_alert_has_a_severity_a_description_and_a_runbook() {
    for rule in rules() {
        let Rule {
            name,
            severity,
            annotations,
            ..
        } = &rule;
        let text = |key: &str| {
            annotations[key]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: no {key}"))
        };
        assert!(name.starts_with("Drctl"), "{name}");
        assert!(
            SEVERITIES.contains(&severity.as_str()),
            "{name}: {severity}"
        );
        assert!(
            text("summary").contains("$labels.") && text("summary").len() < 120,
            "{name}"
        );
        let description = text("description");
        for word in ["$value", "$labels."] {
            assert!(
                description.contains(word),
                "{name}: its description lacks {word}"
            );
        }
        assert_eq!(text("runbook_url"), format!("runbooks/{name}.md"));
    }
}

#[test]
fn every_metric_of_a_rule_is_documented() {
    let documented = documented();
    for rule in rules() {
        let used = metrics(&rule.expr);
        assert!(
            !used.is_empty(),
            "{}: no metric in {}",
            rule.name,
            rule.expr
        );
        for metric in used {
            assert!(
                documented.contains(&metric),
                "{}: docs/metrics.md lacks {metric}",
                rule.name
            );
        }
    }
}

/// The metrics in the first column of docs/metrics.md.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let first = rows.map(|row| row.split('|').nth(1).expect("a cell"));
    first.flat_map(metrics).collect()
}

/// The names of metrics in a text; names of Jobs are not metrics.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    let ours = |word: &&str| word.starts_with("drctl_") || word.starts_with("kube_");
    words.filter(ours).map(str::to_owned).collect()
}

/// Alertmanager merges an alert sent by drctl with the same alert of a rule, so their labels must be equal.
#[test]
fn the_alerts_that_drctl_sends_are_those_of_the_rules() {
    let rules = rules();
    let mut of_rules = 0;
    for alert in [Task::Backup, Task::Verify].into_iter().flat_map(Alert::of) {
        match rules.iter().find(|rule| rule.name == alert.name) {
            Some(rule) => {
                assert_eq!(rule.severity, alert.severity, "{}", alert.name);
                of_rules += 1;
            }
            None => assert!(
                OF_NOTIFIERS.contains(&alert.name),
                "{} has no rule",
                alert.name
            ),
        }
    }
    assert!(of_rules >= 5, "{of_rules}");
    assert!(OF_NOTIFIERS.contains(&Alert::TEST.name));
}

/// The status page links a problem to the runbook of its alert. Other runbooks are procedures.
#[test]
fn the_problems_of_the_status_page_have_the_names_and_severities_of_the_rules() {
    let source = fs::read_to_string(repository("src/monitor/problems.rs")).unwrap();
    let rules = rules();
    let mut compared = 0;
    for severity in SEVERITIES {
        for call in source.split(&format!("{severity}(")).skip(1) {
            let name = call.trim_start().strip_prefix("\"Drctl");
            let Some(name) = name.and_then(|rest| rest.split('"').next()) else {
                continue;
            };
            let name = format!("Drctl{name}");
            // One name may have a rule for each severity.
            let of_this_name = rules.iter().filter(|rule| rule.name == name);
            let severities: Vec<&str> = of_this_name.map(|rule| &*rule.severity).collect();
            assert!(severities.contains(&severity), "{name}: {severities:?}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared}");
}
