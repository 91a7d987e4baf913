//! What is known of each pod, and which events follow from what is heard. Pure.
//!
//! Each event is told once: a pod is known by its uid, and an update that changes nothing that a
//! person cares for is none. After an outage everything is listed anew; then what is gone from the
//! list was deleted, what is new in it was created, and what is other was updated.

use std::collections::BTreeMap;
use std::mem;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;

use crate::cluster::pod::{PodView, disruption};
use crate::watch::event::{EventType, PodEvent};

/// Namespace and name.
type Key = (String, String);

/// The pods of one scope.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Those that are there.
    known: BTreeMap<Key, Known>,
    /// A list under way.
    listing: Option<BTreeMap<Key, Known>>,
    /// Whether there was a whole list.
    begun: bool,
}

/// What is known of one pod.
#[derive(Debug, Clone)]
struct Known {
    view: PodView,
    version: String,
    created: Option<Timestamp>,
    /// Why it is being taken away, or why it ended before it was.
    end: Option<String>,
}

impl Ledger {
    /// Whether a whole list was heard.
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether what is known is what is there.
    pub fn is_current(&self) -> bool {
        self.begun && self.listing.is_none()
    }

    /// The events that follow.
    pub fn hear(&mut self, heard: Event<Pod>, now: Timestamp) -> Vec<PodEvent> {
        match heard {
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
                self.apply(key, known, now, false)
            }
            Event::Delete(pod) => {
                let (key, last) = read(&pod);
                let known = self.known.remove(&key);
                // How it was last is what the news of its end carries.
                let last = match known {
                    Some(known) if known.view.uid == last.view.uid => Known {
                        end: known.end.or(last.end.clone()),
                        ..last
                    },
                    // That it ever was there is news.
                    _ => last,
                };
                vec![deleted(key, last, now, false)]
            }
        }
    }

    fn take_list(&mut self, now: Timestamp) -> Vec<PodEvent> {
        let listed = self.listing.take().unwrap_or_default();
        let mut events = Vec::new();
        if !mem::replace(&mut self.begun, true) {
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
            events.extend(self.apply(key, known, now, true));
        }
        events
    }

    fn apply(&mut self, key: Key, mut is: Known, now: Timestamp, resync: bool) -> Vec<PodEvent> {
        let Some(was) = self.known.remove(&key) else {
            let created = event(EventType::Created, key.clone(), &is, now, resync);
            self.known.insert(key, is);
            return vec![created];
        };
        if was.view.uid != is.view.uid {
            let mut events = vec![deleted(key.clone(), was, now, resync)];
            events.extend(self.apply(key, is, now, resync));
            return events;
        }
        is.end = was.end.clone().or(is.end);
        let changes = match was.version == is.version {
            // The very same was heard before.
            true => BTreeMap::new(),
            false => is.view.changes(&was.view),
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
    // What ended before anybody deleted it ended by itself.
    let by_itself = (view.is_over() && !view.terminating).then(|| view.reason.clone());
    let known = Known {
        end: end.or(by_itself),
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
    use crate::cluster::pod::tests::pod as of_status;
    use serde_json::json;

    fn pod(name: &str, uid: &str, version: u32, phase: &str) -> Pod {
        let mut pod = of_status(json!({"phase": phase}));
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod.metadata.resource_version = Some(version.to_string());
        pod
    }

    /// Type, pod and reason of each event.
    fn told(ledger: &mut Ledger, heard: Vec<Event<Pod>>) -> Vec<String> {
        let hear = |one| ledger.hear(one, Timestamp::UNIX_EPOCH);
        let events = heard.into_iter().flat_map(hear);
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

    /// One that has heard of `a` and `b`.
    fn begun() -> Ledger {
        let mut ledger = Ledger::default();
        let first = list(vec![
            pod("a", "1", 1, "Running"),
            pod("b", "2", 2, "Running"),
        ]);
        let events = told(&mut ledger, first);
        assert_eq!(events, ["existing a Running", "existing b Running"]);
        ledger
    }

    #[test]
    fn a_life_is_told_from_creation_to_deletion() {
        let mut ledger = begun();
        let (new, runs) = (pod("c", "3", 3, "Pending"), pod("c", "3", 4, "Running"));
        let mut ends = pod("c", "3", 5, "Failed");
        ends.status.as_mut().unwrap().reason = Some("Evicted".into());
        let gone = pod("c", "3", 6, "Failed");
        let heard = vec![
            Event::Apply(new),
            Event::Apply(runs),
            Event::Apply(ends),
            Event::Delete(gone),
        ];
        assert_eq!(
            told(&mut ledger, heard),
            [
                "created c Pending",
                "updated c Running",
                "updated c Evicted",
                "deleted c Evicted"
            ]
        );
    }

    #[test]
    fn a_heartbeat_is_no_update() {
        let mut ledger = begun();
        let mut beat = pod("a", "1", 9, "Running");
        beat.metadata.annotations = Some([("x".to_owned(), "y".to_owned())].into());
        assert!(told(&mut ledger, vec![Event::Apply(beat)]).is_empty());
    }

    #[test]
    fn what_happened_during_an_outage_is_told_once_when_it_is_over() {
        let mut ledger = begun();
        let again = || {
            list(vec![
                pod("a", "1", 1, "Running"),
                // Of the same name, and another one.
                pod("b", "9", 7, "Running"),
                pod("c", "3", 8, "Pending"),
            ])
        };
        assert_eq!(
            told(&mut ledger, again()),
            [
                "deleted b Deleted resync",
                "created b Running resync",
                "created c Pending resync"
            ]
        );
        assert!(told(&mut ledger, again()).is_empty());
    }

    #[test]
    fn a_list_that_broke_off_tells_nothing() {
        let mut ledger = begun();
        let half = vec![Event::Init, Event::InitApply(pod("a", "1", 1, "Running"))];
        assert!(told(&mut ledger, half).is_empty());
        assert!(!ledger.is_current());
        let whole = list(vec![
            pod("a", "1", 1, "Running"),
            pod("b", "2", 2, "Running"),
        ]);
        assert!(told(&mut ledger, whole).is_empty());
        assert!(ledger.is_current());
    }

    #[test]
    fn a_pod_that_follows_one_of_its_name_is_another() {
        let mut ledger = begun();
        let heard = vec![Event::Apply(pod("a", "8", 9, "Pending"))];
        assert_eq!(
            told(&mut ledger, heard),
            ["deleted a Deleted", "created a Pending"]
        );
    }
}
