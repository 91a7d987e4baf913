//! The streamer of the chart: what is committed is archived seconds later, by an account that reads no table, in a pod
//! that nobody reaches.

use std::time::Duration;

use serde_json::Value;

use crate::protection::no_secret_is_seen;
use crate::stack::Stack;
use crate::support::wait::{until, within};

const VALUES: &str = "stream: {enabled: true, cutSeconds: 1, resources: {requests: {cpu: 20m, memory: 64Mi, \
                      ephemeral-storage: 16Mi}, limits: {memory: 512Mi, ephemeral-storage: 64Mi}}}";

/// How far the log is archived, as `drctl log` says in the pod of `serve`.
fn timelines(stack: &Stack) -> Vec<Value> {
    let log = stack.json_of(&["log"]);
    log["timelines"].as_array().cloned().unwrap_or_default()
}

/// What the database answers to the streamer's account, or why it does not.
fn as_streamer(stack: &Stack, sql: &str) -> String {
    let ask = "MYSQL_PWD=$(cat /run/secrets/database/stream-password) mysql --no-defaults --host=127.0.0.1 \
               --user=drctl_stream --batch --skip-column-names --execute \"$0\" 2>&1 || true";
    stack.kubectl(&["exec", "drctl-database-0", "--", "sh", "-c", ask, sql])
}

#[test]
fn the_streamer_archives_what_is_committed_and_its_account_reads_no_table() {
    let Some(stack) = Stack::install(VALUES) else {
        return;
    };
    stack.sql("CREATE TABLE app.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT); INSERT INTO app.t (v) VALUES (1)");
    stack.run("backup").ok();
    stack.run("verify").ok();
    stack.sql("INSERT INTO app.t (v) VALUES (2)");
    let executed = stack.sql("SELECT @@global.gtid_executed");
    within(Duration::from_secs(60), "the commit is archived", || {
        timelines(&stack)
            .last()
            .is_some_and(|last| last["gtid_set"] == executed.as_str())
    });

    // The whole of its privileges, and what it may not do.
    let grants = as_streamer(&stack, "SHOW GRANTS");
    assert_eq!(grants.lines().count(), 1, "{grants}");
    assert!(
        grants.contains("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*"),
        "{grants}"
    );
    for sql in [
        "SELECT * FROM app.t",
        "SELECT * FROM mysql.user",
        "DROP DATABASE app",
    ] {
        let said = as_streamer(&stack, sql);
        assert!(said.contains("denied"), "{sql}: {said}");
    }

    // Its pod has no other password, and no token.
    let mounted = stack.kubectl(&[
        "exec",
        "deploy/drctl-stream",
        "--",
        "drctl",
        "log",
        "--output",
        "json",
    ]);
    assert!(mounted.contains("timelines"), "{mounted}");
    let pod = stack.pods("stream")[0].clone();
    assert_eq!(
        pod["spec"]["automountServiceAccountToken"], false,
        "{pod:#}"
    );
    assert_eq!(pod["spec"]["serviceAccountName"], "drctl-stream");
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let secrets: Vec<&Value> = volumes
        .iter()
        .filter(|volume| volume["secret"].is_object())
        .collect();
    assert_eq!(secrets.len(), 1, "{volumes:#?}");
    assert_eq!(secrets[0]["secret"]["secretName"], "drctl-stream");

    // A pod that is deleted is replaced, and goes on where it ended; nothing is missing.
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    stack.space.delete_by_force(&name);
    stack.sql("INSERT INTO app.t (v) VALUES (3)");
    let executed = stack.sql("SELECT @@global.gtid_executed");
    until("the new pod archives", || {
        timelines(&stack)
            .last()
            .is_some_and(|last| last["gtid_set"] == executed.as_str())
    });
    let all = timelines(&stack);
    assert_eq!(all.len(), 1, "{all:#?}");
    stack.drctl(&["log", "--check"]);

    // The log behind one backup leads to the next, as a drill in a pod finds.
    stack.run("backup").ok();
    stack.sql("INSERT INTO app.t (v) VALUES (4)");
    stack.shell(
        "kubectl -n \"$namespace\" create job drctl-pitr-1 --from=cronjob/drctl-verify --dry-run=client -o json |
           jq '.spec.template.spec.containers[0].args = [\"verify\", \"--level\", \"pitr\"]' |
           kubectl -n \"$namespace\" create -f -",
    );
    let drill = stack.ended("drctl-pitr-1").ok();
    assert!(drill.log.contains("replay"), "{drill:#?}");
    no_secret_is_seen(&stack);
}

#[test]
fn nobody_reaches_the_streamer_and_without_it_the_log_is_missed() {
    let Some(stack) = Stack::install(VALUES) else {
        return;
    };
    stack.sql("CREATE TABLE app.t (id INT PRIMARY KEY)");
    until("something is archived", || !timelines(&stack).is_empty());
    let pod = stack.pods("stream")[0].clone();
    let ip = pod["status"]["podIP"].as_str().unwrap();
    let web = stack.pods("web")[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // A port that nobody listens at: refused where a packet arrives, silence where it does not.
    let ask = format!("timeout 3 bash -c '</dev/tcp/{ip}/3306' 2>/dev/null; echo $?");
    let from_web = stack.kubectl(&["exec", &web, "--", "bash", "-c", &ask]);
    if stack.space.number().is_some() {
        assert_eq!(from_web.trim(), "124", "no answer is what a policy gives");
    }
    let page = |stack: &Stack| {
        let metrics = "exec 3<>/dev/tcp/127.0.0.1/9898; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        stack.kubectl(&["exec", "deploy/drctl", "--", "bash", "-c", metrics])
    };
    until("serve sees the log", || {
        page(&stack).contains("drctl_log_covered_until_timestamp_seconds{")
    });
    assert!(page(&stack).contains("drctl_stream_cut_seconds{target=\"shop\"} 1.0"));
}
