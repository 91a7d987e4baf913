//! A store in a directory: `file:///dir`. Each object is a file of its name.
//!
//! An object is written to a temporary file beside its place, synced, renamed without replacing,
//! and the directory synced: after a power cut it is there whole or not at all. What cannot be
//! renamed so (NFS) is linked, which replaces as little. Temporary files are never listed; they
//! go when they are dropped, and after a SIGKILL by [`Store::abort_stale_uploads`].
//!
//! A backup holds all data, so files are created 0600 and directories 0700, whatever the umask
//! would allow; a directory that exists keeps its mode. Symbolic links are followed by name but
//! not listed.
//!
//! The directory itself is never made by the way, and every operation looks for drctl's mark in it
//! ([`root`]): a disk may be unmounted at any time.

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

use super::{Deleted, Key, ObjectMeta, Store, StoreError, Upload, check, check_range, keys};

/// Objects in a directory.
#[derive(Debug, Clone)]
pub struct FileStore {
    /// The directory.
    root: PathBuf,
}

impl FileStore {
    /// The store of a directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FileStore { root: root.into() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Runs file operations where they may block, and says what failed.
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

    /// Runs file operations where they may block, whatever the directory is.
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

    /// A temporary file in the directory where `key` will be, which is made if need be.
    fn temporary(&self, key: &str) -> io::Result<NamedTempFile> {
        let path = self.path(key);
        let directory = path.parent().unwrap_or(&self.root);
        // A delete may take the directory away just after it was made, while it is empty.
        for _ in 0..64 {
            let made = create_directories(directory, &self.root).and_then(|()| {
                tempfile::Builder::new()
                    .prefix(keys::TEMPORARY)
                    .permissions(Permissions::from_mode(0o600))
                    .tempfile_in(directory)
            });
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                made => return made,
            }
        }
        Err(io::Error::other("its directory keeps disappearing"))
    }

    /// Gives a whole temporary file its name, durably.
    fn publish(&self, file: NamedTempFile, key: &str, replace: bool) -> io::Result<ObjectMeta> {
        file.as_file().sync_all()?;
        let path = self.path(key);
        let renamed = match replace {
            true => file.persist(&path),
            false => file.persist_noclobber(&path),
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

    /// Takes away directories that nothing is in any more, below the root; best effort.
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
            let file = open_object(&store.path(key))?;
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
            object_meta(key, &open_object(&store.path(key))?.metadata()?)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.run("list", prefix, |store, prefix| {
            list::objects(&store.root, prefix)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        check("delete", key)?;
        self.run("delete", key, |store, key| {
            let path = store.path(key);
            if absent_as_none(fs::remove_file(&path))?.is_some() {
                // A manifest that came back after a power cut would list a backup without a body.
                // The directory itself may be gone by now, by another delete.
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

/// A temporary file that grows.
struct FileUpload {
    /// Where it is.
    store: FileStore,
    /// Its name to be.
    key: Key,
    /// The file; dropping it removes it. None after a failure.
    file: Option<NamedTempFile>,
}

impl FileUpload {
    fn take(&mut self, action: &'static str) -> Result<NamedTempFile, StoreError> {
        self.file.take().ok_or_else(|| StoreError::Failed {
            action,
            key: self.store.path(&self.key).display().to_string(),
            why: "a part of it failed before".into(),
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

/// Opens a regular file; a directory is no object.
fn open_object(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Writes a small file where none is, whole or not at all.
fn write_file(directory: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(keys::TEMPORARY)
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

/// Makes a directory and those above it, each synced into its parent; the uppermost, `root`, is not
/// made.
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
        // If it is no directory, making a file in it says so.
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
    })
}

/// What vanished or never was is no failure here.
fn absent_as_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Says which of the outcomes an I/O error is.
fn explain(action: &'static str, path: &Path, error: io::Error) -> StoreError {
    let (key, why) = (path.display().to_string(), error.to_string());
    match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { key },
        io::ErrorKind::NotFound => StoreError::NotFound { key },
        // Something of a shorter name is a file: to a reader that is absence.
        io::ErrorKind::NotADirectory if matches!(action, "get" | "head") => {
            StoreError::NotFound { key }
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Denied {
            action,
            key,
            why,
            hint: super::CHECK_ACCOUNT,
        },
        _ => StoreError::Failed { action, key, why },
    }
}
