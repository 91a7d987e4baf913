//! A scratch server in a Kubernetes pod: of the backup's flavour and release series, for one drill.
//!
//! - [`config`]: checked configuration; [`spec`]: the pod's manifest; [`hash`]: its password hash.
//! - [`pod_watch`]: state of the pod; [`pod_failure`]: failures read from its status.
//! - [`forward`]: port-forward from outside the cluster; from inside the pod's address is used.
//! - [`lifecycle`]: heartbeat, changes and removal; [`orphans`]: pods of killed drills.

pub mod config;
mod forward;
pub mod hash;
mod lifecycle;
mod orphans;
mod pod_failure;
mod pod_watch;
pub mod spec;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::archive::manifest::Manifest;
use crate::k8s::{Cluster, OwnPod, failure, is_transient};
use crate::monitor::report::model::{Profile, ScratchFacts};
use crate::mysql::url::{Endpoint, ServerUrl, Tls};
use crate::mysql::{Role, ServerConfig, ServerVersion, connect};
use crate::replay::address;
use crate::restore::report::RestoreReport;
use crate::util::cancel::Cancel;
use crate::util::error::{Error, Outcome, Result};
use crate::verify::DrillConfig;
use crate::verify::scratch::options::ServerOptions;
use crate::verify::scratch::{Scratch, external, version_of};
use config::PodConfig;
use forward::Forward;
use lifecycle::{beat, merge, remove};
use pod_watch::PodWatch;
use spec::{CONTAINER, KEPT_LABEL, PORT, PodParameters, SOCKET};

/// Pause between login attempts while the server boots.
const BOOT_PAUSE: Duration = Duration::from_millis(100);

/// Time limit of one login attempt: a NetworkPolicy drops packets silently.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a port-forward may be refused, as by an API server that is starting.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// Time for the cluster to report how a pod ended.
const CAUSE_TIMEOUT: Duration = Duration::from_secs(6);

/// Memory in bytes if none is configured.
const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;

/// A running scratch server in a pod.
struct PodServer {
    cluster: Cluster,
    pods: Api<Pod>,
    name: String,
    namespace: String,
    watch: PodWatch,
    server: Arc<ServerConfig>,
    facts: ScratchFacts,
    /// How long the pod may stay unschedulable.
    unschedulable: Duration,
    /// Lifetime after which the cluster ends the pod.
    life: Duration,
    /// Heartbeat task, if no pod owns this one.
    _beat: Option<AbortOnDropHandle<()>>,
    /// Port-forward, from outside the cluster.
    forward: Option<Forward>,
}

/// Creates a pod and waits until its server accepts logins.
pub async fn start(
    config: &PodConfig,
    drill: &DrillConfig,
    manifest: &Manifest,
    profile: Profile,
    replays: bool,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let wanted = version_of(manifest)?;
    let image = image_of(config, &wanted)?;
    let cluster = cancel.unless(Box::pin(Cluster::find())).await?;
    let namespace = cluster.namespace_or_own(config.namespace.as_deref());
    let owner = OwnPod::owner_in(&namespace);
    let pods = cluster.pods(&namespace);
    cancel
        .unless(orphans::reap(&pods, &manifest.target))
        .await?;

    let resources = match profile {
        Profile::Production => config
            .production_resources
            .as_ref()
            .unwrap_or(&config.resources),
        _ => &config.resources,
    };
    let data = manifest.server.bytes.max(manifest.totals.raw_bytes);
    let options = ServerOptions {
        version: &wanted,
        fingerprint: &manifest.server.fingerprint,
        data_bytes: data,
        longest_bytes: manifest.totals.largest_statement_bytes,
        memory_bytes: resources.memory_bytes().unwrap_or(DEFAULT_MEMORY_BYTES),
        profile,
        network: true,
        replays,
    };
    let settings = options.settings();
    let mark: u32 = rand::random();
    let (name, user) = (
        format!("drctl-{}-{mark:08x}", manifest.target),
        format!("drctl_{mark:08x}"),
    );
    let password = hash::new_password();
    let pod = spec::pod(&PodParameters {
        name: &name,
        namespace: &namespace,
        target: &manifest.target,
        image,
        options: &options,
        user: &user,
        identified: &hash::identified(wanted.flavour, &password),
        resources,
        disk_bytes: spec::disk_bytes(data, settings.contains_key("log_bin")),
        config,
        owner: owner.as_ref(),
    })?;
    cancel.check()?;
    tracing::info!(pod = name, namespace, image, "scratch pod");
    // Not under the drill's cancellation: it must be known whether the pod was created.
    if let Err(error) = pods.create(&PostParams::default(), &pod).await {
        let unsure = is_transient(&error);
        let error = failure(&format!("create the scratch pod in {namespace}"), error);
        if unsure && let Err(also) = remove(&pods, &name).await {
            tracing::warn!(error = %also, "a scratch pod may remain");
        }
        return Err(error);
    }
    let mut facts = ScratchFacts {
        kind: "pod".to_owned(),
        version: wanted.to_string(),
        profile,
        settings,
    };
    facts.settings.insert("image".to_owned(), image.to_owned());
    let limits = resources.limits.iter();
    let limits = limits.map(|(name, limit)| (format!("limit_{name}"), limit.clone()));
    facts.settings.extend(limits);
    let mut this = PodServer {
        watch: PodWatch::begin(&cluster, &namespace, &name),
        _beat: owner.is_none().then(|| beat(pods.clone(), name.clone())),
        forward: None,
        server: Arc::new(ServerConfig {
            url: ServerUrl {
                user,
                // Replaced once the address is known.
                endpoint: Endpoint::Tcp {
                    host: name.clone(),
                    port: PORT,
                },
                tls: Tls::Preferred,
                ca: None,
                identity: None,
            },
            password: Some(password),
            client_dir: drill.client_dir.clone(),
            role: Role::Into,
        }),
        unschedulable: config.unschedulable,
        life: config.life,
        cluster,
        pods,
        name,
        namespace,
        facts,
    };
    let up = this.wait_until_up(config.start, drill.boot, &wanted, image);
    if let Err(error) = cancel.unless(up).await {
        if let Err(also) = remove(&this.pods, &this.name).await {
            tracing::warn!(error = %also, pod = this.name, "a scratch pod remains");
        }
        return Err(error);
    }
    Ok(Box::new(this))
}

/// The configured image of a flavour and release series; a backup never names an image.
fn image_of<'a>(config: &'a PodConfig, wanted: &ServerVersion) -> Result<&'a str> {
    let (major, minor) = wanted.version.series();
    let flavour = wanted.flavour.to_string().to_lowercase();
    let series = format!("{flavour}-{major}.{minor}");
    let image = config.images.get(&series).map(String::as_str);
    image.ok_or_else(|| {
        Error::usage(format!(
            "no image of {} {major}.{minor} is configured for scratch pods",
            wanted.flavour
        ))
        .hint(format!(
            "set {series} in verify.pod.images; a drill on another release series would test something else"
        ))
    })
}

#[async_trait]
impl Scratch for PodServer {
    fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    fn facts(&self) -> &ScratchFacts {
        &self.facts
    }

    async fn ended(&mut self) -> Error {
        self.failed().await
    }

    fn cause_timeout(&self) -> Duration {
        CAUSE_TIMEOUT
    }

    async fn own_address(&self) -> Result<IpAddr> {
        match self.forward {
            None => address::own_address(&self.server).await,
            Some(_) => Err(Error::refused(
                "a scratch pod that is reached by a port-forward cannot connect back to drctl, which serves the log",
            )
            .hint("run the drill in the cluster, or with --scratch local")),
        }
    }

    async fn tear_down(self: Box<Self>, _: &RestoreReport) -> Result<()> {
        remove(&self.pods, &self.name).await
    }

    async fn keep(self: Box<Self>) -> Result<String> {
        let kept = json!({"metadata": {
            "labels": {KEPT_LABEL: "true"},
            // Otherwise it would be removed with the drill's own pod.
            "ownerReferences": null,
        }});
        if let Err(error) = merge(&self.pods, &self.name, kept).await {
            let error = failure("keep the scratch pod", error);
            remove(&self.pods, &self.name).await?;
            return Err(error);
        }
        let client = if self.facts.version.starts_with("MariaDB") {
            "mariadb"
        } else {
            "mysql"
        };
        let (namespace, name) = (&self.namespace, &self.name);
        Ok(format!(
            "to inspect its data, kubectl -n {namespace} exec -it {name} -c {CONTAINER} -- {client} -uroot -S {SOCKET}; \
             then kubectl -n {namespace} delete pod {name}; its server ends {} s after its start",
            self.life.as_secs()
        ))
    }
}

impl PodServer {
    /// Waits until the server accepts logins; fails at once on a failure of the pod.
    async fn wait_until_up(
        &mut self,
        start: Duration,
        boot: Duration,
        wanted: &ServerVersion,
        image: &str,
    ) -> Result<()> {
        let running = tokio::time::timeout(start, self.watch.running());
        let ip = tokio::select! {
            running = running => match running {
                Ok(ip) => ip,
                Err(_) => return Err(self.not_started(start).await),
            },
            error = self.failed() => return Err(error),
        };
        let endpoint = if self.cluster.is_inside() {
            Endpoint::Tcp {
                host: ip,
                port: PORT,
            }
        } else {
            let pods = Api::namespaced(self.cluster.patient_client().await?, &self.namespace);
            let forward = Forward::begin(pods, self.name.clone(), PORT).await?;
            let port = forward.port;
            self.forward = Some(forward);
            Endpoint::Tcp {
                host: "127.0.0.1".to_owned(),
                port,
            }
        };
        let mut server = (*self.server).clone();
        server.url.endpoint = endpoint;
        self.server = Arc::new(server);
        let version = tokio::select! {
            version = self.log_in(boot) => version?,
            error = self.failed() => return Err(error),
        };
        if !version.same_series(wanted) {
            return Err(Error::usage(format!(
                "the image {image} contains {version}, but the backup is of {wanted}"
            ))
            .hint("correct verify.pod.images: on another release series the drill would test something else"));
        }
        self.facts.version = version.to_string();
        // A tag may refer to another image later.
        let id = self.watch.image_id().map(|id| ("image_id".to_owned(), id));
        self.facts.settings.extend(id);
        Ok(())
    }

    /// Retries the login until it succeeds.
    async fn log_in(&self, boot: Duration) -> Result<ServerVersion> {
        let begun = Instant::now();
        loop {
            let mut why = match tokio::time::timeout(LOGIN_TIMEOUT, connect(&self.server)).await {
                Ok(Ok(mut connection)) => {
                    let scheduler: String =
                        connection.one("SELECT @@GLOBAL.event_scheduler").await?;
                    let version = connection.version().await?;
                    connection.close().await;
                    external::refuse_event_scheduler(&scheduler)?;
                    return Ok(version);
                }
                Ok(Err(error)) => error.what().to_owned(),
                Err(_) => "no answer; a NetworkPolicy may block the connection".to_owned(),
            };
            match self.forward.as_ref().and_then(Forward::failed) {
                Some((Outcome::Usage, what)) if begun.elapsed() > REFUSAL_PATIENCE => {
                    return Err(Error::usage(what).hint("grant the account get and create on pods/portforward with a Role; docs/drills.md lists all permissions"));
                }
                Some((_, failed)) => why = format!("{why} ({failed})"),
                None => {}
            }
            if begun.elapsed() > boot {
                return Err(Error::server(format!(
                    "cannot log in to the server in the scratch pod {}/{} within {} s: {why}",
                    self.namespace,
                    self.name,
                    boot.as_secs()
                ))
                .hint("raise verify.boot_seconds, or check the load of the node"));
            }
            tokio::time::sleep(BOOT_PAUSE).await;
        }
    }

    async fn failed(&self) -> Error {
        tokio::select! {
            error = self.watch.forbidden() => error,
            failure = self.watch.failed_for_good(self.unschedulable) => {
                self.watch.explain(&self.cluster, failure).await
            }
        }
    }

    async fn not_started(&self, start: Duration) -> Error {
        let warning = self.watch.last_warning(&self.cluster).await;
        Error::server(format!(
            "the scratch pod {}/{} did not run within {} s{}",
            self.namespace,
            self.name,
            start.as_secs(),
            warning.map(|line| format!(": {line}")).unwrap_or_default()
        ))
        .hint("check its node, or raise verify.pod.start_seconds")
    }
}
