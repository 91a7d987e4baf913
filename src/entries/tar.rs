//! The ledger of a tar: its members with type, mode, owner, times, extended attributes and contents.
//!
//! A truncated tar is an error wherever it is cut, also between two members: the tar has to end with two blocks of zeros,
//! and nothing may follow but zeros.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::entries::record::digest as digest_of;
use crate::entries::{Entry, Ledger};
use crate::util::digest::Sha256Digest;

/// Size of a block of a tar, bytes.
const BLOCK_BYTES: usize = 512;

/// Prefix of the names of extended attributes in the pax records of a member.
pub const XATTR: &str = "SCHILY.xattr.";

/// A reader whose end is an error: a tar says itself where it ends.
pub struct Endless<R>(pub R);

impl<R: Read> Read for Endless<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(truncated()),
            count => Ok(count),
        }
    }
}

fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the tar is truncated: it lacks its end",
    )
}

/// Records the members of a tar. Of two with one name, the later counts, as when it is extracted.
pub(super) fn record(stream: impl Read) -> io::Result<Ledger> {
    let mut archive = tar::Archive::new(Endless(stream));
    let mut members = BTreeMap::new();
    for member in archive.entries()? {
        let entry = entry(member?)?;
        members.insert(entry.name.clone(), entry);
    }
    check_end(archive.into_inner().0)?;
    let mut ledger = Ledger::default();
    for entry in members.into_values() {
        ledger.add(entry).map_err(io::Error::other)?;
    }
    Ok(ledger)
}

/// Checks what follows the first block of zeros.
pub fn check_end(mut rest: impl Read) -> io::Result<()> {
    let (mut buffer, mut zeros) = (vec![0; 64 * BLOCK_BYTES], 0);
    loop {
        let count = rest.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            let what = "data follow the end of the tar";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        zeros += count;
    }
    match zeros >= BLOCK_BYTES {
        true => Ok(()),
        false => Err(truncated()),
    }
}

fn entry<R: Read>(mut member: tar::Entry<'_, R>) -> io::Result<Entry> {
    let name = shown(&member.path_bytes());
    let header = member.header();
    let of_type = header.entry_type();
    let mut attributes = format!(
        "{:04o} {}:{} {}",
        header.mode()? & 0o7777,
        header.uid()?,
        header.gid()?,
        header.mtime()?
    );
    if let Some(link) = member.link_name_bytes() {
        attributes.push_str(&format!(" -> {}", shown(&link)));
    }
    let mut xattrs = BTreeMap::new();
    if let Some(records) = member.pax_extensions()? {
        for record in records {
            let record = record?;
            if record.key_bytes().starts_with(XATTR.as_bytes()) {
                xattrs.insert(record.key_bytes().to_vec(), record.value_bytes().to_vec());
            }
        }
    }
    if !xattrs.is_empty() {
        let mut sha256 = Sha256::new();
        for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
            sha256.update((part.len() as u64).to_le_bytes());
            sha256.update(part);
        }
        let digest = Sha256Digest::from(sha256).to_string();
        attributes.push_str(&format!(" xattrs {digest}"));
    }
    let (bytes, digest) = digest_of(&mut member)?;
    Ok(Entry {
        name,
        of_type: word(of_type).to_owned(),
        bytes,
        lines: 0,
        attributes,
        digest,
    })
}

fn word(of_type: EntryType) -> &'static str {
    match of_type {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => "file",
        EntryType::Directory => "directory",
        EntryType::Symlink => "symbolic-link",
        EntryType::Link => "hard-link",
        EntryType::Fifo => "fifo",
        EntryType::Char | EntryType::Block => "device",
        _ => "other",
    }
}

/// The name of a file as text, in which no two names are the same.
pub fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, contents) in [("a", &[0; 2048][..]), ("b/c", b"text")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            tar.append_data(&mut header, name, contents).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_tar_is_refused_wherever_it_is_cut() {
        let tar = tar();
        let whole = record(&tar[..]).unwrap();
        let names: Vec<_> = whole.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["a", "b/c"]);
        for end in (0..tar.len()).step_by(128) {
            assert!(record(&tar[..end]).is_err(), "{end} of {}", tar.len());
        }
    }

    #[test]
    fn zeros_may_follow_a_tar_and_nothing_else() {
        let mut longer = tar();
        longer.extend([0; 10_240]);
        assert_eq!(record(&longer[..]).unwrap(), record(&tar()[..]).unwrap());
        longer.extend(tar());
        let error = record(&longer[..]).unwrap_err().to_string();
        assert_eq!(error, "data follow the end of the tar");
    }

    #[test]
    fn names_that_are_not_utf_8_stay_apart() {
        let names: [&[u8]; 5] = [
            b"a\xff",
            b"a\xfe",
            b"a\\xff",
            b"a\\\\xff",
            "a\u{fffd}".as_bytes(),
        ];
        let shown: std::collections::BTreeSet<_> = names.into_iter().map(shown).collect();
        assert_eq!(shown.len(), names.len());
    }
}
