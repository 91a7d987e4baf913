//! What lies in a directory: objects, and what a killed run left of them.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::root::{LOST_AND_FOUND, MARK};
use super::{absent_as_none, modified, object_meta};
use crate::store::{Key, ObjectMeta, keys};

/// Visits every regular file below the directory `dir` (empty, or ending in `/`), with its key;
/// stops when `visit` answers false.
fn walk(
    root: &Path,
    dir: &str,
    visit: &mut dyn FnMut(String, &fs::Metadata) -> io::Result<bool>,
) -> io::Result<bool> {
    let Some(entries) = absent_as_none(fs::read_dir(root.join(dir)))? else {
        return Ok(true);
    };
    for entry in entries {
        let entry = entry?;
        // Names that are no text are not ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Some(metadata) = absent_as_none(entry.metadata())? else {
            continue;
        };
        // A file system's own directory, which only root may read.
        let more = if dir.is_empty() && name == LOST_AND_FOUND {
            true
        } else if metadata.is_dir() {
            walk(root, &format!("{dir}{name}/"), visit)?
        } else if metadata.is_file() {
            visit(format!("{dir}{name}"), &metadata)?
        } else {
            true
        };
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every object whose name begins with `prefix`, sorted.
pub(super) fn objects(root: &Path, prefix: &str) -> io::Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    walk(root, directory_of(prefix), &mut |key, metadata| {
        if key.starts_with(prefix) && !is_temporary(&key) && key != MARK {
            objects.push(object_meta(&key, metadata)?);
        }
        Ok(true)
    })?;
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(objects)
}

/// The keys of unfinished files below `prefix` that nothing was written to since.
pub(super) fn stale(root: &Path, prefix: &str, older_than: Timestamp) -> io::Result<Vec<Key>> {
    let mut stale = Vec::new();
    walk(root, directory_of(prefix), &mut |key, metadata| {
        let old = modified(metadata)? < older_than;
        if old && is_temporary(&key) && key.starts_with(prefix) {
            stale.push(key);
        }
        Ok(true)
    })?;
    Ok(stale)
}

/// The directory that everything beginning with `prefix` lies in: `a/b/` for `a/b/c`.
fn directory_of(prefix: &str) -> &str {
    prefix.rfind('/').map_or("", |slash| &prefix[..=slash])
}

fn is_temporary(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.starts_with(keys::TEMPORARY)
}
