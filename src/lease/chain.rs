//! Which objects of the lease exist, from one LIST.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::layout::{Epoch, LeaseObject, TargetName};
use crate::lease::record::{FORMAT, Fencing, Release, Renewal, Taking};
use crate::store::{MOST_RECORD_BYTES, Store, StoreError};
use crate::{Error, Result};

/// The objects of one epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// When it was taken, by the clock of the store.
    pub(super) taken: Option<Timestamp>,
    /// When it was last renewed, by the clock of the store.
    pub(super) renewed: Option<Timestamp>,
    /// Whether earlier holders cannot be writable any more.
    pub(super) fenced: bool,
    /// Whether its holder has given it up.
    pub(super) released: bool,
}

/// The epochs of a target.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    store: Arc<dyn Store>,
    target: TargetName,
    epochs: BTreeMap<Epoch, Marks>,
}

impl Chain {
    /// Lists the objects.
    pub(super) async fn list(store: &Arc<dyn Store>, target: &TargetName) -> Result<Chain> {
        let mut epochs: BTreeMap<Epoch, Marks> = BTreeMap::new();
        for object in store.list(&target.leader()).await? {
            match target.parse_lease(&object.key) {
                Some(LeaseObject::Taken(epoch)) => {
                    epochs.entry(epoch).or_default().taken = Some(object.modified);
                }
                Some(LeaseObject::Renewed(epoch)) => {
                    epochs.entry(epoch).or_default().renewed = Some(object.modified);
                }
                Some(LeaseObject::Fenced(epoch)) => epochs.entry(epoch).or_default().fenced = true,
                Some(LeaseObject::Released(epoch)) => {
                    epochs.entry(epoch).or_default().released = true;
                }
                None => {}
            }
        }
        epochs.retain(|_, marks| marks.taken.is_some());
        Ok(Chain {
            store: store.clone(),
            target: target.clone(),
            epochs,
        })
    }

    /// The newest epoch; `None` if no side ever had the lease.
    pub(super) fn newest(&self) -> Option<Epoch> {
        self.epochs.keys().next_back().copied()
    }

    /// The objects of an epoch.
    pub(super) fn marks(&self, epoch: Epoch) -> Marks {
        self.epochs.get(&epoch).copied().unwrap_or_default()
    }

    /// The epochs before one, newest first.
    pub(super) fn before(&self, epoch: Epoch) -> impl Iterator<Item = (Epoch, Marks)> {
        let before = self.epochs.range(..epoch).rev();
        before.map(|(epoch, marks)| (*epoch, *marks))
    }

    /// All epochs, newest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (Epoch, Marks)> {
        self.epochs
            .iter()
            .rev()
            .map(|(epoch, marks)| (*epoch, *marks))
    }

    pub(super) async fn taking(&self, epoch: Epoch) -> Result<Taking> {
        self.read(LeaseObject::Taken(epoch)).await
    }

    pub(super) async fn renewal(&self, epoch: Epoch) -> Result<Renewal> {
        self.read(LeaseObject::Renewed(epoch)).await
    }

    pub(super) async fn fencing(&self, epoch: Epoch) -> Result<Fencing> {
        self.read(LeaseObject::Fenced(epoch)).await
    }

    pub(super) async fn release(&self, epoch: Epoch) -> Result<Release> {
        self.read(LeaseObject::Released(epoch)).await
    }

    async fn read<T: DeserializeOwned>(&self, object: LeaseObject) -> Result<T> {
        read(&self.store, &self.target, object).await
    }
}

/// Reads an object of the lease.
///
/// # Errors
/// `Archive`: it is unreadable. `Refused`: a later version wrote it.
pub(super) async fn read<T: DeserializeOwned>(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: LeaseObject,
) -> Result<T> {
    let key = target.lease_object(object);
    let bytes = store.get_at_most(&key, MOST_RECORD_BYTES).await?;
    let unreadable = |error: serde_json::Error| {
        Error::archive(format!("{key} is unreadable: {error}"))
            .hint("find out what changed it; only drctl writes below leader/")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let format = value["format"].as_u64();
    if format.is_some_and(|format| format > u64::from(FORMAT)) {
        return Err(
            Error::refused(format!("{key} was written by a later version of drctl"))
                .hint("upgrade drctl on this side"),
        );
    }
    serde_json::from_value(value).map_err(unreadable)
}

/// Creates an object of the lease; `false` if it exists.
pub(super) async fn put_new(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: LeaseObject,
    record: &impl Serialize,
) -> Result<bool, StoreError> {
    match store
        .put_new(&target.lease_object(object), json(record))
        .await
    {
        Ok(()) => Ok(true),
        Err(StoreError::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Rewrites an object of the lease.
pub(super) async fn put(
    store: &Arc<dyn Store>,
    target: &TargetName,
    object: LeaseObject,
    record: &impl Serialize,
) -> Result<(), StoreError> {
    store.put(&target.lease_object(object), json(record)).await
}

fn json(record: &impl Serialize) -> Bytes {
    // A record has no map whose keys are not strings, and no number that JSON lacks.
    let mut text = serde_json::to_vec(record).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}
