//! Whether an event continues the file before it: checksum, length, and the position of its end.

use super::event::{Checksum, Description, Event, damaged, kind};
use crate::Result;

/// The end of what is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Whether MariaDB wrote it: annotations are left out, so that there may be holes in front of table maps; and
    /// the event that begins encryption, in front of the list of GTIDs.
    mariadb: bool,
    /// Whether its events have checksums.
    pub checksum: Checksum,
    /// Position in the server's file.
    pub log_pos: u64,
}

impl Cursor {
    /// At a position of a file whose description is known.
    pub fn at(mariadb: bool, log_pos: u64, checksum: Checksum) -> Cursor {
        Cursor {
            mariadb,
            checksum,
            log_pos,
        }
    }

    /// At the beginning of a file, behind its magic number.
    pub fn start(mariadb: bool) -> Cursor {
        Cursor::at(mariadb, 4, Checksum::Off)
    }

    /// Checks an event of the file and moves behind it.
    ///
    /// # Errors
    /// `Archive`: the event is damaged, or does not continue the file.
    pub fn accept(&mut self, event: &Event<'_>) -> Result<()> {
        event.check(self.checksum)?;
        if event.header.kind == kind::FORMAT_DESCRIPTION {
            self.checksum = Description::parse(event)?.checksum;
        }
        let end = self.log_pos.saturating_add(event.header.size.into());
        // Positions in headers are modulo 2^32.
        let hole = event.header.log_pos.wrapping_sub(end as u32);
        let may_have_hole =
            self.mariadb && [kind::TABLE_MAP, kind::MARIADB_GTID_LIST].contains(&event.header.kind);
        if hole != 0 && (!may_have_hole || hole > i32::MAX as u32) {
            return Err(damaged(format!(
                "an event that should end at position {end} ends at {}",
                event.header.log_pos
            )));
        }
        self.log_pos = end.saturating_add(hole.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::tests::event;

    #[test]
    fn only_annotations_of_mariadb_may_be_missing() {
        for (mariadb, kind, log_pos, fits) in [
            (false, kind::XID, 131, true),
            (false, kind::XID, 132, false),
            (false, kind::TABLE_MAP, 231, false),
            (true, kind::TABLE_MAP, 231, true),
            (true, kind::TABLE_MAP, 130, false),
            (true, kind::XID, 231, false),
        ] {
            let bytes = event(kind, log_pos, &[0; 8]);
            let mut cursor = Cursor::at(mariadb, 100, Checksum::Crc32);
            let accepted = cursor.accept(&Event::parse(&bytes).unwrap());
            assert_eq!(accepted.is_ok(), fits, "{mariadb} {kind} {log_pos}");
            assert!(!fits || cursor.log_pos == u64::from(log_pos));
        }
    }

    #[test]
    fn a_file_may_be_longer_than_its_positions_count() {
        let bytes = event(kind::XID, 15, &[0; 8]);
        let mut cursor = Cursor::at(false, (1 << 32) - 16, Checksum::Crc32);
        cursor.accept(&Event::parse(&bytes).unwrap()).unwrap();
        assert_eq!(cursor.log_pos, (1 << 32) + 15);
    }
}
