//! The promotion: who may write, what is lost, and what goes on afterwards.

use std::sync::Arc;
use std::time::Duration;

use drctl::lease;
use drctl::store::Store;
use drctl::store::file::FileStore;
use rustix::process::Signal;

use super::{as_app, assert_same, sides, status};
use crate::on_both;
use crate::replay::logging;
use crate::support::drctl::Running;
use crate::support::wait::within;
use crate::support::{Drctl, Flavour, Server};

const ACCOUNT: &str = "CREATE USER app IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO app";
const WRITE: &str = "INSERT INTO shop.orders (item) VALUES ('here')";

/// drctl of a side, with the lease in the store that both have.
fn side(store: &Drctl, server: &Server, name: &str) -> Drctl {
    Drctl::new("shop")
        .env("DRCTL_STORE", &store.variables()["DRCTL_STORE"])
        .env("DRCTL_LEASE_SIDE", name)
        .env("DRCTL_LEASE_SECONDS", "4")
        .env("DRCTL_STANDBY_POLL_SECONDS", "1")
        .env("DRCTL_STREAM_CUT_SECONDS", "1")
        .source(server)
        .into(server)
}

/// Both sides, and the keeper of the one that has the lease.
fn two_sides(store: &Drctl, source: &Server, standby: &Server) -> (Drctl, Drctl, Running) {
    let (east, west) = (side(store, source, "east"), side(store, standby, "west"));
    let mut keeper = east.start(["lease", "--first"]);
    keeper.until_says("this side holds the lease");
    (east, west, keeper)
}

on_both!(
    fn a_standby_is_promoted_and_its_log_goes_on(flavour) {
        let (source, standby, drctl) = sides(flavour);
        source.exec(ACCOUNT);
        source.exec(
            "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM shop.audit;
             CREATE EVENT shop.never ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM shop.audit",
        );
        drctl.run(["backup"]).ok();
        source.exec("CALL shop.fill(2, 20)");
        drctl.run(["stream", "--once"]).ok();
        drctl.run(["standby", "--once"]).ok();
        source.exec("CALL shop.fill(3, 20)");
        drctl.run(["stream", "--once"]).ok();
        source.exec("INSERT INTO shop.orders (item) VALUES ('never archived')");
        source.stop();

        // Nothing says that the other side does not write.
        drctl.run(["promote", "--confirm", "shop"]).refused(9, &["no keeper of the other side", "--unfenced"]);
        drctl.run(["promote", "--confirm", "shops", "--unfenced"]).refused(2, &["shops is not the target"]);
        drctl.run(["promote", "--unfenced"]).refused(2, &["not confirmed"]);
        let plan = drctl.run(["promote", "--plan"]).ok().stdout;
        println!("{plan}");
        assert!(plan.contains("would be lost") && plan.contains("refused: "), "{plan}");
        assert!(as_app(&standby, WRITE).unwrap_err().contains("read-only"));

        let command = ["promote", "--confirm", "shop", "--unfenced", "--drain", "1", "--output", "json"];
        let promoted = drctl.run(command).ok().json();
        println!("{promoted:#}");
        assert_eq!(promoted["loss"], "unknown");
        assert_eq!(promoted["transactions"], 20);
        assert!(promoted["seconds"].as_f64().unwrap() < 30.0);
        assert_eq!(promoted["events"], serde_json::json!(["event `shop`.`nightly`"]));
        as_app(&standby, WRITE).unwrap();
        let events = "SELECT event_name, status FROM information_schema.events ORDER BY 1";
        assert_eq!(standby.query(events), [["never", "DISABLED"], ["nightly", "ENABLED"]]);
        assert_eq!(standby.value("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'drctl_restore'"), "0");
        assert_eq!(status(&drctl)["state"], "promoted");

        // Pressed again, nothing happens.
        let again = drctl.run(command).ok().json();
        assert_eq!(again["was_promoted"], true);
        as_app(&standby, WRITE).unwrap();

        // Its log continues the one of the other side, and leads to any moment since.
        let new = Drctl::new("shop").env("DRCTL_STORE", &drctl.variables()["DRCTL_STORE"]).source(&standby);
        new.run(["stream", "--once"]).ok();
        let log = new.run(["log", "--output", "json"]).ok().json();
        println!("{log:#}");
        assert_eq!(log["timelines"][1]["reason"], "failover");
        assert_eq!(log["timelines"][1]["continues"], true);
        new.run(["log", "--check"]).ok();
        new.run(["backup"]).ok();
        standby.exec("CALL shop.fill(9, 9)");
        new.run(["stream", "--once"]).ok();
        let third = logging(flavour);
        let new = new.into(&third);
        new.run(["restore", "--to", "latest"]).ok();
        assert_same(&standby, &third);
    }
);

on_both!(
    fn a_primary_that_lives_is_read_only_before_the_standby_is_writable(flavour) {
        let (source, standby, drctl) = sides(flavour);
        source.exec(ACCOUNT);
        drctl.run(["backup"]).ok();
        let (east, west, mut keeper) = two_sides(&drctl, &source, &standby);
        let stream = east.start(["stream"]);
        let guard = west.start(["lease"]);
        let mut following = west.start(["standby"]);
        within(Duration::from_secs(90), "the standby follows", || {
            assert!(!following.has_ended());
            let json = std::fs::read_to_string(drctl.store_dir().join("shop/standby.json"));
            json.is_ok_and(|json| json.contains("\"state\": \"following\""))
        });
        // Clients write to both sides: no commit may be on one side alone.
        source.exec("CALL shop.fill(4, 40)");
        as_app(&source, WRITE).unwrap();
        let promoted = west.run(["promote", "--confirm", "shop", "--output", "json"]).ok().json();
        println!("{promoted:#}");
        assert_eq!(promoted["loss"], "none");
        assert_eq!(promoted["fenced"]["how"], "released");
        assert!(as_app(&source, WRITE).unwrap_err().contains("read-only"));
        as_app(&standby, "SELECT 1").unwrap();
        let count = "SELECT COUNT(*) FROM shop.orders";
        assert_eq!(source.value(count), standby.value(count));
        within(Duration::from_secs(30), "the promoted side takes writes", || as_app(&standby, WRITE).is_ok());
        // The standby that ran has ended its work, and the keeper of the old side goes on.
        assert!(!following.has_ended() && !keeper.has_ended());
        for running in [keeper, stream, guard, following] {
            running.signal(Signal::TERM);
            running.wait();
        }
    }
);

on_both!(
    fn a_primary_that_is_gone_is_waited_for_as_long_as_its_lease(flavour) {
        let (source, standby, drctl) = sides(flavour);
        let (east, west, keeper) = two_sides(&drctl, &source, &standby);
        west.run(["standby", "--once"]).ok();
        // Its machine is gone at once.
        keeper.signal(Signal::KILL);
        keeper.wait();
        source.kill();
        let promoted = west.run(["promote", "--confirm", "shop", "--drain", "1", "--output", "json"]).ok().json();
        println!("{promoted:#}");
        assert_eq!(promoted["fenced"]["how"], "expired");
        assert_eq!(promoted["loss"], "unknown");
        assert!(promoted["seconds"].as_f64().unwrap() < 30.0);
        // The side that comes back has what was never archived, and its server takes writes until its keeper runs.
        source.start_again();
        source.exec("INSERT INTO shop.orders (item) VALUES ('left behind')");
        let mut keeper = east.start(["lease"]);
        keeper.until_says("read-only");
        east.run(["stream", "--once"]).ok();
        let demoted = east.run(["demote", "--confirm", "shop", "--drain", "1", "--output", "json"]).ok().json();
        println!("{demoted:#}");
        assert_eq!(demoted["not_archived"], "");
        assert_eq!(demoted["listed"].as_array().unwrap().len(), 1, "{demoted:#}");
        keeper.signal(Signal::TERM);
        keeper.wait();
        // It cannot be promoted: its server is no standby, and the other side keeps its own lease.
        east.run(["promote", "--confirm", "shop", "--unfenced"]).refused(9, &["the server is no standby"]);
        if flavour == Flavour::MySql {
            assert_eq!(source.value("SELECT @@GLOBAL.super_read_only"), "1");
        }
    }
);

on_both!(
    fn a_promotion_that_loses_the_lease_opens_no_server_and_does_not_say_promoted(flavour) {
        let (source, standby, drctl) = sides(flavour);
        source.exec(ACCOUNT);
        drctl.run(["backup"]).ok();
        let (_, west, keeper) = two_sides(&drctl, &source, &standby);
        west.run(["standby", "--once"]).ok();
        keeper.signal(Signal::KILL);
        keeper.wait();
        source.kill();
        let promotion = west.start(["promote", "--confirm", "shop", "--drain", "8"]);
        let fenced = drctl.store_dir().join("shop/leader/00000002.fenced.json");
        within(Duration::from_secs(60), "the other side is fenced", || fenced.exists());
        // While the rest of the log is waited for, a third side is promoted.
        let store: Arc<dyn Store> = Arc::new(FileStore::new(drctl.store_dir()));
        let (target, south) = ("shop".parse().unwrap(), "south".parse().unwrap());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(lease::take(&store, &target, &south, lease::Reason::Promote)).unwrap();
        promotion.wait().refused(11, &["another side has taken the lease of shop"]);
        assert_ne!(status(&drctl)["state"], "promoted");
        assert!(as_app(&standby, WRITE).unwrap_err().contains("read-only"));
        let plan = west.run(["promote", "--plan"]).ok().stdout;
        assert!(!plan.contains("no standby") && plan.contains("side south"), "{plan}");
    }
);

on_both!(
    fn a_side_that_was_demoted_takes_no_writes_until_one_is_promoted(flavour) {
        let (source, standby, drctl) = sides(flavour);
        source.exec(ACCOUNT);
        drctl.run(["backup"]).ok();
        let (east, west, keeper) = two_sides(&drctl, &source, &standby);
        let stream = east.start(["stream"]);
        west.run(["standby", "--once"]).ok();
        east.run(["demote"]).refused(2, &["not confirmed"]);
        let plan = east.run(["demote", "--plan"]).ok().stdout;
        assert!(plan.contains("side east"), "{plan}");
        as_app(&source, WRITE).unwrap();
        let demoted = east.run(["demote", "--confirm", "shop", "--output", "json"]).ok().json();
        println!("{demoted:#}");
        assert_eq!(demoted["not_archived"], "");
        assert_eq!(demoted["extra"], serde_json::Value::Null);
        std::thread::sleep(Duration::from_secs(6));
        assert!(as_app(&source, WRITE).unwrap_err().contains("read-only"), "the keeper does not open it again");

        // The way back, as long as no other side was promoted.
        east.run(["promote", "--confirm", "shop"]).refused(9, &["no keeper of the other side"]);
        east.run(["promote", "--confirm", "shop", "--unfenced"]).ok();
        within(Duration::from_secs(20), "it takes writes again", || as_app(&source, WRITE).is_ok());

        east.run(["demote", "--confirm", "shop"]).ok();
        let promoted = west.run(["promote", "--confirm", "shop", "--output", "json"]).ok().json();
        assert_eq!(promoted["loss"], "none", "{promoted:#}");
        as_app(&standby, WRITE).unwrap();
        assert!(as_app(&source, WRITE).unwrap_err().contains("read-only"));
        let again = east.run(["demote", "--confirm", "shop", "--output", "json"]).ok().json();
        assert_eq!(again["extra"], "", "{again:#}");
        for running in [keeper, stream] {
            running.signal(Signal::TERM);
            running.wait();
        }
    }
);
