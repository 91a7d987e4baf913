//! Adds keys to a store: what is written to it is encrypted and signed, and what is read from it decrypted and verified,
//! by the modules that know the objects.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::keys::Keys;
use crate::layout::TargetName;
use crate::store::{Deleted, Lack, ObjectMeta, Store, StoreError, Upload};

/// A store and the keys to what it holds.
#[derive(Debug)]
pub struct KeyedStore {
    store: Arc<dyn Store>,
    keys: Keys,
}

impl KeyedStore {
    /// Adds keys to a store.
    pub fn new(store: Arc<dyn Store>, keys: Keys) -> Self {
        KeyedStore { store, keys }
    }
}

#[async_trait]
impl Store for KeyedStore {
    fn keys(&self) -> &Keys {
        &self.keys
    }

    fn location(&self) -> String {
        self.store.location()
    }

    fn has_one_clock(&self) -> bool {
        self.store.has_one_clock()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    async fn init(&self, force: bool) -> Result<(), StoreError> {
        self.store.init(force).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.store.put_new(key, body).await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.store.put(key, body).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.store.get(key, range).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        self.store.get_at_most(key, most).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.store.head(key).await
    }

    async fn lacks(&self, key: &str, since: jiff::Timestamp) -> Result<Vec<Lack>, StoreError> {
        self.store.lacks(key, since).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.store.list(prefix).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.store.list_after(prefix, after).await
    }

    async fn list_backups(&self, target: &TargetName) -> Result<Vec<ObjectMeta>, StoreError> {
        self.store.list_backups(target).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        self.store.delete(key).await
    }

    fn part_bytes(&self) -> usize {
        self.store.part_bytes()
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.store.upload(key).await
    }

    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: jiff::Timestamp,
    ) -> Result<usize, StoreError> {
        self.store.abort_stale_uploads(prefix, older_than).await
    }
}
