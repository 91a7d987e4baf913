//! Other clients and servers of the destination: connected clients, replication, clusters.

use crate::mysql::replication::{Channel, Channels, REPLAY_CHANNEL};
use crate::restore::inspect::checks::Checks;
use crate::restore::inspect::destination::DestinationFacts;
use crate::restore::inspect::refusal::Refusal;
use crate::util::format::some_of;

/// A destination that takes no writes from clients.
pub fn read_only(facts: &DestinationFacts) -> Option<Refusal> {
    let variable = facts.replication.read_only?;
    Some(Refusal::new(
        format!("the destination is read-only ({variable} is on)"),
        "make sure that it is the primary, and turn it off",
    ))
}

impl Checks<'_> {
    pub(super) fn topology(&self) -> Vec<Refusal> {
        let (facts, permissions) = (self.facts, self.options.destination.permissions());
        let mut all = Vec::new();
        if !facts.other_clients.is_empty() && !permissions.connected_clients {
            all.push(Refusal::new(
                format!(
                    "other clients are connected: {}",
                    some_of(facts.other_clients.iter())
                ),
                "fence the server, or pass --allow-connections",
            ));
        }
        let replication = &facts.replication;
        // That of an interrupted replay is removed by the one that resumes it.
        let channels: Vec<&Channel> = replication
            .known()
            .iter()
            .filter(|channel| channel.name != REPLAY_CHANNEL)
            .collect();
        if !channels.is_empty() && !permissions.replica {
            all.push(Refusal::new(
                format!(
                    "the destination is a replica of {}",
                    some_of(channels.into_iter())
                ),
                "restore into the primary, or stop and reset replication, or pass --allow-replica",
            ));
        }
        if !permissions.replica {
            all.extend(read_only(facts));
        }
        if let Some(member) = &replication.member
            && !permissions.cluster
        {
            all.push(Refusal::new(
                format!("the destination is a member of a {} cluster", member.of),
                "restore into a server outside of the cluster, or pass --allow-cluster",
            ));
        }
        all
    }

    pub(super) fn topology_warnings(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.facts.replication.channels == Channels::Unknown {
            all.push(
                "cannot determine whether the server is a replica: grant REPLICATION CLIENT (MariaDB: REPLICA MONITOR)"
                    .to_owned(),
            );
        }
        if !self.facts.may(&["PROCESS", "SUPER"]) {
            all.push("without PROCESS, connections of other accounts cannot be checked".to_owned());
        }
        all
    }
}
