//! What a Job does about an exit code, and where the reason stands.

use serde_json::{Value, json};

use crate::cluster::Turn;
use crate::serial::{Serial, name_of, serial};

/// The Job of a backup with these arguments, and one more attempt at most.
fn with_args(stack: &Serial, name: &str, args: &[&str]) -> String {
    stack.begin_as("backup", name, |job| {
        job["spec"]["backoffLimit"] = json!(1);
        job["spec"]["template"]["spec"]["containers"][0]["args"] = json!(args);
    })
}

#[test]
fn what_no_retry_mends_is_not_tried_again_and_the_rest_is_and_describe_says_why() {
    let Some(stack) = serial(Turn::shared()) else {
        return;
    };
    stack.kubectl(&[
        "create",
        "secret",
        "generic",
        "wrong",
        "--from-literal=backup-password=wrong-but-secret",
    ]);
    let denied = stack.begin_as("backup", "denied", |job| {
        job["spec"]["backoffLimit"] = json!(1);
        let volumes = job["spec"]["template"]["spec"]["volumes"]
            .as_array_mut()
            .expect("volumes");
        let credentials = volumes
            .iter_mut()
            .find(|volume| volume["name"] == "credentials");
        credentials.expect("credentials")["secret"]["secretName"] = json!("wrong");
    });
    // A CronJob keeps no more failed Jobs than these.
    let cases: [(String, i64, usize, &str); 3] = [
        (
            with_args(&stack, "usage", &["backup", "--no-such"]),
            2,
            1,
            "the command line is wrong",
        ),
        (
            with_args(&stack, "nothing", &["show", "20200101T000000Z-000000"]),
            3,
            1,
            "20200101T000000Z-000000",
        ),
        (denied, 4, 2, "Access denied"),
    ];
    for (job, code, attempts, words) in cases {
        let ran = stack.ended(&job);
        assert_eq!(ran.code, code, "{ran:#?}");
        assert_eq!(stack.pods_of(&job).len(), attempts, "attempts of {job}");
        let conditions = stack.json(&["get", "job", &job])["status"]["conditions"].clone();
        let failed = |one: &&Value| one["type"] == "Failed";
        let reason = conditions
            .as_array()
            .and_then(|all| all.iter().find(failed))
            .expect("it failed");
        let why = if attempts == 1 {
            "PodFailurePolicy"
        } else {
            "BackoffLimitExceeded"
        };
        assert_eq!(reason["reason"], why, "{job}");
        let pod = stack.pods_of(&job).pop().expect("a pod");
        let described = stack.kubectl(&["describe", "pod", name_of(&pod)]);
        assert!(ran.message.contains(words), "{ran:#?}");
        assert_eq!(ran.message.trim_end().lines().count(), 1, "{ran:#?}");
        assert!(described.contains(ran.message.trim_end()), "{described}");
        assert!(!described.contains("wrong-but-secret"), "{described}");
    }
    stack.kubectl(&["delete", "secret", "wrong"]);
}
