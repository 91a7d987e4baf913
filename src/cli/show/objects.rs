//! `drctl show --objects`: lists the objects of a backup from its index, one per line.
//!
//! The index contains the ledger, which lists what the dump contains, followed by the server's inventory
//! with engines and sizes; both in the same order. Two readers process the index in parallel, so memory
//! does not depend on the number of objects.

use std::cmp::Ordering;

use serde::Serialize;

use crate::archive::index::{InventoryRecord, Record};
use crate::archive::stored_index::{Records, StoredIndex};
use crate::catalog::{self, Catalog};
use crate::cli::Context;
use crate::cli::output::text;
use crate::entries::Entry;
use crate::sql::ledger;
use crate::sql::statement::{ObjectId, ObjectKind};
use crate::util::error::{Error, Result};
use crate::util::format::Output;

/// Lines printed at once.
const LINES_AT_ONCE: usize = 500;

/// One object, as in `show --objects --output json`.
#[derive(Debug, Serialize)]
struct Object<'a> {
    /// `None` for an entry of another kind of source than MySQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a str>,
    kind: Kind<'a>,
    /// `None` for a schema.
    name: Option<&'a str>,
    /// Number of rows; tables only.
    rows: Option<u64>,
    /// Data and index bytes of a table on the server, as the server estimated them.
    bytes: Option<u64>,
    /// Storage engine; tables only.
    engine: Option<&'a str>,
}

/// Prints the objects that match a pattern; all if there are no patterns.
///
/// # Errors
/// `NothingToDo` if none matches; `Archive` if the index is damaged.
pub(super) async fn print(
    context: &Context,
    catalog: &Catalog,
    entry: &catalog::Entry,
    patterns: &[String],
) -> Result<()> {
    let place = catalog.place(entry.id);
    let index = StoredIndex::fetch(&context.store, &place, &entry.manifest);
    let index = context.cancel.unless(index).await?;
    let mut inventory = Inventory::new(index.records()?);
    let mut ledger = index.records()?;
    let mut page = Page::begin(context.output)?;
    while let Some(record) = ledger.read()? {
        let ledger::Record { object, entry } = match record {
            Record::Ledger(record) => record,
            Record::Entry(entry) => {
                if matches_text(patterns, &entry.name) {
                    page.add(&of_entry(&entry))?;
                }
                continue;
            }
            _ => continue,
        };
        if !matches(patterns, &object) {
            continue;
        }
        let on_server = inventory.find(&object)?;
        let is_table = object.kind == ObjectKind::Table;
        let is_schema = object.kind == ObjectKind::Schema;
        let on_server = on_server.filter(|_| is_table);
        page.add(&Object {
            schema: Some(&object.schema),
            kind: Kind::Sql(object.kind),
            name: (!is_schema).then_some(object.name.as_str()),
            rows: is_table.then(|| entry.rows.map_or(0, |sum| sum.rows)),
            bytes: on_server.map(|one| one.bytes),
            engine: on_server.and_then(|one| one.engine.as_deref()),
        })?;
    }
    let found = page.end()?;
    if found == 0 && !patterns.is_empty() {
        return Err(Error::nothing(format!(
            "no object of backup {} matches {}",
            entry.id,
            patterns.join(" or ")
        ))
        .hint(format!(
            "drctl show {} --objects lists all objects; a pattern is schema.name, with * and ?",
            entry.id
        )));
    }
    Ok(())
}

/// The inventory, read up to the current object.
struct Inventory {
    records: Records,
    last: Option<InventoryRecord>,
}

impl Inventory {
    fn new(records: Records) -> Inventory {
        Inventory {
            records,
            last: None,
        }
    }

    /// Finds the record of an object; calls must follow the order of the inventory.
    fn find(&mut self, object: &ObjectId) -> Result<Option<&InventoryRecord>> {
        while self
            .last
            .as_ref()
            .is_none_or(|last| last.object.cmp(object) == Ordering::Less)
        {
            match self.records.read()? {
                Some(Record::Inventory(record)) => self.last = Some(record),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(self.last.as_ref().filter(|last| last.object == *object))
    }
}

/// Buffered output.
struct Page {
    output: Output,
    waiting: String,
    lines: usize,
    objects: u64,
    rows: u64,
}

impl Page {
    fn begin(output: Output) -> Result<Page> {
        let waiting = match output {
            Output::Text => line("KIND", "ROWS", "BYTES", "NAME"),
            Output::Json => "[".to_owned(),
        };
        Ok(Page {
            output,
            waiting,
            lines: 0,
            objects: 0,
            rows: 0,
        })
    }

    fn add(&mut self, object: &Object<'_>) -> Result<()> {
        match self.output {
            Output::Text => self.waiting.push_str(&line(
                object.kind.noun(),
                &object.rows.map(text::count).unwrap_or_default(),
                &object.bytes.map(text::bytes).unwrap_or_default(),
                &shown(object.schema, object.name),
            )),
            Output::Json => {
                let json = serde_json::to_string(object)
                    .map_err(|e| Error::unexpected("cannot write JSON").because(e))?;
                let comma = if self.objects > 0 { "," } else { "" };
                self.waiting.push_str(&format!("{comma}\n  {json}"));
            }
        }
        self.objects += 1;
        self.rows = self.rows.saturating_add(object.rows.unwrap_or(0));
        self.lines += 1;
        if self.lines >= LINES_AT_ONCE {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.lines = 0;
        text::print(&std::mem::take(&mut self.waiting))
    }

    /// Writes the rest; returns the number of objects.
    fn end(mut self) -> Result<u64> {
        match self.output {
            Output::Json if self.objects == 0 => self.waiting.push_str("]\n"),
            Output::Json => self.waiting.push_str("\n]\n"),
            Output::Text => {
                let objects = text::counted(self.objects, "object");
                let rows = text::counted(self.rows, "row");
                self.waiting.push_str(&format!("{objects}, {rows}\n"));
            }
        }
        self.flush()?;
        Ok(self.objects)
    }
}

fn line(kind: &str, rows: &str, bytes: &str, name: &str) -> String {
    format!("{kind:<12}  {rows:>15}  {bytes:>11}  {name}\n")
}

/// A name without control characters.
fn shown(schema: Option<&str>, name: Option<&str>) -> String {
    let parts: Vec<&str> = schema.into_iter().chain(name).collect();
    let name = parts.join(".");
    name.replace(char::is_control, "\u{fffd}")
}

/// Whether one of the patterns matches, or there are none.
fn matches(patterns: &[String], object: &ObjectId) -> bool {
    let name = match object.kind {
        ObjectKind::Schema => object.schema.clone(),
        _ => format!("{}.{}", object.schema, object.name),
    };
    let one = |pattern: &String| {
        is_like(pattern.as_bytes(), name.as_bytes())
            // A schema includes all its objects.
            || is_like(pattern.as_bytes(), object.schema.as_bytes())
    };
    patterns.is_empty() || patterns.iter().any(one)
}

/// What an object is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
enum Kind<'a> {
    Sql(ObjectKind),
    Other(&'a str),
}

impl<'a> Kind<'a> {
    fn noun(self) -> &'a str {
        match self {
            Kind::Sql(kind) => kind.noun(),
            Kind::Other(name) => name,
        }
    }
}

/// An entry of another kind of source than MySQL.
fn of_entry(entry: &Entry) -> Object<'_> {
    Object {
        schema: None,
        kind: Kind::Other(&entry.of_type),
        name: Some(&entry.name),
        rows: (entry.lines > 0).then_some(entry.lines),
        bytes: Some(entry.bytes),
        engine: None,
    }
}

/// Whether one of the patterns matches a name, or there are none.
fn matches_text(patterns: &[String], name: &str) -> bool {
    let one = |pattern: &String| is_like(pattern.as_bytes(), name.as_bytes());
    patterns.is_empty() || patterns.iter().any(one)
}

/// Shell-like matching: `*` is any sequence of bytes, `?` is one character.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    // Position of the last star, and how much it has matched so far.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                in_text += character(&text[in_text..]);
            }
            Some(byte) if *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((begun, taken)) => {
                    star = Some((begun, taken + 1));
                    at = begun + 1;
                    in_text = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Length in bytes of the first character.
fn character(text: &[u8]) -> usize {
    let more = text.iter().skip(1);
    1 + more.take_while(|byte| *byte & 0xc0 == 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_shell_globs() {
        for (pattern, text, is) in [
            ("shop.orders", "shop.orders", true),
            ("shop.*", "shop.orders", true),
            ("shop.*", "shop2.orders", false),
            ("*.orders", "shop.orders", true),
            ("*", "", true),
            ("shop.o?ders", "shop.orders", true),
            ("shop.?rders", "shop.örders", true),
            ("shop.??rders", "shop.örders", false),
            ("sh*p*s", "shop.orders", true),
            ("sh*p*x", "shop.orders", false),
            ("shop.ord", "shop.orders", false),
            ("", "shop.orders", false),
            ("*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(
                is_like(pattern.as_bytes(), text.as_bytes()),
                is,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_schema_name_matches_all_its_objects() {
        let table = ObjectId::table("shop", "orders");
        let of = |pattern: &str, object: &ObjectId| matches(&[pattern.to_owned()], object);
        assert!(of("shop", &table) && of("shop.orders", &table) && of("s*", &table));
        assert!(!of("orders", &table) && !of("log", &table));
        assert!(of("shop", &ObjectId::schema("shop")));
        assert!(!of("shop.*", &ObjectId::schema("shop")));
        assert!(matches(&[], &table));
    }

    #[test]
    fn control_characters_in_names_are_replaced() {
        assert_eq!(
            shown(Some("a\x1b[2J"), Some("b\n")),
            "a\u{fffd}[2J.b\u{fffd}"
        );
    }
}
