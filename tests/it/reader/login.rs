//! The reader logs in wherever the driver does.

use std::process::Command;

use drctl::mysql::wire::RowConnection;
use drctl::mysql::{Role, ServerConfig};
use drctl::util::secret::Secret;

use crate::on_both;
use crate::source_server::{block_on, config};
use crate::support::lab::ScratchDir;
use crate::support::{Flavour, Server};

/// The account's name as the server sees it.
fn user(config: &ServerConfig) -> drctl::Result<String> {
    block_on(async {
        let mut connection = RowConnection::open(config).await?;
        let rows = connection.rows("SELECT CURRENT_USER(), NULL, ''").await?;
        assert_eq!(rows[0][1..], [None, Some(String::new())]);
        Ok(rows[0][0].clone().unwrap())
    })
}

on_both!(
    fn an_account_is_reached_by_socket_tcp_and_tls(flavour) {
        let server = Server::shared(flavour);
        server.account("reads_rows", "a \"long\" secret", &[]);
        let password = Some("a \"long\" secret");
        let tcp = server.tcp_url("reads_rows");
        for url in [
            server.url_as("reads_rows"),
            tcp.clone(),
            format!("{tcp}?tls=disabled"),
            format!("{tcp}?tls=required"),
        ] {
            // A server without a certificate refuses TLS that is required.
            let config = config(&url, password, flavour);
            let has_tls = flavour == Flavour::MySql || !url.ends_with("required");
            assert_eq!(user(&config).is_ok(), has_tls, "{url}: {:?}", user(&config).err());
        }
    }
);

on_both!(
    fn a_wrong_password_is_an_error_that_does_not_contain_it(flavour) {
        let server = Server::shared(flavour);
        server.account("reads_nothing", "right", &[]);
        let config = ServerConfig {
            url: server.url_as("reads_nothing").parse().unwrap(),
            password: Some(Secret::new("wrong-one")),
            client_dir: None,
            role: Role::Source,
        };
        let refused = user(&config).unwrap_err();
        assert!(refused.to_string().contains("Access denied"), "{refused}");
        assert!(!format!("{refused:?}").contains("wrong-one"));
    }
);

on_both!(
    fn a_certificate_is_verified_against_the_authority_of_the_url(flavour) {
        let dir = ScratchDir::new();
        let made = Command::new("bash")
            .args(["-ec", "
                for ca in ca other; do
                    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.pem
                done
                echo 'subjectAltName=DNS:localhost' >ext
                for name in localhost client; do
                    openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
                    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem
                done
                chmod 644 *.key"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let file = |name: &str| dir.path().join(name).display().to_string();
        let options = [
            format!("--ssl-ca={}", file("ca.pem")),
            format!("--ssl-cert={}", file("localhost.pem")),
            format!("--ssl-key={}", file("localhost.key")),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let server = Server::start_with(flavour, &options);
        server.account("by_tls", "pw", &[]);
        server.exec("ALTER USER by_tls REQUIRE X509");
        let identity = format!("cert={}&key={}", file("client.pem"), file("client.key"));
        let host = format!("mysql://by_tls@localhost:{}", server.port());
        let open = |host: &str, ca: &str, identity: &str| {
            let url = format!("{host}?tls=verify&ca={}&{identity}", file(ca));
            user(&config(&url, Some("pw"), flavour))
        };
        assert_eq!(open(&host, "ca.pem", &identity).unwrap(), "by_tls@%");
        // Another authority, another name, and no certificate of the client.
        let by_address = host.replace("localhost", "127.0.0.1");
        for refused in [
            open(&host, "other.pem", &identity),
            open(&by_address, "ca.pem", &identity),
            open(&host, "ca.pem", ""),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.outcome(), drctl::Outcome::Source, "{error}");
        }
        // Without verification any certificate does.
        let url = format!("{by_address}?tls=required&{identity}");
        user(&config(&url, Some("pw"), flavour)).unwrap();
    }
);
