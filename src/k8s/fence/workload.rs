//! A workload that can be fenced: its notation in the configuration, and its replica state.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, Selector};
use serde::{Deserialize, Deserializer};

/// Annotation with the previous replica count.
pub const REPLICAS: &str = "drctl.io/replicas";

/// `deployment/web`, `statefulset/worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    kind: &'static str,
    name: String,
}

impl TryFrom<String> for Workload {
    type Error = String;

    fn try_from(text: String) -> Result<Workload, String> {
        let (kind, name) = text.split_once('/').unwrap_or((&text, ""));
        let kind = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deploy" => Some("Deployment"),
            "statefulset" | "sts" => Some("StatefulSet"),
            _ => None,
        };
        match kind {
            Some(kind) if !name.is_empty() => Ok(Workload {
                kind,
                name: name.to_owned(),
            }),
            _ => Err(format!(
                "{text:?} is not a workload, such as deployment/web or statefulset/worker"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Workload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Workload::try_from(text).map_err(serde::de::Error::custom)
    }
}

impl Workload {
    /// Name of the workload.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind in the API.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", self.kind))
    }

    /// Its kind in permissions: `deployments`.
    pub fn resource(&self) -> &'static str {
        match self.kind {
            "StatefulSet" => "statefulsets",
            _ => "deployments",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// Replica state of a workload.
#[derive(Debug)]
pub(super) struct State {
    /// Desired replica count.
    pub(super) replicas: u64,
    /// Replica count before it was fenced; `None` if it is not fenced.
    pub(super) remembered: Option<u64>,
    /// Selector of its pods.
    pub(super) selector: Selector,
    /// Whether its controller has observed the current spec.
    pub(super) is_noticed: bool,
}

impl State {
    pub(super) fn of(workload: &DynamicObject) -> std::result::Result<State, String> {
        let (spec, status) = (&workload.data["spec"], &workload.data["status"]);
        let annotations = workload.metadata.annotations.as_ref();
        let remembered = annotations.and_then(|all| all.get(REPLICAS));
        let number = |text: &String| match text.parse::<i32>() {
            Ok(number) if number >= 0 => Ok(number.unsigned_abs().into()),
            _ => Err(format!(
                "its annotation {REPLICAS} is {text:?}, which is not a replica count"
            )),
        };
        let selector: LabelSelector = serde_json::from_value(spec["selector"].clone())
            .map_err(|error| format!("its selector is invalid: {error}"))?;
        let noticed = status["observedGeneration"].as_i64().unwrap_or(0);
        Ok(State {
            // Kubernetes defaults to 1.
            replicas: spec["replicas"].as_u64().unwrap_or(1),
            remembered: remembered.map(number).transpose()?,
            selector: selector
                .try_into()
                .map_err(|error| format!("its selector is invalid: {error}"))?,
            is_noticed: noticed >= workload.metadata.generation.unwrap_or(0)
                && status["replicas"].as_u64().unwrap_or(0) == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_workload_is_a_kind_and_a_name() {
        let workload = Workload::try_from("deploy/web".to_owned()).unwrap();
        assert_eq!(workload.to_string(), "deployment/web");
        for wrong in ["web", "deployment/", "pod/web", ""] {
            assert!(Workload::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_state_of_a_workload_is_read() {
        let of = |text: Value| State::of(&serde_json::from_value(text).unwrap());
        let state = of(
            json!({"metadata": {"name": "web", "annotations": {REPLICAS: "3"}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}}}),
        )
        .unwrap();
        assert_eq!((state.replicas, state.remembered), (0, Some(3)));
        let usual = of(json!({"metadata": {"name": "web"}, "spec": {"selector": {}}})).unwrap();
        assert_eq!((usual.replicas, usual.remembered), (1, None));
        for wrong in ["x", "-1", "3000000000"] {
            let annotated = json!({"metadata": {"name": "web", "annotations": {REPLICAS: wrong}},
                "spec": {"selector": {}}});
            assert!(of(annotated).unwrap_err().contains(wrong));
        }
    }

    #[test]
    fn a_workload_may_create_pods_until_its_controller_observes_the_change() {
        let of = |seen: u64, replicas: u64| {
            let text = json!({"metadata": {"name": "web", "generation": 2}, "spec": {"selector": {}},
                "status": {"observedGeneration": seen, "replicas": replicas}});
            State::of(&serde_json::from_value(text).unwrap())
                .unwrap()
                .is_noticed
        };
        assert!(!of(1, 0) && !of(2, 3) && of(2, 0));
    }
}
