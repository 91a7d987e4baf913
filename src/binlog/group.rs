//! Where transactions begin and end. A transaction counts when its last event is there.

use serde::{Deserialize, Serialize};

use super::event::{Checksum, Event, damaged, kind};
use super::gtid_event::{self, Begin};
use super::statement::{Query, query};
use crate::Result;

/// Place among transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// The transaction that is open.
    open: Option<Open>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    begin: Begin,
    /// Whether BEGIN was seen: an event of its own ends the transaction.
    begun: bool,
}

/// What an event means for the transactions around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It stands between transactions.
    Between,
    /// It begins one, or is inside of one.
    Inside,
    /// It ends this one.
    Ends(Begin),
}

impl Groups {
    /// Whether no transaction is open.
    pub fn at_rest(&self) -> bool {
        self.open.is_none()
    }

    /// The transaction that is open.
    pub fn open(&self) -> Option<&Begin> {
        self.open.as_ref().map(|open| &open.begin)
    }

    /// Takes the next event of a file.
    ///
    /// # Errors
    /// `Archive`: a transaction begins within another one.
    pub fn take(&mut self, event: &Event<'_>, checksum: Checksum) -> Result<Step> {
        if let Some(begin) = gtid_event::begin(event, checksum)? {
            if self.open.is_some() {
                return Err(damaged(
                    "a transaction begins before the one before it ends",
                ));
            }
            self.open = Some(Open {
                // MariaDB's event with the GTID stands for BEGIN.
                begun: event.header.kind == kind::MARIADB_GTID && !begin.standalone,
                begin,
            });
            return Ok(Step::Inside);
        }
        let Some(open) = &mut self.open else {
            return Ok(Step::Between);
        };
        let ends = match event.header.kind {
            kind::XID | kind::XA_PREPARE | kind::TRANSACTION_PAYLOAD => true,
            kind::QUERY | kind::MARIADB_QUERY_COMPRESSED => match query(event, checksum)?.control()
            {
                Query::Begin => {
                    open.begun = true;
                    false
                }
                Query::End => true,
                Query::Other => !open.begun,
            },
            // The server was stopped, or lost events, in the midst of it.
            kind::STOP | kind::ROTATE | kind::INCIDENT => {
                self.open = None;
                return Ok(Step::Between);
            }
            _ => false,
        };
        match ends {
            false => Ok(Step::Inside),
            true => Ok(self
                .open
                .take()
                .map_or(Step::Between, |open| Step::Ends(open.begin))),
        }
    }

    /// Forgets an open transaction: the server crashed in the midst of writing it, and began another file.
    pub fn abandon(&mut self) {
        self.open = None;
    }
}
