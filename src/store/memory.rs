//! A store in memory, for tests: the simplest implementation of the contract.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;

use crate::util::digest;

use super::{Deleted, Key, ObjectMeta, Store, StoreError, Upload, check, slice};

/// Objects in a map; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    /// All objects and uploads behind one lock, so that each operation is atomic.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Complete objects and when they were written.
    objects: BTreeMap<Key, (Bytes, Timestamp)>,
    /// Unfinished uploads by number: their key and time of creation.
    uploads: BTreeMap<u64, (Key, Timestamp)>,
    /// Number of the next upload.
    next_upload: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of uploads that were neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    // A panic in another thread cannot leave the map half-changed: each step is atomic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.objects.contains_key(key) {
            return Err(StoreError::AlreadyExists { key: key.into() });
        }
        state.objects.insert(key.into(), (body, Timestamp::now()));
        Ok(())
    }
}

fn meta(key: &str, body: &Bytes, modified: Timestamp) -> ObjectMeta {
    ObjectMeta {
        key: key.into(),
        size: body.len() as u64,
        modified,
        crc64nvme: None,
        etag: Some(digest::md5(body)),
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory:".into()
    }

    fn has_one_clock(&self) -> bool {
        true
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        self.insert_new(key, body)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        check("put", key)?;
        let now = Timestamp::now();
        self.state().objects.insert(key.into(), (body, now));
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        check("get", key)?;
        match self.state().objects.get(key) {
            Some((body, _)) => slice(key, body, range),
            None => Err(StoreError::NotFound { key: key.into() }),
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        check("head", key)?;
        match self.state().objects.get(key) {
            Some((body, modified)) => Ok(meta(key, body, *modified)),
            None => Err(StoreError::NotFound { key: key.into() }),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let state = self.state();
        let from_prefix = state.objects.range(prefix.to_owned()..);
        Ok(from_prefix
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (body, modified))| meta(key, body, *modified))
            .collect())
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        check("delete", key)?;
        self.state().objects.remove(key);
        Ok(Deleted::Gone)
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        check("upload", key)?;
        let mut state = self.state();
        let number = state.next_upload;
        state.next_upload += 1;
        state.uploads.insert(number, (key.into(), Timestamp::now()));
        Ok(Box::new(MemoryUpload {
            store: self.clone(),
            key: key.into(),
            number,
            body: BytesMut::new(),
        }))
    }

    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut state = self.state();
        let before = state.uploads.len();
        state
            .uploads
            .retain(|_, (key, begun)| !key.starts_with(prefix) || *begun >= older_than);
        Ok(before - state.uploads.len())
    }
}

/// An upload in memory.
struct MemoryUpload {
    store: MemoryStore,
    key: Key,
    /// Number of the upload in the store.
    number: u64,
    /// Parts appended so far.
    body: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError> {
        self.body.extend_from_slice(&body);
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        if self.store.state().uploads.remove(&self.number).is_none() {
            return Err(StoreError::Failed {
                action: "complete",
                key: self.key,
                why: "the upload was aborted as stale".into(),
            });
        }
        self.store.insert_new(&self.key, self.body.freeze())?;
        self.store.head(&self.key).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        self.store.state().uploads.remove(&self.number);
        Ok(())
    }
}
