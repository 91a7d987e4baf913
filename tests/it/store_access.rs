//! How the store is reached: credentials and addresses with accidents in them, certificates, and
//! secrets from files that never end or never come.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::need;
use crate::support::backup::shop;
use crate::support::fault_proxy::{Fault, FaultProxy, Request, When};
use crate::support::versitygw::{ACCESS_KEY, Gateway, SECRET_KEY};
use crate::support::{Drctl, Flavour, Server};

fn on_s3() -> Drctl {
    let mut drctl = Drctl::new("shop").env("DRCTL_STORE", "s3://no-bucket/p");
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    drctl.env(
        "DRCTL_STORE",
        &format!("s3://{}/p", Gateway::shared().bucket()),
    )
}

/// A listing that the store answered: there is no backup in it.
fn works(drctl: &Drctl) {
    let run = drctl.run(["list", "--output", "json"]).ok();
    assert_eq!(run.stdout.trim(), "[]");
}

#[test]
fn white_space_around_what_names_the_store_is_removed() {
    need!(Gateway);
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ] {
        let value = Gateway::shared().environment();
        let (_, value) = value.iter().find(|(found, _)| *found == name).unwrap();
        works(&on_s3().env(name, &format!("{value}\n")));
        works(&on_s3().env(name, &format!(" {value}\r\n")));
    }
    works(&on_s3().env("AWS_SESSION_TOKEN", "\n"));
}

#[test]
fn what_no_request_can_carry_is_a_usage_error_that_names_it() {
    need!(Gateway);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "drctl\ntest"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret\nof two lines"),
        ("AWS_SESSION_TOKEN", "t\u{1}oken"),
        ("AWS_SESSION_TOKEN", "tök"),
        ("AWS_REGION", "eu\nwest"),
        ("AWS_PROFILE", "prod\n"),
        ("AWS_ROLE_ARN", "arn:aws\n"),
        ("DRCTL_STORE_S3_KMS_KEY_ID", "k\ney"),
        ("DRCTL_STORE_S3_STORAGE_CLASS", "STAND\u{e4}RD"),
        ("DRCTL_STORE_S3_TAGS", "team=a\nb"),
        ("DRCTL_STORE_S3_REGION", "eu west\u{7f}"),
        ("DRCTL_STORE_S3_ENDPOINT_URL", "http://a\nb"),
    ] {
        let run = on_s3().env(name, value).run(["list"]);
        let key = name.trim_start_matches("DRCTL_STORE_S3_").to_lowercase();
        let line = run.error_line().to_owned();
        assert!(line.contains(name) || line.contains(&key), "{name}: {line}");
        run.refused(2, &[";"]);
    }
    for url in [
        "minio:9000",
        "http//x",
        "https://",
        "ftp://x",
        "http://user:pass@x",
    ] {
        on_s3()
            .env("AWS_ENDPOINT_URL", url)
            .run(["list"])
            .refused(2, &["endpoint"]);
    }
}

#[test]
fn a_credentials_file_may_have_accidents_in_it_and_is_read_again() {
    need!(Gateway);
    let drctl = on_s3()
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY");
    let file = drctl.home().join("credentials");
    let drctl = drctl.env("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
    let text = |id: &str, secret: &str| {
        format!("[default]\r\naws_access_key_id = {id}\r\naws_secret_access_key = {secret}\r\n")
    };
    fs::write(&file, text(ACCESS_KEY, SECRET_KEY)).unwrap();
    works(&drctl);
    fs::write(&file, text(&format!("{ACCESS_KEY}\u{a0}x"), SECRET_KEY)).unwrap();
    drctl
        .run(["list"])
        .refused(2, &["access key id", "profile"]);
    fs::write(&file, text(ACCESS_KEY, "schlüssel-geheim")).unwrap();
    let run = drctl.run(["list"]);
    assert!(!run.stderr.contains("geheim"), "{run:#?}");
    run.refused(2, &["secret access key"]);
}

#[test]
fn a_running_serve_reads_rotated_credentials_again() {
    need!(Gateway);
    let drctl = on_s3()
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY");
    let file = drctl.home().join("credentials");
    let text = |secret: &str| {
        format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n")
    };
    fs::write(&file, text("not-the-secret")).unwrap();
    let drctl = drctl
        .env("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string())
        .env("DRCTL_SERVE_INTERVAL_SECONDS", "1")
        .env("DRCTL_SERVE_LISTEN", "127.0.0.1:0");
    let mut serving = drctl.start(["serve"]);
    serving.until_says("SignatureDoesNotMatch");
    fs::write(&file, text(SECRET_KEY)).unwrap();
    serving.until_says("the store is readable again");
    serving.signal(Signal::TERM);
    serving.wait();
}

/// A server's certificate and its authority.
fn certificates(dir: &std::path::Path) {
    let script = "set -e; cd \"$0\"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1' >ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem";
    let made = Command::new("sh")
        .args(["-c", script])
        .arg(dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn an_authority_of_ones_own_is_trusted_by_each_way_to_name_it() {
    need!(Gateway);
    let drctl = on_s3();
    let dir = drctl.home().to_owned();
    certificates(&dir);
    let gateway = Gateway::start_tls(&dir.join("server.pem"), &dir.join("server.key"));
    let at = |name: &str| dir.join(name).display().to_string();
    let drctl = drctl
        .env("DRCTL_STORE", &format!("s3://{}/p", gateway.bucket()))
        .env(
            "AWS_ENDPOINT_URL",
            &gateway.url().replace("http:", "https:"),
        )
        .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1");
    drctl.run(["list"]).refused(5, &["certificate"]);
    let named = |name: &str, value: &str| {
        let mut env = std::collections::BTreeMap::from([(name.to_owned(), value.to_owned())]);
        env.retain(|_, value| !value.is_empty());
        env
    };
    for (name, value) in [
        ("DRCTL_STORE_S3_CA_FILE", at("ca.pem")),
        ("AWS_CA_BUNDLE", at("ca.pem")),
        ("AWS_CA_BUNDLE", format!("{}\n", at("ca.pem"))),
        ("SSL_CERT_FILE", at("ca.pem")),
    ] {
        let set = named(name, &value);
        println!("{set:?}");
        works(&with(&drctl, &set));
    }
    let config = dir.join("aws-config");
    fs::write(
        &config,
        format!("[default]\nca_bundle = {}\n", at("ca.pem")),
    )
    .unwrap();
    works(&with(&drctl, &named("AWS_CONFIG_FILE", &at("aws-config"))));
    fs::write(dir.join("empty.pem"), "").unwrap();
    for (name, value, word) in [
        ("DRCTL_STORE_S3_CA_FILE", at("none.pem"), "store.s3.ca_file"),
        (
            "DRCTL_STORE_S3_CA_FILE",
            at("server.key"),
            "contains no certificate",
        ),
        ("AWS_CA_BUNDLE", at("empty.pem"), "AWS_CA_BUNDLE"),
        ("SSL_CERT_FILE", at("empty.pem"), "no certificate authority"),
    ] {
        with(&drctl, &named(name, &value))
            .run(["list"])
            .refused(2, &[word]);
    }
}

/// drctl with more variables.
fn with(drctl: &Drctl, more: &std::collections::BTreeMap<String, String>) -> Drctl {
    let mut copy = Drctl::new("shop");
    for (name, value) in drctl.variables().iter().chain(more) {
        if !matches!(&**name, "HOME" | "TMPDIR") {
            copy = copy.env(name, value);
        }
    }
    copy
}

/// Whether docs/iam.md gives a reader this request: `verify`, and restores that may write.
fn is_a_readers(request: &Request) -> bool {
    let names = |part: &str| request.path.contains(part);
    match &*request.method {
        "GET" | "HEAD" => true,
        "PUT" => names("/drills/") || names("/runs/") || names("/reading/"),
        "DELETE" => names("/reading/"),
        _ => false,
    }
}

#[test]
fn drills_and_restores_ask_of_the_store_what_the_manual_gives_them() {
    need!(Gateway);
    need!(MariaDb);
    let into = Server::start(Flavour::MariaDb);
    let (schema, drctl) = shop();
    let proxy = FaultProxy::start(Gateway::shared().address());
    let mut drctl = drctl.into(&into);
    for (name, value) in Gateway::shared().environment() {
        drctl = drctl.env(name, &value);
    }
    let drctl = drctl
        .env(
            "DRCTL_STORE",
            &format!("s3://{}/p", Gateway::shared().bucket()),
        )
        .env("AWS_ENDPOINT_URL", &proxy.url())
        .env("DRCTL_STORE_S3_MAX_ATTEMPTS", "1");
    drctl.run(["backup"]).ok();
    let before = proxy.requests().len();
    drctl.run(["verify", "--latest"]).ok();
    drctl.run(["restore", "--latest"]).ok();
    let asked = &proxy.requests()[before..];
    let beyond: Vec<_> = asked.iter().filter(|one| !is_a_readers(one)).collect();
    assert!(beyond.is_empty(), "{beyond:#?}");
    for part in ["/drills/", "/runs/", "/reading/"] {
        let puts = asked.iter().filter(|one| one.method == "PUT");
        // Where both end in one second, the second one finds its name taken, and takes the next.
        let names: BTreeSet<&String> = puts.map(|one| &one.path).collect();
        let of_part = names.iter().filter(|path| path.contains(part));
        assert_eq!(of_part.count(), 2, "{part}");
    }

    // Without leases and records a drill and a restore go on; without its report a drill has failed.
    let denied = || Fault::Answer(403, "AccessDenied");
    proxy.fault(When::put("/runs/"), denied());
    proxy.fault(When::put("/reading/"), denied());
    drctl.run(["verify", "--latest"]).ok();
    proxy.fault(When::put("/drills/"), denied());
    into.exec(&format!("DROP DATABASE `{schema}`"));
    drctl.run(["restore", "--latest"]).ok();
    drctl.run(["verify", "--latest"]).refused(5, &["drills/"]);
}

#[test]
fn a_secret_that_never_comes_holds_up_nothing_that_was_asked_to_end() {
    let drctl = Drctl::new("shop");
    let pipe = drctl.home().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let drctl = drctl
        .env("DRCTL_SOURCE_URL", "mysql://drctl@127.0.0.1:1")
        .env("DRCTL_SOURCE_PASSWORD_FILE", &pipe.display().to_string());
    let running = drctl.start(["backup"]);
    std::thread::sleep(Duration::from_secs(2));
    running.signal(Signal::TERM);
    let run = running.wait();
    assert_eq!(run.code, 143, "{run:#?}");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
}

#[test]
fn a_secret_file_that_is_none_is_refused_and_an_odd_one_is_pointed_at() {
    let drctl = Drctl::new("shop").env("DRCTL_SOURCE_URL", "mysql://drctl@127.0.0.1:1");
    let file = drctl.home().join("secret");
    let drctl = drctl.env("DRCTL_SOURCE_PASSWORD_FILE", &file.display().to_string());
    fs::write(&file, vec![b'x'; (64 << 10) + 1]).unwrap();
    drctl.run(["backup"]).refused(
        2,
        &["DRCTL_SOURCE_PASSWORD_FILE", "larger than 65536 bytes"],
    );
    for (text, word) in [
        ("\u{feff}hunter2", "byte order mark"),
        ("hunter2\n\n", "more than one newline"),
    ] {
        fs::write(&file, text).unwrap();
        let run = drctl.run(["backup"]);
        assert!(
            run.stderr.contains(word) && !run.stderr.contains("hunter2"),
            "{run:#?}"
        );
        assert_eq!(run.code, 4);
    }
}
