//! Leases are made: what must hold before, and what they are then.

use isos_base::api::{Problem, ProblemCode, StorageRequest};
use isos_base::audit::Deed;
use isos_base::record::StorageRecord;
use isos_base::storage::{
    STORAGE_BYTES_MAX, STORAGE_BYTES_MIN, STORAGE_HOSTS_MAX, STORAGE_TERM_MAX, STORAGE_TERM_MIN,
    StorageState,
};
use isos_base::{AccountId, Bytes, HostId, JobId, LeaseId, MicroCredits, Time};

use super::super::{Complex, Effect, Reply, request_hash};
use super::{ACCOUNT_LEASES_MAX, LEASES_MAX};
use crate::ledger::LedgerError;

pub(super) fn refused(message: String) -> Problem {
    Problem::new(ProblemCode::Refused, message)
}

pub(super) fn usage(message: String) -> Problem {
    Problem::new(ProblemCode::Usage, message)
}

/// Whether a lease may be of this size.
pub(super) fn check_bytes(bytes: Bytes) -> Result<(), Problem> {
    if (STORAGE_BYTES_MIN..=STORAGE_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    Err(usage(format!(
        "a lease is of {STORAGE_BYTES_MIN} to {STORAGE_BYTES_MAX} on a host, not {bytes}"
    )))
}

/// Whether a lease may last until then.
pub(super) fn check_end(now: Time, until: Time) -> Result<(), Problem> {
    if (now + STORAGE_TERM_MIN..=now + STORAGE_TERM_MAX).contains(&until) {
        return Ok(());
    }
    Err(usage(format!(
        "a lease lasts from {STORAGE_TERM_MIN} to {STORAGE_TERM_MAX} from now and is then renewed; \
         this one would end at {until}, it is {now}"
    )))
}

impl Complex {
    pub(super) fn lease_storage(
        &mut self,
        account: AccountId,
        mut request: StorageRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let key = request.key.take();
        let hash = request_hash(&request);
        if let Some(first) = self.remembered(account, key.as_deref(), hash)? {
            let made = self.storage.leases.range(LeaseId(first.0)..);
            let made = made.map(|(_, lease)| lease).take(STORAGE_HOSTS_MAX);
            let made = made.filter(|lease| lease.first.0 == first.0 && lease.account == account);
            return Ok(self.leased(made.cloned().collect::<Vec<_>>()));
        }
        self.room_for_key(account, key.as_deref())?;
        let count = self.check_request(account, &request)?;
        let hosts = self.choose_keepers(account, &request)?;
        assert_eq!(hosts.len(), count, "as many as were asked for");
        let first = LeaseId(self.last_lease.0 + 1);
        let mut leases = Vec::new();
        for (id, host) in (first.0..).map(LeaseId).zip(hosts) {
            leases.push(self.new_lease((id, first), account, host, &request));
        }
        let cost: i128 = leases.iter().map(|lease| i128::from(lease.reserved().0)).sum();
        let cost = MicroCredits(i64::try_from(cost).unwrap_or(i64::MAX));
        let taken = self.take_in(account, leases.clone(), Vec::new(), effects);
        taken.map_err(|error| too_dear(&error, cost))?;
        self.last_lease = LeaseId(self.last_lease.0 + leases.len() as u64);
        let (bytes, until, held) = (request.bytes, request.until, self.storage_held(account));
        let deed = Deed::StorageLeased { first, leases: leases.len() as u32, bytes, until, held };
        self.audit(Some(account), deed, effects);
        self.remember(account, key, hash, JobId(first.0), effects);
        Ok(self.leased(leases))
    }

    /// A lease that begins now.
    pub(super) fn new_lease(
        &mut self,
        (id, first): (LeaseId, LeaseId),
        account: AccountId,
        host: HostId,
        request: &StorageRequest,
    ) -> StorageRecord {
        self.count_keeper(host);
        let keeper = &self.storage.keepers[&host];
        let (shown, price) = (keeper.record.present, self.price_at(&keeper.record));
        StorageRecord {
            id,
            first,
            account,
            host,
            holder: request.holder,
            class: request.class,
            bytes: request.bytes,
            price,
            state: StorageState::Open,
            begun: self.now,
            issued: self.storage.next_word(self.now),
            until: request.until,
            settled: self.now,
            shown,
            settlements: 0,
            charged: MicroCredits::ZERO,
            paid: MicroCredits::ZERO,
            told: false,
        }
    }

    /// Everything that must hold before hosts are looked at; how many leases are wanted.
    fn check_request(
        &self,
        account: AccountId,
        request: &StorageRequest,
    ) -> Result<usize, Problem> {
        check_bytes(request.bytes)?;
        check_end(self.now, request.until)?;
        let named = request.on.len();
        let count = if named > 0 { named } else { usize::from(request.hosts) };
        if (named > 0) == (request.hosts > 0) {
            let why = "say how many `hosts` the complex shall choose, or name them by `on`";
            return Err(usage(why.into()));
        }
        let lists = [&request.on, &request.beside, &request.avoid];
        if count > STORAGE_HOSTS_MAX || lists.iter().any(|list| list.len() > STORAGE_HOSTS_MAX) {
            return Err(usage(format!(
                "a request leases of at most {STORAGE_HOSTS_MAX} hosts and names as many"
            )));
        }
        let mine = self.storage.purses.get(&account);
        let leases = mine.map_or(0, super::Purse::count);
        if leases + count > ACCOUNT_LEASES_MAX {
            return Err(refused(format!(
                "account {account} has {leases} storage leases, the limit is \
                 {ACCOUNT_LEASES_MAX}: make one for each host and let many objects share it"
            )));
        }
        let all = u128::from(request.bytes.0) * count as u128;
        self.check_account_bytes(account, all)?;
        if self.storage.leases.len() + count > LEASES_MAX {
            let message = format!("there are {LEASES_MAX} storage leases, the limit: try later");
            return Err(Problem::new(ProblemCode::Busy, message));
        }
        Ok(count)
    }

    /// Whether an account may lease so many bytes more.
    pub(super) fn check_account_bytes(
        &self,
        account: AccountId,
        more: u128,
    ) -> Result<(), Problem> {
        let has = self.storage.purses.get(&account).map_or(Bytes::ZERO, |purse| purse.bytes);
        let max = self.config.account_storage_max;
        if u128::from(has.0) + more > u128::from(max.0) {
            return Err(refused(format!(
                "account {account} has leased {has}, the limit is {max}: release some; the \
                 operator of the complex can raise --account-storage"
            )));
        }
        Ok(())
    }

    /// What is set aside for all storage of an account.
    pub(super) fn storage_held(&self, account: AccountId) -> MicroCredits {
        self.storage.purses.get(&account).map_or(MicroCredits::ZERO, |purse| purse.reserved)
    }
}

/// The account has too little.
pub(super) fn too_dear(error: &LedgerError, cost: MicroCredits) -> Problem {
    match error {
        LedgerError::InsufficientFunds { available, needed, .. } => {
            let lacking = MicroCredits(needed.0.saturating_sub(available.0));
            refused(format!(
                "the leases cost {cost} credits until their ends, the account lacks {lacking}: \
                 lease less or for a shorter time"
            ))
        }
        other => refused(other.to_string()),
    }
}
