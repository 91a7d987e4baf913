//! Fetches frames ahead of the lanes that load them, in the order that [`super::dispatch`] decides.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::archive::segment_digests::SegmentDigests;
use crate::restore::frames::dispatch::{Dispatch, Fetch, Group, Next, Sequence};
use crate::restore::frames::frame::Frame;
use crate::restore::frames::read_ahead::{FrameSource, fetch};
use crate::util::error::{Error, Result};

/// Memory budget for frames in bytes per lane: one that is loaded, one that waits, and half of one that is decoded.
const LANE_BYTES: u64 = 24 << 20;

/// Minimum and maximum of the budget in bytes.
const BUDGET_BYTES: (u64, u64) = (48 << 20, 80 << 20);

/// The frames of one pass.
pub struct Supply {
    shared: Arc<Shared>,
    walk: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Something in the state has changed.
    changed: Notify,
}

struct State {
    dispatch: Dispatch<Frame>,
    /// The first failure, until a lane reports it.
    failure: Option<Error>,
    has_failed: bool,
}

/// A frame to load.
pub struct Loading {
    /// The frame.
    pub frame: Frame,
    /// Whether no other lane loads frames of this table until this one is loaded; only for groups that need it.
    pub exclusive: bool,
}

impl Supply {
    /// Starts to fetch. `exclusive`: groups that lanes should not share. `verify_segments`: compare the digests of the
    /// segments, for a sequence of all frames.
    pub fn begin(
        source: &FrameSource,
        sequence: Sequence,
        exclusive: BTreeSet<Group>,
        verify_segments: bool,
        lanes: usize,
    ) -> Supply {
        let (least, most) = BUDGET_BYTES;
        let budget = (LANE_BYTES * lanes as u64).clamp(least, most);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                dispatch: Dispatch::new(sequence, lanes, exclusive, budget),
                failure: None,
                has_failed: false,
            }),
            changed: Notify::new(),
        });
        let digests = verify_segments.then(SegmentDigests::default);
        let walk = walk(source.clone(), shared.clone(), digests);
        Supply {
            walk: tokio::spawn(walk),
            shared,
        }
    }

    /// The next frame of a lane; `None` after the last one. The last frame of this lane counts as loaded.
    ///
    /// Cancel safe.
    pub async fn next(&self, lane: usize) -> Result<Option<Loading>> {
        self.shared.with(|state| {
            state.dispatch.loaded(lane);
        });
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some(failure) = state.failure.take() {
                    return Err(failure);
                }
                // After a failure the lane that reports it ends the others.
                if !state.has_failed {
                    match state.dispatch.next(lane)? {
                        Next::Load(order) => {
                            // Another lane may have waited for a frame of this group.
                            self.shared.changed.notify_waiters();
                            return Ok(Some(Loading {
                                frame: order.frame,
                                exclusive: order.exclusive,
                            }));
                        }
                        Next::End => return Ok(None),
                        Next::Wait => {}
                    }
                }
            }
            changed.await;
        }
    }

    /// The lane takes no more frames.
    pub fn leave(&self, lane: usize) {
        self.shared.with(|state| state.dispatch.leave(lane));
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        // The frames being fetched end with it.
        self.walk.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all that wait for a change.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut self.lock());
        self.changed.notify_waiters();
        done
    }

    fn fail(&self, error: Error) {
        self.with(|state| {
            state.has_failed = true;
            state.failure.get_or_insert(error);
        });
    }
}

async fn walk(source: FrameSource, shared: Arc<Shared>, mut digests: Option<SegmentDigests>) {
    let mut fetches = JoinSet::new();
    loop {
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let next = shared.lock().dispatch.fetch();
        match next {
            Ok(Fetch::Frame(_, record)) => {
                let turn = digests.as_mut().map(SegmentDigests::turn);
                let (archive, guard) = (source.archive.clone(), source.guard.clone());
                let (shared, of) = (shared.clone(), record.clone());
                fetches.spawn(async move {
                    match fetch(archive, guard, record, turn).await {
                        Ok(frame) => shared.with(|state| state.dispatch.fetched(&of, frame)),
                        Err(error) => shared.fail(error),
                    }
                });
                continue;
            }
            Ok(Fetch::Full) => {}
            Ok(Fetch::End) => break,
            Err(error) => return shared.fail(error),
        }
        tokio::select! {
            () = changed => {}
            Some(ended) = fetches.join_next() => {
                if let Err(error) = ended {
                    let broken = Error::unexpected("reading the archive was interrupted");
                    return shared.fail(broken.because(error));
                }
            }
        }
    }
    // Lanes that wait learn that nothing else is fetched.
    shared.with(|_| {});
    while let Some(ended) = fetches.join_next().await {
        if let Err(error) = ended {
            let broken = Error::unexpected("reading the archive was interrupted");
            return shared.fail(broken.because(error));
        }
    }
}
