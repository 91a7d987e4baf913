//! A store in a directory: `file:///dir`. Each object is a file of the same name.
//!
//! An object is written to a temporary file in its directory, which is synced and renamed without replacing; then
//! the directory is synced. After a power failure the object is complete or absent. File systems without such a
//! rename (NFS) get a hard link, which does not replace either. Temporary files are never listed. They are removed
//! when dropped, and after a SIGKILL by [`Store::abort_stale_uploads`].
//!
//! A backup contains all data, so files are created with mode 0600 and directories with 0700, regardless of the
//! umask; an existing directory keeps its mode. Symbolic links are followed, and an entry that is neither a regular
//! file nor a directory is an error ([`entry`]). A delete removes a link, not its destination.
//!
//! The directory itself is never created implicitly, and every operation checks for drctl's marker in it ([`root`]):
//! a disk may be unmounted at any time.

mod entry;
mod list;
mod root;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tempfile::NamedTempFile;

use super::{Deleted, Key, ObjectMeta, Store, StoreError, Upload, check, check_range};
use crate::layout;

/// Objects in a directory.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: PathBuf,
}

impl FileStore {
    /// A store in a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FileStore { root: root.into() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Runs file operations on a blocking thread, after checking the directory.
    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Self, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_at(action, key, move |store, key| {
            match root::check(&store.root)? {
                Ok(()) => work(store, key).map(Ok),
                Err(refusal) => Ok(Err(refusal)),
            }
        })
        .await
    }

    /// Runs file operations on a blocking thread, without checking the directory.
    async fn run_at<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Self, &str) -> io::Result<Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, owned) = (self.clone(), key.to_owned());
        let done = tokio::task::spawn_blocking(move || work(&store, &owned)).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| explain(action, &self.path(key), error))?
    }

    /// A temporary file in the directory of `key`, which is created if necessary.
    fn temporary(&self, key: &str) -> io::Result<NamedTempFile> {
        let path = self.path(key);
        let directory = path.parent().unwrap_or(&self.root);
        // A concurrent delete may remove the directory while it is empty.
        for _ in 0..64 {
            let made = create_directories(directory, &self.root).and_then(|()| {
                tempfile::Builder::new()
                    .prefix(layout::TEMPORARY)
                    .permissions(Permissions::from_mode(0o600))
                    .tempfile_in(directory)
            });
            match made {
                Ok(made) => return Ok(made),
                Err(error) => {
                    entry::check_absent(&self.root, key)?;
                    if error.kind() != io::ErrorKind::NotFound {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::Error::other("its directory is repeatedly removed"))
    }

    /// Renames a complete temporary file to its final name, durably.
    fn publish(&self, file: NamedTempFile, key: &str, replace: bool) -> io::Result<ObjectMeta> {
        file.as_file().sync_all()?;
        let path = self.path(key);
        let renamed = if replace {
            file.persist(&path)
        } else {
            file.persist_noclobber(&path)
        };
        let file = renamed.map_err(|error| error.error)?;
        sync_directory(path.parent().unwrap_or(&self.root))?;
        object_meta(key, &file.metadata()?)
    }

    fn write(&self, key: &str, body: &[u8], replace: bool) -> io::Result<ObjectMeta> {
        let mut file = self.temporary(key)?;
        let written = file
            .write_all(body)
            .and_then(|()| self.publish(file, key, replace));
        if written.is_err() {
            self.remove_empty_parents(key);
        }
        written
    }

    /// Removes empty directories above `key`, below the root; best effort.
    fn remove_empty_parents(&self, key: &str) {
        let parents = Path::new(key).ancestors().skip(1);
        for parent in parents.take_while(|parent| !parent.as_os_str().is_empty()) {
            if fs::remove_dir(self.root.join(parent)).is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl Store for FileStore {
    fn location(&self) -> String {
        super::StoreUrl::File(self.root.clone()).to_string()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.run_at("open", "", |store, _| root::check(&store.root))
            .await
    }

    async fn init(&self, force: bool) -> Result<(), StoreError> {
        self.run_at("mark", "", move |store, _| root::init(&store.root, force))
            .await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        self.run("put", key, move |store, key| store.write(key, &body, false))
            .await
            .map(drop)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        self.run("put", key, move |store, key| store.write(key, &body, true))
            .await
            .map(drop)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        check("get", key)?;
        let read = self.run("get", key, move |store, key| {
            let file = entry::open(&store.root, key)?;
            let size = file.metadata()?.len();
            let range = range.unwrap_or(0..size);
            if let Err(error) = check_range(key, &range, size) {
                return Ok(Err(error));
            }
            let mut body = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut body, range.start)?;
            Ok(Ok(Bytes::from(body)))
        });
        read.await?
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        check("head", key)?;
        self.run("head", key, |store, key| {
            object_meta(key, &entry::open(&store.root, key)?.metadata()?)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.run("list", prefix, |store, prefix| {
            list::objects(&store.root, prefix)
        })
        .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.run("list", prefix, |store, prefix| {
            list::folders(&store.root, prefix)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        check("delete", key)?;
        self.run("delete", key, |store, key| {
            let path = store.path(key);
            if absent_as_none(fs::remove_file(&path))?.is_some() {
                // A manifest that reappeared after a power failure would list a backup without data. A concurrent
                // delete may have removed the directory.
                absent_as_none(sync_directory(path.parent().unwrap_or(&store.root)))?;
            }
            store.remove_empty_parents(key);
            Ok(Deleted::Gone)
        })
        .await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        check("upload", key)?;
        let file = self.run("upload", key, Self::temporary).await?;
        Ok(Box::new(FileUpload {
            store: self.clone(),
            key: key.into(),
            file: Some(file),
        }))
    }

    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: Timestamp,
    ) -> Result<usize, StoreError> {
        self.run("sweep", prefix, move |store, prefix| {
            let stale = list::stale(&store.root, prefix, older_than)?;
            for key in &stale {
                absent_as_none(fs::remove_file(store.path(key)))?;
                store.remove_empty_parents(key);
            }
            Ok(stale.len())
        })
        .await
    }
}

/// An upload to a temporary file.
struct FileUpload {
    store: FileStore,
    key: Key,
    /// The file, removed when dropped; `None` after a failure.
    file: Option<NamedTempFile>,
}

impl FileUpload {
    fn take(&mut self, action: &'static str) -> Result<NamedTempFile, StoreError> {
        self.file.take().ok_or_else(|| StoreError::Failed {
            action,
            key: self.store.path(&self.key).display().to_string(),
            why: "an earlier part failed".into(),
        })
    }
}

#[async_trait]
impl Upload for FileUpload {
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError> {
        let mut file = self.take("write")?;
        let written = self.store.run("write", &self.key, move |store, key| {
            match file.write_all(&body) {
                Ok(()) => Ok(file),
                Err(error) => {
                    drop(file);
                    store.remove_empty_parents(key);
                    Err(error)
                }
            }
        });
        self.file = Some(written.await?);
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        let file = self.take("complete")?;
        let publish = move |store: &FileStore, key: &str| {
            let published = store.publish(file, key, false);
            if published.is_err() {
                store.remove_empty_parents(key);
            }
            published
        };
        self.store.run("complete", &self.key, publish).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let remove = move |store: &FileStore, key: &str| {
            absent_as_none(file.close())?;
            store.remove_empty_parents(key);
            Ok(())
        };
        self.store.run("abort", &self.key, remove).await
    }
}

/// Creates a small file atomically, unless one exists.
fn write_file(directory: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(layout::TEMPORARY)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_directory(directory),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// Creates a directory and those above it, each synced into its parent; `root` itself is not created.
fn create_directories(directory: &Path, root: &Path) -> io::Result<()> {
    if directory == root {
        return Ok(());
    }
    let create = || DirBuilder::new().mode(0o700).create(directory);
    let parent = directory.parent();
    let created = match (create(), parent) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            create_directories(parent, root)?;
            create()
        }
        (created, _) => created,
    };
    match created {
        Ok(()) => parent.map_or(Ok(()), sync_directory),
        // If it is not a directory, creating a file in it fails.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn modified(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)
}

fn object_meta(key: &str, metadata: &fs::Metadata) -> io::Result<ObjectMeta> {
    Ok(ObjectMeta {
        key: key.into(),
        size: metadata.len(),
        modified: modified(metadata)?,
        crc64nvme: None,
        etag: None,
    })
}

/// Turns the error NotFound into `None`. A file in place of a directory remains an error.
fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const OWNER: &str = "grant the user of drctl read and write access to the directory and its files";
const WRITABLE: &str = "mount the file system read-write";

/// Converts an I/O error.
fn explain(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    let unsupported = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(entry::Unsupported { place, what, hint }) = unsupported {
        return StoreError::NotAnObject {
            place: place.display().to_string(),
            what: what.clone(),
            hint,
        };
    }
    let (key, why) = (path.display().to_string(), error.to_string());
    let denied = |key, why, hint| StoreError::Denied {
        action,
        key,
        why,
        hint,
    };
    match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { key },
        io::ErrorKind::NotFound => StoreError::NotFound { key },
        // A parent directory is a file: there is no such object.
        io::ErrorKind::NotADirectory if matches!(action, "get" | "head") => {
            StoreError::NotFound { key }
        }
        io::ErrorKind::PermissionDenied => denied(key, why, OWNER),
        io::ErrorKind::ReadOnlyFilesystem => denied(key, why, WRITABLE),
        _ => StoreError::Failed { action, key, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_file_system_does_not_mention_credentials() {
        for (kind, hint) in [
            (io::ErrorKind::PermissionDenied, OWNER),
            (io::ErrorKind::ReadOnlyFilesystem, WRITABLE),
        ] {
            let error = explain("put", Path::new("/srv/x"), kind.into());
            let line = crate::Error::from(error).to_string();
            assert!(
                line.ends_with(hint) && !line.contains("credentials"),
                "{line}"
            );
        }
    }
}
