//! The database that servers share: the rows, and who may write them.
//!
//! As `isos-db` has it over PostgreSQL: a row says which server leads, in which epoch and until
//! when; every write checks the epoch. What it is told comes one after the other, as behind the
//! lock on that row.

use std::collections::BTreeMap;
use std::rc::Rc;

use isos_base::record::{Change, Snapshot, Tables};
use isos_base::{Span, Time};

use crate::checks::Kept;
use crate::plan::Flaw;

/// How long a leader leads after it was last heard of: `LEASE` of `drivers/db/src/lead.rs`.
pub(crate) const LEASE: Span = Span::secs(10);
/// A server that was not heard of for so long is not told of any more.
const FORGOTTEN_AFTER: Span = Span::secs(60);

/// What a server asks of the database.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// The lease, if it is free.
    Take,
    /// Who leads.
    Look,
    /// Everything that a leader starts from.
    Load,
    /// To keep these rows, each once, if the epoch is still this one.
    Commit(u64, Rc<[Change]>),
    /// A longer lease, if the epoch is still this one.
    Renew(u64),
    /// The end of the lease, if the epoch is still this one.
    Release(u64),
    /// Which servers there are.
    Servers,
}

/// What the database answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The lease is taken, in this epoch.
    Leads(u64),
    /// Another has the lease.
    Led(u32),
    /// Who leads, for how long yet, and which servers there are.
    Looked { leader: u32, left: Span, servers: Vec<u32> },
    /// The rows.
    Loaded(Box<Snapshot>),
    /// It is on the disk.
    Kept,
    /// Another has led since: nothing is kept.
    Deposed,
    /// The leader's number first.
    Servers(Vec<u32>),
    /// The connection is lost, and nobody knows whether it was done.
    Lost,
}

/// The database.
pub(crate) struct Database {
    pub(crate) tables: Tables,
    pub(crate) kept: Kept,
    flaw: Flaw,
    /// Several servers may ask; else there is only one, and it leads as soon as it is there.
    is_shared: bool,
    pub(crate) epoch: u64,
    pub(crate) leader: u32,
    until: Time,
    /// When servers were last heard of.
    seen: BTreeMap<u32, Time>,
    /// When everything asked so far is answered.
    pub(crate) free_at: Time,
    /// It answers nobody until then.
    pub(crate) away_until: Time,
}

impl Database {
    pub(crate) fn new(servers: u32, flaw: Flaw, bids: bool) -> Self {
        Self {
            tables: Tables::default(),
            kept: Kept::new(!matches!(flaw, Flaw::FenceUnseen), bids),
            flaw,
            is_shared: servers > 1,
            epoch: 0,
            leader: 0,
            until: Time(0),
            seen: BTreeMap::new(),
            free_at: Time(0),
            away_until: Time(0),
        }
    }

    /// Does what a server asks for.
    ///
    /// # Errors
    /// What is kept contradicts what was kept before: a broken promise.
    pub(crate) fn answer(&mut self, now: Time, server: u32, ask: Ask) -> Result<Answer, String> {
        Ok(match ask {
            Ask::Take => {
                self.seen.insert(server, now);
                if self.is_shared && self.until > now {
                    return Ok(Answer::Led(self.leader));
                }
                self.epoch += 1;
                self.leader = server;
                self.until = now + LEASE;
                Answer::Leads(self.epoch)
            }
            Ask::Look => {
                self.seen.insert(server, now);
                let left = self.until.since(now);
                Answer::Looked { leader: self.leader, left, servers: self.servers(now) }
            }
            Ask::Load => Answer::Loaded(Box::new(self.tables.snapshot())),
            Ask::Commit(epoch, changes) => {
                if !self.renew(epoch, now) {
                    return Ok(Answer::Deposed);
                }
                self.kept.keep(&mut self.tables, epoch, self.epoch, &changes)?;
                Answer::Kept
            }
            Ask::Renew(epoch) if self.renew(epoch, now) => Answer::Kept,
            Ask::Renew(_) => Answer::Deposed,
            Ask::Release(epoch) => {
                if epoch == self.epoch {
                    self.until = now;
                }
                Answer::Kept
            }
            Ask::Servers => Answer::Servers(self.servers(now)),
        })
    }

    fn renew(&mut self, epoch: u64, now: Time) -> bool {
        if epoch == self.epoch {
            self.until = now + LEASE;
        }
        epoch == self.epoch || matches!(self.flaw, Flaw::Fence | Flaw::FenceUnseen)
    }

    /// The servers that are there, the leader first, then who was heard of last.
    fn servers(&self, now: Time) -> Vec<u32> {
        let known = self
            .seen
            .iter()
            .filter(|&(&server, &seen)| server == self.leader || seen + FORGOTTEN_AFTER > now);
        let mut known: Vec<_> = known.map(|(&server, &seen)| (server, seen)).collect();
        known.sort_by_key(|&(server, seen)| {
            (server != self.leader, std::cmp::Reverse(seen), server)
        });
        known.into_iter().map(|(server, _)| server).collect()
    }
}
