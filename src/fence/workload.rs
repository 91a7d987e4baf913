//! A workload that can be fenced: how it is written in the configuration, and what it says of its
//! replicas.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, Selector};

use crate::error::{Error, Result};

/// Where the number of replicas is remembered.
pub const REPLICAS: &str = "drctl.io/replicas";

/// `deployment/web`, `statefulset/worker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    kind: &'static str,
    name: String,
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Workload> {
        let (kind, name) = text.split_once('/').unwrap_or((text, ""));
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
            _ => Err(
                Error::usage(format!("restore.fence: {text:?} is no workload"))
                    .hint("write them as deployment/web, statefulset/worker"),
            ),
        }
    }
}

impl Workload {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind as the API knows it.
    pub(super) fn api_resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", self.kind))
    }

    /// Its kind as rights name it: `deployments`.
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

/// What a workload says of its replicas.
#[derive(Debug)]
pub(super) struct State {
    /// How many it is to have.
    pub(super) replicas: u64,
    /// How many it had before it was fenced.
    pub(super) remembered: Option<u64>,
    /// Its pods.
    pub(super) selector: Selector,
    /// Whether its controller knows what is wanted.
    pub(super) is_noticed: bool,
}

impl State {
    pub(super) fn of(workload: &DynamicObject) -> std::result::Result<State, String> {
        let (spec, status) = (&workload.data["spec"], &workload.data["status"]);
        let annotations = workload.metadata.annotations.as_ref();
        let remembered = annotations.and_then(|all| all.get(REPLICAS));
        let number = |text: &String| match text.parse::<i32>() {
            Ok(number) if number >= 0 => Ok(number.unsigned_abs().into()),
            _ => Err(format!("its {REPLICAS} is {text:?}, no number of replicas")),
        };
        let selector: LabelSelector = serde_json::from_value(spec["selector"].clone())
            .map_err(|error| format!("its selector is strange: {error}"))?;
        let noticed = status["observedGeneration"].as_i64().unwrap_or(0);
        Ok(State {
            // Kubernetes means 1 where nobody says.
            replicas: spec["replicas"].as_u64().unwrap_or(1),
            remembered: remembered.map(number).transpose()?,
            selector: selector
                .try_into()
                .map_err(|error| format!("its selector is strange: {error}"))?,
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
        let workload: Workload = "deploy/web".parse().unwrap();
        assert_eq!(workload.to_string(), "deployment/web");
        for wrong in ["web", "deployment/", "pod/web", ""] {
            let error = wrong.parse::<Workload>().unwrap_err();
            assert_eq!(error.outcome().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn what_stands_in_a_workload_is_read() {
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
    fn a_workload_whose_controller_knows_nothing_of_it_yet_may_still_make_pods() {
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
