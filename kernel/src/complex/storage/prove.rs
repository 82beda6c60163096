//! Proofs: whoever pays for a lease has the complex ask its host for a part of a fragment.
//!
//! The complex judges by the fragment's name alone, and asks over the host's own session: nobody's
//! word about another counts. A lease for which its host has nothing to show ends there and then,
//! paid up to that moment, as if its payer had given it up, and that is why nobody can be framed by
//! it: who asks for what the host never had, or removed on demand, only ends its own lease, which
//! it may at any time. A host that shows *wrong* bytes is another matter: the fragment's name
//! convicts it by itself, and no lease of it is paid until it has proved something.
//!
//! Questions are not kept: a server that starts again has forgotten them, and who cares asks again.

use isos_base::api::{Problem, ProblemCode, ProveRequest};
use isos_base::audit::Deed;
use isos_base::fragment::{FRAGMENT_BYTES_MAX, Proof, ProofAsked, Unproven};
use isos_base::record::StorageRecord;
use isos_base::storage::StorageState;
use isos_base::wire::ToHost;
use isos_base::{AccountId, HostId, LeaseId, Span, Time};

use super::super::{Complex, Effect, Reply, SessionId};
use super::Storage;
use super::lease::usage;

/// Questions to one host that wait for their answers.
const OF_HOST_MAX: usize = 64;
/// And to all.
const MAX: usize = 16_384;
/// A host that is connected answers within so long: it may be busy, or its disk asleep.
const ANSWER_WITHIN: Span = Span::secs(600);
/// One that is not is asked when it comes, if that is within so long; it is paid for nothing
/// meanwhile.
const WAITS_MAX: Span = Span::secs(2 * 86_400);
/// Who hangs up whenever it is asked has nothing to show.
const TIMES_MAX: u8 = 3;

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    host: HostId,
    question: ProofAsked,
    /// When it was asked for.
    since: Time,
    /// In which session the host has heard it.
    heard: Option<SessionId>,
    /// How many of them heard it.
    times: u8,
    /// When it is looked at again.
    due: Time,
}

impl Storage {
    /// Forgets a question: it is answered, or its lease is over.
    pub(super) fn unask(&mut self, lease: LeaseId) -> Option<Asked> {
        let asked = self.asked.remove(&lease)?;
        self.asked_due.remove(&(asked.due, lease));
        if let Some(keeper) = self.keepers.get_mut(&asked.host) {
            keeper.asked.remove(&lease);
        }
        Some(asked)
    }

    fn ask_at(&mut self, lease: LeaseId, due: Time) {
        let Some(asked) = self.asked.get_mut(&lease) else { return };
        self.asked_due.remove(&(asked.due, lease));
        asked.due = due;
        self.asked_due.insert((due, lease));
    }
}

impl Complex {
    /// Somebody wants a proof for a lease that it pays. `drawn` decides of which part.
    pub(super) fn ask_for_proof(
        &mut self,
        account: AccountId,
        request: ProveRequest,
        drawn: u32,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let ProveRequest { lease, fragment, length } = request;
        if length == 0 || length > FRAGMENT_BYTES_MAX {
            let what = format!("no fragment has {length} bytes: 1 to {FRAGMENT_BYTES_MAX}");
            return Err(usage(what));
        }
        let record = self.own_leases(account, [lease].into_iter())?.remove(0);
        let host = record.host;
        // A question that waits already is as good as another.
        if !self.storage.asked.contains_key(&lease) {
            let of_host = self.storage.keepers[&host].asked.len();
            if of_host >= OF_HOST_MAX || self.storage.asked.len() >= MAX {
                let message = format!(
                    "host {} has {of_host} proofs to give before: ask again in some minutes",
                    host.short()
                );
                return Err(Problem::new(ProblemCode::Busy, message));
            }
            let question = ProofAsked { lease, fragment, length, drawn };
            let (since, due) = (self.now, self.now + WAITS_MAX);
            let asked = Asked { host, question, since, heard: None, times: 0, due };
            self.storage.asked.insert(lease, asked);
            self.storage.asked_due.insert((due, lease));
            let keeper = self.storage.keepers.get_mut(&host).expect("a lease has a keeper");
            keeper.asked.insert(lease);
            self.ask_keeper(host, effects);
        }
        Ok(self.leased([record]))
    }

    /// Asks a keeper what it has not heard in this session.
    pub(super) fn ask_keeper(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        let session = self.hosts.get(&host).and_then(|host| Some(host.session.as_ref()?.id));
        let Some(keeper) = self.storage.keepers.get(&host) else { return };
        // Before it has said that it is a keeper in this session, it may not know what is meant.
        let Some(session) = session.filter(|_| keeper.told.is_some()) else { return };
        for lease in keeper.asked.clone() {
            let Some(asked) = self.storage.asked.get_mut(&lease) else { continue };
            if asked.heard == Some(session) {
                continue;
            }
            if asked.times == TIMES_MAX {
                self.unproven(lease, Unproven::Silent, effects);
                continue;
            }
            (asked.heard, asked.times) = (Some(session), asked.times + 1);
            effects.push(Effect::Send(session, ToHost::Prove(asked.question)));
            self.storage.ask_at(lease, self.now + ANSWER_WITHIN);
        }
    }

    /// Looks at questions that were not answered in time.
    pub(super) fn proofs_due(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, lease)) = self.storage.asked_due.first()
            && at <= self.now
        {
            let asked = &self.storage.asked[&lease];
            let (host, end) = (asked.host, asked.since + WAITS_MAX);
            let session = self.hosts.get(&host).and_then(|host| Some(host.session.as_ref()?.id));
            if asked.heard.is_some() && asked.heard == session {
                self.unproven(lease, Unproven::Silent, effects);
            } else if end <= self.now {
                // It is away, and paid for nothing.
                self.storage.unask(lease);
            } else {
                self.storage.ask_at(lease, end);
            }
        }
    }

    /// A host has answered.
    pub(in crate::complex) fn host_proved(
        &mut self,
        host: HostId,
        proof: &Proof,
        effects: &mut Vec<Effect>,
    ) {
        let asked = self.storage.asked.get(&proof.lease);
        let is_asked = |asked: &&Asked| {
            asked.host == host && asked.heard.is_some() && asked.question.fragment == proof.fragment
        };
        let Some(asked) = asked.filter(is_asked) else { return };
        match asked.question.check(proof) {
            Ok(()) => {
                self.storage.unask(proof.lease);
                self.keeper_proved(host, true);
            }
            Err(why) => {
                self.unproven(proof.lease, why, effects);
                if matches!(why, Unproven::Wrong(_)) {
                    self.keeper_proved(host, false);
                }
            }
        }
        self.feed(host, effects);
    }

    /// A lease is over: its host has nothing to show for it.
    fn unproven(&mut self, lease: LeaseId, why: Unproven, effects: &mut Vec<Effect>) {
        let Some(asked) = self.storage.unask(lease) else { return };
        let Some(record) = self.storage.leases.get(&lease).filter(|it| it.is_open()).cloned()
        else {
            return;
        };
        let mut postings = Vec::new();
        let new = self.settled(&record, &mut postings);
        let (state, issued) = (StorageState::Released, self.storage.next_word(self.now));
        let new = StorageRecord { state, issued, ..new };
        if let Err(error) = self.take_in(record.account, vec![new], postings, effects) {
            panic!("the ledger refuses to give back what was set aside for storage: {error}");
        }
        let (host, fragment, why) = (record.host, asked.question.fragment, why.to_string());
        let held = self.storage_held(record.account);
        let deed = Deed::StorageUnproven { lease, host, fragment, why, held };
        self.audit(Some(record.account), deed, effects);
    }

    /// Whether what a keeper has shown is what it should be: nothing is paid to it from when it was
    /// not until it is.
    fn keeper_proved(&mut self, host: HostId, passed: bool) {
        self.count_keeper(host);
        let now = self.now;
        let Some(keeper) = self.storage.keepers.get_mut(&host) else { return };
        let failed = if passed { None } else { keeper.record.failed.or(Some(now)) };
        if keeper.record.failed != failed {
            keeper.record.failed = failed;
            self.storage.dirty_keepers.insert(host);
        }
    }
}
