//! What a scratch pod is told of its password: a server that was given the hash alone lets the password
//! in, and nothing else.

use drctl::verify::scratch::pod::hash::{identified, new_password};

use crate::on_both;
use crate::support::{Flavour, Server};

on_both!(
    fn a_server_that_was_given_the_hash_lets_the_password_in(flavour) {
        let server = Server::start(flavour);
        let of_drctl = match flavour {
            Flavour::MySql => drctl::mysql::Flavour::MySql,
            Flavour::MariaDb => drctl::mysql::Flavour::MariaDb,
        };
        let password = new_password();
        let how = identified(of_drctl, &password);
        server.exec(&format!("CREATE USER hashed@'%' {how}"));
        let login = |password: &str| {
            let mut command = std::process::Command::new(flavour.client());
            command.args(["--no-defaults", "-h127.0.0.1", "-uhashed", "-NeSELECT 42"]);
            command.arg(format!("-P{}", server.port())).arg(format!("-p{password}"));
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert_eq!(login(password.reveal()), (true, "42\n".to_owned()));
        assert!(!login("hunter2hunter2").0);
    }
);
