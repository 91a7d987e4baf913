//! What a client that reads a log as SQL would take for something else.

use bytes::Bytes;

use crate::Result;
use crate::binlog::event::{Checksum, Event, Header, kind};
use crate::binlog::statement::{MOST_LOOKED_AT, query, table};
use crate::replay::whole::made;

/// Why a statement cannot go through the client.
pub const SPLITS: &str = "its text would end a statement for the client (leave out --path client)";

/// Flag of a statement that no `USE` precedes (LOG_EVENT_SUPPRESS_USE_F).
const SUPPRESS_USE: u16 = 0x8;

/// An ALTER DATABASE, which may name no schema, as one that a `USE` precedes; `None` for any other event.
pub fn with_schema(event: &Event<'_>, checksum: Checksum) -> Result<Option<Bytes>> {
    let Header { kind, flags, .. } = event.header;
    if kind != kind::QUERY || flags & SUPPRESS_USE == 0 {
        return Ok(None);
    }
    let statement = query(event, checksum)?;
    let alters = statement
        .listed()
        .is_some_and(|one| one.kind == "ALTER DATABASE");
    Ok((alters && !statement.schema.is_empty()).then(|| {
        let header = Header {
            flags: flags & !SUPPRESS_USE,
            ..event.header
        };
        made(header, event.body(checksum))
    }))
}

/// Whether a client would take the text of an event for several statements: it has the delimiter that `mysqlbinlog`
/// uses, or a line that sets another one; or a name that ends the comment which `mysqlbinlog` prints it in. The contents
/// of files that LOAD DATA read would stay on this machine.
pub fn splits(event: &Event<'_>, checksum: Checksum) -> Result<bool> {
    let has = |text: &[u8]| {
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        let sets_delimiter = |line: &[u8]| {
            let start = line.iter().position(|byte| !is_blank(byte));
            let line = &line[start.unwrap_or(line.len())..];
            let word = b"delimiter";
            line.len() >= word.len()
                && line[..word.len()].eq_ignore_ascii_case(word)
                && line.get(word.len()).is_none_or(is_blank)
        };
        memchr::memmem::find(text, b"/*!*/").is_some()
            || text
                .split(|byte| matches!(byte, b'\n' | b'\r'))
                .any(sets_delimiter)
    };
    Ok(match event.header.kind {
        kind::BEGIN_LOAD_QUERY | kind::EXECUTE_LOAD_QUERY => true,
        kind::QUERY => has(event.body(checksum)),
        kind::MARIADB_QUERY_COMPRESSED => {
            let statement = query(event, checksum)?;
            // The rest of it was not decompressed.
            statement.sql.len() >= MOST_LOOKED_AT
                || has(&statement.sql)
                || has(statement.schema.as_bytes())
        }
        kind::TABLE_MAP => {
            let (_, name) = table(event, checksum)?;
            name.chars().any(char::is_control)
        }
        _ => false,
    })
}
