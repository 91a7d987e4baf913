//! A Kubernetes cluster: how it is reached, who we are in it, and its failures as a person meets them.
//!
//! - [`pod`]: what a person cares about in a pod.

pub mod pod;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::client::AuthError;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};

use crate::error::{Error, Result};

/// How long the API server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the program of a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// After how much silence a connection counts as lost. Watches are begun anew before it, see
/// [`WATCH_SECONDS`].
const SILENCE: Duration = Duration::from_secs(75);

/// How long the server holds a watch open: less than [`SILENCE`], so that only what is dead is silent.
pub const WATCH_SECONDS: u32 = 50;

/// The pod that this process runs in, where the downward API tells it.
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
    /// By the environment; none outside of a pod, or where one of the three is missing.
    pub fn of_environment() -> Option<OwnPod> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(OwnPod {
            namespace: env("POD_NAMESPACE")?,
            name: env("POD_NAME")?,
            uid: env("POD_UID")?,
        })
    }

    /// The same where it can own what is in a namespace: across namespaces nobody owns anything.
    pub fn owner_in(namespace: &str) -> Option<OwnPod> {
        OwnPod::of_environment().filter(|own| own.namespace == namespace)
    }
}

/// A cluster, and the namespace that is meant where nobody names one.
#[derive(Clone)]
pub struct Cluster {
    config: Config,
    client: Client,
    is_inside: bool,
}

impl Cluster {
    /// By `KUBECONFIG`, `~/.kube/config`, or the pod's service account. Nothing is asked yet.
    pub async fn find() -> Result<Cluster> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::usage("no Kubernetes cluster is configured")
                .caused_by(error)
                .hint("set KUBECONFIG, or in a pod mount the service account's token")
        };
        let is_named = std::env::var_os("KUBECONFIG").is_some_and(|file| !file.is_empty());
        let chosen = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        let (mut config, is_inside) = match chosen {
            Ok(config) => (config, false),
            // A cluster that was named is never replaced by the one that this happens to run in.
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

    /// Whether this process runs in one of its pods, and so reaches the others by their addresses.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// For requests.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// For streams that may be silent for hours.
    pub async fn patient_client(&self) -> Result<Client> {
        let mut config = self.config.clone();
        config.read_timeout = None;
        client(&config).await
    }

    /// The namespace that is named; else that of this process, or of the kubeconfig's context.
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

/// It may run a program for the login: one that stands still holds nobody up.
async fn client(config: &Config) -> Result<Client> {
    let config = config.clone();
    let made = tokio::task::spawn_blocking(move || Client::try_from(config));
    let hint = "try it with kubectl get pods";
    let Ok(made) = tokio::time::timeout(LOGIN_TIMEOUT, made).await else {
        let what = format!(
            "the login program of the Kubernetes cluster did not end within {} s",
            LOGIN_TIMEOUT.as_secs()
        );
        return Err(Error::usage(what).hint(hint));
    };
    let made = made.map_err(|e| Error::unexpected("cannot make a client").because(e))?;
    made.map_err(|error| {
        let what = "the configuration of the Kubernetes cluster cannot be used";
        match login(&error) {
            Some(why) => Error::usage(format!("{what}: {why}")).hint(hint),
            None => Error::usage(what).because(error).hint(hint),
        }
    })
}

/// What is wrong with a login, if that is it. Without what its program was given and wrote: both may
/// hold what logs in.
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
                    "its login program failed ({}){}",
                    out.status,
                    last.unwrap_or_default()
                )
            }
            AuthError::AuthExecParse(_) => "its login program wrote no ExecCredential".to_owned(),
            error => error.to_string(),
        });
    }
    None
}

/// A failure of the API: what was refused or is wrong is exit 2, what did not answer is exit 10.
pub fn failure(doing: &str, error: kube::Error) -> Error {
    // A token program, a certificate: what the configuration names.
    if let Some(why) = login(&error) {
        return Error::usage(format!("{doing}: cannot log in to the cluster: {why}"))
            .hint("try it with kubectl get pods");
    }
    let status = match &error {
        kube::Error::Api(status) => status,
        _ => {
            let cause = innermost(&error);
            return Error::server(format!(
                "{doing}: the cluster's API does not answer: {cause}"
            ))
            .caused_by(error)
            .hint("check that the API server is reachable from here, and run it again");
        }
    };
    let what = format!("{doing}: {}", status.message);
    match status.code {
        401 => Error::usage(what).hint("the cluster does not know who this is: renew the login"),
        403 if status.message.contains("exceeded quota") => {
            Error::server(what).hint("raise the ResourceQuota, or ask for less")
        }
        403 if status.message.contains("failed quota") => Error::usage(what)
            .hint("the ResourceQuota wants it said: set it in verify.pod.resources"),
        403 if status.message.contains("being terminated") => {
            Error::usage(what).hint("the namespace is being deleted: name another")
        }
        403 if status.message.contains("is forbidden: User") => Error::usage(what)
            .hint("give the account this right by a Role; docs/drills.md, watch.md and fence.md list them"),
        403 => {
            Error::usage(what).hint("the cluster's policies refuse it: see the namespace's labels and LimitRange")
        }
        404 => Error::usage(what).hint("check the name and the namespace"),
        400 | 422 => Error::usage(what).hint("correct what the configuration says of it"),
        _ => Error::server(what).hint("look at the cluster, and run it again"),
    }
}

/// Whether a failure passes by itself: a server that is away, or busy for a moment.
pub fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::Auth(_) | kube::Error::BuildRequest(_) => false,
        _ => true,
    }
}

/// The last of the causes: the first only say that something failed.
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
    fn what_a_login_program_was_given_and_wrote_is_not_told() {
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
    fn a_right_that_is_missing_is_the_configurations_affair_and_a_full_quota_the_clusters() {
        let denied = of(403, "pods is forbidden: User \"x\" cannot create resource");
        assert_eq!(denied.outcome().code(), 2);
        assert!(denied.to_string().contains("by a Role"), "{denied}");
        let full = of(403, "pods \"x\" is forbidden: exceeded quota: q");
        assert_eq!(full.outcome().code(), 10);
        assert!(full.to_string().contains("ResourceQuota"), "{full}");
        let policy = of(403, "pods \"x\" is forbidden: violates PodSecurity");
        assert!(policy.to_string().contains("policies"), "{policy}");
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
