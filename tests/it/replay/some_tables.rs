//! `restore --tables` to a moment: the log, limited to the selected tables.

use std::collections::BTreeMap;

use super::command::backed_up;
use crate::on_both;
use crate::support::compare::{Picture, picture};
use crate::support::{Flavour, Server};

/// What the selected tables are.
fn selected(server: &Server) -> Picture {
    let mut picture = picture(server);
    picture.retain(|(schema, name), _| {
        let name = name.rsplit(' ').next();
        schema == "shop" && ["orders", "lines_of", "noted"].map(Some).contains(&name)
    });
    assert!(picture.len() >= 3, "{:?}", picture.keys());
    picture
}

/// Statements that change selected tables with others, and others alone.
const CHANGES: &str = "
    USE shop; SET SESSION binlog_format = 'ROW';
    CALL fill(2, 40);
    CREATE TABLE stock (id INT PRIMARY KEY, n INT); INSERT INTO stock SELECT id, 1 FROM orders;
    UPDATE orders o JOIN stock s ON s.id = o.id SET o.n = 7, s.n = 8 WHERE o.id % 3 = 0;
    UPDATE stock s JOIN orders o ON s.id = o.id SET s.n = 9, o.n = 10 WHERE o.id % 5 = 0;
    ALTER TABLE orders ADD COLUMN note VARCHAR(40) DEFAULT 'none', ADD KEY (n);
    CREATE INDEX by_note ON orders (note);
    ALTER TABLE audit ADD COLUMN more INT; DELETE FROM audit WHERE id % 2 = 0;
    START TRANSACTION; DELETE FROM orders WHERE id < 5; INSERT INTO stock VALUES (9000, 1); COMMIT;
    CREATE DATABASE other; CREATE TABLE other.orders (a INT); INSERT INTO other.orders VALUES (1); DROP DATABASE other;
    CREATE PROCEDURE p() DELETE FROM orders;
    DROP TABLE stock;
    CALL fill(3, 10);";

on_both!(
    fn only_the_selected_tables_follow_the_log(flavour) {
        for path in ["replica", "client"] {
            let (source, into, drctl) = backed_up(flavour);
            source.exec(CHANGES);
            drctl.run(["stream", "--once"]).ok();
            let command = ["restore", "--to", "latest", "--path", path, "--tables"];
            // A foreign key deletes lines with their orders, and not every server logs that.
            let alone = [&command[..], &["shop.lines_of", "--plan"]].concat();
            drctl.run(alone).refused(9, &["need not be in the binary log", "add shop.orders to --tables"]);
            let both = [&command[..], &["shop.orders,shop.lines_of"]].concat();
            let run = drctl.run(both).ok();
            assert!(run.stderr.contains("only the selected tables") || run.stdout.contains("only the selected tables"), "{run:?}");
            let (theirs, ours) = (selected(&source), selected(&into));
            let differ: BTreeMap<_, _> = theirs.iter().filter(|(key, value)| ours.get(*key) != Some(*value)).collect();
            assert!(differ.is_empty() && theirs.len() == ours.len(), "{path}: {differ:#?}\n{ours:#?}");
            let tables = "SELECT GROUP_CONCAT(table_name ORDER BY table_name) FROM information_schema.tables \
                WHERE table_schema IN ('shop', 'other')";
            assert_eq!(into.value(tables), "lines_of,orders");
        }
    }
);

on_both!(
    fn what_cannot_be_told_apart_ends_the_replay_by_name(flavour) {
        let statements = [
            "RENAME TABLE shop.orders TO shop.old, shop.audit TO shop.orders",
            "CREATE TABLE shop.lines (a INT); DROP TABLE shop.lines, shop.orders",
            "SET SESSION binlog_format = 'STATEMENT'; UPDATE shop.orders SET n = 1 ORDER BY id",
        ];
        let compressed = "SET SESSION binlog_transaction_compression = ON; CALL shop.fill(5, 2)";
        let more: &[&str] = match flavour {
            Flavour::MySql => &[compressed],
            Flavour::MariaDb => &[],
        };
        for statement in statements.iter().chain(more) {
            let (source, _into, drctl) = backed_up(flavour);
            source.exec(&format!("SET foreign_key_checks = 0; {statement}"));
            drctl.run(["stream", "--once"]).ok();
            let run = drctl.run(["restore", "--to", "latest", "--tables", "shop.orders"]);
            println!("{}", run.stderr);
            run.refused(9, &["can neither be replayed nor left out", "selected tables", "--before-gtid"]);
        }
        let (_source, _into, drctl) = backed_up(flavour);
        drctl.run(["stream", "--once"]).ok();
        drctl
            .run(["restore", "--to", "latest", "--rename", "shop=copy"])
            .refused(2, &["--rename cannot be combined", "old names"]);
    }
);
