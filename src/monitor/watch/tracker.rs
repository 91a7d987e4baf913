//! The known state of each pod, and the events that follow from watch messages. No I/O.
//!
//! Each event is reported once: pods are identified by uid, and an update without a relevant change is not
//! an event. After an outage all pods are listed again: pods missing from the list were deleted, new ones
//! were created, changed ones were updated.

use std::collections::BTreeMap;
use std::mem;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

use crate::k8s::pod::{PodView, disruption};
use crate::monitor::watch::event::{EventType, PodEvent};

/// Namespace and name.
type Key = (String, String);

/// The pods of one scope.
#[derive(Debug, Default)]
pub struct PodTracker {
    /// Current pods.
    known: BTreeMap<Key, Known>,
    /// A list in progress.
    listing: Option<BTreeMap<Key, Known>>,
    /// Whether a complete list was received.
    listed: bool,
}

/// Last known state of one pod.
#[derive(Debug, Clone)]
struct Known {
    view: PodView,
    version: String,
    created: Option<Timestamp>,
    /// Why the pod is being deleted, or why it ended before its deletion.
    end: Option<String>,
}

impl PodTracker {
    /// Whether a complete list was received.
    pub fn has_listed(&self) -> bool {
        self.listed
    }

    /// Whether the known state is current: no list is in progress.
    pub fn is_current(&self) -> bool {
        self.listed && self.listing.is_none()
    }

    /// Applies a watch message and returns the events that follow.
    pub fn receive(&mut self, message: Event<Pod>, now: Timestamp) -> Vec<PodEvent> {
        match message {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(pod) => {
                let (key, known) = read(&pod);
                let listing = self.listing.get_or_insert_default();
                listing.insert(key, known);
                Vec::new()
            }
            Event::InitDone => self.take_list(now),
            Event::Apply(pod) => {
                let (key, known) = read(&pod);
                self.update(key, known, now, false)
            }
            Event::Delete(pod) => {
                let (key, last) = read(&pod);
                let known = self.known.remove(&key);
                // The event carries the pod's last state.
                let last = match known {
                    Some(known) if known.view.uid == last.view.uid => Known {
                        end: known.end.or(last.end.clone()),
                        ..last
                    },
                    // The pod was never seen before: its existence is new.
                    _ => last,
                };
                vec![deleted(key, last, now, false)]
            }
        }
    }

    fn take_list(&mut self, now: Timestamp) -> Vec<PodEvent> {
        let listed = self.listing.take().unwrap_or_default();
        let mut events = Vec::new();
        if !mem::replace(&mut self.listed, true) {
            for (key, known) in &listed {
                events.push(event(EventType::Existing, key.clone(), known, now, false));
            }
            self.known = listed;
            return events;
        }
        let is_gone = |key: &Key, known: &Known| {
            let there = listed.get(key);
            there.is_none_or(|there| there.view.uid != known.view.uid)
        };
        let gone = self.known.extract_if(.., |key, known| is_gone(key, known));
        events.extend(gone.map(|(key, known)| deleted(key, known, now, true)));
        for (key, known) in listed {
            events.extend(self.update(key, known, now, true));
        }
        events
    }

    fn update(&mut self, key: Key, mut is: Known, now: Timestamp, resync: bool) -> Vec<PodEvent> {
        let Some(was) = self.known.remove(&key) else {
            let created = event(EventType::Created, key.clone(), &is, now, resync);
            self.known.insert(key, is);
            return vec![created];
        };
        if was.view.uid != is.view.uid {
            let mut events = vec![deleted(key.clone(), was, now, resync)];
            events.extend(self.update(key, is, now, resync));
            return events;
        }
        is.end = was.end.clone().or(is.end);
        let changes = if was.version == is.version {
            // Duplicate of a known version.
            BTreeMap::new()
        } else {
            is.view.changes(&was.view)
        };
        let mut events = Vec::new();
        if !changes.is_empty() {
            let updated = event(EventType::Updated, key.clone(), &is, now, resync);
            events.push(PodEvent { changes, ..updated });
        }
        self.known.insert(key, is);
        events
    }
}

fn read(pod: &Pod) -> (Key, Known) {
    let meta = &pod.metadata;
    let view = PodView::of(pod);
    let end = disruption(pod).map(|(why, _)| why);
    // A pod that ended before its deletion keeps its own reason.
    let own_end = (view.is_over() && !view.terminating).then(|| view.reason.clone());
    let known = Known {
        end: end.or(own_end),
        version: meta.resource_version.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|at| at.0),
        view,
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ((text(&meta.namespace), text(&meta.name)), known)
}

fn deleted(key: Key, mut known: Known, now: Timestamp, resync: bool) -> PodEvent {
    let usual = || "Deleted".to_owned();
    known.view.reason = known.end.clone().unwrap_or_else(usual);
    event(EventType::Deleted, key, &known, now, resync)
}

fn event(kind: EventType, key: Key, known: &Known, now: Timestamp, resync: bool) -> PodEvent {
    let (namespace, pod) = key;
    PodEvent {
        time: now,
        kind,
        namespace,
        pod,
        view: known.view.clone(),
        resource_version: known.version.clone(),
        created: known.created,
        changes: BTreeMap::new(),
        resync,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::pod::tests::pod as of_status;
    use serde_json::json;

    fn pod(name: &str, uid: &str, version: u32, phase: &str) -> Pod {
        let mut pod = of_status(json!({"phase": phase}));
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod.metadata.resource_version = Some(version.to_string());
        pod
    }

    /// Type, pod and reason of each event.
    fn events(tracker: &mut PodTracker, messages: Vec<Event<Pod>>) -> Vec<String> {
        let receive = |one| tracker.receive(one, Timestamp::UNIX_EPOCH);
        let events = messages.into_iter().flat_map(receive);
        events
            .map(|event| {
                let resync = if event.resync { " resync" } else { "" };
                let (kind, why) = (event.kind.as_str(), &event.view.reason);
                format!("{kind} {} {why}{resync}", event.pod)
            })
            .collect()
    }

    fn list(pods: Vec<Pod>) -> Vec<Event<Pod>> {
        let mut all = vec![Event::Init];
        all.extend(pods.into_iter().map(Event::InitApply));
        all.push(Event::InitDone);
        all
    }

    /// A tracker that knows `a` and `b`.
    fn with_two_pods() -> PodTracker {
        let mut tracker = PodTracker::default();
        let first = list(vec![
            pod("a", "1", 1, "Running"),
            pod("b", "2", 2, "Running"),
        ]);
        let events = events(&mut tracker, first);
        assert_eq!(events, ["existing a Running", "existing b Running"]);
        tracker
    }

    #[test]
    fn a_pod_is_reported_from_creation_to_deletion() {
        let mut tracker = with_two_pods();
        let (new, runs) = (pod("c", "3", 3, "Pending"), pod("c", "3", 4, "Running"));
        let mut ends = pod("c", "3", 5, "Failed");
        ends.status.as_mut().unwrap().reason = Some("Evicted".into());
        let gone = pod("c", "3", 6, "Failed");
        let messages = vec![
            Event::Apply(new),
            Event::Apply(runs),
            Event::Apply(ends),
            Event::Delete(gone),
        ];
        assert_eq!(
            events(&mut tracker, messages),
            [
                "created c Pending",
                "updated c Running",
                "updated c Evicted",
                "deleted c Evicted"
            ]
        );
    }

    #[test]
    fn an_annotation_is_not_an_update() {
        let mut tracker = with_two_pods();
        let mut beat = pod("a", "1", 9, "Running");
        beat.metadata.annotations = Some([("x".to_owned(), "y".to_owned())].into());
        assert!(events(&mut tracker, vec![Event::Apply(beat)]).is_empty());
    }

    #[test]
    fn events_of_an_outage_are_reported_once_afterwards() {
        let mut tracker = with_two_pods();
        let again = || {
            list(vec![
                pod("a", "1", 1, "Running"),
                // Same name, different pod.
                pod("b", "9", 7, "Running"),
                pod("c", "3", 8, "Pending"),
            ])
        };
        assert_eq!(
            events(&mut tracker, again()),
            [
                "deleted b Deleted resync",
                "created b Running resync",
                "created c Pending resync"
            ]
        );
        assert!(events(&mut tracker, again()).is_empty());
    }

    #[test]
    fn an_interrupted_list_yields_no_events() {
        let mut tracker = with_two_pods();
        let half = vec![Event::Init, Event::InitApply(pod("a", "1", 1, "Running"))];
        assert!(events(&mut tracker, half).is_empty());
        assert!(!tracker.is_current());
        let whole = list(vec![
            pod("a", "1", 1, "Running"),
            pod("b", "2", 2, "Running"),
        ]);
        assert!(events(&mut tracker, whole).is_empty());
        assert!(tracker.is_current());
    }

    #[test]
    fn a_new_pod_of_the_same_name_is_another_pod() {
        let mut tracker = with_two_pods();
        let messages = vec![Event::Apply(pod("a", "8", 9, "Pending"))];
        assert_eq!(
            events(&mut tracker, messages),
            ["deleted a Deleted", "created a Pending"]
        );
    }
}
