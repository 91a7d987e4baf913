//! A store that fails on demand, around any other: for tests of what stands on a store.
//!
//! Faults in front of the real S3 path are injected by a proxy in the integration tests; this is
//! for library tests, and nothing in the binary refers to it.

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

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing happened.
    Fail,
    /// It is denied, and nothing happened.
    Deny,
    /// It takes effect, and fails all the same.
    LoseAnswer,
    /// It never ends, and nothing happens.
    Hang,
    /// It begins after a while.
    Delay(Duration),
    /// A `get` succeeds with one byte less.
    CutShort,
    /// A `get` succeeds with one bit changed, in the middle.
    FlipBit,
}

/// A fault and which operations it is for.
#[derive(Debug, Clone)]
struct Rule {
    op: Op,
    /// What the key ends in.
    suffix: String,
    /// How many that match are spared first.
    skip: usize,
    /// How many are then failed.
    take: usize,
    fault: Fault,
}

/// A store around another one, with a plan of faults. Clones share the plan.
#[derive(Debug, Clone)]
pub struct FaultStore {
    /// What does the work.
    inner: Arc<dyn Store>,
    /// The faults to come and the operations that were.
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// In order; the first that applies counts.
    rules: Vec<Rule>,
    /// Every operation and its key.
    operations: Vec<(Op, Key)>,
}

impl FaultStore {
    /// A store that does what the other one does, until a fault is planned.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        FaultStore {
            inner,
            plan: Arc::default(),
        }
    }

    /// Plans a fault for every operation on keys that end so.
    #[must_use]
    pub fn always(self, op: Op, suffix: &str, fault: Fault) -> Self {
        self.plan_rule(op, suffix, 0, usize::MAX, fault)
    }

    /// Plans a fault for the nth such operation, counted from 1, on keys that end so.
    #[must_use]
    pub fn nth(self, n: usize, op: Op, suffix: &str, fault: Fault) -> Self {
        self.plan_rule(op, suffix, n.saturating_sub(1), 1, fault)
    }

    /// How many operations of a kind there were on keys that end so.
    pub fn count(&self, op: Op, suffix: &str) -> usize {
        let plan = self.plan();
        let matching = plan.operations.iter();
        matching
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

    /// Remembers an operation and says what is to happen to it.
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

    /// Does an operation, or what is planned instead.
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

    fn part_bytes(&self) -> usize {
        self.inner.part_bytes()
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

/// An upload of the store within.
struct FaultUpload {
    /// Whose plan holds.
    store: FaultStore,
    /// Its name to be.
    key: Key,
    /// What does the work.
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
    async fn a_lost_answer_leaves_its_effect() {
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
    async fn a_read_comes_short_or_damaged() {
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
