//! Who may act for an account: its keys, its recovery, what is made with them.
//!
//! The shell proves keys and checks signatures. Here is decided whose a key is, since when, and
//! what is void.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{KeyView, KeyringView, Problem, ProblemCode};
use isos_base::audit::{Actor, Deed, token_id};
use isos_base::key::PublicKey;
use isos_base::keyring::{Asked, KEYS_MAX, KeyKind, KeyRecord, KeyringRecord, check_label};
use isos_base::record::{Change, system};
use isos_base::right::{Holder, Right};
use isos_base::{AccountId, HostId, Time};

use super::{Complex, Effect, Reply};

/// What a host is told whose ticket was taken back.
pub(super) const REVOKED: &str =
    "the ticket by which this host came was revoked: run `isos join` with another";

/// What the holder of a token is told that was taken back.
pub const TOKEN_REVOKED: &str = "the token was revoked";

/// The keys of all accounts.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Those that are good.
    live: BTreeMap<PublicKey, KeyRecord>,
    rings: BTreeMap<AccountId, KeyringRecord>,
    /// Recoveries that wait.
    due: BTreeSet<(Time, AccountId)>,
}

/// Something that is good once: a signed claim, until it is too old anyway.
pub type Once = (Vec<u8>, Time);

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewKey {
    /// Whose.
    pub account: AccountId,
    /// The key.
    pub key: PublicKey,
    /// Which one, for people.
    pub label: String,
    /// What it allows; of a recovery key, what the recovered key will.
    pub rights: Vec<Right>,
    /// What for.
    pub kind: KeyKind,
}

/// What can be asked about keys of accounts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum KeyCall {
    /// A token was made, and is handed out once this is answered.
    MakeToken {
        /// For whom.
        account: AccountId,
        /// Its id.
        id: Vec<u8>,
        /// What it allows.
        rights: Vec<Right>,
        /// Until when.
        expires: Time,
        /// The claim by which it was asked for, if it was.
        once: Option<Once>,
    },
    /// A key that acts for an account, or recovers it.
    Add {
        /// The key.
        new: NewKey,
        /// The claim by which the key said that it is there.
        once: Option<Once>,
    },
    /// Another label for a key.
    Label {
        /// Whose.
        account: AccountId,
        /// Which.
        key: PublicKey,
        /// The label.
        label: String,
    },
    /// A key is good no more, nor what was made with it.
    Remove {
        /// Whose.
        account: AccountId,
        /// Which.
        key: PublicKey,
    },
    /// Who has a recovery key wants its account.
    Recover {
        /// The recovery key.
        by: PublicKey,
        /// The key that is to be the account's only one.
        key: PublicKey,
        /// Its label.
        label: String,
        /// The claim by which it was asked for.
        once: Option<Once>,
    },
    /// A recovery that waits is not wanted.
    StopRecovery {
        /// Of which account.
        account: AccountId,
    },
    /// A host has another key.
    RotateHost {
        /// The key before.
        old: HostId,
        /// The key now.
        new: HostId,
        /// The claim of the key before.
        once: Option<Once>,
    },
}

impl Keys {
    /// Those that were kept.
    pub(super) fn restore(keys: Vec<KeyRecord>, rings: Vec<KeyringRecord>) -> Self {
        let waits = |ring: &KeyringRecord| Some((ring.asked.as_ref()?.due, ring.account));
        let due = rings.iter().filter_map(waits).collect();
        let live = keys.into_iter().map(|key| (key.key, key)).collect();
        Self { live, rings: rings.into_iter().map(|ring| (ring.account, ring)).collect(), due }
    }

    /// When the next recovery is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.due.first().map(|&(at, _)| at)
    }

    fn of(&self, account: AccountId) -> impl Iterator<Item = &KeyRecord> {
        self.live.values().filter(move |key| key.account == account)
    }

    fn ring(&mut self, account: AccountId) -> &mut KeyringRecord {
        let empty = || KeyringRecord { account, void_before: Time(0), asked: None };
        self.rings.entry(account).or_insert_with(empty)
    }
}

fn refuse(message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::Refused, message)
}

impl Complex {
    /// The key that acts for an account, if this is one.
    #[must_use]
    pub fn key_holder(&self, key: &PublicKey) -> Option<&KeyRecord> {
        self.keys.live.get(key).filter(|key| key.kind == KeyKind::Person)
    }

    /// Whether a token of an account is void that was made at this time, and maybe with this key.
    #[must_use]
    pub fn is_void(&self, account: AccountId, issued: Time, key: Option<&PublicKey>) -> bool {
        let void_before = self.keys.rings.get(&account).map_or(Time(0), |ring| ring.void_before);
        let is_live = |key| {
            let record = self.key_holder(key);
            // An operator's key makes tickets for others.
            let may = |it: &KeyRecord| it.account == account || it.rights.contains(&Right::Operate);
            record.is_some_and(|it| may(it) && it.added <= issued)
        };
        issued < void_before || !key.is_none_or(is_live)
    }

    /// Whether what somebody has shown was taken back: it, or what it was made from, was revoked,
    /// or the key is gone with which it was made.
    #[must_use]
    pub fn is_taken_back(&self, holder: &Holder) -> bool {
        let Holder { account, issued, key, revocation_ids, .. } = holder;
        self.is_void(*account, *issued, key.as_ref())
            || revocation_ids.iter().any(|id| self.is_revoked(id))
    }

    /// Whether somebody may go on with what they have shown before.
    ///
    /// # Errors
    /// Why not any more.
    pub fn still_may(&self, now: Time, holder: &Holder) -> Result<(), Problem> {
        let why = match holder {
            _ if holder.expires <= now => "the token has ended: ask for another",
            _ if !self.is_taken_back(holder) => return Ok(()),
            Holder { revocation_ids, .. } if revocation_ids.is_empty() => "the key was removed",
            _ => TOKEN_REVOKED,
        };
        Err(Problem::new(ProblemCode::Unauthorised, why))
    }

    /// The keys of an account, in the order in which they were added.
    #[must_use]
    pub fn keyring(&self, account: AccountId) -> KeyringView {
        let mut keys: Vec<_> = self.keys.of(account).collect();
        keys.sort_by_key(|key| (key.added, key.key));
        let view = |key: &KeyRecord| KeyView {
            key: key.key,
            label: key.label.clone(),
            kind: key.kind,
            rights: key.rights.clone(),
            added: key.added,
        };
        let asked = self.keys.rings.get(&account).and_then(|ring| ring.asked.clone());
        KeyringView { account, keys: keys.into_iter().map(view).collect(), asked }
    }

    pub(super) fn about_keys(
        &mut self,
        call: KeyCall,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        match call {
            KeyCall::MakeToken { account, id, rights, expires, once } => {
                self.use_up(once, effects)?;
                let deed = Deed::TokenMade { id: token_id(&id), rights, expires };
                self.audit(Some(account), deed, effects);
                Ok(Reply::Done)
            }
            KeyCall::Add { new, once } => self.add_key(new, once, effects),
            KeyCall::Label { account, key, label } => self.label_key(account, key, label, effects),
            KeyCall::Remove { account, key } => self.remove_key(account, key, effects),
            KeyCall::Recover { by, key, label, once } => {
                let answer = self.ask_recovery(&by, key, label, once, effects);
                self.book.by = Actor::Complex;
                answer
            }
            KeyCall::StopRecovery { account } => self.stop_recovery(account, effects),
            KeyCall::RotateHost { old, new, once } => self.rotate_host(old, new, once, effects),
        }
    }

    /// What is good once is used up; an error if it was before.
    pub(super) fn use_up(
        &mut self,
        once: Option<Once>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Problem> {
        let Some((id, until)) = once else { return Ok(()) };
        if self.revoked.contains(&id) {
            let message = "this claim was shown before: each is good once, sign another";
            return Err(Problem::new(ProblemCode::Unauthorised, message));
        }
        self.revoked.insert(id.clone(), until);
        effects.push(Effect::Keep(Change::Revocation(id, until)));
        Ok(())
    }

    fn add_key(
        &mut self,
        new: NewKey,
        once: Option<Once>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let NewKey { account, key, label, rights, kind } = new;
        check_label(&label).map_err(|why| Problem::new(ProblemCode::Usage, why))?;
        if account < system::FIRST_PERSON || self.ledger.account_view(account).is_none() {
            return Err(Problem::new(ProblemCode::NotFound, format!("no account {account}")));
        }
        self.belongs_to_no_other(&key, account)?;
        if self.keys.live.contains_key(&key) {
            let how = "`isos account key label` renames it, `remove` takes it away";
            return Err(refuse(format!("it is a key of account {account} already: {how}")));
        }
        if self.keys.of(account).count() >= KEYS_MAX {
            let what = format!("account {account} has {KEYS_MAX} keys, which is the limit");
            return Err(refuse(format!("{what}: remove one first")));
        }
        self.use_up(once, effects)?;
        let added = self.now;
        let record = KeyRecord { key, account, label, rights, kind, added, removed: None };
        if kind == KeyKind::Recovery {
            // There is one phrase: whoever makes another believes the first to be lost.
            let old = self.keys.of(account).find(|key| key.kind == kind).map(|key| key.key);
            if let Some(old) = old {
                // What was asked with it is not wanted either.
                self.forget_recovery(account, effects);
                self.take_key(old, effects);
            }
            self.audit(Some(account), Deed::RecoverySet { key }, effects);
        } else {
            let (label, rights) = (record.label.clone(), record.rights.clone());
            self.audit(Some(account), Deed::KeyAdded { key, label, rights }, effects);
        }
        effects.push(Effect::Keep(Change::Key(Box::new(record.clone()))));
        self.keys.live.insert(key, record);
        Ok(Reply::Done)
    }

    fn belongs_to_no_other(&self, key: &PublicKey, account: AccountId) -> Result<(), Problem> {
        match self.keys.live.get(key) {
            Some(known) if known.account != account => {
                Err(refuse("it is a key of another account: use a fresh one"))
            }
            _ => Ok(()),
        }
    }

    /// The key of an account, which must be one of its.
    fn key_of(&self, account: AccountId, key: &PublicKey) -> Result<&KeyRecord, Problem> {
        let found = self.keys.live.get(key).filter(|found| found.account == account);
        let none = || {
            let message = format!("account {account} has no key {key}");
            Problem::new(ProblemCode::NotFound, message)
        };
        found.ok_or_else(none)
    }

    fn label_key(
        &mut self,
        account: AccountId,
        key: PublicKey,
        label: String,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        check_label(&label).map_err(|why| Problem::new(ProblemCode::Usage, why))?;
        let known = self.key_of(account, &key)?;
        if known.label == label {
            return Ok(Reply::Done);
        }
        let record = KeyRecord { label: label.clone(), ..known.clone() };
        effects.push(Effect::Keep(Change::Key(Box::new(record.clone()))));
        self.keys.live.insert(key, record);
        self.audit(Some(account), Deed::KeyLabelled { key, label }, effects);
        Ok(Reply::Done)
    }

    fn remove_key(
        &mut self,
        account: AccountId,
        key: PublicKey,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let kind = self.key_of(account, &key)?.kind;
        let person = |record: &&KeyRecord| record.kind == KeyKind::Person;
        let persons = self.keys.of(account).filter(person).count();
        let has_recovery = self.keys.of(account).any(|it| it.kind == KeyKind::Recovery);
        match kind {
            KeyKind::Person if persons == 1 && !has_recovery => {
                return Err(refuse(
                    "it is the only key of the account: add another first, or `isos account \
                     recovery create`",
                ));
            }
            KeyKind::Recovery if persons == 0 => {
                return Err(refuse("without it nobody could ever have the account: add a key"));
            }
            KeyKind::Person => {}
            // What was asked with it is not wanted either.
            KeyKind::Recovery => self.forget_recovery(account, effects),
        }
        self.take_key(key, effects);
        Ok(Reply::Done)
    }

    /// Removes a key: what was made with it is void from now on.
    fn take_key(&mut self, key: PublicKey, effects: &mut Vec<Effect>) {
        let Some(mut record) = self.keys.live.remove(&key) else { return };
        record.removed = Some(self.now);
        self.audit(Some(record.account), Deed::KeyRemoved { key }, effects);
        effects.push(Effect::Keep(Change::Key(Box::new(record))));
    }

    /// Somebody has shown the recovery key `by`, and wants the account for `key`.
    fn ask_recovery(
        &mut self,
        by: &PublicKey,
        key: PublicKey,
        label: String,
        once: Option<Once>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        check_label(&label).map_err(|why| Problem::new(ProblemCode::Usage, why))?;
        let known = self.keys.live.get(by).filter(|known| known.kind == KeyKind::Recovery);
        let Some(account) = known.map(|known| known.account) else {
            let message = "this phrase recovers no account here: is a word wrong, or was it \
                           replaced by a later one?";
            return Err(Problem::new(ProblemCode::Unauthorised, message));
        };
        self.belongs_to_no_other(&key, account)?;
        let waits = self.keys.rings.get(&account).and_then(|ring| ring.asked.as_ref());
        if let Some(asked) = waits {
            if asked.key == key {
                return Ok(Reply::Recovery { account, due: asked.due });
            }
            return Err(refuse(format!(
                "a recovery for another key waits until {}: a present key of the account can stop \
                 it (`isos account recovery stop`)",
                asked.due
            )));
        }
        self.use_up(once, effects)?;
        self.book.by = Actor::Key { account, key: *by };
        let (at, due) = (self.now, self.now + self.config.recovery_delay);
        self.audit(Some(account), Deed::RecoveryAsked { key, due }, effects);
        let ring = self.keys.ring(account);
        ring.asked = Some(Asked { key, label, at, due });
        self.keys.due.insert((due, account));
        self.write_ring(account, effects);
        // Without a delay it is done at once.
        self.recover_due(effects);
        Ok(Reply::Recovery { account, due })
    }

    fn stop_recovery(
        &mut self,
        account: AccountId,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let ring = self.keys.rings.get(&account);
        if ring.is_none_or(|ring| ring.asked.is_none()) {
            let message = format!("no recovery of account {account} waits");
            return Err(Problem::new(ProblemCode::NotFound, message));
        }
        self.forget_recovery(account, effects);
        Ok(Reply::Done)
    }

    fn forget_recovery(&mut self, account: AccountId, effects: &mut Vec<Effect>) {
        let asked = self.keys.rings.get_mut(&account).and_then(|ring| ring.asked.take());
        let Some(asked) = asked else { return };
        self.keys.due.remove(&(asked.due, account));
        self.audit(Some(account), Deed::RecoveryStopped { key: asked.key }, effects);
        self.write_ring(account, effects);
    }

    fn write_ring(&mut self, account: AccountId, effects: &mut Vec<Effect>) {
        let ring = self.keys.ring(account).clone();
        effects.push(Effect::Keep(Change::Keyring(Box::new(ring))));
    }

    /// Recoveries whose time has come: one key remains, and no token.
    pub(super) fn recover_due(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, account)) = self.keys.due.first() {
            if at > self.now {
                break;
            }
            self.keys.due.pop_first();
            let Some(asked) = self.keys.ring(account).asked.take() else { continue };
            // Somebody else's by now: nobody takes a key into an account of theirs.
            if self.belongs_to_no_other(&asked.key, account).is_err() {
                self.audit(Some(account), Deed::RecoveryStopped { key: asked.key }, effects);
                self.write_ring(account, effects);
                continue;
            }
            let old: Vec<_> = self.keys.of(account).cloned().collect();
            let recovery = old.iter().find(|key| key.kind == KeyKind::Recovery);
            let rights = recovery.map_or_else(|| Right::OWN.to_vec(), |key| key.rights.clone());
            for key in &old {
                self.take_key(key.key, effects);
            }
            let Asked { key, label, .. } = asked;
            let (kind, added) = (KeyKind::Person, self.now);
            let record = KeyRecord { key, account, label, rights, kind, added, removed: None };
            effects.push(Effect::Keep(Change::Key(Box::new(record.clone()))));
            self.keys.live.insert(key, record);
            self.keys.ring(account).void_before = self.now;
            self.audit(Some(account), Deed::Recovered { key }, effects);
            self.write_ring(account, effects);
        }
    }

    /// A host came with this ticket, or without one, and is let in.
    pub(super) fn note_admission(
        &mut self,
        id: HostId,
        before: Option<AccountId>,
        ticket: Option<Vec<Vec<u8>>>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let account = host.record.account;
        let was_out = std::mem::take(&mut host.record.suspended);
        let last = ticket.as_ref().and_then(|ids| ids.last()).map(|id| token_id(id));
        if let Some(ticket) = ticket {
            self.came_by.leave(id, &host.record.ticket);
            self.came_by.enter(id, &ticket);
            host.record.ticket = ticket;
        }
        self.book.by = Actor::Host { host: id };
        match before {
            Some(before) if before != account => {
                let deed = Deed::HostMoved { host: id, from: before };
                self.audit(Some(account), deed.clone(), effects);
                self.audit(Some(before), deed, effects);
            }
            Some(_) if !was_out => {}
            _ => self.audit(Some(account), Deed::HostAdmitted { host: id, ticket: last }, effects),
        }
        self.book.by = Actor::Complex;
    }
}
