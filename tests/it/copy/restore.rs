//! Restores from the second store when the primary one is gone.

use super::*;
use crate::on_both;
use crate::support::Server;
use crate::support::backup::shop_of;

on_both!(
    fn a_copy_restores_when_the_primary_store_is_gone(flavour) {
        let (schema, drctl) = shop_of(flavour);
        let drctl = copying(drctl);
        drctl.run(["backup"]).ok();
        copy(&drctl).ok();
        let into = Server::start(flavour);
        let drctl = drctl.env("DRCTL_INTO_URL", &into.url());
        fs::remove_dir_all(drctl.store_dir()).unwrap();
        // Nothing switches by itself.
        for verb in [["restore", "--latest"], ["show", "--latest"], ["verify", "--latest"]] {
            let hint = format!("file://{}", second(&drctl).display());
            drctl.run(verb).refused(5, &["no such directory", &hint, "--store copy"]);
        }
        assert!(into.query(&format!("SHOW DATABASES LIKE '{schema}'")).is_empty());
        drctl.run(["--store", "copy", "restore", "--latest"]).ok();
        let rows = into.query(&format!("SELECT id FROM {schema}.t ORDER BY id"));
        assert_eq!(rows, [["1"], ["2"], ["3"]]);
        drctl.run(["--store", "copy", "verify", "--latest"]).ok();
        let page = drctl.run(["--store", "copy", "show", "--latest-verified", "--output", "json"]);
        assert_eq!(page.ok().json()["id"], listed_there(&drctl)[0].as_str());
    }
);
