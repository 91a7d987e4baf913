//! A tar → an empty directory.
//!
//! The tar may be forged. Every name is resolved below the directory, one component at a time and never through a symbolic
//! link; a name that is absolute or climbs, a member that exists already, and a device are refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use tar::EntryType;

use crate::entries::tar::{Endless, XATTR, check_end, shown};
use crate::kind::files::{OutsideLinks, Owners, is_outside};
use crate::util::error::{Error, Result};

/// Size of the buffer, and of the holes that are found, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Extracts a tar to its end.
pub(super) fn extract(
    stream: impl Read,
    into: &Path,
    owners: Owners,
    links: OutsideLinks,
) -> Result<()> {
    let root = rustix::fs::open(into, directory(), Mode::empty())
        .map_err(|e| failed(into.as_os_str(), e))?;
    let extraction = Extraction {
        root,
        owners,
        links,
    };
    let mut archive = tar::Archive::new(Endless(stream));
    let mut directories = Vec::new();
    let damaged = |e: io::Error| Error::archive("cannot read the tar").because(e);
    for member in archive.entries().map_err(damaged)? {
        directories.extend(extraction.member(member.map_err(damaged)?)?);
    }
    check_end(archive.into_inner().0).map_err(damaged)?;
    // A directory without write permission, or with an old time, would not survive its contents.
    for (path, properties) in directories.iter().rev() {
        let (parent, name) = extraction.parent(path)?;
        let opened = rustix::fs::openat(&parent, name, directory(), Mode::empty());
        let opened = opened.map_err(|e| failed(path.as_os_str(), e))?;
        extraction.apply(&opened, path, properties)?;
    }
    Ok(())
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn failed(path: &OsStr, error: impl Into<io::Error>) -> Error {
    Error::server(format!("cannot restore {}", shown(path.as_bytes()))).because(error.into())
}

fn refused(path: &Path, what: &str) -> Error {
    let name = shown(path.as_os_str().as_bytes());
    Error::archive(format!(
        "the tar was forged or is of another kind: {name} {what}"
    ))
    .hint("do not use this backup; find out what wrote it")
}

/// Everything of a member but its contents.
struct Properties {
    mode: Mode,
    owner: (u32, u32),
    modified: i64,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Properties {
    fn of<R: Read>(member: &mut tar::Entry<'_, R>) -> io::Result<Properties> {
        let mut xattrs = Vec::new();
        if let Some(records) = member.pax_extensions()? {
            for record in records {
                let record = record?;
                let name = record.key().map_err(io::Error::other)?;
                if let Some(name) = name.strip_prefix(XATTR) {
                    xattrs.push((name.to_owned(), record.value_bytes().to_vec()));
                }
            }
        }
        let header = member.header();
        let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
        Ok(Properties {
            mode: Mode::from_raw_mode(header.mode()? & 0o7777),
            owner: (id(header.uid()?)?, id(header.gid()?)?),
            modified: i64::try_from(header.mtime()?).map_err(io::Error::other)?,
            xattrs,
        })
    }

    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

struct Extraction {
    root: OwnedFd,
    owners: Owners,
    links: OutsideLinks,
}

impl Extraction {
    /// Extracts a member; returns a directory, whose properties are applied at the end.
    fn member<R: Read>(
        &self,
        mut member: tar::Entry<'_, R>,
    ) -> Result<Option<(PathBuf, Properties)>> {
        let damaged = |e: io::Error| Error::archive("cannot read the tar").because(e);
        let path = member.path_bytes().into_owned();
        let path = checked(Path::new(OsStr::from_bytes(&path)))?;
        let properties = Properties::of(&mut member).map_err(damaged)?;
        let (parent, name) = self.parent(&path)?;
        let of_type = member.header().entry_type();
        match of_type {
            EntryType::Directory => {
                let made = rustix::fs::mkdirat(&parent, name, Mode::RWXU);
                made.map_err(|e| self.exists_or(&path, e))?;
                return Ok(Some((path, properties)));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR);
                let mut file = File::from(opened.map_err(|e| self.exists_or(&path, e))?);
                write(
                    &mut member,
                    &mut file,
                    of_type == EntryType::GNUSparse,
                    &path,
                )?;
                self.apply(&file, &path, &properties)?;
            }
            EntryType::Symlink => {
                let target = member
                    .link_name_bytes()
                    .ok_or_else(|| refused(&path, "is a link to nothing"))?;
                let target = Path::new(OsStr::from_bytes(&target)).to_owned();
                let of = path.parent().unwrap_or(Path::new(""));
                if self.links == OutsideLinks::Refuse && is_outside(of, &target) {
                    return Err(refused(&path, "is a symbolic link out of the directory"));
                }
                let made = rustix::fs::symlinkat(&target, &parent, name);
                made.map_err(|e| self.exists_or(&path, e))?;
                self.apply_to_link(&parent, name, &path, &properties)?;
            }
            EntryType::Link => {
                let target = member
                    .link_name_bytes()
                    .ok_or_else(|| refused(&path, "is a link to nothing"))?;
                let target = checked(Path::new(OsStr::from_bytes(&target)))?;
                let (of, first) = self.parent(&target)?;
                let made = rustix::fs::linkat(&of, first, &parent, name, AtFlags::empty());
                made.map_err(|e| self.exists_or(&path, e))?;
            }
            _ => return Err(refused(&path, "is a device, or of an unknown type")),
        }
        Ok(None)
    }

    /// The directory of a member, reached without a symbolic link, and its last name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let name = path
            .file_name()
            .ok_or_else(|| refused(path, "has no name"))?;
        let opened = |e| failed(path.as_os_str(), e);
        let mut dir = rustix::io::fcntl_dupfd_cloexec(&self.root, 0).map_err(opened)?;
        for component in path.parent().into_iter().flat_map(Path::components) {
            dir = match rustix::fs::openat(&dir, component.as_os_str(), directory(), Mode::empty())
            {
                Ok(dir) => dir,
                Err(
                    rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR,
                ) => {
                    return Err(refused(path, "is below something that is not a directory"));
                }
                Err(error) => return Err(opened(error)),
            };
        }
        Ok((dir, name))
    }

    fn exists_or(&self, path: &Path, error: rustix::io::Errno) -> Error {
        match error {
            rustix::io::Errno::EXIST => refused(path, "occurs twice"),
            rustix::io::Errno::NOENT => refused(path, "is a link to a file that is not in the tar"),
            error => failed(path.as_os_str(), error),
        }
    }

    fn apply(&self, file: impl AsFd, path: &Path, properties: &Properties) -> Result<()> {
        let failed = |e: rustix::io::Errno| failed(path.as_os_str(), e);
        if self.owners == Owners::Keep {
            let now = rustix::fs::fstat(&file).map_err(failed)?;
            let (uid, gid) = properties.owner;
            if (now.st_uid, now.st_gid) != (uid, gid) {
                let done =
                    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                done.map_err(|e| not_owned(path, properties, e))?;
            }
        }
        for (name, value) in &properties.xattrs {
            let set = rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty());
            set.map_err(|e| failed(e).context(format!("extended attribute {name}")))?;
        }
        rustix::fs::fchmod(&file, properties.mode).map_err(failed)?;
        rustix::fs::futimens(&file, &properties.times()).map_err(failed)
    }

    fn apply_to_link(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        properties: &Properties,
    ) -> Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let failed = |e: rustix::io::Errno| failed(path.as_os_str(), e);
        if self.owners == Owners::Keep {
            let now = rustix::fs::statat(parent, name, flags).map_err(failed)?;
            let (uid, gid) = properties.owner;
            if (now.st_uid, now.st_gid) != (uid, gid) {
                let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                let done = rustix::fs::chownat(parent, name, owner.0, owner.1, flags);
                done.map_err(|e| not_owned(path, properties, e))?;
            }
        }
        rustix::fs::utimensat(parent, name, &properties.times(), flags).map_err(failed)
    }
}

fn not_owned(path: &Path, properties: &Properties, error: rustix::io::Errno) -> Error {
    let (uid, gid) = properties.owner;
    failed(path.as_os_str(), error)
        .context(format!("owner {uid}:{gid}"))
        .hint("run drctl as root, or set source.files.owners to ignore and back up again")
}

/// The path of a member below the directory.
fn checked(path: &Path) -> Result<PathBuf> {
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            _ => return Err(refused(path, "is outside of the directory")),
        }
    }
    match below.as_os_str().is_empty() {
        true => Err(refused(path, "has no name")),
        false => Ok(below),
    }
}

/// Writes the contents of a member; leaves holes in one that has some.
fn write(from: &mut impl Read, file: &mut File, sparse: bool, path: &Path) -> Result<()> {
    let cannot = |e: io::Error| failed(path.as_os_str(), e);
    let (mut buffer, mut size) = (vec![0; BUFFER_BYTES], 0u64);
    loop {
        let count = from
            .read(&mut buffer)
            .map_err(|e| Error::archive("cannot read the tar").because(e))?;
        if count == 0 {
            break;
        }
        size += count as u64;
        let part = &buffer[..count];
        match sparse && part.iter().all(|byte| *byte == 0) {
            true => drop(file.seek(SeekFrom::Current(count as i64)).map_err(cannot)?),
            false => file.write_all(part).map_err(cannot)?,
        }
    }
    if sparse {
        file.set_len(size).map_err(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
