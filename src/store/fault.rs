//! A store wrapper that injects faults, for unit tests. The integration tests inject faults into real S3
//! requests by a proxy.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{Deleted, Key, Lack, ObjectMeta, Store, StoreError, Upload};

/// A kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// [`Store::put_new`]
    PutNew,
    /// [`Store::put`]
    Put,
    /// [`Store::get`]
    Get,
    /// [`Store::head`]
    Head,
    /// [`Store::list`]
    List,
    /// [`Store::delete`]
    Delete,
    /// [`Store::upload`]
    Upload,
    /// [`Upload::part`]
    Part,
    /// [`Upload::complete`]
    Complete,
    /// [`Upload::abort`]
    Abort,
    /// [`Store::abort_stale_uploads`]
    Sweep,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fails without an effect.
    Fail,
    /// Is denied without an effect.
    Deny,
    /// Takes effect, then fails.
    LoseAnswer,
    /// Never returns, without an effect.
    Hang,
    /// Begins after a pause.
    Delay(Duration),
    /// A `get` returns one byte less.
    CutShort,
    /// A `get` returns a body with one bit changed, in the middle.
    FlipBit,
}

/// A fault and the operations that it applies to.
#[derive(Debug, Clone)]
struct Rule {
    op: Op,
    /// Suffix of the key.
    suffix: String,
    /// Number of matching operations without the fault first.
    skip: usize,
    /// Number of operations with the fault afterwards.
    take: usize,
    fault: Fault,
}

/// A store with planned faults. Clones share the plan.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// In order; the first that matches applies.
    rules: Vec<Rule>,
    /// All operations so far, and their keys.
    operations: Vec<(Op, Key)>,
}

impl FaultStore {
    /// Wraps a store, without faults.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        FaultStore {
            inner,
            plan: Arc::default(),
        }
    }

    /// Adds a fault to every operation on keys with this suffix.
    #[must_use]
    pub fn always(self, op: Op, suffix: &str, fault: Fault) -> Self {
        self.plan_rule(op, suffix, 0, usize::MAX, fault)
    }

    /// Adds a fault to the nth operation, counted from 1, on keys with this suffix.
    #[must_use]
    pub fn nth(self, n: usize, op: Op, suffix: &str, fault: Fault) -> Self {
        self.plan_rule(op, suffix, n.saturating_sub(1), 1, fault)
    }

    /// Number of operations so far on keys with this suffix.
    pub fn count(&self, op: Op, suffix: &str) -> usize {
        self.plan()
            .operations
            .iter()
            .filter(|(done, key)| *done == op && key.ends_with(suffix))
            .count()
    }

    fn plan_rule(self, op: Op, suffix: &str, skip: usize, take: usize, fault: Fault) -> Self {
        let suffix = suffix.to_owned();
        let rule = Rule {
            op,
            suffix,
            skip,
            take,
            fault,
        };
        self.plan().rules.push(rule);
        self
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an operation, and returns its fault.
    fn judge(&self, op: Op, key: &str) -> Option<Fault> {
        let mut plan = self.plan();
        plan.operations.push((op, key.into()));
        for rule in &mut plan.rules {
            if rule.op != op || !key.ends_with(&rule.suffix) || rule.take == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.take -= 1;
            return Some(rule.fault);
        }
        None
    }

    /// Executes an operation with its fault.
    async fn through<T>(
        &self,
        op: Op,
        key: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.judge(op, key);
        injected(fault, key, work).await
    }
}

async fn injected<T>(
    fault: Option<Fault>,
    key: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let failed = |why: &str| StoreError::Failed {
        action: "injected",
        key: key.into(),
        why: why.into(),
    };
    match fault {
        None | Some(Fault::CutShort | Fault::FlipBit) => work.await,
        Some(Fault::Fail) => Err(failed("a planned failure")),
        Some(Fault::Deny) => Err(StoreError::Denied {
            action: "injected",
            key: key.into(),
            why: "a planned denial".into(),
            hint: super::CHECK_ACCOUNT,
        }),
        Some(Fault::LoseAnswer) => {
            work.await?;
            Err(failed("a planned loss of the answer"))
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Delay(pause)) => {
            tokio::time::sleep(pause).await;
            work.await
        }
    }
}

fn damaged(fault: Option<Fault>, body: Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    match fault {
        Some(Fault::CutShort) => bytes.truncate(bytes.len().saturating_sub(1)),
        Some(Fault::FlipBit) => bytes
            .iter_mut()
            .skip(middle)
            .take(1)
            .for_each(|byte| *byte ^= 1),
        _ => return body,
    }
    bytes.into()
}

#[async_trait]
impl Store for FaultStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn keys(&self) -> &crate::keys::Keys {
        self.inner.keys()
    }

    fn part_bytes(&self) -> usize {
        self.inner.part_bytes()
    }

    fn has_one_clock(&self) -> bool {
        self.inner.has_one_clock()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }

    async fn init(&self, force: bool) -> Result<(), StoreError> {
        self.inner.init(force).await
    }

    async fn lacks(&self, key: &str, since: Timestamp) -> Result<Vec<Lack>, StoreError> {
        self.inner.lacks(key, since).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.through(Op::PutNew, key, self.inner.put_new(key, body))
            .await
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.through(Op::Put, key, self.inner.put(key, body)).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let fault = self.judge(Op::Get, key);
        let body = injected(fault, key, self.inner.get(key, range)).await?;
        Ok(damaged(fault, body))
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Bytes, StoreError> {
        let fault = self.judge(Op::Get, key);
        let body = injected(fault, key, self.inner.get_at_most(key, most)).await?;
        Ok(damaged(fault, body))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.through(Op::Head, key, self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        self.through(Op::List, prefix, self.inner.list(prefix))
            .await
    }

    async fn delete(&self, key: &str) -> Result<Deleted, StoreError> {
        self.through(Op::Delete, key, self.inner.delete(key)).await
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let upload = self
            .through(Op::Upload, key, self.inner.upload(key))
            .await?;
        Ok(Box::new(FaultUpload {
            store: self.clone(),
            key: key.into(),
            upload,
        }))
    }

    async fn abort_stale_uploads(
        &self,
        prefix: &str,
        older_than: Timestamp,
    ) -> Result<usize, StoreError> {
        let sweep = self.inner.abort_stale_uploads(prefix, older_than);
        self.through(Op::Sweep, prefix, sweep).await
    }
}

struct FaultUpload {
    store: FaultStore,
    key: Key,
    upload: Box<dyn Upload>,
}

#[async_trait]
impl Upload for FaultUpload {
    async fn part(&mut self, body: Bytes) -> Result<(), StoreError> {
        let part = self.upload.part(body);
        self.store.through(Op::Part, &self.key, part).await
    }

    fn crc64nvme(&self) -> Option<String> {
        self.upload.crc64nvme()
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        let complete = self.upload.complete();
        self.store.through(Op::Complete, &self.key, complete).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let abort = self.upload.abort();
        self.store.through(Op::Abort, &self.key, abort).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(MemoryStore::new()))
    }

    #[tokio::test]
    async fn the_nth_operation_on_keys_with_the_suffix_fails_and_no_other() {
        let store = store().nth(2, Op::PutNew, ".json", Fault::Fail);
        for (key, ok) in [
            ("1.json", true),
            ("x", true),
            ("2.json", false),
            ("3.json", true),
        ] {
            assert_eq!(store.put_new(key, "x".into()).await.is_ok(), ok, "{key}");
            assert_eq!(store.head(key).await.is_ok(), ok, "{key}");
        }
        assert_eq!(store.count(Op::PutNew, ".json"), 3);
    }

    #[tokio::test]
    async fn an_operation_with_a_lost_response_takes_effect() {
        let store = store().always(Op::PutNew, "", Fault::LoseAnswer).always(
            Op::Complete,
            "",
            Fault::LoseAnswer,
        );
        assert!(store.put_new("a", "x".into()).await.is_err());
        assert!(store.upload("b").await.unwrap().complete().await.is_err());
        assert_eq!(store.list("").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_read_is_truncated_or_damaged() {
        let store =
            store()
                .nth(1, Op::Get, "", Fault::CutShort)
                .nth(1, Op::Get, "", Fault::FlipBit);
        store.put_new("a", "abc".into()).await.unwrap();
        assert_eq!(store.get("a", None).await.unwrap(), "ab");
        assert_eq!(store.get("a", None).await.unwrap(), "acc");
        assert_eq!(store.get("a", None).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn a_part_that_hangs_never_returns() {
        let store = store().nth(2, Op::Part, "", Fault::Hang);
        let mut upload = store.upload("a").await.unwrap();
        upload.part("x".into()).await.unwrap();
        let second = tokio::time::timeout(Duration::from_millis(50), upload.part("y".into()));
        assert!(second.await.is_err());
    }
}
