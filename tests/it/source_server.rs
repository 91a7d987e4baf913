//! Logins, clients and dumps of real servers: what goes wrong there, and how it is said.

use std::path::PathBuf;

use bytes::BytesMut;
use drctl::backup::dump::DumpPlan;
use drctl::mysql::named_lock::{self, Lock};
use drctl::mysql::{Client, Connection, DumpChild, Role, ServerConfig, connect};
use drctl::util::secret::Secret;
use drctl::{Outcome, Result};

use super::support::lab::ScratchDir;
use super::support::{Flavour, Server};
use crate::{need, on_both};

/// Runs async code of the product.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A server as the product's configuration names it.
pub fn config(url: &str, password: Option<&str>, flavour: Flavour) -> ServerConfig {
    ServerConfig {
        url: url.parse().unwrap(),
        password: password.map(Secret::new),
        client_dir: Some(flavour.client_dir()),
        role: Role::Source,
    }
}

async fn client(config: &ServerConfig) -> Result<(Connection, Client)> {
    let mut connection = connect(config).await?;
    let version = connection.version().await?;
    let client = Client::for_server(config, &connection, &version).await?;
    Ok((connection, client))
}

/// A whole dump, or why there is none.
async fn dump(client: &Client, schema: &str) -> Result<Vec<u8>> {
    let plan = DumpPlan {
        schemas: vec![schema.to_owned()],
        coordinates: false,
        history: false,
        rows: true,
    };
    let mut child = DumpChild::spawn(client, plan.arguments(client)?)?;
    let mut all = BytesMut::new();
    loop {
        all.reserve(1 << 20);
        if child.read(&mut all).await? == 0 {
            return Ok(all.to_vec());
        }
    }
}

on_both!(
    fn a_wrong_password_is_one_line_that_names_the_keys(flavour) {
        let server = Server::shared(flavour);
        let user = format!("pw_{}", server.fresh_schema("wrong"));
        server.account(&user, "right", &[]);
        for url in [server.url_as(&user), server.tcp_url(&user)] {
            let error = block_on(connect(&config(&url, Some("wr0ng"), flavour))).unwrap_err();
            assert_eq!(error.outcome(), Outcome::Source);
            let line = error.to_string();
            assert!(line.contains("DRCTL_SOURCE_PASSWORD"), "{line}");
            assert!(!line.contains("wr0ng") && !line.contains('\n'), "{line}");
        }
    }
);

on_both!(
    fn any_password_logs_in_by_the_driver_and_by_the_client(flavour) {
        let server = Server::shared(flavour);
        let schema = server.fresh_schema("nasty");
        server.exec(&format!("CREATE TABLE {schema}.t (a INT); INSERT INTO {schema}.t VALUES (4711)"));
        let nasty = [
            "quote\"s and 'more'", "back\\slash\\", "#hash # behind", " spaces ", "semi;colon", "é 🦀", "a\tb\nc\\n\\s",
            "[client]", "x=y", "\"both\"", "",
        ];
        for (i, password) in nasty.iter().enumerate() {
            let user = format!("u{i}_{schema}");
            let literal = password.replace('\\', "\\\\").replace('\'', "''");
            server.account(&user, &literal, &[&format!("SELECT, SHOW VIEW, TRIGGER, EVENT ON {schema}.*")]);
            for url in [server.url_as(&user), server.tcp_url(&user)] {
                let dumped = block_on(async {
                    let (_connection, client) = client(&config(&url, Some(password), flavour)).await?;
                    dump(&client, &schema).await
                });
                let text = String::from_utf8(dumped.unwrap_or_else(|e| panic!("{password:?} {url}: {e}"))).unwrap();
                assert!(text.contains("(4711)"), "{password:?}");
            }
        }
    }
);

on_both!(
    fn an_option_file_of_somebody_cuts_no_rows(flavour) {
        let server = Server::shared(flavour);
        let schema = server.fresh_schema("hostile");
        server.exec(&format!("CREATE TABLE {schema}.t (id INT); INSERT INTO {schema}.t VALUES (1),(2),(3)"));
        let home = ScratchDir::new();
        std::fs::write(home.path().join(".my.cnf"), "[mysqldump]\nwhere=id<2\n").unwrap();
        let rows = |output: std::process::Output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            ["(1)", "(2)", "(3)"].iter().filter(|row| text.contains(*row)).count()
        };
        let careless = std::process::Command::new(flavour.dump_bin())
            .env("HOME", home.path())
            .args(["--user=root", "--socket"])
            .arg(server.socket())
            .args(["--databases", &schema])
            .output()
            .unwrap();
        assert_eq!(rows(careless), 1, "the hazard is real: exit 0 and rows are gone");
        block_on(async {
            let (_connection, client) = client(&config(&server.url(), None, flavour)).await.unwrap();
            let mut command = client.dump_command(["--databases", &schema]);
            let environment: Vec<_> = command.as_std().get_envs().map(|(key, _)| key.to_owned()).collect();
            assert_eq!(environment, ["HOME", "LC_ALL", "PATH"]);
            assert_eq!(rows(command.output().await.unwrap()), 3);
            // Not even where the home directory is handed on.
            let mut command = client.dump_command(["--databases", &schema]);
            assert_eq!(rows(command.env("HOME", home.path()).output().await.unwrap()), 3);
        });
    }
);

on_both!(
    fn a_dump_whose_connection_is_killed_is_an_error_with_a_hint(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE big; CREATE TABLE big.t (a LONGTEXT)");
        for _ in 0..6 {
            server.exec("INSERT INTO big.t VALUES (REPEAT('x', 8000000))");
        }
        let error = block_on(async {
            let (mut connection, client) = client(&config(&server.url(), None, flavour)).await.unwrap();
            let plan = DumpPlan { schemas: vec!["big".into()], coordinates: false, history: false, rows: true };
            let mut child = DumpChild::spawn(&client, plan.arguments(&client).unwrap()).unwrap();
            let mut some = BytesMut::with_capacity(4096);
            child.read(&mut some).await.unwrap();
            let mut victim: Option<u64> = None;
            while victim.is_none() {
                victim = connection
                    .row("SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT%FROM `t`%' AND id <> CONNECTION_ID()")
                    .await
                    .unwrap();
            }
            connection.run(&format!("KILL {}", victim.unwrap())).await.unwrap();
            loop {
                some.clear();
                some.reserve(1 << 20);
                match child.read(&mut some).await {
                    Ok(0) => panic!("a killed dump ended well"),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            }
        });
        assert_eq!(error.outcome(), Outcome::Source);
        assert!(error.to_string().contains("check its log"), "{error}");
    }
);

#[test]
fn tls_is_as_the_url_asks() {
    need!(MySql);
    need!(MariaDb);
    let mysql = Server::shared(Flavour::MySql);
    let user = format!("tls_{}", mysql.fresh_schema("tls"));
    mysql.account(&user, "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT ON *.*"]);
    mysql.exec(&format!("ALTER USER '{user}'@'%' REQUIRE SSL"));
    let ca = mysql.datadir().join("ca.pem");
    let at = |options: &str| format!("{}/?{options}", mysql.tcp_url(&user));
    let open = |url: String| {
        block_on(async move {
            let (connection, client) = client(&config(&url, Some("pw"), Flavour::MySql)).await?;
            dump(&client, "sys").await.map(|_| connection.encrypted())
        })
    };
    assert!(open(at("tls=preferred")).unwrap());
    assert!(open(at("tls=required")).unwrap());
    // The server made its own certificate, which names no host.
    let error = open(at(&format!("tls=verify&ca={}", ca.display()))).unwrap_err();
    assert!(error.to_string().contains("TLS failed"), "{error}");
    let error = open(at("tls=disabled")).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Source);

    let mariadb = Server::start_with(Flavour::MariaDb, &["--skip-ssl"]);
    mariadb.account("tls", "pw", &[]);
    let at = |options: &str| format!("{}/?{options}", mariadb.tcp_url("tls"));
    let open = |url: String| block_on(connect(&config(&url, Some("pw"), Flavour::MariaDb)));
    assert!(!open(at("tls=preferred")).unwrap().encrypted());
    let error = open(at("tls=required")).unwrap_err();
    assert!(
        error.to_string().contains("does not support TLS"),
        "{error}"
    );
}

on_both!(
    fn an_account_that_must_show_a_certificate_does(flavour) {
        // MySQL makes itself an authority and certificates; both servers can use them.
        need!(MySql);
        let maker = Server::shared(Flavour::MySql);
        let pem = |name: &str| maker.datadir().join(name).display().to_string();
        let options = [
            format!("--ssl-ca={}", pem("ca.pem")),
            format!("--ssl-cert={}", pem("server-cert.pem")),
            format!("--ssl-key={}", pem("server-key.pem")),
        ];
        let server = Server::start_with(flavour, &options.each_ref().map(String::as_str));
        server.exec("CREATE DATABASE shown; CREATE TABLE shown.t (a INT); INSERT INTO shown.t VALUES (4711)");
        server.account("x509", "pw", &["SELECT, SHOW VIEW, TRIGGER, EVENT ON *.*"]);
        server.exec("ALTER USER 'x509'@'%' REQUIRE X509");
        let open = |options: &str| {
            let url = format!("{}/?{options}", server.tcp_url("x509"));
            block_on(async {
                let (_connection, client) = client(&config(&url, Some("pw"), flavour)).await?;
                dump(&client, "shown").await
            })
        };
        let error = open("tls=required").unwrap_err();
        assert_eq!(error.outcome(), Outcome::Source);
        assert!(error.to_string().contains("Access denied"), "{error}");
        let (cert, key) = (pem("client-cert.pem"), pem("client-key.pem"));
        let dumped = open(&format!("tls=required&cert={cert}&key={key}")).unwrap();
        assert!(String::from_utf8(dumped).unwrap().contains("(4711)"));
        let error = open(&format!("tls=required&cert={cert}&key=/nonexistent")).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
);

on_both!(
    fn a_lock_that_is_not_held_any_more_is_noticed(flavour) {
        let config = config(&Server::shared(flavour).url(), None, flavour);
        let target = "lost-lock".parse().unwrap();
        let lost = block_on(async {
            let mut ours = connect(&config).await?;
            let mut other = connect(&config).await?;
            named_lock::take(&mut ours, Lock::Backup, &target).await?;
            named_lock::still_held(&mut ours, Lock::Backup, &target).await?;
            named_lock::release(&mut ours, Lock::Backup, &target).await;
            let free = named_lock::still_held(&mut ours, Lock::Backup, &target).await;
            named_lock::take(&mut other, Lock::Backup, &target).await?;
            let taken = named_lock::still_held(&mut ours, Lock::Backup, &target).await;
            Ok::<_, drctl::Error>([free, taken])
        });
        for lost in lost.unwrap() {
            let error = lost.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Locked);
            assert!(error.to_string().contains("was lost during the backup"), "{error}");
        }
    }
);

#[test]
fn no_client_that_fits_is_a_usage_error_that_says_what_there_is() {
    need!(MySql);
    need!(MariaDb);
    let server = Server::shared(Flavour::MySql);
    let mut config = config(&server.url(), None, Flavour::MariaDb);
    let error = block_on(client(&config)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Usage);
    assert!(error.to_string().contains("is MariaDB 1"), "{error}");
    config.client_dir = Some(PathBuf::from("/nonexistent"));
    let error = block_on(client(&config)).unwrap_err();
    assert!(
        error.to_string().contains("there is no mysqldump"),
        "{error}"
    );
}
