//! Whether the log of another MariaDB server has what is archived, or branched off before it.
//!
//! Its numbers do not answer that. A server that was promoted without the last transactions of the one before gives
//! their numbers to others, and a third promotion may give them the same server id again. What answers it is the
//! transaction itself, at its place in the log: so the file in which it has to be is read.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::binlog::event::{Checksum, Event};
use crate::binlog::gtid::{Gtid, GtidSet};
use crate::binlog::gtid_event::begin;
use crate::mysql::{Connection, ServerConfig};
use crate::stream::resume::End;
use crate::stream::source::{Sent, Source};
use crate::stream::survey::Survey;
use crate::{Error, Result};

/// The archived transactions, at most one of each domain, that the server's log does not have, although its numbers are
/// beyond theirs.
pub async fn strays(
    server: &ServerConfig,
    side: &mut Connection,
    end: &End,
    survey: &Survey,
) -> Result<GtidSet> {
    let none = || GtidSet::empty(survey.mariadb);
    let Some(GtidSet::MariaDb(ours)) = &end.gtids else {
        return Ok(none());
    };
    let mut starts = survey.starts.iter();
    let fits = |(_, start): &&(_, GtidSet)| {
        let ours = end.gtids.as_ref();
        ours.is_some_and(|ours| ours.covers(start))
    };
    let Some((file, GtidSet::MariaDb(before))) = starts.find(fits) else {
        return Ok(none());
    };
    let is_open = |(domain, last): &(&u32, &(u32, u64))| {
        survey.has_logged(**domain, **last) && before.get(domain) != Some(last)
    };
    let mut search = Search {
        wanted: ours
            .iter()
            .filter(is_open)
            .map(|(domain, last)| (*domain, *last))
            .collect(),
        not_after: end.last.contents.commit_last,
        strays: none(),
    };
    if search.wanted.is_empty() {
        return Ok(none());
    }
    tracing::info!(%file, "reading the file of the other server in which the end of the archive has to be");
    let mut source = Source::open(server, true, file, 4, 0).await?;
    let id = source.id;
    // On a server that always writes there is no heartbeat.
    let last = survey.end().map(|end| &end.name);
    while !search.wanted.is_empty() {
        match source.next().await? {
            Sent::Event(bytes) => search.take(&bytes)?,
            // There is no more of the log.
            Sent::Heartbeat => break,
            Sent::File(file) if last.is_some_and(|last| file > *last) => break,
            Sent::Ended => return Err(Error::source("the server ended the stream").lost()),
            Sent::Description(_) | Sent::File(_) => {}
        }
    }
    // The server would notice only at its next heartbeat, and keep the files that it was reading.
    let _ = side.run(&format!("KILL {id}")).await;
    Ok(search.end())
}

/// The search for the last archived transaction of each domain.
struct Search {
    /// Those that were not met yet.
    wanted: BTreeMap<u32, (u32, u64)>,
    /// The latest commit that is archived: one of the same id and a later time is another one.
    not_after: Option<Timestamp>,
    strays: GtidSet,
}

impl Search {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(begin) = begin(&Event::parse(bytes)?, Checksum::Off)? else {
            return Ok(());
        };
        let Some(Gtid::MariaDb {
            domain,
            server,
            sequence,
        }) = begin.gtid
        else {
            return Ok(());
        };
        let Some(&(our_server, last)) = self.wanted.get(&domain).filter(|(_, n)| *n <= sequence)
        else {
            return Ok(());
        };
        self.wanted.remove(&domain);
        let is_later = self.not_after.is_some_and(|end| begin.committed_at > end);
        if (server, sequence) != (our_server, last) || is_later {
            self.stray(domain, our_server, last);
        }
        Ok(())
    }

    fn stray(&mut self, domain: u32, server: u32, sequence: u64) {
        self.strays.add(&Gtid::MariaDb {
            domain,
            server,
            sequence,
        });
    }

    /// Those that the log does not have, or has as another transaction.
    fn end(mut self) -> GtidSet {
        for (domain, (server, sequence)) in std::mem::take(&mut self.wanted) {
            self.stray(domain, server, sequence);
        }
        self.strays
    }
}
