//! Tokens that are good no more, and the hosts that came by them: their work goes to others.
//!
//! A ticket that was revoked ends all that were narrowed from it, so of those nothing is kept. Of
//! narrowed ones alone there can be any number, since nobody is asked when they are made: an
//! account has a limit of them. The same table remembers claims that were shown, which are good
//! once.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::{Deed, token_id};
use isos_base::record::Change;
use isos_base::wire::{Refusal, ToHost};
use isos_base::{AccountId, HostId, Time};

use super::keys::REVOKED;
use super::{Complex, Effect, Reply};

/// Narrowed tokens of one account that are remembered as revoked.
const NARROWED_MAX: usize = 1_000;

/// What is good no more, until it would have ended by itself.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    until: BTreeMap<Vec<u8>, Time>,
    /// Of them, those that were narrowed from others.
    narrowed: BTreeMap<Vec<u8>, AccountId>,
    /// How many of these each account has.
    of_account: BTreeMap<AccountId, usize>,
}

impl Revoked {
    pub(super) fn restore(all: Vec<(Vec<u8>, Time)>, narrowed: Vec<(Vec<u8>, AccountId)>) -> Self {
        let mut revoked = Self { until: all.into_iter().collect(), ..Self::default() };
        for (id, account) in narrowed {
            revoked.count(id, account);
        }
        revoked
    }

    pub(super) fn contains(&self, id: &[u8]) -> bool {
        self.until.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: Vec<u8>, until: Time) {
        self.until.insert(id, until);
    }

    fn count(&mut self, id: Vec<u8>, account: AccountId) {
        if self.narrowed.insert(id, account).is_none() {
            *self.of_account.entry(account).or_default() += 1;
        }
    }

    fn narrowed_of(&self, account: AccountId) -> usize {
        self.of_account.get(&account).copied().unwrap_or(0)
    }

    /// Forgets what would have ended by now.
    pub(super) fn forget(&mut self, now: Time) {
        self.until.retain(|_, until| *until > now);
        let (until, of_account) = (&self.until, &mut self.of_account);
        self.narrowed.retain(|id, account| {
            let stays = until.contains_key(id);
            if !stays && let Some(count) = of_account.get_mut(account) {
                *count -= 1;
            }
            stays
        });
        of_account.retain(|_, count| *count > 0);
    }
}

/// Which hosts came by which ticket, and by one that was made from which.
#[derive(Debug, Default)]
pub(super) struct CameBy(BTreeMap<Vec<u8>, BTreeSet<HostId>>);

impl CameBy {
    pub(super) fn enter(&mut self, host: HostId, ids: &[Vec<u8>]) {
        for id in ids {
            if let Some(hosts) = self.0.get_mut(id) {
                hosts.insert(host);
            } else {
                self.0.insert(id.clone(), BTreeSet::from([host]));
            }
        }
    }

    pub(super) fn leave(&mut self, host: HostId, ids: &[Vec<u8>]) {
        for id in ids {
            if let Some(hosts) = self.0.get_mut(id) {
                hosts.remove(&host);
                if hosts.is_empty() {
                    self.0.remove(id);
                }
            }
        }
    }

    fn hosts(&self, id: &[u8]) -> impl Iterator<Item = HostId> + use<'_> {
        self.0.get(id).into_iter().flatten().copied()
    }

    /// As it must be.
    pub(super) fn check(&self, hosts: &BTreeMap<HostId, super::Host>) {
        let current = hosts.iter().filter(|(_, host)| host.record.successor.is_none());
        let mut count = 0;
        for (id, host) in current {
            let finds = |ticket| self.0.get(ticket).is_some_and(|hosts| hosts.contains(id));
            assert!(host.record.ticket.iter().all(finds), "host {id} is found by its ticket");
            count += host.record.ticket.len();
        }
        let all: usize = self.0.values().map(BTreeSet::len).sum();
        assert_eq!(all, count, "no host is found by another ticket");
    }
}

impl Complex {
    /// A token is good no more, nor what was made from it. `above` are the ids of what it was made
    /// from itself.
    pub(super) fn revoke_token(
        &mut self,
        id: Vec<u8>,
        until: Time,
        account: Option<AccountId>,
        above: &[Vec<u8>],
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        if above.iter().chain([&id]).any(|id| self.is_revoked(id)) {
            return Ok(Reply::Done);
        }
        let hosts = self.came_by.hosts(&id).filter(|host| !self.hosts[host].record.suspended);
        let hosts: Vec<HostId> = hosts.collect();
        // One that has ended lets nobody in: all that it can have left are hosts.
        if until <= self.now && hosts.is_empty() {
            return Ok(Reply::Done);
        }
        if until > self.now {
            self.remember_revoked(
                id.clone(),
                until,
                account.filter(|_| !above.is_empty()),
                effects,
            )?;
        }
        self.audit(account, Deed::TokenRevoked { id: token_id(&id), until }, effects);
        for host in hosts {
            self.suspend(host, &id, effects);
        }
        Ok(Reply::Done)
    }

    /// `narrowed` is the account of one that was narrowed from another.
    fn remember_revoked(
        &mut self,
        id: Vec<u8>,
        until: Time,
        narrowed: Option<AccountId>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let Some(account) = narrowed else {
            effects.push(Effect::Keep(Change::Revocation(id.clone(), until)));
            self.revoked.insert(id, until);
            return Ok(());
        };
        if self.revoked.narrowed_of(account) >= NARROWED_MAX {
            self.revoked.forget(self.now);
        }
        if self.revoked.narrowed_of(account) >= NARROWED_MAX {
            let message = format!(
                "account {account} has {NARROWED_MAX} revoked tokens that were narrowed from \
                 others, which is the limit: revoke the ticket that this one was made from, which \
                 ends all of them"
            );
            return Err(Problem::new(ProblemCode::Refused, message));
        }
        effects.push(Effect::Keep(Change::Narrowed(id.clone(), until, account)));
        self.revoked.insert(id.clone(), until);
        self.revoked.count(id, account);
        Ok(())
    }

    /// A host's ticket was taken back: its work goes to others, and it gets none until it shows
    /// another.
    fn suspend(&mut self, id: HostId, ticket: &[u8], effects: &mut Vec<Effect>) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if std::mem::replace(&mut host.record.suspended, true) {
            return;
        }
        self.dirty_hosts.insert(id);
        let account = host.record.account;
        if let Some(session) = &host.session {
            let refusal = Refusal::BadTicket(REVOKED.into());
            effects.push(Effect::Send(session.id, ToHost::Refused(refusal)));
        }
        let deed = Deed::HostSuspended { host: id, ticket: token_id(ticket) };
        self.audit(Some(account), deed, effects);
        self.end_session(id, effects);
        self.lost.retain(|&(_, host)| host != id);
        self.drop_leases(id, effects);
        self.sliver_left(id);
    }
}
