//! Lifecycle of a scratch pod in the cluster: heartbeat, changes, removal.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::k8s::{failure, is_transient};
use crate::util::error::{Error, Result};
use crate::verify::scratch::pod::orphans;
use crate::verify::scratch::pod::spec::HEARTBEAT;

/// Time limit for removing the pod.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the heartbeat of the drill.
pub fn beat(pods: Api<Pod>, name: String) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let now = Timestamp::now().to_string();
            let beat = json!({"metadata": {"annotations": {HEARTBEAT: now}}});
            match merge(&pods, &name, beat).await {
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    tracing::warn!(
                        "no permission to patch pods: another drill of this target would remove this drill's pod as an orphan"
                    );
                    return;
                }
                Err(error) => {
                    let error = failure("update the heartbeat of the scratch pod", error);
                    tracing::debug!(%error, "heartbeat failed");
                }
                Ok(_) => {}
            }
            tokio::time::sleep(orphans::HEARTBEAT_INTERVAL).await;
        }
    }))
}

/// Patches the pod.
pub async fn merge(pods: &Api<Pod>, name: &str, change: serde_json::Value) -> kube::Result<Pod> {
    let change = Patch::Merge(change);
    pods.patch(name, &PatchParams::default(), &change).await
}

/// Deletes the pod at once, and waits until it is gone.
pub async fn remove(pods: &Api<Pod>, name: &str) -> Result<()> {
    let at_once = DeleteParams::default().grace_period(0);
    let gone =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    let work = async {
        let mut pause = Duration::from_millis(50);
        let mut was_away = false;
        loop {
            match pods.delete(name, &at_once).await {
                Ok(_) => {}
                Err(error) if gone(&error) => return Ok(()),
                // The API server may be unreachable for a moment, and refuses requests while it starts.
                Err(error) if is_transient(&error) || was_away => {
                    was_away = true;
                    let error = failure("remove the scratch pod", error);
                    tracing::debug!(%error, "cannot remove the scratch pod; retrying");
                }
                Err(error) => return Err(failure("remove the scratch pod", error)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    };
    match tokio::time::timeout(REMOVE_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::server(format!(
            "the scratch pod {name} was not removed within {} s",
            REMOVE_TIMEOUT.as_secs()
        ))
        .hint("the next drill of this target removes it; it also ends at its deadline")),
    }
}
