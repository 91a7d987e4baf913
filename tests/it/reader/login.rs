//! The reader logs in wherever the driver does.

use drctl::mysql::wire::RowConnection;
use drctl::mysql::{Role, ServerConfig};
use drctl::util::secret::Secret;

use crate::on_both;
use crate::source_server::{block_on, config};
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
