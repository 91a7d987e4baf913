//! Two regions: two namespaces, each with an S3 server of its own.

mod taken_over;

use std::time::Duration;

use crate::cluster::Turn;
use crate::protection::no_secret_is_seen;
use crate::stack::{RELEASE, Stack};
use crate::support::versitygw::{ACCESS_KEY, SECRET_KEY};
use crate::support::wait::{until, within};

const STREAM: &str = "stream: {enabled: true, cutSeconds: 1, resources: {requests: {cpu: 20m, memory: 64Mi, \
                      ephemeral-storage: 16Mi}, limits: {memory: 512Mi, ephemeral-storage: 64Mi}}}";

/// What external-dns reads.
const WEIGHT: &str = "external-dns.alpha.kubernetes.io/aws-weight";

/// The second region of a stack, not installed yet, with these values, too; it reads the first one's store.
fn second(first: &Stack, values: &str) -> Stack {
    let (url, bucket) = (first.gateway.url(), &first.bucket);
    let copy = format!(
        "{values}
copy:
  enabled: true
  from: {{url: 's3://{bucket}/backups', s3: {{endpoint_url: '{url}', region: us-east-1}}}}
  credentials: {{existingSecret: primary-store}}
  resources: {{requests: {{cpu: 20m, memory: 64Mi, ephemeral-storage: 16Mi}}, limits: {{memory: 512Mi, \
         ephemeral-storage: 64Mi}}}}
"
    );
    // The first one has the turn.
    let stack = Stack::prepare(&copy, None).expect("what the first one had is there");
    account(&stack, "primary-store");
    stack
}

/// A Secret with the account of the other store.
fn account(stack: &Stack, name: &str) {
    let account = format!(
        "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    let account = format!("--from-literal=credentials={account}");
    stack.kubectl(&["create", "secret", "generic", name, &account]);
}

#[test]
fn the_second_region_restores_from_its_copy_when_the_store_of_the_first_one_is_gone() {
    let Some(first) = Stack::install(STREAM) else {
        return;
    };
    first.fill();
    let before = first.digest();
    first.run("backup").ok();
    let second = second(
        &first,
        "backup: {enabled: false}\nprune: {enabled: false}\nweb: {enabled: false}",
    );
    second.helm("install", &["--wait"]);
    until("the backup is copied", || !second.backups().is_empty());
    assert_eq!(second.backups()[0]["id"], first.backups()[0]["id"]);
    until("the log is copied", || {
        let log = second.json_of(&["log"]);
        log["timelines"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    second.run("verify").ok();

    // Its pod has the account of the other store, and nothing of the database or the cluster.
    let pod = second.pods("copy")[0].clone();
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    let secrets: Vec<_> = volumes
        .iter()
        .filter_map(|volume| volume["secret"]["secretName"].as_str())
        .collect();
    assert_eq!(secrets, ["primary-store"], "{volumes:#?}");

    first.gateway.pause();
    second.shell(
        "kubectl -n \"$namespace\" create job drctl-restore-1 --from=cronjob/drctl-restore --dry-run=client -o yaml |
           kubectl set env --local -f - DRCTL_RESTORE=latest DRCTL_CONFIRM=\"$target\" -o yaml |
           kubectl -n \"$namespace\" create -f -",
    );
    second.ended("drctl-restore-1").ok();
    first.gateway.resume();
    assert_eq!(second.digest(), before);
    let log = second.kubectl(&["logs", &format!("deploy/{RELEASE}-copy")]);
    assert!(log.contains("backup copied"), "{log}");
    no_secret_is_seen(&second);
}

#[test]
fn an_upgrade_keeps_what_promote_and_demote_have_switched_and_restarts_no_server() {
    const VALUES: &str = "mode: standby
lease: {enabled: true, side: there}
stream: {enabled: true}
serve: {enabled: false}
watcher: {enabled: false}
verify: {enabled: false}
web: {dns: {hostname: shop.example.com}}";
    let Some(stack) = Stack::prepare(VALUES, Some(Turn::shared())) else {
        return;
    };
    stack.helm("install", &[]);
    stack.database_is_up();
    // Root may write to a server that is read-only: it is for interactive use.
    assert_eq!(
        stack.sql("SELECT @@read_only, @@event_scheduler; SHOW DATABASES LIKE 'app'"),
        "1\tOFF"
    );
    let server = || stack.pods("database")[0]["metadata"]["uid"].clone();
    let switched = || {
        let web = stack.json(&["get", "deployment", "drctl-web"]);
        let service = stack.json(&["get", "service", "drctl-web"]);
        let weight = service["metadata"]["annotations"][WEIGHT].as_str();
        (web["spec"]["replicas"].as_u64(), weight.map(str::to_owned))
    };
    let switch = |replicas: u64, weight: &str| {
        let replicas = format!("--replicas={replicas}");
        stack.kubectl(&["scale", "deployment/drctl-web", &replicas]);
        let weight = format!("{WEIGHT}={weight}");
        stack.kubectl(&["annotate", "--overwrite", "service/drctl-web", &weight]);
    };
    let (first, here) = (server(), Some("100".to_owned()));
    assert_eq!(switched(), (Some(0), Some("0".to_owned())));
    switch(3, "100");
    stack.helm("upgrade", &[]);
    assert_eq!(switched(), (Some(3), here.clone()));
    stack.helm("upgrade", &["--set", "standby.promoted=true"]);
    assert_eq!(switched(), (Some(3), here));
    stack.kubectl(&["get", "cronjob/drctl-backup", "deployment/drctl-stream"]);
    let standby = stack.kubectl(&["get", "deployment/drctl-standby", "--ignore-not-found"]);
    assert_eq!(standby, "");
    switch(0, "0");
    stack.helm("upgrade", &["--set", "standby.promoted=true"]);
    assert_eq!(switched(), (Some(0), Some("0".to_owned())));
    assert_eq!(server(), first, "the server was restarted");
}

#[test]
fn the_standby_follows_the_first_region_and_takes_no_writes() {
    let Some(first) = Stack::install(STREAM) else {
        return;
    };
    first.fill();
    first.run("backup").ok();
    let second = second(
        &first,
        &format!(
            "mode: standby\ndatabase: {{serverId: 2}}\nweb: {{enabled: false}}\n{STREAM}\n\
             standby: {{resources: {{requests: {{cpu: 20m, memory: 64Mi, ephemeral-storage: 16Mi}}, limits: \
             {{memory: 512Mi, ephemeral-storage: 64Mi}}}}}}"
        ),
    );
    second.helm("install", &["--wait"]);
    let rows = |stack: &Stack| {
        stack.sql(
            "SELECT COALESCE(SUM(table_rows >= 0), 0) FROM information_schema.tables \
             WHERE (table_schema, table_name) = ('app', 'orders')",
        )
    };
    until("the standby is built", || {
        rows(&second) == "1" && second.sql("SELECT COUNT(*) FROM app.orders") == "20000"
    });
    first.sql("INSERT INTO app.orders (name, price) VALUES ('later', 1)");
    let executed = first.sql("SELECT @@global.gtid_executed");
    until("the standby has what was committed later", || {
        second.sql("SELECT @@global.gtid_executed") == executed
    });
    assert_eq!(second.digest(), first.digest());
    assert_eq!(
        second.sql("SELECT @@super_read_only, @@event_scheduler"),
        "1\tOFF"
    );
    second.run("verify").ok();
    no_secret_is_seen(&second);
}

#[test]
fn the_first_region_takes_writes_only_while_it_reaches_the_second_store() {
    // Of the second region its store is enough.
    let Some(other) = Stack::prepare("", Some(Turn::shared())) else {
        return;
    };
    let (url, bucket) = (other.gateway.url(), &other.bucket);
    let first = Stack::prepare(
        &format!(
            "config: {{copy: {{to: 's3://{bucket}/backups', s3: {{endpoint_url: '{url}', region: us-east-1}}}}, lease: \
             {{seconds: 8}}}}
copy: {{credentials: {{existingSecret: second-store}}}}
lease: {{enabled: true, side: here}}
web: {{enabled: false}}
verify: {{enabled: false}}"
        ),
        None,
    );
    let first = first.expect("what the other one had is there");
    account(&first, "second-store");
    first.helm("install", &["--wait"]);
    let is_read_only = || first.sql("SELECT @@super_read_only OR @@read_only") == "1";
    until("it has the lease", || !is_read_only());
    first.sql("CREATE TABLE app.t (id INT PRIMARY KEY)");
    other.gateway.pause();
    within(Duration::from_secs(60), "its lease has ended", is_read_only);
    other.gateway.resume();
    until("it has the lease again", || !is_read_only());
    // A keeper that ends leaves the server read-only.
    first.kubectl(&["scale", "deployment/drctl-lease", "--replicas=0"]);
    until("nobody keeps the lease", is_read_only);
}
