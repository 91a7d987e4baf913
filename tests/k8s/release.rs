//! A release over its life: upgraded, rolled back, uninstalled, installed again.

use crate::stack::Stack;

#[test]
fn data_and_passwords_outlive_upgrade_rollback_uninstall_and_installation() {
    let Some(stack) = Stack::install("") else {
        return;
    };
    stack.fill();
    let (data, passwords) = (stack.digest(), stack.secrets());
    stack.run("backup").ok();
    let is_whole = |stack: &Stack, when: &str| {
        assert_eq!(stack.digest(), data, "{when}");
        assert_eq!(stack.secrets(), passwords, "{when}");
        assert_eq!(stack.pods("web").len(), 3, "{when}");
        // The account's password is that of the Secret.
        let run = stack.run("backup").ok();
        let newest = stack.backups()[0].clone();
        assert_eq!(newest["suspect"], false, "{when}: {run:#?} {newest:#}");
    };

    let limit = |stack: &Stack| stack.sql("SELECT @@max_connections");
    let usual = limit(&stack);
    stack.helm(
        "upgrade",
        &[
            "--wait",
            "--set-string",
            "database.options=max_connections=77",
        ],
    );
    stack.database_is_up();
    assert_eq!(
        limit(&stack),
        "77",
        "the server has started with the new options"
    );
    is_whole(&stack, "after the upgrade");
    let typo = stack.try_helm("upgrade", &["--set", "database.optoins=x"]);
    assert!(typo.is_err_and(|said| said.contains("optoins")));
    stack.helm("rollback", &["1", "--wait"]);
    stack.database_is_up();
    assert_eq!(limit(&stack), usual);
    is_whole(&stack, "after the rollback");

    stack.helm("uninstall", &["--wait"]);
    let left = stack.kubectl(&[
        "get",
        "deployments,statefulsets,cronjobs,pvc,secrets",
        "--output",
        "name",
    ]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "persistentvolumeclaim/data-drctl-database-0",
            "secret/drctl-database",
            "secret/store"
        ]
    );
    stack.helm("install", &["--wait"]);
    assert_eq!(stack.backups().len(), 3, "the backups of before");
    is_whole(&stack, "after another installation");
    stack.run("verify").ok();
}
