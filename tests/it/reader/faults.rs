//! What happens to the connections of the reader: an error, and nothing is left of the backup.

use crate::on_both;
use crate::support::backup::{in_front_of_dump, listed, refused};
use crate::support::{Drctl, Server};

on_both!(
    fn connections_that_the_server_closes_before_the_rows(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT d.t VALUES (1), (2)");
        let login = format!("--no-defaults -uroot -S{}", server.socket().display());
        // The definitions are complete, and the readers wait for them.
        let script = "real \"$@\"; sleep 1\n\
             ids=$(sql \"SELECT id FROM information_schema.processlist WHERE command = 'Sleep'\")\n\
             for id in $ids; do sql \"KILL $id\"; done";
        let drctl = Drctl::new("killed").source(&server).env("DRCTL_BACKUP_CONNECT_SECONDS", "0");
        let drctl = in_front_of_dump(flavour, drctl, "SOURCE", &login, script);
        let drctl = drctl.env("DRCTL_SOURCE_READER", "native");
        refused(&drctl, 4, &["closed the connection"]);
    }
);

on_both!(
    fn a_server_that_lets_in_only_a_few_is_read_over_fewer_connections(flavour) {
        let server = Server::start(flavour);
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT d.t VALUES (1), (2); CREATE TABLE d.u LIKE d.t");
        server.account("few", "", &["SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS, RELOAD, REPLICATION CLIENT ON *.*"]);
        server.exec("ALTER USER few WITH MAX_USER_CONNECTIONS 4");
        let drctl = Drctl::new("few").source(&server).env("DRCTL_SOURCE_URL", &server.url_as("few"));
        drctl.run(["backup", "--jobs", "8"]).ok();
        assert_eq!(listed(&drctl)[0]["rows"], 2);
    }
);
