//! A directory → tar.
//!
//! Every name is opened relative to its directory and never through a symbolic link, so that nothing outside of the tree
//! is read. Names are sorted: equal trees give equal tars.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use crate::entries::tar::{XATTR, shown};
use crate::kind::CHUNK_BYTES;
use crate::kind::files::{Changed, FilesKind, OutsideLinks, Owners, is_outside};
use crate::util::error::{Error, Outcome, Result};
use crate::util::format::{counted, some_of};

/// A file up to this size is read into memory, and read again if it changed in between.
const SMALL_BYTES: u64 = 8 << 20;

/// How often a small file is read, and the pause between two readings.
const READS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(50);

/// Warnings of one sort that are listed.
const MOST_WARNINGS: usize = 1000;

/// Maximum size of an extended attribute, and of the list of their names, in bytes.
const XATTR_BYTES: usize = 64 << 10;

/// Namespaces of extended attributes that are backed up; the others belong to the kernel or to the file system.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"system.posix_acl_", b"security.capability"];

/// Writes the tar of a directory; returns warnings.
pub(super) fn stream(
    source: &FilesKind,
    chunks: &mpsc::Sender<Bytes>,
    outcome: Outcome,
) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(&source.path, flags, Mode::empty());
    let mut walk = Walk {
        source,
        outcome,
        tar: tar::Builder::new(Chunked {
            chunks,
            open: BytesMut::new(),
        }),
        links: HashMap::new(),
        changed: Vec::new(),
        skipped: Vec::new(),
    };
    let root = root.map_err(|e| walk.failed(Path::new(""), e))?;
    walk.directory(root.as_fd(), Path::new(""))?;
    walk.finish()
}

struct Walk<'a> {
    source: &'a FilesKind,
    /// Outcome of failures.
    outcome: Outcome,
    tar: tar::Builder<Chunked<'a>>,
    /// The first name of each file with several.
    links: HashMap<(u64, u64), PathBuf>,
    /// What changed while it was read.
    changed: Vec<String>,
    /// What is not backed up, and why.
    skipped: Vec<String>,
}

/// What shows that a file was not written in between.
fn version(stat: &Stat) -> (u64, i64, i64, u64, i64, u64) {
    (
        stat.st_ino,
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec,
    )
}

impl Walk<'_> {
    fn failed(&self, path: &Path, error: impl Into<io::Error>) -> Error {
        let path = self.source.path.join(path);
        let error: io::Error = error.into();
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let failed =
            Error::new(self.outcome, format!("cannot read {}", path.display())).because(error);
        match is_denied {
            true => failed.hint(
                "run drctl as an account that can read it, or exclude it by source.files.exclude",
            ),
            false => failed,
        }
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        self.source.exclude.iter().any(|one| one.is_match(path))
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let mut names: Vec<CString> = Vec::new();
        for entry in Dir::read_from(dir).map_err(|e| self.failed(path, e))? {
            let entry = entry.map_err(|e| self.failed(path, e))?;
            if ![c".", c".."].contains(&entry.file_name()) {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable();
        for name in names {
            let below = path.join(OsStr::from_bytes(name.as_bytes()));
            if self.is_excluded(&below) {
                continue;
            }
            match self.member(dir, &name, &below) {
                Ok(()) => {}
                // It was removed after its directory was read.
                Err(Interrupted::Gone) => self.changed.push(shown(below.as_os_str().as_bytes())),
                Err(Interrupted::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn member(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), Interrupted> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|e| self.gone(path, e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(dir, name, flags, Mode::empty());
                let opened = opened.map_err(|e| self.gone(path, e))?;
                self.xattrs(&opened, path)?;
                let mut header = self.header(&stat, tar::EntryType::Directory);
                self.append(&mut header, path, io::empty())?;
                Ok(self.directory(opened.as_fd(), path)?)
            }
            FileType::RegularFile => {
                let id = (stat.st_dev, stat.st_ino);
                if let Some(first) = self.links.get(&id).filter(|_| stat.st_nlink > 1) {
                    let (first, mut header) =
                        (first.clone(), self.header(&stat, tar::EntryType::Link));
                    return Ok(self.link(&mut header, path, &first)?);
                }
                self.file(dir, name, path)?;
                if stat.st_nlink > 1 {
                    self.links.insert(id, path.to_owned());
                }
                Ok(())
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new());
                let target = target.map_err(|e| self.gone(path, e))?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                let of = path.parent().unwrap_or(Path::new(""));
                if self.source.outside_links == OutsideLinks::Refuse && is_outside(of, target) {
                    return Err(self.outside(path, target).into());
                }
                let mut header = self.header(&stat, tar::EntryType::Symlink);
                Ok(self.link(&mut header, path, target)?)
            }
            other => {
                let what = match other {
                    FileType::Fifo => "a FIFO",
                    FileType::Socket => "a socket",
                    _ => "a device",
                };
                let name = shown(path.as_os_str().as_bytes());
                self.skipped
                    .push(format!("{name} is {what} and not in the backup"));
                Ok(())
            }
        }
    }

    fn outside(&self, path: &Path, target: &Path) -> Error {
        let (path, target) = (self.source.path.join(path), target.display());
        Error::new(
            self.outcome,
            format!(
                "the symbolic link {} points out of the directory, to {target}",
                path.display()
            ),
        )
        .hint("exclude it by source.files.exclude, or set source.files.outside_links to keep")
    }

    /// An error of a name that a directory had.
    fn gone(&self, path: &Path, error: Errno) -> Interrupted {
        match error {
            Errno::NOENT | Errno::LOOP | Errno::NOTDIR => Interrupted::Gone,
            error => Interrupted::Failed(self.failed(path, error)),
        }
    }

    fn open(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &Path,
    ) -> Result<(File, Stat), Interrupted> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(dir, name, flags, Mode::empty());
        let file = File::from(opened.map_err(|e| self.gone(path, e))?);
        let stat = rustix::fs::fstat(&file).map_err(|e| self.failed(path, e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, stat)),
            _ => Err(Interrupted::Gone),
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), Interrupted> {
        let mut reads = 1;
        loop {
            let (mut file, before) = self.open(dir, name, path)?;
            let size = u64::try_from(before.st_size).unwrap_or_default();
            // Some file systems count no blocks at all, and the header of a sparse member has no time before 1970.
            let blocks = before.st_blocks as u64;
            let has_holes = blocks > 0 && blocks.saturating_mul(512) < size;
            let is_sparse = has_holes && before.st_mtime >= 0;
            let is_small = size <= SMALL_BYTES && !is_sparse;
            let mut contents = Vec::new();
            if is_small {
                let read = (&mut file).take(SMALL_BYTES + 1).read_to_end(&mut contents);
                read.map_err(|e| self.failed(path, e))?;
                let after = rustix::fs::fstat(&file).map_err(|e| self.failed(path, e))?;
                let is_same = version(&before) == version(&after) && contents.len() as u64 == size;
                if !is_same && reads < READS {
                    reads += 1;
                    std::thread::sleep(PAUSE);
                    continue;
                }
                if !is_same {
                    self.changed.push(shown(path.as_os_str().as_bytes()));
                }
                self.xattrs(&file, path)?;
                let mut header = self.header(&before, tar::EntryType::Regular);
                header.set_size(contents.len() as u64);
                return Ok(self.append(&mut header, path, &contents[..])?);
            }
            self.xattrs(&file, path)?;
            self.large(&mut file, &before, is_sparse, path)?;
            let after = rustix::fs::fstat(&file).map_err(|e| self.failed(path, e))?;
            if version(&before) != version(&after) {
                self.changed.push(shown(path.as_os_str().as_bytes()));
            }
            return Ok(());
        }
    }

    /// Writes a file that is too large to be read twice; its size is promised before it is read.
    fn large(&mut self, file: &mut File, stat: &Stat, is_sparse: bool, path: &Path) -> Result<()> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        if is_sparse && self.source.owners == Owners::Keep {
            let written = self.tar.append_file(path, file);
            return written.map_err(|e| self.changed_or_failed(path, e));
        }
        let mut header = self.header(stat, tar::EntryType::Regular);
        header.set_size(size);
        let exactly = Exactly { file, left: size };
        self.append(&mut header, path, exactly)
    }

    fn changed_or_failed(&self, path: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                self.torn(&[shown(path.as_os_str().as_bytes())])
            }
            _ => self.failed(path, error),
        }
    }

    /// The error of a backup of files that changed while they were read.
    fn torn(&self, names: &[String]) -> Error {
        let files = counted(names.len() as u64, "file");
        Error::new(
            self.outcome,
            format!("{files} changed while the directory was read: {}", some_of(names)),
        )
        .hint("back up a snapshot of the volume, or stop what writes; or exclude them, or set source.files.changed to warn")
        .retryable()
    }

    /// A header with everything but name and size.
    fn header(&self, stat: &Stat, of_type: tar::EntryType) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(of_type);
        header.set_size(0);
        header.set_mode(stat.st_mode & 0o7777);
        let (uid, gid) = match self.source.owners {
            Owners::Keep => (stat.st_uid, stat.st_gid),
            Owners::Ignore => (0, 0),
        };
        header.set_uid(u64::from(uid));
        header.set_gid(u64::from(gid));
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
        header
    }

    fn append(&mut self, header: &mut tar::Header, path: &Path, contents: impl Read) -> Result<()> {
        let written = self.tar.append_data(header, path, contents);
        written.map_err(|e| self.changed_or_failed(path, e))
    }

    fn link(&mut self, header: &mut tar::Header, path: &Path, target: &Path) -> Result<()> {
        // As it is: `append_link` would rewrite `a//b` and `a/./b`.
        let target = target.as_os_str().as_bytes();
        if header.set_link_name_literal(target).is_err() {
            let mut long = tar::Header::new_gnu();
            long.set_entry_type(tar::EntryType::GNULongLink);
            long.set_size(target.len() as u64 + 1);
            let text = [target, &[0]].concat();
            let written = self.tar.append_data(&mut long, "././@LongLink", &text[..]);
            written.map_err(|e| self.failed(path, e))?;
        }
        self.append(header, path, io::empty())
    }

    /// Writes the extended attributes of the next member.
    fn xattrs(&mut self, file: impl AsFd, path: &Path) -> Result<()> {
        let mut names = vec![0; XATTR_BYTES];
        let length = match rustix::fs::flistxattr(&file, &mut names) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(error) => return Err(self.failed(path, error)),
        };
        let mut records = Vec::new();
        let mut value = vec![0; XATTR_BYTES];
        let mut sorted: Vec<&[u8]> = names[..length]
            .split(|byte| *byte == 0)
            .filter(|name| NAMESPACES.iter().any(|space| name.starts_with(space)))
            .collect();
        sorted.sort_unstable();
        for name in sorted {
            let length = match rustix::fs::fgetxattr(&file, name, &mut value) {
                Ok(length) => length,
                Err(error) => return Err(self.failed(path, error)),
            };
            // A record of the tar ends its name with `=`.
            let name = std::str::from_utf8(name).ok();
            let Some(name) = name.filter(|name| !name.contains(['=', '%'])) else {
                self.skipped.push(format!(
                    "{} has an extended attribute whose name a tar cannot hold, which is not in the backup",
                    shown(path.as_os_str().as_bytes())
                ));
                continue;
            };
            records.push((format!("{XATTR}{name}"), value[..length].to_vec()));
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = records
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        let written = self.tar.append_pax_extensions(records);
        written.map_err(|e| self.failed(path, e))
    }

    fn finish(self) -> Result<Vec<String>> {
        let mut warnings = self.skipped.clone();
        if !self.changed.is_empty() {
            let torn = self.torn(&self.changed);
            if self.source.changed == Changed::Fail {
                return Err(torn);
            }
            warnings.push(torn.what().to_owned());
            let each = self.changed.iter().take(MOST_WARNINGS);
            warnings.extend(each.map(|name| format!("changed while it was read: {name}")));
        }
        let (source, outcome) = (self.source, self.outcome);
        let failed =
            |e| Error::new(outcome, format!("cannot stream {}", source.path.display())).because(e);
        let mut chunked = self.tar.into_inner().map_err(failed)?;
        chunked.flush().map_err(failed)?;
        Ok(warnings)
    }
}

/// Why a member could not be read.
enum Interrupted {
    /// It is no longer what its directory had.
    Gone,
    Failed(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Interrupted::Failed(error)
    }
}

/// Exactly as many bytes of a file as were promised; fewer are an error, more are not read.
struct Exactly<'a> {
    file: &'a mut File,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Sends what is written in chunks.
struct Chunked<'a> {
    chunks: &'a mpsc::Sender<Bytes>,
    open: BytesMut,
}

impl Write for Chunked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open.capacity() == 0 {
            self.open.reserve(CHUNK_BYTES);
        }
        let count = bytes.len().min(CHUNK_BYTES - self.open.len());
        self.open.put_slice(&bytes[..count]);
        if self.open.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.open).freeze();
        let sent = self.chunks.blocking_send(chunk);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
