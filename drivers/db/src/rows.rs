//! Each durable record as a row: which columns it has, how it is bound, how it is read.
//!
//! The shapes are `isos_base::record`'s; the tables are `migrations/`'s.

mod bank;
mod market;
mod reason;
mod saved;
mod slice;
mod storage;

mod rights;

use isos_base::guid::Guid;
use isos_base::ids::{AccountId, BillId, JobId, LeaseId};
use isos_base::market::ReservationRecord;
use isos_base::price::Price;
use isos_base::record::{
    AccountRecord, BillRecord, Held, HoldRecord, HostRecord, IdempotencyRecord, JobRecord,
    JobState, LeaseRecord, LeaseState, ResultBatch, StateChunk, TransferKind, TransferRecord,
    Trust, VoteBatch,
};
use isos_base::time::Time;
use isos_base::units::{Fuel, MicroCredits};

use self::reason::{kind, reason, reason_of};
pub(crate) use self::rights::{audit_head, audit_own};
use crate::cells::{BadRow, Binder, Reader, transfer_bytes};
use crate::sql::Row;
use crate::table::{Again, Table};

/// Rows of one statement where rows are small.
const MANY: usize = 256;
/// Rows of one statement where a row may have megabytes.
const FEW: usize = 16;

/// A record that has a table.
pub(crate) trait Record: Sized {
    /// Its table.
    const TABLE: Table;

    /// Binds all columns, in order.
    fn bind(&self, to: &mut Binder);

    /// Reads all columns, in order.
    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow>;

    /// The record in a row that was selected with [`Table::select`].
    fn of(row: &Row) -> Result<Self, BadRow> {
        Self::read(&mut Reader::new(Self::TABLE, row))
    }
}

impl Record for AccountRecord {
    const TABLE: Table = Table {
        name: "accounts",
        columns: &[
            "id",
            "name",
            "key",
            "debits_pending",
            "debits_posted",
            "credits_pending",
            "credits_posted",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.text(&self.name);
        to.maybe_bytes(self.key.map(|key| key.0));
        to.signed(self.debits_pending.0);
        to.signed(self.debits_posted.0);
        to.signed(self.credits_pending.0);
        to.signed(self.credits_posted.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: AccountId(from.number()?),
            name: from.text()?,
            key: from.maybe_key()?,
            debits_pending: MicroCredits(from.signed()?),
            debits_posted: MicroCredits(from.signed()?),
            credits_pending: MicroCredits(from.signed()?),
            credits_posted: MicroCredits(from.signed()?),
        })
    }
}

impl Record for HostRecord {
    const TABLE: Table = Table {
        name: "hosts",
        columns: &[
            "id",
            "account",
            "name",
            "good",
            "bad",
            "lost",
            "barred",
            "joined",
            "seen",
            "spec",
            "passed",
            "results",
            "ticket",
            "no_work",
            "successor",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(self.id.0.0);
        to.number(self.account.0);
        to.text(&self.spec.name);
        to.number(self.good);
        to.number(self.bad);
        to.number(self.lost);
        to.maybe_text(self.barred.as_ref());
        to.time(self.joined);
        to.time(self.seen);
        to.packed(&self.spec);
        to.number(self.trust.passed);
        to.number(self.trust.results);
        to.maybe_packed((!self.ticket.is_empty()).then_some(&self.ticket));
        to.flag(self.suspended);
        to.maybe_bytes(self.successor.map(|next| next.0.0));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let id = from.host()?;
        let account = AccountId(from.number()?);
        let _name = from.text()?;
        Ok(Self {
            id,
            account,
            good: from.number()?,
            bad: from.number()?,
            lost: from.number()?,
            barred: from.maybe_text()?,
            joined: from.time()?,
            seen: from.time()?,
            spec: from.packed()?,
            trust: Trust { passed: from.number()?, results: from.number()? },
            ticket: from.maybe_packed()?.unwrap_or_default(),
            suspended: from.flag()?,
            successor: from.maybe_host()?,
        })
    }
}

fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Active => "active",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

impl Record for JobRecord {
    const TABLE: Table = Table {
        name: "jobs",
        columns: &[
            "id",
            "account",
            "name",
            "tasks",
            "state",
            "price",
            "hold",
            "submitted",
            "ended",
            "spent",
            "done",
            "failed",
            "given_up",
            "why",
            "spec",
            "redone",
            "unchecked",
            "pinned",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.account.0);
        to.text(&self.spec.name);
        to.number(self.spec.count.into());
        to.text(job_state(self.state));
        to.number(self.price.0.into());
        to.bytes(transfer_bytes(self.hold));
        to.time(self.submitted);
        to.maybe_time(self.ended);
        to.signed(self.spent.0);
        to.number(self.done.into());
        to.number(self.failed.into());
        to.number(self.given_up.into());
        to.maybe_text(self.why.as_ref());
        to.packed(&self.spec);
        to.maybe_packed((!self.redone.is_empty()).then_some(&self.redone));
        to.number(self.unchecked.into());
        to.maybe_packed(self.pinned.as_ref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let id = JobId(from.number()?);
        let account = AccountId(from.number()?);
        let _name = from.text()?;
        let _tasks: u32 = from.number()?;
        let state = match from.text()?.as_str() {
            "active" => JobState::Active,
            "done" => JobState::Done,
            "failed" => JobState::Failed,
            "cancelled" => JobState::Cancelled,
            other => return Err(from.bad(format!("{other:?}, which is no state"))),
        };
        Ok(Self {
            id,
            account,
            state,
            price: Price(from.number()?),
            hold: from.transfer()?,
            submitted: from.time()?,
            ended: from.maybe_time()?,
            spent: MicroCredits(from.signed()?),
            done: from.number()?,
            failed: from.number()?,
            given_up: from.number()?,
            why: from.maybe_text()?,
            // Without a slice, as specifications were written before there were any.
            spec: from.packed_grown(&[0])?,
            redone: from.maybe_packed()?.unwrap_or_default(),
            unchecked: from.number()?,
            pinned: from.maybe_packed()?,
        })
    }
}

impl Record for StateChunk {
    const TABLE: Table = Table {
        name: "states",
        columns: &["job", "chunk", "bits"],
        key: 2,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.job.0);
        to.number(self.chunk.into());
        to.bytes(self.bits.as_slice());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self { job: JobId(from.number()?), chunk: from.number()?, bits: from.bytes()? })
    }
}

impl Record for LeaseRecord {
    const TABLE: Table = Table {
        name: "leases",
        columns: &[
            "id",
            "job",
            "host",
            "account",
            "state",
            "deadline",
            "accepted",
            "rejected",
            "fuel",
            "bill",
            "next_votes",
            "ranges",
            "held_passed",
            "held_until",
            "price",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.job.0);
        to.bytes(self.host.0.0);
        to.number(self.account.0);
        to.text(match self.state {
            LeaseState::Open => "open",
            LeaseState::Returned => "returned",
            LeaseState::Settled => "settled",
        });
        to.time(self.deadline);
        to.number(self.accepted.into());
        to.number(self.rejected.into());
        to.number(self.fuel.0);
        to.maybe_number(self.bill.map(|bill| bill.0));
        to.number(self.next_votes.into());
        to.packed(&self.ranges);
        to.maybe_number(self.held.map(|held| held.passed));
        to.maybe_time(self.held.map(|held| held.until));
        to.number(self.price.0.into());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: LeaseId(from.number()?),
            job: JobId(from.number()?),
            host: from.host()?,
            account: AccountId(from.number()?),
            state: match from.text()?.as_str() {
                "open" => LeaseState::Open,
                "returned" => LeaseState::Returned,
                "settled" => LeaseState::Settled,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            deadline: from.time()?,
            accepted: from.number()?,
            rejected: from.number()?,
            fuel: Fuel(from.number()?),
            bill: from.maybe_number()?.map(BillId),
            next_votes: from.number()?,
            ranges: from.packed()?,
            held: match (from.maybe_number()?, from.maybe_time()?) {
                (Some(passed), Some(until)) => Some(Held { passed, until }),
                (None, None) => None,
                _ => return Err(from.bad("half of when its pay matures")),
            },
            price: Price(from.number()?),
        })
    }
}

impl Record for BillRecord {
    const TABLE: Table = Table {
        name: "bills",
        columns: &[
            "id", "job", "account", "leases", "tasks", "fuel", "price", "opened", "posted",
            "charged", "paid", "fee",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.job.0);
        to.number(self.account.0);
        to.number(self.leases.into());
        to.number(self.tasks);
        to.number(self.fuel.0);
        to.number(self.price.0.into());
        to.time(self.opened);
        to.maybe_time(self.posted);
        to.signed(self.charged.0);
        to.signed(self.paid.0);
        to.signed(self.fee.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: BillId(from.number()?),
            job: JobId(from.number()?),
            account: AccountId(from.number()?),
            leases: from.number()?,
            tasks: from.number()?,
            fuel: Fuel(from.number()?),
            price: Price(from.number()?),
            opened: from.time()?,
            posted: from.maybe_time()?,
            charged: MicroCredits(from.signed()?),
            paid: MicroCredits(from.signed()?),
            fee: MicroCredits(from.signed()?),
        })
    }
}

impl Record for ResultBatch {
    const TABLE: Table = Table {
        name: "results",
        columns: &["job", "batch", "first_task", "last_task", "packed"],
        key: 2,
        again: Again::MustEqual("packed"),
        rows_max: FEW,
    };

    fn bind(&self, to: &mut Binder) {
        let tasks = || self.results.iter().map(|accepted| u64::from(accepted.task));
        to.number(self.job.0);
        to.number(self.batch);
        to.number(tasks().min().unwrap_or(0));
        to.number(tasks().max().unwrap_or(0));
        to.packed(&self.results);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let job = JobId(from.number()?);
        let batch = from.number()?;
        let _bounds: (u32, u32) = (from.number()?, from.number()?);
        Ok(Self { job, batch, results: from.packed()? })
    }
}

impl Record for VoteBatch {
    const TABLE: Table = Table {
        name: "votes",
        columns: &["lease", "batch", "job", "packed"],
        key: 2,
        again: Again::MustEqual("packed"),
        rows_max: FEW,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.lease.0);
        to.number(self.batch.into());
        to.number(self.job.0);
        to.packed(&self.results);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            lease: LeaseId(from.number()?),
            batch: from.number()?,
            job: JobId(from.number()?),
            results: from.packed()?,
        })
    }
}

impl Record for TransferRecord {
    const TABLE: Table = Table {
        name: "transfers",
        columns: &[
            "seq", "id", "kind", "debit", "credit", "amount", "hold", "reason", "about", "note",
            "at", "hash",
        ],
        key: 1,
        // The hash covers everything else.
        again: Again::MustEqual("hash"),
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        let (name, about, note) = reason(&self.reason);
        to.number(self.seq);
        to.bytes(transfer_bytes(self.id));
        to.text(kind(self.kind));
        to.number(self.debit.0);
        to.number(self.credit.0);
        to.signed(self.amount.0);
        to.maybe_bytes(self.hold.map(transfer_bytes));
        to.text(name);
        to.maybe_number(about);
        to.maybe_text(note);
        to.time(self.at);
        to.bytes(self.hash.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let seq = from.number()?;
        let id = from.transfer()?;
        let kind = match from.text()?.as_str() {
            "direct" => TransferKind::Direct,
            "hold" => TransferKind::Hold,
            "post" => TransferKind::Post,
            "void" => TransferKind::Void,
            "expire" => TransferKind::Expire,
            other => return Err(from.bad(format!("{other:?}, which is no kind"))),
        };
        let debit = AccountId(from.number()?);
        let credit = AccountId(from.number()?);
        let amount = MicroCredits(from.signed()?);
        let hold = from.maybe_transfer()?;
        let (name, about, note) = (from.text()?, from.maybe_number()?, from.maybe_text()?);
        let reason = reason_of(&name, about, note)
            .ok_or_else(|| from.bad(format!("what does not belong to the reason {name:?}")))?;
        let (at, hash) = (from.time()?, from.guid()?);
        Ok(Self { seq, id, kind, debit, credit, amount, hold, reason, at, hash })
    }
}

impl Record for HoldRecord {
    const TABLE: Table = Table {
        name: "holds",
        columns: &["id", "debit", "credit", "remaining", "expires", "closed"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(transfer_bytes(self.id));
        to.number(self.debit.0);
        to.number(self.credit.0);
        to.signed(self.remaining.0);
        to.maybe_time(self.expires);
        to.flag(self.closed);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: from.transfer()?,
            debit: AccountId(from.number()?),
            credit: AccountId(from.number()?),
            remaining: MicroCredits(from.signed()?),
            expires: from.maybe_time()?,
            closed: from.flag()?,
        })
    }
}

impl Record for IdempotencyRecord {
    const TABLE: Table = Table {
        name: "idempotency",
        columns: &["account", "key", "request", "job", "expires"],
        key: 2,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.account.0);
        to.text(&self.key);
        to.bytes(self.request.0);
        to.number(self.job.0);
        to.time(self.expires);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            account: AccountId(from.number()?),
            key: from.text()?,
            request: from.guid()?,
            job: JobId(from.number()?),
            expires: from.time()?,
        })
    }
}

/// A revoked token, when it would have ended by itself, and whose it is if it was narrowed.
impl Record for (Vec<u8>, Time, Option<AccountId>) {
    const TABLE: Table = Table {
        name: "revocations",
        columns: &["id", "expires", "account"],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.bytes(self.0.as_slice());
        to.time(self.1);
        to.maybe_number(self.2.map(|account| account.0));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok((from.bytes()?, from.time()?, from.maybe_number()?.map(AccountId)))
    }
}

/// The last position and hash of the ledger.
pub(crate) fn ledger_head(row: &Row) -> Result<(u64, Guid), BadRow> {
    const HEAD: Table = Table { columns: &["seq", "hash"], ..TransferRecord::TABLE };
    let mut from = Reader::new(HEAD, row);
    Ok((from.number()?, from.guid()?))
}

/// A job and the number of its last result batch, if there is one.
pub(crate) fn last_batch(row: &Row) -> Result<(JobId, Option<u64>), BadRow> {
    const LAST: Table = Table { columns: &["job", "batch"], ..ResultBatch::TABLE };
    let mut from = Reader::new(LAST, row);
    Ok((JobId(from.number()?), from.maybe_number()?))
}

/// An account's sum, whose parts are told by how many times 2^20 and what is left of it.
pub(crate) fn halves(row: &Row) -> Result<(AccountId, i128), BadRow> {
    const SUM: Table = Table { columns: &["account", "high", "low"], ..ReservationRecord::TABLE };
    let mut from = Reader::new(SUM, row);
    let account = AccountId(from.number()?);
    Ok((account, (i128::from(from.signed()?) << 20) + i128::from(from.signed()?)))
}

/// The highest number in a table, 0 if it is empty.
pub(crate) fn highest(table: Table, row: &Row) -> Result<u64, BadRow> {
    Ok(Reader::new(table, row).maybe_number()?.unwrap_or(0))
}
