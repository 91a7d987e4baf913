//! The second region takes over by the runbooks: from a first one that is destroyed under load, and from one that works.

use std::io::Write as _;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{WEIGHT, account, second};
use crate::cluster::Turn;
use crate::install::get;
use crate::protection::no_secret_is_seen;
use crate::stack::{Ran, Stack};
use crate::support::wait::{until, within};

const LITTLE: &str = "{requests: {cpu: 20m, memory: 64Mi, ephemeral-storage: 16Mi}, limits: {memory: 512Mi, \
                      ephemeral-storage: 64Mi}}";

/// What is promised from the command to the application in the other region.
const RTO: Duration = Duration::from_secs(60);

/// Commits a numbered row each 0.2 s as the application, for as long as the database lives; its client prints each row
/// that was acknowledged.
const WRITER: &str = r#"
kubectl -n "$namespace" exec drctl-database-0 -- sh -c '
    export MYSQL_PWD=$(cat /run/secrets/database/app-password)
    while :; do
        echo "INSERT INTO app.written (note) VALUES (SHA2(UUID(), 256));
              SELECT id, at, note FROM app.written WHERE id = LAST_INSERT_ID(); DO SLEEP(0.2);"
    done | mysql --no-defaults --user=app --unbuffered --batch --skip-column-names' 2>/dev/null || true
"#;

/// A row of `app.written`, as the server prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: u64,
    at: Timestamp,
    note: String,
}

fn rows(lines: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut fields = line.split('\t');
        Some(Row {
            id: fields.next()?.parse().ok()?,
            at: format!("{}Z", fields.next()?).parse().ok()?,
            note: fields.next()?.to_owned(),
        })
    };
    lines.lines().filter_map(row).collect()
}

const REGION_LOST: &str = include_str!("../../../runbooks/region-lost.md");
const FAILOVER: &str = include_str!("../../../runbooks/failover.md");

/// The commands of a runbook, as they are there, one text for each block.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1);
    let block = |block: &str| block.split("```").next().map(str::to_owned);
    blocks.filter_map(block).collect()
}

/// What a block prints, with the contexts that the runbook names, in the directory of the chart. Both regions are in one
/// cluster, in a namespace each.
fn by_the_runbook(first: &str, second: &Stack, block: &str) -> String {
    let begun = Instant::now();
    let block = block.replace("\"$first\" -n \"$namespace\"", "\"$first\" -n \"$other\"");
    let said = second.shell(&format!(
        "first=$(kubectl config current-context); second=$first; other={first}\ncd '{}'\n{block}",
        env!("CARGO_MANIFEST_DIR")
    ));
    print_past_capture(&format!(
        "{block}\n--- {:.1} s ---\n{said}",
        begun.elapsed().as_secs_f64()
    ));
    said
}

/// Past the test runner's capture.
fn print_past_capture(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What the database answers to the application, nothing where it does not.
fn as_application(stack: &Stack, statements: &str) -> String {
    let client = "MYSQL_PWD=$(cat /run/secrets/database/app-password) \
                  exec mysql --no-defaults --user=app --batch --skip-column-names --execute \"$0\"";
    let all = [
        "exec",
        "drctl-database-0",
        "--",
        "sh",
        "-c",
        client,
        statements,
    ];
    stack.space.says(&all).trim_end().to_owned()
}

/// The Secret of the passwords: the application's is the same in both regions, the others are not.
fn passwords(stack: &Stack, region: &str) {
    let names = ["root", "backup", "restore", "stream", "lease"];
    let mut all: Vec<String> = names
        .iter()
        .map(|name| format!("--from-literal={name}-password=of-{name}-in-{region}"))
        .collect();
    all.push("--from-literal=app-password=of-the-application".to_owned());
    let mut command = vec!["create", "secret", "generic", "shop-database"];
    command.extend(all.iter().map(String::as_str));
    stack.kubectl(&command);
}

/// Both regions, installed: the first one has data and a backup, the second one follows.
fn two_regions() -> Option<(Stack, Stack)> {
    let common = format!(
        "stream: {{enabled: true, resources: {LITTLE}}}\nswitch: {{resources: {LITTLE}}}\n"
    );
    let web = "web: {service: {type: NodePort, nodePort: 0}, dns: {hostname: shop.example.com}}";
    let database = |id| {
        format!("database: {{serverId: {id}, credentials: {{existingSecret: shop-database}}}}")
    };
    let first = Stack::prepare(
        &format!(
            "{common}{web}\n{}\nlease: {{enabled: true, side: first}}\ncopy: {{credentials: {{existingSecret: \
             second-store}}}}",
            database(1)
        ),
        Some(Turn::shared()),
    )?;
    let second = second(
        &first,
        &format!(
            "{common}{web}\n{}\nlease: {{enabled: true, side: second}}\nmode: standby\nstandby: {{resources: {LITTLE}}}",
            database(2)
        ),
    );
    account(&first, "second-store");
    passwords(&first, "first");
    passwords(&second, "second");
    let (url, bucket) = (second.gateway.url(), &second.bucket);
    first.helm(
        "install",
        &[
            "--wait",
            "--set",
            &format!("config.copy.to=s3://{bucket}/backups"),
            "--set",
            &format!("config.copy.s3.endpoint_url={url}"),
            "--set",
            "config.copy.s3.region=us-east-1",
        ],
    );
    until("the first region has the lease", || {
        first.sql("SELECT @@super_read_only") == "0"
    });
    first.fill();
    first.sql(
        "CREATE TABLE app.written (id INT PRIMARY KEY AUTO_INCREMENT, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6),
           note CHAR(64));
         CREATE TABLE app.served (id INT PRIMARY KEY AUTO_INCREMENT)",
    );
    first.run("backup").ok();
    second.helm("install", &["--wait"]);
    Some((first, second))
}

/// Destroys the region at once: its S3 server with all objects, each of its containers, its volumes, its namespace.
fn destroy(region: &Stack) {
    region.gateway.destroy();
    region.space.kill_containers();
    let here = ["--wait=false", "--ignore-not-found"];
    let delete = |what: &[&str]| region.kubectl(&[&["delete"], what, &here[..]].concat());
    delete(&["namespace", &region.space.name]);
    delete(&["pods", "--all", "--force", "--grace-period=0"]);
    delete(&["persistentvolumeclaims", "--all"]);
}

/// The loss that the promotion has stated: nothing after this time, and at most so many seconds.
fn stated(promotion: &Ran) -> (Timestamp, i64) {
    let line = promotion.log.lines().find_map(|line| {
        let (until, rest) = line
            .strip_prefix("lost: commits after ")?
            .split_once(", at most ")?;
        let (seconds, _) = rest.split_once(" s")?;
        Some((until.parse().ok()?, seconds.parse().ok()?))
    });
    line.unwrap_or_else(|| panic!("no loss is stated: {promotion:#?}"))
}

/// How long it takes from these commands until the region serves its first page, and until it takes its first row.
fn served(region: &Stack, commands: impl FnOnce()) -> (Duration, Duration) {
    let service = region.json(&["get", "service", "drctl-web"]);
    let port = service["spec"]["ports"][0]["nodePort"].as_u64();
    let port = u16::try_from(port.expect("a port")).expect("a port");
    let commanded = Instant::now();
    std::thread::scope(|scope| {
        let page = scope.spawn(|| {
            until("a page", || {
                get(region.space.node(), port, "/").contains("<h1>Host-")
            });
            commanded.elapsed()
        });
        let row = scope.spawn(|| {
            until("a row", || {
                as_application(region, "INSERT INTO app.served VALUES (); SELECT 'written'")
                    == "written"
            });
            commanded.elapsed()
        });
        commands();
        (page.join().expect("a page"), row.join().expect("a row"))
    })
}

/// The end of the archived log in the store of a region.
fn end_of_log(region: &Stack) -> String {
    let log = region.json_of(&["log"]);
    let last = log["timelines"]
        .as_array()
        .and_then(|all| all.last())
        .cloned();
    last.map(|last| format!("{}:{}", last["last_file"], last["position"]))
        .unwrap_or_default()
}

#[test]
fn a_planned_failover_by_the_runbook_loses_nothing() {
    let Some((first, second)) = two_regions() else {
        return;
    };
    let before = first.digest();
    let written = || as_application(&second, "SELECT COUNT(*) FROM app.written");
    let blocks = commands(FAILOVER);
    let here = first.space.name.as_str();
    let (acknowledged, demoted) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| rows(&first.shell(WRITER)));
        until(
            "the second region follows while the first one is written",
            || written().parse::<u64>().is_ok_and(|rows| rows > 20),
        );
        for block in &blocks[..2] {
            by_the_runbook(here, &second, block);
        }
        let demoted = Instant::now();
        by_the_runbook(here, &second, &blocks[2]);
        (
            writer
                .join()
                .expect("the writer ends at a read-only server"),
            demoted,
        )
    });
    first.ended("drctl-demote-1").ok();
    until("the rest of the log is there", || {
        end_of_log(&first) == end_of_log(&second)
    });
    by_the_runbook(here, &second, &blocks[3]);
    let waited = demoted.elapsed();
    let (page, row) = served(&second, || {
        by_the_runbook(here, &second, &blocks[4]);
    });
    let promotion = second.ended("drctl-promote-1").ok();
    print_past_capture(&format!(
        "planned failover: {:.1} s from the command demote to the application in the other region, {:.1} s of them from the \
         command promote; {} rows, none lost",
        (waited + page.max(row)).as_secs_f64(),
        page.max(row).as_secs_f64(),
        acknowledged.len(),
    ));
    assert!(promotion.log.contains("lost: nothing"), "{promotion:#?}");
    let held = rows(&second.sql("SELECT id, at, note FROM app.written ORDER BY id"));
    assert_eq!(held[..acknowledged.len()], acknowledged);
    // One more may have been committed while its acknowledgement was lost.
    assert!(held.len() <= acknowledged.len() + 1, "{held:?}");
    assert_eq!(second.digest(), before);
    let weight = |region: &Stack| {
        let service = region.json(&["get", "service", "drctl-web"]);
        service["metadata"]["annotations"][WEIGHT].clone()
    };
    assert_eq!(
        (weight(&first), weight(&second)),
        ("0".into(), "100".into())
    );
    assert_eq!(first.sql("SELECT @@super_read_only"), "1");
    until("the first region serves no page", || {
        first.pods("web").is_empty()
    });
}

#[test]
fn a_region_that_is_destroyed_under_load_is_taken_over_by_the_runbook() {
    let Some((first, second)) = two_regions() else {
        return;
    };
    let before = first.digest();
    let written = || as_application(&second, "SELECT COUNT(*) FROM app.written");
    let (acknowledged, destroyed) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| rows(&first.shell(WRITER)));
        until(
            "the second region follows while the first one is written",
            || written().parse::<u64>().is_ok_and(|rows| rows > 100),
        );
        let destroyed = Instant::now();
        destroy(&first);
        (
            writer.join().expect("the writer ends with the database"),
            destroyed,
        )
    });
    let last = acknowledged.last().expect("rows were written").clone();

    let blocks = commands(REGION_LOST);
    let gone = first.space.name.as_str();
    for block in &blocks[..3] {
        by_the_runbook(gone, &second, block);
    }
    let commanded = Instant::now();
    let (page, row) = served(&second, || {
        by_the_runbook(gone, &second, &blocks[3]);
    });
    let decided = commanded - destroyed;
    let rto = page.max(row);

    // What is there is what was written, up to the time that the promotion states.
    let promotion = second.ended("drctl-promote-1").ok();
    let (until_time, at_most) = stated(&promotion);
    let held = rows(&second.sql("SELECT id, at, note FROM app.written ORDER BY id"));
    let kept = held.last().expect("rows are there").clone();
    let missing: Vec<&Row> = acknowledged.iter().filter(|row| row.id > kept.id).collect();
    let expected: Vec<&Row> = acknowledged
        .iter()
        .filter(|row| row.id <= kept.id)
        .collect();
    let lost = last.at.duration_since(kept.at);
    print_past_capture(&format!(
        "region lost: RTO {:.1} s from the destruction, {:.1} s from the command (page {:.1} s, row {:.1} s); RPO {} of {} \
         rows, {:.1} s; stated: commits after {until_time}, at most {at_most} s",
        (decided + rto).as_secs_f64(),
        rto.as_secs_f64(),
        page.as_secs_f64(),
        row.as_secs_f64(),
        missing.len(),
        acknowledged.len(),
        lost.as_secs_f64(),
    ));
    assert_eq!(held.iter().collect::<Vec<_>>(), expected);
    assert_eq!(second.digest(), before);
    for row in &missing {
        assert!(
            row.at > until_time,
            "{row:?} is missing, committed before {until_time}"
        );
    }
    assert!(
        kept.at <= until_time,
        "{kept:?} is there, {until_time} is stated"
    );
    let most = last.at.duration_since(until_time);
    assert!(
        most.as_secs() <= at_most,
        "{most:?} of commits are lost, {at_most} s stated"
    );
    assert!(rto <= RTO, "{rto:?} from the command");
    let service = second.json(&["get", "service", "drctl-web"]);
    assert_eq!(service["metadata"]["annotations"][WEIGHT], "100");
    until("all pages are served", || second.pods("web").len() == 3);

    // What is written from now on is protected, once the region is permanent.
    by_the_runbook(gone, &second, &blocks[4]);
    second.ended("drctl-backup-1").ok();
    assert_eq!(second.backups()[0]["suspect"], false);
    until(
        "a restore to a moment can begin with the new backup",
        || second.backups()[0]["pitr"]["from_here"] == "yes",
    );
    as_application(&second, "INSERT INTO app.served VALUES ()");
    let committed = Timestamp::now();
    within(
        Duration::from_secs(120),
        "the commit is archived there",
        || {
            let log = second.json_of(&["log"]);
            let timelines = log["timelines"].as_array().cloned().unwrap_or_default();
            let its_own = timelines.iter().find(|one| one["reason"] == "failover");
            let covered =
                its_own.and_then(|one| one["covered"][0]["to"].as_str()?.parse::<Timestamp>().ok());
            covered.is_some_and(|until| until > committed)
        },
    );
    print_past_capture(&second.drctl(&["list"]));
    second.run("verify").ok();
    no_secret_is_seen(&second);
}
