//! Types of directory entries, with the same result for LIST, HEAD and GET.
//!
//! Symbolic links are followed. An entry that resolves to neither a regular file nor a directory is an error, never
//! an absence: a dangling link may lead to an unmounted disk with backups.

use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The entry at a path, with links resolved.
pub(super) enum Entry {
    /// A regular file.
    File(Metadata),
    /// A directory.
    Directory(Metadata),
    /// No entry of this name.
    Absent,
}

/// An entry that is neither an object nor a directory of objects.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Path of the entry.
    pub(super) place: PathBuf,
    /// Type of the entry.
    pub(super) what: String,
    /// Next step for the operator.
    pub(super) hint: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.display(), self.what)
    }
}

impl std::error::Error for Unsupported {}

pub(super) const LINK: &str = "mount the disk that the link points to, or remove the link if no part of the store is behind it";
const SPECIAL: &str =
    "remove it: a store contains only regular files, directories, and links to them";

pub(super) fn unsupported(place: &Path, what: impl Into<String>, hint: &'static str) -> io::Error {
    io::Error::other(Unsupported {
        place: place.to_owned(),
        what: what.into(),
        hint,
    })
}

/// The entry at a path whose directory exists.
///
/// # Errors
/// A dangling link; a FIFO, a socket, a device; an error of the file system.
pub(super) fn resolve(path: &Path) -> io::Result<Entry> {
    let error = match fs::metadata(path) {
        Ok(metadata) => return kind(path, metadata),
        Err(error) => error,
    };
    match fs::symlink_metadata(path) {
        Ok(entry) if entry.is_symlink() => {
            let to = fs::read_link(path).unwrap_or_default();
            let what = format!(
                "a link to {}, which cannot be followed: {error}",
                to.display()
            );
            Err(unsupported(path, what, LINK))
        }
        // The entry was created in the meantime.
        Ok(_) => kind(path, fs::metadata(path)?),
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(Entry::Absent),
        Err(error) => Err(error),
    }
}

fn kind(path: &Path, metadata: Metadata) -> io::Result<Entry> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(Entry::File(metadata)),
        kind if kind.is_dir() => Ok(Entry::Directory(metadata)),
        kind => Err(unsupported(path, special(kind), SPECIAL)),
    }
}

fn special(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a FIFO, not a regular file",
        kind if kind.is_socket() => "a socket, not a regular file",
        _ => "a device, not a regular file",
    }
}

/// Checks that a key, or a directory ending in `/`, is absent only because a directory is missing.
pub(super) fn check_absent(root: &Path, key: &str) -> io::Result<()> {
    let mut path = root.to_owned();
    for part in key.split('/').filter(|part| !part.is_empty()) {
        path.push(part);
        match resolve(&path)? {
            Entry::Directory(_) => {}
            Entry::File(_) | Entry::Absent => break,
        }
    }
    Ok(())
}

/// Opens the object of a key.
///
/// # Errors
/// `NotFound`, `NotADirectory`: the object does not exist. Others: whether it exists is unknown.
pub(super) fn open(root: &Path, key: &str) -> io::Result<File> {
    let path = root.join(key);
    match resolve(&path) {
        Ok(Entry::File(_)) => {}
        // A directory is not an object.
        Ok(Entry::Directory(_)) => return Err(io::ErrorKind::NotFound.into()),
        none => {
            check_absent(root, key)?;
            return Err(none.err().unwrap_or(io::ErrorKind::NotFound.into()));
        }
    }
    // O_NONBLOCK: if the entry has become a FIFO, opening it would block until there is a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(&path)?;
    kind(&path, file.metadata()?)?;
    Ok(file)
}
