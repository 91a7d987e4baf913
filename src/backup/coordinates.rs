//! Binary log coordinates of the snapshot, from the comments of the dump.
//!
//! Dump programs write file and position near the start; MariaDB's also writes the GTIDs at the end. Only comment
//! lines in these places are read, so rows cannot forge them.

use crate::archive::manifest::Coordinates;

/// Bytes at the start and at the end of a dump that are searched.
const WINDOW_BYTES: usize = 16 << 10;

/// Keeps the first and the last bytes of a dump.
#[derive(Debug, Default)]
pub struct Watch {
    head: Vec<u8>,
    /// The last bytes, at most twice the window.
    tail: Vec<u8>,
}

impl Watch {
    /// Adds the next bytes of the dump.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = WINDOW_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let recent = &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..];
        self.tail.extend_from_slice(recent);
        if self.tail.len() > 2 * WINDOW_BYTES {
            self.tail.drain(..self.tail.len() - WINDOW_BYTES);
        }
    }

    /// Whether the file and position may still follow.
    pub fn is_open(&self) -> bool {
        self.head.len() < WINDOW_BYTES
    }

    /// The coordinates, as far as the dump has named them.
    pub fn found(&self) -> Option<Coordinates> {
        // The header ends with the first schema; what follows may come from objects and rows.
        let head = String::from_utf8_lossy(&self.head);
        let header = head
            .lines()
            .take_while(|line| !line.starts_with("-- Current Database"));
        let change = header
            .filter(|line| line.starts_with("-- CHANGE "))
            .find(|line| line.contains("_LOG_FILE=") && line.contains("_LOG_POS="))?;
        let tail = String::from_utf8_lossy(&self.tail);
        let gtid = tail
            .lines()
            .rev()
            .take_while(|line| line.is_empty() || line.starts_with("--") || line.starts_with("/*"))
            .find_map(|line| {
                line.strip_prefix("-- SET GLOBAL gtid_slave_pos=")
                    .and_then(quoted)
            });
        Some(Coordinates {
            file: quoted(after(change, "_LOG_FILE=")?)?.to_owned(),
            // Without the semicolon, the number may be incomplete.
            position: after(change, "_LOG_POS=")?
                .strip_suffix(';')?
                .parse()
                .ok()?,
            gtid: gtid.map(str::to_owned),
            gtid_in_index: false,
        })
    }
}

fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.split_once(word).map(|(_, rest)| rest)
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?
        .split_once('\'')
        .map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: &str = "-- MariaDB dump 10.19\n\n\
        -- Preferably use GTID to start replication from GTID position:\n\n\
        -- CHANGE MASTER TO MASTER_LOG_FILE='b.000001', MASTER_LOG_POS=9746;\n\n\
        --\n-- Current Database: `shop`\n--\n";
    const MARIADB_END: &str = "UNLOCK TABLES;\n\n\
        -- The deferred gtid setting for slave corresponding to the master-data CHANGE-MASTER follows\n\n\
        -- SET GLOBAL gtid_slave_pos='0-1-59';\n/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\n-- Dump completed\n";

    fn watch(chunks: &[&[u8]]) -> Option<Coordinates> {
        let mut watch = Watch::default();
        chunks.iter().for_each(|chunk| watch.push(chunk));
        watch.found()
    }

    #[test]
    fn rows_and_objects_cannot_forge_coordinates() {
        let fake = b"-- CHANGE MASTER TO MASTER_LOG_FILE='evil', MASTER_LOG_POS=1;\n";
        let start = b"-- MySQL dump\n--\n-- Current Database: `shop`\n--\n";
        assert_eq!(watch(&[start, fake]), None);
        let end = b"-- SET GLOBAL gtid_slave_pos='9-9-9';\nINSERT INTO t VALUES (1);\n-- Dump completed\n";
        assert_eq!(watch(&[MARIADB.as_bytes(), end]).unwrap().gtid, None);
        assert_eq!(watch(&[]), None);
    }

    #[test]
    fn comments_of_both_programs_are_found_in_chunks_of_any_size() {
        let rows = vec![b'x'; 100_000];
        let expected = Coordinates {
            file: "b.000001".into(),
            position: 9746,
            gtid: Some("0-1-59".into()),
            gtid_in_index: false,
        };
        let whole = [MARIADB.as_bytes(), &rows, b"\n", MARIADB_END.as_bytes()];
        assert_eq!(watch(&whole), Some(expected.clone()));
        let bytes: Vec<u8> = whole.concat();
        assert_eq!(watch(&[&bytes]), Some(expected.clone()));
        let small: Vec<&[u8]> = bytes.chunks(7).collect();
        assert_eq!(watch(&small), Some(expected));
        let mysql = b"-- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='binlog.000001', SOURCE_LOG_POS=14058;\n";
        assert_eq!(
            watch(&[&mysql[..mysql.len() - 4]]),
            None,
            "incomplete number"
        );
        let found = watch(&[mysql]).unwrap();
        assert_eq!(
            (found.file.as_str(), found.position),
            ("binlog.000001", 14058)
        );
    }
}
