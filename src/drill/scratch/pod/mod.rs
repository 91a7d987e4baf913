//! A scratch server in a pod: of the backup's flavour and version line, on a cluster, for one drill.
//!
//! - [`config`]: what can be chosen; [`spec`]: the pod; [`hash`]: how its password is told.
//! - [`sight`]: what the cluster says of it; [`trouble`]: what of that is wrong.
//! - [`forward`]: the way there from outside of the cluster; from inside it is the pod's address.
//! - [`life`]: its heartbeat and its end; [`strays`]: what killed drills left.

pub mod config;
mod forward;
pub mod hash;
mod life;
mod sight;
pub mod spec;
mod strays;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::apply::report::RestoreReport;
use crate::archive::manifest::Manifest;
use crate::cancel::Cancel;
use crate::cluster::{Cluster, OwnPod, failure, passes};
use crate::drill::DrillConfig;
use crate::drill::scratch::options::Fit;
use crate::drill::scratch::{Scratch, given, version_of};
use crate::error::{Error, Outcome, Result};
use crate::report::model::{Profile, ScratchFacts};
use crate::server::url::{Endpoint, ServerUrl, Tls};
use crate::server::{Role, ServerConfig, ServerVersion, connect};
use config::PodConfig;
use forward::Forward;
use life::{beat, merge, remove};
use sight::Sight;
use spec::{CONTAINER, KEPT_LABEL, Order, PORT, SOCKET};

/// The pause between two attempts to log in to a server that is booting.
const BOOT_PAUSE: Duration = Duration::from_millis(100);

/// How long one of them may take: a policy of the network drops packets without a word.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a port-forward may be refused, as an API server that is only starting does.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the cluster may take to say how a pod ended.
const LAST_WORDS: Duration = Duration::from_secs(6);

/// Memory where none is configured, bytes.
const USUAL_MEMORY: u64 = 1 << 30;

/// A server in a pod of the drill's own.
struct InPod {
    cluster: Cluster,
    pods: Api<Pod>,
    name: String,
    namespace: String,
    sight: Sight,
    server: Arc<ServerConfig>,
    facts: ScratchFacts,
    /// How long a scheduler may find no node for it.
    unschedulable: Duration,
    /// When the cluster ends it.
    life: Duration,
    /// Says that the drill lives, where no pod does.
    _beat: Option<AbortOnDropHandle<()>>,
    /// The way there, from outside.
    forward: Option<Forward>,
}

/// Makes a pod and waits until its server answers.
pub async fn start(
    config: &PodConfig,
    drill: &DrillConfig,
    manifest: &Manifest,
    profile: Profile,
    cancel: &Cancel,
) -> Result<Box<dyn Scratch>> {
    let wanted = version_of(manifest)?;
    let image = image_of(config, &wanted)?;
    let cluster = cancel.unless(Cluster::find()).await?;
    let namespace = cluster.namespace_or_own(config.namespace.as_deref());
    let owner = OwnPod::owner_in(&namespace);
    let pods = cluster.pods(&namespace);
    cancel.unless(strays::reap(&pods, &manifest.target)).await?;

    let resources = match profile {
        Profile::Production => config
            .production_resources
            .as_ref()
            .unwrap_or(&config.resources),
        _ => &config.resources,
    };
    let fit = Fit {
        version: &wanted,
        fingerprint: &manifest.server.fingerprint,
        data_bytes: manifest.server.bytes,
        memory_bytes: resources.memory_bytes().unwrap_or(USUAL_MEMORY),
        profile,
        network: true,
    };
    let settings = fit.settings();
    let data = manifest.server.bytes.max(manifest.totals.raw_bytes);
    let mark: u32 = rand::random();
    let (name, user) = (
        format!("drctl-{}-{mark:08x}", manifest.target),
        format!("drctl_{mark:08x}"),
    );
    let password = hash::new_password();
    let order = spec::pod(&Order {
        name: &name,
        namespace: &namespace,
        target: &manifest.target,
        image,
        fit: &fit,
        user: &user,
        identified: &hash::identified(wanted.flavour, &password),
        resources,
        disk_bytes: spec::disk_bytes(data, settings.contains_key("log_bin")),
        config,
        owner: owner.as_ref(),
    })?;
    cancel.check()?;
    tracing::info!(pod = name, namespace, image, "scratch pod");
    // Not under the drill's cancellation: whether it was made has to be known.
    if let Err(error) = pods.create(&PostParams::default(), &order).await {
        let unsure = passes(&error);
        let error = failure(&format!("create the scratch pod in {namespace}"), error);
        if unsure && let Err(also) = remove(&pods, &name).await {
            tracing::warn!(error = %also, "a scratch pod may be left");
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
    let mut this = InPod {
        sight: Sight::begin(&cluster, &namespace, &name),
        _beat: owner.is_none().then(|| beat(pods.clone(), name.clone())),
        forward: None,
        server: Arc::new(ServerConfig {
            url: ServerUrl {
                user,
                // Replaced once there is an address.
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
    let up = this.come_up(config.start, drill.boot, &wanted, image);
    if let Err(error) = cancel.unless(up).await {
        if let Err(also) = remove(&this.pods, &this.name).await {
            tracing::warn!(error = %also, pod = this.name, "a scratch pod is left");
        }
        return Err(error);
    }
    Ok(Box::new(this))
}

/// The image of that flavour and version line; what a backup is of, it never says where to get.
fn image_of<'a>(config: &'a PodConfig, wanted: &ServerVersion) -> Result<&'a str> {
    let (major, minor) = wanted.version.line();
    let flavour = wanted.flavour.to_string().to_lowercase();
    let line = format!("{flavour}-{major}.{minor}");
    let image = config.images.get(&line).map(String::as_str);
    image.ok_or_else(|| {
        Error::usage(format!(
            "no image of {} {major}.{minor} is configured for scratch pods",
            wanted.flavour
        ))
        .hint(format!(
            "set {line} in verify.pod.images: another version line would prove something else"
        ))
    })
}

#[async_trait]
impl Scratch for InPod {
    fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    fn facts(&self) -> &ScratchFacts {
        &self.facts
    }

    async fn ended(&mut self) -> Error {
        self.failing().await
    }

    fn last_words(&self) -> Duration {
        LAST_WORDS
    }

    async fn tear_down(self: Box<Self>, _: &RestoreReport) -> Result<()> {
        remove(&self.pods, &self.name).await
    }

    async fn keep(self: Box<Self>) -> Result<String> {
        let kept = json!({"metadata": {
            "labels": {KEPT_LABEL: "true"},
            // Otherwise it would go with the drill's own pod.
            "ownerReferences": null,
        }});
        if let Err(error) = merge(&self.pods, &self.name, kept).await {
            let error = failure("keep the scratch pod", error);
            remove(&self.pods, &self.name).await?;
            return Err(error);
        }
        let client = match self.facts.version.starts_with("MariaDB") {
            true => "mariadb",
            false => "mysql",
        };
        let (namespace, name) = (&self.namespace, &self.name);
        Ok(format!(
            "to look at its data, kubectl -n {namespace} exec -it {name} -c {CONTAINER} -- {client} -uroot -S {SOCKET}; \
             then kubectl -n {namespace} delete pod {name}; its server ends {} s after its start",
            self.life.as_secs()
        ))
    }
}

impl InPod {
    /// Waits until the server answers; a trouble of the pod ends that at once.
    async fn come_up(
        &mut self,
        start: Duration,
        boot: Duration,
        wanted: &ServerVersion,
        image: &str,
    ) -> Result<()> {
        let running = tokio::time::timeout(start, self.sight.running());
        let ip = tokio::select! {
            running = running => match running {
                Ok(ip) => ip,
                Err(_) => return Err(self.never_ran(start).await),
            },
            error = self.failing() => return Err(error),
        };
        let endpoint = match self.cluster.is_inside() {
            true => Endpoint::Tcp {
                host: ip,
                port: PORT,
            },
            false => {
                let pods = Api::namespaced(self.cluster.patient_client().await?, &self.namespace);
                let forward = Forward::begin(pods, self.name.clone(), PORT).await?;
                let port = forward.port;
                self.forward = Some(forward);
                Endpoint::Tcp {
                    host: "127.0.0.1".to_owned(),
                    port,
                }
            }
        };
        let mut server = (*self.server).clone();
        server.url.endpoint = endpoint;
        self.server = Arc::new(server);
        let version = tokio::select! {
            version = self.answers(boot) => version?,
            error = self.failing() => return Err(error),
        };
        if !version.same_line(wanted) {
            return Err(Error::usage(format!(
                "the image {image} is of {version}, and the backup is of {wanted}"
            ))
            .hint("correct it in verify.pod.images: on another version line the drill would prove something else"));
        }
        self.facts.version = version.to_string();
        // A name may mean another image tomorrow.
        let id = self.sight.image_id().map(|id| ("image_id".to_owned(), id));
        self.facts.settings.extend(id);
        Ok(())
    }

    /// Logs in again and again.
    async fn answers(&self, boot: Duration) -> Result<ServerVersion> {
        let begun = Instant::now();
        loop {
            let mut why = match tokio::time::timeout(LOGIN_TIMEOUT, connect(&self.server)).await {
                Ok(Ok(mut connection)) => {
                    let scheduler: String =
                        connection.one("SELECT @@GLOBAL.event_scheduler").await?;
                    let version = connection.version().await?;
                    connection.close().await;
                    given::refuse_events(&scheduler)?;
                    return Ok(version);
                }
                Ok(Err(error)) => error.what().to_owned(),
                Err(_) => "no answer; a NetworkPolicy may be in the way".to_owned(),
            };
            match self.forward.as_ref().and_then(Forward::failed) {
                Some((Outcome::Usage, what)) if begun.elapsed() > REFUSAL_PATIENCE => {
                    return Err(Error::usage(what).hint("give the account get and create on pods/portforward by a Role; docs/drills.md lists all rights"));
                }
                Some((_, failed)) => why = format!("{why} ({failed})"),
                None => {}
            }
            if begun.elapsed() > boot {
                return Err(Error::server(format!(
                    "the server in the scratch pod {}/{} did not let us in within {} s: {why}",
                    self.namespace,
                    self.name,
                    boot.as_secs()
                ))
                .hint("raise verify.boot_seconds, or look at what the node is busy with"));
            }
            tokio::time::sleep(BOOT_PAUSE).await;
        }
    }

    async fn failing(&self) -> Error {
        tokio::select! {
            error = self.sight.refused() => error,
            trouble = self.sight.trouble(self.unschedulable) => {
                self.sight.explain(&self.cluster, trouble).await
            }
        }
    }

    async fn never_ran(&self, start: Duration) -> Error {
        let warning = self.sight.last_warning(&self.cluster).await;
        Error::server(format!(
            "the scratch pod {}/{} did not run within {} s{}",
            self.namespace,
            self.name,
            start.as_secs(),
            warning.map(|line| format!(": {line}")).unwrap_or_default()
        ))
        .hint("look at its node; verify.pod.start_seconds waits longer")
    }
}
