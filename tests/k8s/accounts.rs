//! The accounts that the database's first start makes, where names are not the plainest.

use crate::stack::Stack;

/// In a server with partial revokes `_` stands for itself in a grant, and `\_` is another name.
#[test]
fn a_schema_with_an_underscore_is_the_applications_and_can_be_restored_by_an_account_of_few_schemas()
 {
    let values = "database: {schema: my_shop, restoreSchemas: [other_shop]}";
    let Some(stack) = Stack::install(values) else {
        return;
    };
    let application = "MYSQL_PWD=$(cat /run/secrets/database/app-password) exec mysql --no-defaults \
                       --host=127.0.0.1 --user=app my_shop --execute \"$0\"";
    let orders = "CREATE TABLE orders (id INT PRIMARY KEY); INSERT orders VALUES (1), (2)";
    let pod = "drctl-database-0";
    stack.kubectl(&["exec", pod, "--", "sh", "-c", application, orders]);
    stack.sql("CREATE DATABASE other_shop; CREATE TABLE other_shop.t (id INT PRIMARY KEY)");
    stack.run("backup").ok();
    stack.run("verify").ok();
    stack.sql("DROP DATABASE my_shop; DROP DATABASE other_shop");

    stack.shell(
        "kubectl -n \"$namespace\" create job again --from=cronjob/drctl-restore --dry-run=client -o yaml |
           kubectl set env --local -f - DRCTL_RESTORE=latest-verified DRCTL_CONFIRM=\"$target\" -o yaml |
           kubectl -n \"$namespace\" create -f -",
    );
    stack.ended("again").ok();
    assert_eq!(stack.sql("SELECT COUNT(*) FROM my_shop.orders"), "2");
    assert_eq!(stack.sql("SELECT COUNT(*) FROM other_shop.t"), "0");
}
