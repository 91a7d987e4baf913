//! The manifest of a scratch pod. No I/O.
//!
//! The image needs only the server's programs: a script of drctl initialises and starts the server, with
//! the options of a local scratch server. The spec contains a password's hash, not the password; the pod
//! has no permissions on the cluster and meets the Pod Security level `restricted`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::k8s::OwnPod;
use crate::layout::TargetName;
use crate::mysql::Flavour;
use crate::util::error::{Error, Result};
use crate::verify::scratch::options::ServerOptions;
use crate::verify::scratch::pod::config::{PodConfig, Resources};

/// Label with the target's name.
pub const TARGET_LABEL: &str = "drctl.io/target";

/// Label of pods kept for inspection.
pub const KEPT_LABEL: &str = "drctl.io/kept";

/// Annotation with the time of the drill's last heartbeat, for pods without an owner.
pub const HEARTBEAT: &str = "drctl.io/heartbeat";

/// Name of the container.
pub const CONTAINER: &str = "server";

/// Path of the server's socket in the pod.
pub const SOCKET: &str = "/scratch/sock";

/// Port of the server.
pub const PORT: u16 = 3306;

/// Directory for everything that the server writes.
const DIR: &str = "/scratch";

/// Bytes that a server writes besides data and indexes: system tables, redo and undo logs.
const EMPTY_SERVER_BYTES: u64 = (1 << 30) + (512 << 20);

/// Parameters of one pod.
#[derive(Debug)]
pub struct PodParameters<'a> {
    /// Name of the pod.
    pub name: &'a str,
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Target of the backup.
    pub target: &'a TargetName,
    /// The server's image.
    pub image: &'a str,
    /// The server's options.
    pub options: &'a ServerOptions<'a>,
    /// Account of the drill.
    pub user: &'a str,
    /// `IDENTIFIED …` clause with a password hash.
    pub identified: &'a str,
    /// Requests and limits.
    pub resources: &'a Resources,
    /// Disk limit in bytes.
    pub disk_bytes: u64,
    /// The rest of the configuration.
    pub config: &'a PodConfig,
    /// The pod that owns this one, so that both end together.
    pub owner: Option<&'a OwnPod>,
}

/// Disk limit of a scratch server for this many bytes of data: building keys needs as much again, and a
/// binary log holds the rows once more.
pub fn disk_bytes(data: u64, has_binlog: bool) -> u64 {
    let data = data.saturating_add(data / 2);
    let log = if has_binlog { data } else { 0 };
    EMPTY_SERVER_BYTES.saturating_add(data).saturating_add(log)
}

/// Label selector of this target's scratch pods.
pub fn selector(target: &TargetName) -> String {
    format!("drctl.io/role=scratch,{TARGET_LABEL}={target}")
}

/// Builds the pod.
pub fn pod(parameters: &PodParameters<'_>) -> Result<Pod> {
    let config = parameters.config;
    let usual = [
        ("app.kubernetes.io/name", "drctl"),
        ("app.kubernetes.io/component", "scratch"),
    ];
    // The next drill finds the pod by these; configured labels must not override them.
    let fixed = [
        ("drctl.io/role", "scratch"),
        (TARGET_LABEL, parameters.target.as_str()),
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
        // fsGroup sets the group of the volume's files; no change of ownership at each start.
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
        "volumes": [volume(parameters)],
        "containers": [{
            "name": CONTAINER,
            "image": parameters.image,
            "command": ["/bin/sh", "-c", script(parameters.options)],
            "env": [
                {"name": "INIT_SQL", "value": init_sql(parameters)},
                {"name": "HOME", "value": DIR},
                {"name": "TMPDIR", "value": format!("{DIR}/tmp")},
            ],
            "ports": [{"name": "mysql", "containerPort": PORT}],
            "resources": resources(parameters),
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
        "name": parameters.name,
        "namespace": parameters.namespace,
        "labels": labels,
        "annotations": config.annotations,
    });
    if let Some(owner) = parameters.owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid,
        }]);
    }
    serde_json::from_value(json!({"metadata": metadata, "spec": spec}))
        .map_err(|e| Error::unexpected("cannot build the scratch pod's spec").because(e))
}

/// A volume of the configured storage class, else the node's disk; both are removed with the pod.
fn volume(parameters: &PodParameters<'_>) -> Value {
    // Whole MiB, for readability.
    let size = format!("{}Mi", parameters.disk_bytes.div_ceil(1 << 20));
    match &parameters.config.storage_class {
        Some(class) => json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "resources": {"requests": {"storage": size}},
        }}}}),
        None => json!({"name": "scratch", "emptyDir": {"sizeLimit": size}}),
    }
}

/// The configured resources, plus ephemeral storage if the data are on the node's disk, so that the
/// scheduler chooses a node with enough space.
fn resources(parameters: &PodParameters<'_>) -> Value {
    let mut resources = parameters.resources.clone();
    if parameters.config.storage_class.is_none() {
        let size = format!("{}Mi", parameters.disk_bytes.div_ceil(1 << 20));
        for all in [&mut resources.requests, &mut resources.limits] {
            all.entry("ephemeral-storage".to_owned())
                .or_insert(size.clone());
        }
    }
    json!(resources)
}

/// Statements that the server runs before it listens, one per line. The PROXY privilege, needed for
/// accounts of the backup that have it, is inserted into its table: GRANT cannot give it to another account
/// here.
fn init_sql(parameters: &PodParameters<'_>) -> String {
    let (user, identified) = (parameters.user, parameters.identified);
    let anybody = match parameters.options.version.flavour {
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

/// The script that initialises and runs the server. `root@localhost` has no password and can only log in
/// through the socket: with name resolution off, no TCP client is `localhost`.
fn script(options: &ServerOptions<'_>) -> String {
    let words = |options: Vec<String>| {
        let quoted = options.iter().map(|one| format!("'{one}'"));
        quoted.collect::<Vec<_>>().join(" ")
    };
    let (files, running) = (words(options.initialisation()), words(options.running()));
    let at = format!("--no-defaults --datadir={DIR}/data --tmpdir={DIR}/tmp");
    let (make, server, file_access) = match options.version.flavour {
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
         --port={PORT} --skip-name-resolve {running} --secure-file-priv={file_access}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::monitor::report::model::Profile;
    use crate::mysql::ServerVersion;

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
        let options = ServerOptions {
            version: &version,
            fingerprint: &fingerprint,
            data_bytes: 1 << 30,
            longest_bytes: 1 << 24,
            memory_bytes: 1 << 30,
            profile: Profile::Relaxed,
            network: true,
            replays: false,
        };
        let owner = OwnPod {
            namespace: "dr".into(),
            name: "verify-1".into(),
            uid: "u-1".into(),
        };
        let parameters = PodParameters {
            name: "drctl-shop-1",
            namespace: "dr",
            target: &"shop".parse().unwrap(),
            image: "mysql:9.7",
            options: &options,
            user: "drctl_1",
            identified: "IDENTIFIED …",
            resources: &config.resources,
            disk_bytes: disk_bytes(1 << 30, false),
            config,
            owner: Some(&owner),
        };
        serde_json::to_value(pod(&parameters).unwrap()).unwrap()
    }

    #[test]
    fn the_pod_fits_the_backup_and_ends_with_its_drill() {
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
    fn labels_that_drills_use_cannot_be_overridden_and_others_can() {
        let labels = &made(&config(), &[])["metadata"]["labels"];
        assert_eq!(labels["drctl.io/role"], "scratch");
        assert_eq!(labels["app.kubernetes.io/name"], "own");
    }

    #[test]
    fn values_of_a_manifest_cannot_escape_their_quotes() {
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
