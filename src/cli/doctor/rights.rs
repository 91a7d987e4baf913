//! Doctor checks of Kubernetes permissions: whether this account may do what drills in pods and the fence
//! need, if they are configured. A backup needs none, and often another account has them, so a missing
//! permission is a warning.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::cli::Context;
use crate::cli::doctor::Findings;
use crate::k8s::fence::Fence;
use crate::k8s::{Cluster, OwnPod, failure};
use crate::util::error::Result;
use crate::verify::scratch::Choice;
use crate::verify::scratch::pod::config::PodConfig;

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    verb: &'static str,
    group: &'static str,
    /// The resource: `pods`, `pods/log`.
    resource: &'static str,
    /// Name of the only object needed; `None` for all objects.
    name: Option<String>,
    namespace: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, resource, space) = (self.verb, self.resource, &self.namespace);
        match &self.name {
            Some(name) => write!(f, "{verb} {resource} {name} in {space}"),
            None => write!(f, "{verb} {resource} in {space}"),
        }
    }
}

/// Checks all permissions; does nothing if the configuration needs none.
pub(super) async fn check(context: &Context, findings: &mut Findings) -> Result<()> {
    let pod = match context.config.scratch(None) {
        Ok(Choice::Pod(pod)) => Some(pod),
        _ => None,
    };
    let fence = &context.config.restore.fence;
    let look = async {
        if let Some(pod) = pod {
            let cluster = Cluster::find().await?;
            let rights = of_drills(&pod, &cluster);
            report(&cluster, "drills in pods", &rights, findings).await?;
        }
        if !fence.workloads.is_empty() {
            let fence = Fence::find(fence).await?;
            let rights = of_fence(&fence);
            report(fence.cluster(), "the fence", &rights, findings).await?;
        }
        Ok(())
    };
    let looked = context.cancel.unless(look).await;
    context.cancel.check()?;
    if let Err(error) = looked {
        let fix = "also run doctor with the account that runs verify and restore";
        findings.warn("cluster rights", error.what(), Some(fix));
    }
    Ok(())
}

fn of_drills(config: &PodConfig, cluster: &Cluster) -> Vec<Right> {
    let namespace = cluster.namespace_or_own(config.namespace.as_deref());
    let mut rights = Vec::new();
    let mut add = |verbs: &[&'static str], resource| {
        rights.extend(verbs.iter().map(|verb| Right {
            verb,
            group: "",
            resource,
            name: None,
            namespace: namespace.clone(),
        }));
    };
    add(&["create", "get", "list", "watch", "delete"], "pods");
    add(&["get"], "pods/log");
    add(&["list"], "events");
    // The heartbeat of a pod without an owner.
    if OwnPod::owner_in(&namespace).is_none() {
        add(&["patch"], "pods");
    }
    if !cluster.is_inside() {
        add(&["get", "create"], "pods/portforward");
    }
    rights
}

fn of_fence(fence: &Fence<'_>) -> Vec<Right> {
    let mut rights = Vec::new();
    for workload in fence.workloads() {
        rights.extend(["get", "patch"].map(|verb| Right {
            verb,
            group: "apps",
            resource: workload.resource(),
            name: Some(workload.name().to_owned()),
            namespace: fence.namespace().to_owned(),
        }));
    }
    rights.push(Right {
        verb: "list",
        group: "",
        resource: "pods",
        name: None,
        namespace: fence.namespace().to_owned(),
    });
    rights
}

/// Adds one finding per missing permission, or one if all are granted.
async fn report(
    cluster: &Cluster,
    whose: &str,
    rights: &[Right],
    findings: &mut Findings,
) -> Result<()> {
    const CHECK: &str = "cluster rights";
    let mut is_whole = true;
    for right in rights {
        if may(cluster.client(), right).await? {
            continue;
        }
        is_whole = false;
        let fix = format!(
            "bind the account that runs it to a Role in {} with the verb {} on {}",
            right.namespace, right.verb, right.resource
        );
        let what = format!("{whose}: this account has no permission to {right}");
        findings.warn(CHECK, what, Some(&fix));
    }
    if is_whole {
        findings.ok(CHECK, format!("{whose}: all permissions granted"));
    }
    Ok(())
}

async fn may(client: Client, right: &Right) -> Result<bool> {
    let (resource, sub) = match right.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (right.resource, None),
    };
    let asked = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(right.verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource: sub,
                name: right.name.clone(),
                namespace: Some(right.namespace.clone()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
    let answer = reviews.create(&PostParams::default(), &asked).await;
    let answer = answer.map_err(|error| failure("query the permissions of this account", error))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
