//! A reader that is wrong: each kind of damage, put between a reader and the archive, differs from what the dump program
//! writes; and what the comparison after a restore finds of it.
//!
//! Most damage makes another dump that is as valid as the right one. A restore of it is what the archive says, and the
//! comparison holds: two programs that must agree on every byte are what finds it. Text that no dump program would write,
//! the comparison finds, too.

use std::fs;

use crate::fidelity::{differing, statements_of};
use crate::on_both;
use crate::support::backup::in_front_of_dump;
use crate::support::{Drctl, Server};

/// Values of which each kind of damage finds one.
const VALUES: &str = r#"CREATE DATABASE d; USE d;
    CREATE TABLE a (id INT PRIMARY KEY, t VARCHAR(40), n INT, f DOUBLE, d DECIMAL(8,3), b BLOB, s DATETIME(6), y BIT(9));
    INSERT INTO a VALUES (1, 'it''s', NULL, 0.1234567890123, 2.500, x'00ff10', '2026-01-02 03:04:05.678901', b'101'),
      (2, 'a\Zb\nc', -7, NULL, -1.125, x'', '2026-01-02 03:04:05', NULL),
      (3, 'größer\\', 9007, 1e300, 0.000, NULL, NULL, b'0');
    CREATE TABLE no_key (x INT, y INT);
    INSERT INTO no_key VALUES (41, 42), (43, 44);
    CREATE TABLE other LIKE no_key;"#;

/// A kind of damage.
struct Damage {
    name: &'static str,
    /// What the dump program writes, and what is written instead.
    from: &'static str,
    to: &'static str,
    /// Whether no dump program writes this, so that the comparison after a restore finds it.
    is_no_dump: bool,
}

const fn damage(name: &'static str, from: &'static str, to: &'static str) -> Damage {
    Damage {
        name,
        from,
        to,
        is_no_dump: false,
    }
}

const fn no_dump(name: &'static str, from: &'static str, to: &'static str) -> Damage {
    Damage {
        name,
        from,
        to,
        is_no_dump: true,
    }
}

const KINDS: [Damage; 14] = [
    no_dump("a wrong escape", r"a\Zb", r"a\zb"),
    no_dump("a quote that is doubled", r"it\'s", "it''s"),
    no_dump(
        "a number with a digit that it does not have",
        "9007,1e300",
        "09007,1e300",
    ),
    no_dump("hexadecimal digits as a text", "0x00FF10", r"'\0ÿ'"),
    damage("a lost NULL", "NULL,0.1234567890123", "0,0.1234567890123"),
    damage(
        "a NULL in place of a value",
        "'größer",
        "NULL,9007,1e300,0.000,NULL,NULL,0x0000),(4,'größer",
    ),
    damage("a rounded float", "0.1234567890123", "0.12345678901"),
    damage("a lost sign", "-1.125", "1.125"),
    damage("a wrong digit of a BLOB", "0x00FF10", "0x00FE10"),
    damage(
        "a lost fraction of a second",
        "03:04:05.678901",
        "03:04:05.000000",
    ),
    damage(
        "a character that is no longer what it was",
        "größer",
        "gr??er",
    ),
    damage("two values in each other's place", "41,42", "42,41"),
    damage("a text that is cut off", r"größer\\", "größe"),
    damage(
        "a row of another table",
        "INSERT INTO `no_key`",
        "INSERT INTO `other`",
    ),
];

on_both!(
    fn each_kind_of_damage_is_found(flavour) {
        let (source, into) = (Server::start(flavour), Server::start(flavour));
        source.exec(VALUES);
        let login = format!("--no-defaults -uroot -S{}", source.socket().display());
        let native = Drctl::new("native").source(&source);
        native.run(["backup", "--jobs", "2"]).ok();
        let read = native.run(["cat", "--latest"]).ok().stdout;

        let program = Drctl::new("program").source(&source).into(&into);
        let dump = program.home().join("dump.sql");
        let script = |what: String| in_front_of_dump(flavour, program.clone(), "SOURCE", &login, &what);
        script(format!("real \"$@\" | tee {}", dump.display())).run(["backup"]).ok();
        let right = fs::read_to_string(&dump).unwrap();
        let written = statements_of(right.as_bytes());
        assert_eq!(differing(&statements_of(read.as_bytes()), &written), [""; 0]);

        let mut unexpected = Vec::new();
        // A row that is lost, and one that is there twice.
        let (row, next) = ("(41,42)", "(43,44)");
        let separator = right.split_once(row).unwrap().1.split_once(next).unwrap().0;
        let both = format!("{row}{separator}{next}");
        let twice = format!("{row}{separator}{both}");
        let rows = [("a lost row", row), ("a row that is there twice", twice.as_str())];
        let rows = rows.map(|(name, to)| (name, both.as_str(), to, false));
        let kinds = KINDS.iter().map(|kind| (kind.name, kind.from, kind.to, kind.is_no_dump));
        for (name, from, to, is_no_dump) in kinds.chain(rows) {
            assert_eq!(read.matches(from).count(), 1, "{name}: {from}");
            let damaged = statements_of(read.replace(from, to).as_bytes());
            assert!(!differing(&damaged, &written).is_empty(), "{name}: equal to the dump");

            let damaged = right.replace(from, to);
            assert_ne!(damaged, right, "{name}");
            fs::write(&dump, damaged).unwrap();
            script(format!("cat {}", dump.display())).run(["backup"]).ok();
            into.exec("DROP DATABASE IF EXISTS d");
            // The second dump is by the right program.
            let restored = program.run(["restore", "--latest"]);
            let (ended, expected) = (restored.code, if is_no_dump { 7 } else { 0 });
            if ended != expected {
                unexpected.push(format!("{name}: exit {ended}: {}", restored.stderr));
            }
            let _ = program.run(["restore", "--discard", "--confirm", "program"]);
        }
        assert_eq!(unexpected, [""; 0]);
    }
);
