//! The stack from nothing, as a person installs it: what is there afterwards, and what keeps it in order.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use crate::stack::Stack;
use crate::support::wait::until;

/// The body that an HTTP server answers with.
pub fn get(ip: IpAddr, port: u16, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect((ip, port)) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let request = format!("GET {path} HTTP/1.0\r\nHost: web\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

#[test]
fn the_database_has_a_certificate_that_drctl_and_the_application_verify() {
    let Some(stack) = Stack::shared() else {
        return;
    };
    let config = stack.kubectl(&["get", "configmap", "drctl-config", "--output", "yaml"]);
    assert!(
        config.contains("?tls=verify&ca=/run/secrets/database-tls/ca.crt"),
        "{config}"
    );
    // What the application does, in the pod that has a client.
    let client = |ca: &str| {
        let ask = format!(
            "MYSQL_PWD=$(cat /run/secrets/database/app-password) mysql --no-defaults \
             --user=app --host=127.0.0.1 --ssl-mode=VERIFY_CA --ssl-ca={ca} --batch --skip-column-names \
             --execute \"SHOW STATUS LIKE 'Ssl_cipher'\" 2>&1 || echo refused"
        );
        stack.kubectl(&["exec", "drctl-database-0", "--", "sh", "-c", &ask])
    };
    let verified = client("/run/secrets/database-tls/ca.crt");
    assert!(verified.contains("TLS_"), "{verified}");
    // The authority that the server made itself signs another one.
    let other = client("/var/lib/mysql/ca.pem");
    assert!(
        other.contains("refused") && other.contains("verify"),
        "{other}"
    );
}

#[test]
fn three_pages_are_at_the_node_port_each_of_a_pod_of_its_own() {
    // The one stack of all tests that has the port which is the chart's own.
    let values = "web: {service: {type: NodePort, nodePort: 30080}}";
    let Some(stack) = Stack::install(values) else {
        return;
    };
    let expected: BTreeSet<(String, String)> = stack
        .pods("web")
        .iter()
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let ip = pod["status"]["podIP"].as_str().unwrap();
            (format!("Host-{}", &name[name.len() - 5..]), ip.to_owned())
        })
        .collect();
    assert_eq!(expected.len(), 3, "{expected:?}");
    let node = stack.space.node();
    let mut seen = BTreeSet::new();
    until("each replica answers", || {
        let page = get(node, 30080, "/");
        let own = |(host, ip): &&(String, String)| {
            page.contains(&format!("<h1>{host}</h1>"))
                && page.contains(&format!("<p>Pod IP: {ip}</p>"))
        };
        let whose: Vec<_> = expected.iter().filter(own).cloned().collect();
        assert_eq!(whose.len(), 1, "nobody's page, of {expected:?}: {page}");
        seen.extend(whose);
        seen == expected
    });
    assert!(get(node, 30080, "/nothing").starts_with("HTTP/1.1 404"));
}
