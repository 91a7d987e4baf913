//! What a scratch pod is made of. Pure.
//!
//! The image need hold nothing but the server's programs: the server is made and run by a script of
//! ours, whose options are those of a local scratch server. The spec holds a password's hash, no
//! password; nothing in the pod has rights on the cluster, and by Pod Security it is `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::cluster::OwnPod;
use crate::drill::scratch::options::Fit;
use crate::drill::scratch::pod::config::{PodConfig, Resources};
use crate::error::{Error, Result};
use crate::server::Flavour;
use crate::store::keys::TargetName;

/// What says whose pod it is.
pub const TARGET_LABEL: &str = "drctl.io/target";

/// Present on those that were kept for a look.
pub const KEPT_LABEL: &str = "drctl.io/kept";

/// When the drill last said that it lives, where no pod owns this one.
pub const HEARTBEAT: &str = "drctl.io/heartbeat";

/// The container's name.
pub const CONTAINER: &str = "server";

/// Where the server's socket is in the pod.
pub const SOCKET: &str = "/scratch/sock";

/// The port of the server.
pub const PORT: u16 = 3306;

/// Where everything that the server writes lies.
const DIR: &str = "/scratch";

/// What a server writes beside data and indexes, bytes: its own tables, redo and undo logs.
const EMPTY_SERVER_BYTES: u64 = (1 << 30) + (512 << 20);

/// One pod that is wanted.
#[derive(Debug)]
pub struct Order<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it runs.
    pub namespace: &'a str,
    /// Whose backup it is for.
    pub target: &'a TargetName,
    /// The server's image.
    pub image: &'a str,
    /// Its options.
    pub fit: &'a Fit<'a>,
    /// The account of the drill.
    pub user: &'a str,
    /// `IDENTIFIED …`, with a hash.
    pub identified: &'a str,
    /// Requests and limits.
    pub resources: &'a Resources,
    /// The most that it may write, bytes.
    pub disk_bytes: u64,
    /// The rest of the configuration.
    pub config: &'a PodConfig,
    /// The pod whose end is this one's, too.
    pub owner: Option<&'a OwnPod>,
}

/// What a scratch server of so many bytes of data may write: keys are built beside them, and a binary
/// log holds the rows once more.
pub fn disk_bytes(data: u64, has_binlog: bool) -> u64 {
    let data = data.saturating_add(data / 2);
    let log = if has_binlog { data } else { 0 };
    EMPTY_SERVER_BYTES.saturating_add(data).saturating_add(log)
}

/// Which pods are scratch servers of this target.
pub fn selector(target: &TargetName) -> String {
    format!("drctl.io/role=scratch,{TARGET_LABEL}={target}")
}

/// The pod.
pub fn pod(order: &Order<'_>) -> Result<Pod> {
    let config = order.config;
    let usual = [
        ("app.kubernetes.io/name", "drctl"),
        ("app.kubernetes.io/component", "scratch"),
    ];
    // By these the next drill knows it: they are nobody else's to change.
    let fixed = [
        ("drctl.io/role", "scratch"),
        (TARGET_LABEL, order.target.as_str()),
    ];
    let chosen = config.labels.iter();
    let chosen = chosen.map(|(name, value)| (name.as_str(), value.as_str()));
    let labels: BTreeMap<&str, &str> = usual.into_iter().chain(chosen).chain(fixed).collect();
    let mut security = json!({
        "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    if config.run_as_user > 0 {
        for name in ["runAsUser", "runAsGroup", "fsGroup"] {
            security[name] = json!(config.run_as_user);
        }
        // A volume's files are the server's own: nothing has to be handed over at each start.
        security["fsGroupChangePolicy"] = json!("OnRootMismatch");
    }
    let pull_secrets: Vec<Value> = config
        .image_pull_secrets
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let mut spec = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "activeDeadlineSeconds": config.life.as_secs().clamp(1, i32::MAX as u64),
        "securityContext": security,
        "imagePullSecrets": pull_secrets,
        "nodeSelector": config.node_selector,
        "tolerations": config.tolerations,
        "volumes": [volume(order)],
        "containers": [{
            "name": CONTAINER,
            "image": order.image,
            "command": ["/bin/sh", "-c", script(order.fit)],
            "env": [
                {"name": "INIT_SQL", "value": init_sql(order)},
                {"name": "HOME", "value": DIR},
                {"name": "TMPDIR", "value": format!("{DIR}/tmp")},
            ],
            "ports": [{"name": "mysql", "containerPort": PORT}],
            "resources": resources(order),
            "volumeMounts": [{"name": "scratch", "mountPath": DIR}],
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }],
    });
    if let Some(name) = &config.service_account {
        spec["serviceAccountName"] = json!(name);
    }
    let mut metadata = json!({
        "name": order.name,
        "namespace": order.namespace,
        "labels": labels,
        "annotations": config.annotations,
    });
    if let Some(owner) = order.owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid,
        }]);
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": spec}))
        .map_err(|e| Error::unexpected("the scratch pod's spec is none").because(e))
}

/// A volume of its own where a class is named, else the node's disk; both go with the pod.
fn volume(order: &Order<'_>) -> Value {
    // Whole MiB, as people read them.
    let size = format!("{}Mi", order.disk_bytes.div_ceil(1 << 20));
    match &order.config.storage_class {
        Some(class) => json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        }}}}),
        None => json!({"name": "scratch", "emptyDir": {"sizeLimit": size}}),
    }
}

/// What was configured, and room on the node's disk where the data lie there: a pod that is evicted
/// for its disk half-way was put on the wrong node.
fn resources(order: &Order<'_>) -> Value {
    let mut resources = order.resources.clone();
    if order.config.storage_class.is_none() {
        let size = format!("{}Mi", order.disk_bytes.div_ceil(1 << 20));
        for all in [&mut resources.requests, &mut resources.limits] {
            all.entry("ephemeral-storage".to_owned())
                .or_insert(size.clone());
        }
    }
    json!(resources)
}

/// What the server runs before it listens: one statement a line. Proxies are for accounts of the backup
/// that have them; a server gives that right to nobody else by GRANT here.
fn init_sql(order: &Order<'_>) -> String {
    let (user, identified) = (order.user, order.identified);
    let anybody = match order.fit.version.flavour {
        Flavour::MySql => "",
        Flavour::MariaDb => "%",
    };
    format!(
        "CREATE USER '{user}'@'%' {identified};\n\
         GRANT ALL PRIVILEGES ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n\
         INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) \
         VALUES ('%', '{user}', '{anybody}', '', 1, '');\n\
         FLUSH PRIVILEGES;\n"
    )
}

/// Makes the server's data and becomes the server. `root@localhost` has no password, and comes in by
/// the socket alone: without names of hosts nobody on TCP is `localhost`.
fn script(fit: &Fit<'_>) -> String {
    let words = |options: Vec<String>| {
        let quoted = options.iter().map(|one| format!("'{one}'"));
        quoted.collect::<Vec<_>>().join(" ")
    };
    let (files, running) = (words(fit.files()), words(fit.running()));
    let at = format!("--no-defaults --datadir={DIR}/data --tmpdir={DIR}/tmp");
    let (make, server, no_files) = match fit.version.flavour {
        Flavour::MySql => (
            format!(
                "mysqld {at} --initialize-insecure --secure-file-priv=NULL --loose-innodb-redo-log-capacity=8M --loose-innodb-flush-method=nosync {files}"
            ),
            "mysqld",
            "NULL".to_owned(),
        ),
        Flavour::MariaDb => (
            format!(
                "mariadb-install-db {at} --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve --innodb-log-file-size=8M {files}"
            ),
            "mariadbd",
            format!("{DIR}/files"),
        ),
    };
    format!(
        "set -eu\numask 077\n\
         PATH=\"$PATH:/usr/sbin:/usr/local/sbin:/usr/libexec:/usr/local/mysql/bin\"\n\
         cd {DIR}\nmkdir -p tmp files\n\
         printf '%s' \"$INIT_SQL\" >init.sql\nunset INIT_SQL\n\
         {make}\n\
         exec {server} {at} --socket={SOCKET} --pid-file={DIR}/pid --init-file={DIR}/init.sql \
         --port={PORT} --skip-name-resolve {running} --secure-file-priv={no_files}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::model::Profile;
    use crate::server::ServerVersion;

    fn config() -> PodConfig {
        PodConfig {
            namespace: None,
            images: BTreeMap::new(),
            resources: Resources::default(),
            production_resources: None,
            labels: BTreeMap::from([
                ("drctl.io/role".to_owned(), "web".to_owned()),
                ("app.kubernetes.io/name".to_owned(), "own".to_owned()),
            ]),
            annotations: BTreeMap::new(),
            service_account: None,
            storage_class: None,
            image_pull_secrets: Vec::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            run_as_user: 999,
            start: Duration::from_secs(1),
            unschedulable: Duration::from_secs(1),
            life: Duration::from_secs(3600),
        }
    }

    fn made(config: &PodConfig, fingerprint: &[(&str, &str)]) -> Value {
        let version = ServerVersion::parse("9.7.4", "").unwrap();
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let fingerprint: BTreeMap<String, String> = fingerprint.iter().map(own).collect();
        let fit = Fit {
            version: &version,
            fingerprint: &fingerprint,
            data_bytes: 1 << 30,
            memory_bytes: 1 << 30,
            profile: Profile::Relaxed,
            network: true,
        };
        let owner = OwnPod {
            namespace: "dr".into(),
            name: "verify-1".into(),
            uid: "u-1".into(),
        };
        let order = Order {
            name: "drctl-shop-1",
            namespace: "dr",
            target: &"shop".parse().unwrap(),
            image: "mysql:9.7",
            fit: &fit,
            user: "drctl_1",
            identified: "IDENTIFIED …",
            resources: &config.resources,
            disk_bytes: disk_bytes(1 << 30, false),
            config,
            owner: Some(&owner),
        };
        serde_json::to_value(pod(&order).unwrap()).unwrap()
    }

    #[test]
    fn it_fits_the_backup_and_ends_with_its_drill() {
        let pod = made(&config(), &[]);
        let spec = &pod["spec"];
        assert_eq!(spec["volumes"][0]["emptyDir"]["sizeLimit"], "3072Mi");
        let limits = &spec["containers"][0]["resources"]["limits"];
        assert_eq!(limits["ephemeral-storage"], "3072Mi");
        assert_eq!(spec["activeDeadlineSeconds"], 3600);
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], "u-1");
        let for_ever = PodConfig {
            life: Duration::MAX,
            ..config()
        };
        let spec = &made(&for_ever, &[])["spec"];
        assert_eq!(spec["activeDeadlineSeconds"], i32::MAX);
        let on_a_volume = PodConfig {
            storage_class: Some("fast".into()),
            ..config()
        };
        let spec = &made(&on_a_volume, &[])["spec"];
        let claim = &spec["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"];
        assert_eq!(claim["resources"]["requests"]["storage"], "3072Mi");
        let resources = &spec["containers"][0]["resources"];
        assert!(resources["limits"]["ephemeral-storage"].is_null());
    }

    #[test]
    fn a_label_that_drills_go_by_cannot_be_taken_away_and_others_can() {
        let labels = &made(&config(), &[])["metadata"]["labels"];
        assert_eq!(labels["drctl.io/role"], "scratch");
        assert_eq!(labels["app.kubernetes.io/name"], "own");
    }

    #[test]
    fn nothing_of_a_manifest_gets_out_of_its_quotes() {
        let evil = [
            ("sql_mode", "x'; rm -rf /; '"),
            ("collation_server", "utf8mb4_bin"),
        ];
        let pod = made(&config(), &evil);
        let script = pod["spec"]["containers"][0]["command"][2].as_str().unwrap();
        assert!(
            !script.contains("rm -rf") && script.contains("'--loose-collation-server=utf8mb4_bin'")
        );
        assert!(!script.contains("skip-networking"), "{script}");
    }
}
