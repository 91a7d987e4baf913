//! Lists objects, and temporary files of killed runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;

use super::entry::{self, Entry};
use super::root::{LOST_AND_FOUND, MARKER};
use super::{absent_as_none, modified, object_meta};
use crate::layout;
use crate::store::{Key, ObjectMeta};

/// Calls `visit` with key and metadata of every regular file below the directory `dir` (empty, or ending in `/`),
/// following links. A missing directory has no files.
fn walk(
    root: &Path,
    dir: &str,
    visit: &mut dyn FnMut(String, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    // `read_dir` reports any other error.
    let metadata = fs::metadata(root.join(dir)).ok();
    let mut above: Vec<(u64, u64)> = metadata.iter().map(identity).collect();
    walk_below(root, dir, &mut above, visit)
}

/// `above` contains this directory and its ancestors.
fn walk_below(
    root: &Path,
    dir: &str,
    above: &mut Vec<(u64, u64)>,
    visit: &mut dyn FnMut(String, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let Some(entries) = directory(root, dir)? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        // drctl creates no names that are not UTF-8.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Created by the file system; only root may read it.
        if dir.is_empty() && name == LOST_AND_FOUND {
            continue;
        }
        match entry::resolve(&entry.path())? {
            Entry::File(metadata) => visit(format!("{dir}{name}"), &metadata)?,
            Entry::Directory(metadata) => {
                let itself = identity(&metadata);
                if above.contains(&itself) {
                    let what = "a link to a directory that contains it";
                    return Err(entry::unsupported(&entry.path(), what, "remove the link"));
                }
                above.push(itself);
                walk_below(root, &format!("{dir}{name}/"), above, visit)?;
                above.pop();
            }
            Entry::Absent => {}
        }
    }
    Ok(())
}

/// The entries of a directory; `None` if it does not exist.
fn directory(root: &Path, dir: &str) -> io::Result<Option<fs::ReadDir>> {
    let entries = fs::read_dir(root.join(dir));
    if let Err(error) = &entries {
        // Name the entry that blocks the path, if it is not the directory itself.
        entry::check_absent(root, dir)?;
        if error.kind() == io::ErrorKind::NotADirectory {
            let place = root.join(dir.trim_end_matches('/'));
            return Err(entry::unsupported(
                &place,
                "not a directory",
                "move it out of the store",
            ));
        }
    }
    absent_as_none(entries)
}

/// Names of the directories directly below `dir`, sorted.
pub(super) fn folders(root: &Path, dir: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory(root, dir)?.into_iter().flatten() {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && let Entry::Directory(_) = entry::resolve(&entry.path())?
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Identifies a file or directory regardless of its path.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// All objects whose name begins with `prefix`, sorted.
pub(super) fn objects(root: &Path, prefix: &str) -> io::Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    walk(root, directory_of(prefix), &mut |key, metadata| {
        if key.starts_with(prefix) && !is_temporary(&key) && key != MARKER {
            objects.push(object_meta(&key, metadata)?);
        }
        Ok(())
    })?;
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

/// Keys of temporary files below `prefix` that were last written before `older_than`.
pub(super) fn stale(root: &Path, prefix: &str, older_than: Timestamp) -> io::Result<Vec<Key>> {
    let mut stale = Vec::new();
    walk(root, directory_of(prefix), &mut |key, metadata| {
        let old = modified(metadata)? < older_than;
        if old && is_temporary(&key) && key.starts_with(prefix) {
            stale.push(key);
        }
        Ok(())
    })?;
    Ok(stale)
}

/// The directory that contains all names beginning with `prefix`: `a/b/` for `a/b/c`.
fn directory_of(prefix: &str) -> &str {
    prefix.rfind('/').map_or("", |slash| &prefix[..=slash])
}

fn is_temporary(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.starts_with(layout::TEMPORARY)
}
