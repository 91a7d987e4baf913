//! Kubernetes: connecting to a cluster, this process's own pod, and API failures as errors.
//!
//! - [`pod`]: state of a pod.
//! - [`fence`]: the fence around a restore.

pub mod fence;
pub mod pod;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::client::AuthError;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};

use crate::util::error::{Error, Result};

/// Time limit for connecting to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of an exec plugin.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection silent for this long counts as lost. Watches are renewed before that, see
/// [`WATCH_SECONDS`].
const SILENCE: Duration = Duration::from_secs(75);

/// Duration of one watch request: less than [`SILENCE`], so that only a dead connection is silent for
/// longer.
pub const WATCH_SECONDS: u32 = 50;

/// The pod that this process runs in, from the downward API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPod {
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_NAME`.
    pub name: String,
    /// `POD_UID`.
    pub uid: String,
}

impl OwnPod {
    /// Reads the environment; `None` outside a pod, or if one of the three variables is missing.
    pub fn of_environment() -> Option<OwnPod> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(OwnPod {
            namespace: env("POD_NAMESPACE")?,
            name: env("POD_NAME")?,
            uid: env("POD_UID")?,
        })
    }

    /// The same, if it can own objects in `namespace`: owner references do not work across namespaces.
    pub fn owner_in(namespace: &str) -> Option<OwnPod> {
        OwnPod::of_environment().filter(|own| own.namespace == namespace)
    }
}

/// A cluster, with its default namespace.
#[derive(Clone)]
pub struct Cluster {
    config: Config,
    client: Client,
    is_inside: bool,
}

impl Cluster {
    /// Connects by `KUBECONFIG`, `~/.kube/config`, or the pod's service account. Sends no request yet.
    pub async fn find() -> Result<Cluster> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::usage("no Kubernetes cluster is configured")
                .caused_by(error)
                .hint("set KUBECONFIG, or in a pod, mount the service account's token")
        };
        let is_named = std::env::var_os("KUBECONFIG").is_some_and(|file| !file.is_empty());
        let chosen = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        let (mut config, is_inside) = match chosen {
            Ok(config) => (config, false),
            // An explicitly configured cluster is never replaced by the one that this process runs in.
            Err(error) if is_named => return Err(failed(error.into())),
            Err(_) => (Config::incluster().map_err(|e| failed(e.into()))?, true),
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(SILENCE);
        let client = client(&config).await?;
        Ok(Cluster {
            config,
            client,
            is_inside,
        })
    }

    /// Whether this process runs in a pod of the cluster and reaches other pods by address.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Client for requests.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Client for streams that may be silent for hours.
    pub async fn patient_client(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.read_timeout = None;
        client(&config).await
    }

    /// The given namespace; else that of this process, or of the kubeconfig's context.
    pub fn namespace_or_own(&self, named: Option<&str>) -> String {
        let own = || OwnPod::of_environment().map(|own| own.namespace);
        named
            .map(str::to_owned)
            .or_else(own)
            .unwrap_or_else(|| self.config.default_namespace.clone())
    }

    /// The pods of a namespace.
    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client(), namespace)
    }
}

/// Builds a client. This may run an exec plugin of the kubeconfig, so it has a time limit.
async fn client(config: &Config) -> Result<Client> {
    let config = config.clone();
    let made = tokio::task::spawn_blocking(move || Client::try_from(config));
    let hint = "check the access with kubectl get pods";
    let Ok(made) = tokio::time::timeout(LOGIN_TIMEOUT, made).await else {
        let what = format!(
            "the kubeconfig exec plugin did not exit within {} s",
            LOGIN_TIMEOUT.as_secs()
        );
        return Err(Error::usage(what).hint(hint));
    };
    let made = made.map_err(|e| Error::unexpected("cannot make a client").because(e))?;
    made.map_err(|error| {
        let what = "cannot use the configuration of the Kubernetes cluster";
        match login(&error) {
            Some(why) => Error::usage(format!("{what}: {why}")).hint(hint),
            None => Error::usage(what).because(error).hint(hint),
        }
    })
}

/// The cause of a login failure, if the error is one. Excludes input and output of the exec plugin, which
/// may contain credentials.
fn login(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let Some(error) = error.downcast_ref::<AuthError>() else {
            cause = error.source();
            continue;
        };
        return Some(match error {
            AuthError::AuthExecRun { out, .. } => {
                let said = String::from_utf8_lossy(&out.stderr);
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                let last = last.map(|line| format!(": {}", line.trim()));
                format!(
                    "the kubeconfig exec plugin failed ({}){}",
                    out.status,
                    last.unwrap_or_default()
                )
            }
            AuthError::AuthExecParse(_) => {
                "the kubeconfig exec plugin did not print an ExecCredential".to_owned()
            }
            error => error.to_string(),
        });
    }
    None
}

/// Converts an API failure: rejected or invalid requests are exit 2, unreachable servers exit 10.
pub fn failure(doing: &str, error: kube::Error) -> Error {
    // An exec plugin, a certificate: part of the configuration.
    if let Some(why) = login(&error) {
        return Error::usage(format!("{doing}: cannot log in to the cluster: {why}"))
            .hint("check the access with kubectl get pods");
    }
    let status = match &error {
        kube::Error::Api(status) => status,
        _ => {
            let cause = innermost(&error);
            return Error::server(format!(
                "{doing}: the cluster's API server does not answer: {cause}"
            ))
            .caused_by(error)
            .hint("check that the API server is reachable from here, and run it again");
        }
    };
    let what = format!("{doing}: {}", status.message);
    match status.code {
        401 => Error::usage(what).hint("not authenticated to the cluster; log in again"),
        403 if status.message.contains("exceeded quota") => {
            Error::server(what).hint("raise the ResourceQuota, or request less")
        }
        403 if status.message.contains("failed quota") => Error::usage(what)
            .hint("the ResourceQuota requires an explicit value: set it in verify.pod.resources"),
        403 if status.message.contains("being terminated") => {
            Error::usage(what).hint("the namespace is being deleted; use another one")
        }
        403 if status.message.contains("is forbidden: User") => Error::usage(what)
            .hint("grant the account this permission with a Role; docs/drills.md, watch.md, fence.md and lease.md list the permissions"),
        403 => {
            Error::usage(what).hint("an admission policy of the cluster rejects it: check the namespace's labels and LimitRange")
        }
        404 => Error::usage(what).hint("check the name and the namespace"),
        400 | 422 => Error::usage(what).hint("correct the configuration of this object"),
        _ => Error::server(what).hint("check the cluster, and run the command again"),
    }
}

/// Whether a failure is transient: the server is unreachable or busy.
pub fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::Auth(_) | kube::Error::BuildRequest(_) => false,
        _ => true,
    }
}

/// The innermost cause; outer ones only say that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn of(code: u16, message: &str) -> Error {
        let mut status = Status::failure(message, "x");
        status.code = code;
        failure("create the scratch pod", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn input_and_output_of_an_exec_plugin_are_not_shown() {
        use std::os::unix::process::ExitStatusExt as _;
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"{\"token\": \"secret\"}".to_vec(),
            stderr: b"hello\nthe session has expired\n".to_vec(),
        };
        let error = kube::Error::Auth(AuthError::AuthExecRun {
            cmd: "KEY=secret aws".to_owned(),
            out: Box::new(out),
        });
        let error = failure("watch pods", error);
        let all = format!("{error} {error:?}");
        assert!(
            all.contains("the session has expired") && !all.contains("secret"),
            "{all}"
        );
        assert_eq!(error.outcome().code(), 2);
    }

    #[test]
    fn a_missing_permission_is_a_usage_error_and_a_full_quota_a_server_error() {
        let denied = of(403, "pods is forbidden: User \"x\" cannot create resource");
        assert_eq!(denied.outcome().code(), 2);
        assert!(denied.to_string().contains("with a Role"), "{denied}");
        let full = of(403, "pods \"x\" is forbidden: exceeded quota: q");
        assert_eq!(full.outcome().code(), 10);
        assert!(full.to_string().contains("ResourceQuota"), "{full}");
        let policy = of(403, "pods \"x\" is forbidden: violates PodSecurity");
        assert!(policy.to_string().contains("admission policy"), "{policy}");
        let unsaid = of(
            403,
            "pods \"x\" is forbidden: failed quota: q: must specify limits.cpu",
        );
        assert!(unsaid.to_string().contains("verify.pod.resources"));
        let ending = of(
            403,
            "pods \"x\" is forbidden: unable to create new content in namespace y because it is being terminated",
        );
        assert!(ending.to_string().contains("being deleted"), "{ending}");
        assert_eq!(
            of(500, "etcdserver: request timed out").outcome().code(),
            10
        );
    }
}
