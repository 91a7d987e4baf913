//! Tests with dumps of real servers: each is compared with a snapshot of its statements, and scanned after damage.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test sql::corpus` rewrites the snapshots; review the difference.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::create_table::CreateTable;
use super::ledger::{Ledger, RowSum};
use super::scan::{ScanError, Scanner};
use super::session::Session;
use super::statement::{Kind, ObjectId, ObjectKind};

fn dumps() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/dumps");
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut dumps: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|it| it == "sql"))
        .collect();
    dumps.sort();
    assert!(dumps.len() >= 4);
    dumps
}

/// A scanned dump: a line per statement, the concatenated texts, and its contents.
struct Scanned {
    lines: String,
    texts: Vec<u8>,
    ledger: Ledger,
    pending_views: usize,
    session: Session,
    trailer: bool,
}

fn scan(dump: &[u8], chunk: usize) -> Result<Scanned, ScanError> {
    let mut scanner = Scanner::new();
    let mut scanned = Scanned {
        lines: String::new(),
        texts: Vec::new(),
        ledger: Ledger::default(),
        pending_views: 0,
        session: Session::default(),
        trailer: false,
    };
    let mut chunks = dump.chunks(chunk);
    loop {
        let next = chunks.next();
        match next {
            Some(chunk) => scanner.push(chunk),
            None => scanner.finish(),
        }
        while let Some(statement) = scanner.next()? {
            let section = statement.kind.section();
            let mark = if scanned.session.at_rest() { ' ' } else { '|' };
            let section = section.map_or("-".to_owned(), |section| format!("{section:?}"));
            scanned.lines += &format!("{section:9}{mark} {}\n", line(&statement.kind));
            scanned.texts.extend(statement.text);
            // A damaged dump may define something twice.
            let _ = scanned.ledger.observe(&statement, &scanned.session);
            if let Kind::Insert { table } = &statement.kind
                && let Ok(sum) = RowSum::of_insert(statement.sql)
            {
                scanned.ledger.add_rows(table, sum);
            }
            if let Kind::Create { .. } = &statement.kind {
                let table = CreateTable::parse(statement.sql);
                assert!(table.defers() || table.kept() == statement.sql);
            }
            scanned.session.apply(&statement);
        }
        if next.is_none() {
            scanned.pending_views = scanner.pending_views().count();
            scanned.trailer = scanner.saw_trailer();
            assert_eq!(&scanned.session, scanner.session());
            return Ok(scanned);
        }
    }
}

fn line(kind: &Kind) -> String {
    let flag = |placeholder: &bool| if *placeholder { " (placeholder)" } else { "" };
    match kind {
        Kind::Drop { object } => format!("DROP {object}"),
        Kind::Create {
            object,
            placeholder,
        } => format!("CREATE {object}{}", flag(placeholder)),
        Kind::Insert { table } => format!("INSERT {table}"),
        Kind::SetSequence { object } => format!("SETVAL {object}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_statements_of_real_dumps_match_their_snapshots() {
    for path in dumps() {
        let dump = fs::read(&path).unwrap();
        let scanned = scan(&dump, dump.len()).unwrap();
        assert!(scanned.texts == dump, "{path:?}");
        let snapshot = path.with_extension("kinds");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&snapshot, &scanned.lines).unwrap();
        }
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        expect_same(&path, &expected, &scanned.lines);
        for chunk in [1, 7, 4096] {
            assert!(
                scan(&dump, chunk).unwrap().lines == scanned.lines,
                "{path:?} by {chunk}"
            );
        }
    }
}

fn expect_same(path: &Path, expected: &str, found: &str) {
    let difference = similar::TextDiff::from_lines(expected, found);
    assert!(expected == found, "{path:?}\n{}", difference.unified_diff());
}

#[test]
fn a_real_dump_defines_each_table_with_rows_and_restores_all_variables() {
    for path in dumps() {
        let scanned = scan(&fs::read(&path).unwrap(), 1000).unwrap();
        assert!(scanned.trailer, "{path:?}");
        assert_eq!(scanned.pending_views, 0, "{path:?}");
        assert_eq!(scanned.ledger.undefined().next(), None, "{path:?}");
        assert!(scanned.ledger.total_rows() > 0, "{path:?}");
        assert!(scanned.session.at_rest(), "{path:?}");
        let last = Session::default().statements_from(Some(&scanned.session));
        assert!(last.is_empty(), "{path:?}: {last:?}");
    }
}

#[test]
fn the_rows_of_a_table_are_counted_in_every_form_of_insert() {
    for path in dumps() {
        let scanned = scan(&fs::read(&path).unwrap(), 1000).unwrap();
        let name = if path.ends_with("mariadb-10.11-history.sql") {
            "ver"
        } else {
            "t"
        };
        let entry = scanned.ledger.get(&ObjectId::table("d", name));
        // MariaDB's dump of one schema does not name it.
        let entry = entry.or_else(|| scanned.ledger.get(&ObjectId::table("", name)));
        assert_eq!(entry.unwrap().rows.unwrap().rows, 3, "{path:?}");
    }
}

#[test]
fn triggers_keep_their_order_and_their_sql_mode_in_the_ledger() {
    let path = dumps()
        .into_iter()
        .find(|path| path.ends_with("mysql-9.7.sql"))
        .unwrap();
    let dump = fs::read_to_string(path).unwrap();
    let of = |dump: &str, name: &str| {
        let scanned = scan(dump.as_bytes(), dump.len()).unwrap();
        let trigger = ObjectId::new(ObjectKind::Trigger, "d", name);
        scanned.ledger.get(&trigger).cloned().unwrap()
    };
    assert_eq!(of(&dump, "tr1").order, Some(1));
    assert_eq!(of(&dump, "tr2").order, Some(2));
    let other = dump.replace("'ONLY_FULL_GROUP_BY,", "'");
    assert_ne!(of(&other, "tr1").ddl, of(&dump, "tr1").ddl);
    assert_eq!(of(&other, "tr nbe").ddl, of(&dump, "tr nbe").ddl);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_dumps_never_panic_and_never_depend_on_chunks(
        which in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..200, any::<Option<u8>>()), 1..4),
        chunk in 1usize..5000,
    ) {
        let mut dump = fs::read(which.get(&dumps())).unwrap();
        for (at, length, byte) in cuts {
            let at = at.index(dump.len());
            let end = (at + length).min(dump.len());
            dump.splice(at..end, byte);
        }
        let whole = scan(&dump, dump.len().max(1)).map(|it| (it.lines, it.texts));
        if let Ok((_, texts)) = &whole {
            prop_assert!(texts == &dump);
        }
        let by_chunks = scan(&dump, chunk).map(|it| (it.lines, it.texts));
        prop_assert!(whole == by_chunks);
    }
}
