//! Where transfer ids come from: from what they are about, so that doing a thing twice pays once.
//!
//! A transfer id is 128 bits: a tag in the top 8, and below it
//!
//! | tag | bits 119..96 | bits 95..64 | bits 63..0 | transfer |
//! |---|---|---|---|---|
//! | `01` | 0 | 0 | job | the hold of a job |
//! | `02` | 0 | 0 | job | the release of what is left of it |
//! | `03` | 0 | 0 | job | the hold of pay that is not mature when the job is over |
//! | `04` | 0 | 0 | job | the release of what is left of that one |
//! | `05` | the ledger's length || account | the hold of what an account's storage may cost |
//! | `06` | the ledger's length || account | the release of what is left of such a hold |
//! | `10` | 0 | 0 | bill | charge from the hold to escrow |
//! | `11` | 0 | 0 | bill | pay from escrow to the host's account |
//! | `12` | 0 | 0 | bill | fee from escrow |
//! | `13` | 0 | 0 | bill | rounding from escrow |
//! | `14` | 0 | 0 | payout | the hold of a payout's credits |
//! | `15` | 0 | 0 | payout | the rail has paid: they are gone |
//! | `16` | 0 | 0 | payout | the rail has refused: they go back |
//! | `17` `18` `19` | 0 | 0 | payout | the same three of the money that it is exchanged for |
//! | `1a` | 0 | number | lease | rent of a storage lease, from the hold to escrow |
//! | `1b` `1c` `1d` | 0 | number | lease | of that, pay, fee and rounding from escrow |
//! | `20` | 120 bits of BLAKE3 of the hold's id ||| expiry of a hold |
//! | `30` | 120 bits of BLAKE3 of account and key ||| what a person asked for under a key |
//! | `31` | 120 bits of BLAKE3 of rail and the rail's id ||| credits for a deposit |
//! | `32` | 120 bits of BLAKE3 of rail and the rail's id ||| the money of a deposit |
//!
//! 120 bits of a hash do not collide before 2^60 transfers.

use isos_base::{AccountId, BillId, JobId, LeaseId, PayoutId, TransferId};

use super::chain::fingerprint;

const TAG_SHIFT: u32 = 120;

const JOB_HOLD: u8 = 0x01;
const JOB_RELEASE: u8 = 0x02;
const JOB_HELD: u8 = 0x03;
const JOB_FORFEIT: u8 = 0x04;
const STORAGE_HOLD: u8 = 0x05;
const STORAGE_RELEASE: u8 = 0x06;
const PAYOUT: u8 = 0x14;
const PAYOUT_MONEY: u8 = 0x17;
const EXPIRY: u8 = 0x20;
const ASKED: u8 = 0x30;
const DEPOSIT: u8 = 0x31;
const DEPOSIT_MONEY: u8 = 0x32;

/// The four steps of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Charge = 0x10,
    Pay = 0x11,
    Fee = 0x12,
    Rounding = 0x13,
}

/// The four steps of the rent of a storage lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RentStep {
    Charge = 0x1a,
    Pay = 0x1b,
    Fee = 0x1c,
    Rounding = 0x1d,
}

const fn tagged(tag: u8, rest: u128) -> TransferId {
    TransferId((tag as u128) << TAG_SHIFT | rest)
}

fn hashed(tag: u8, hash: isos_base::Guid) -> TransferId {
    let mut low = [0; 16];
    low.copy_from_slice(&hash.0[..16]);
    tagged(tag, u128::from_le_bytes(low) & ((1 << TAG_SHIFT) - 1))
}

/// The hold of a job.
#[must_use]
pub const fn job_hold(job: JobId) -> TransferId {
    tagged(JOB_HOLD, job.0 as u128)
}

/// The release of what is left of a job's hold.
#[must_use]
pub const fn job_release(job: JobId) -> TransferId {
    tagged(JOB_RELEASE, job.0 as u128)
}

/// The hold of pay that is not mature when the job is over.
#[must_use]
pub const fn job_held(job: JobId) -> TransferId {
    tagged(JOB_HELD, job.0 as u128)
}

/// The release of what is left of it: hosts that were caught do not get it.
#[must_use]
pub const fn job_forfeit(job: JobId) -> TransferId {
    tagged(JOB_FORFEIT, job.0 as u128)
}

/// Two halves: what tells several apart, and what they are about.
const fn numbered(tag: u8, number: u64, about: u64) -> TransferId {
    // A ledger of 2^56 transfers would take a million of them a second for 2,000 years.
    tagged(tag, ((number as u128) << 64 | about as u128) & ((1 << TAG_SHIFT) - 1))
}

/// The hold of what an account's storage may cost, made when the ledger had `length` transfers:
/// there is one at a time, and each change of the leases makes another.
#[must_use]
pub const fn storage_hold(account: AccountId, length: u64) -> TransferId {
    numbered(STORAGE_HOLD, length, account.0)
}

/// The release of what is left of such a hold.
#[must_use]
pub const fn storage_release(account: AccountId, length: u64) -> TransferId {
    numbered(STORAGE_RELEASE, length, account.0)
}

/// The account of whose storage this is the hold, if it is one.
#[must_use]
pub fn storage_account(hold: TransferId) -> Option<AccountId> {
    let is_one = hold.0 >> TAG_SHIFT == u128::from(STORAGE_HOLD);
    is_one.then_some(AccountId((hold.0 & u128::from(u64::MAX)) as u64))
}

/// A step of a settlement of a storage lease.
pub(super) const fn rent_step(step: RentStep, lease: LeaseId, number: u32) -> TransferId {
    numbered(step as u8, number as u64, lease.0)
}

/// What `account` asked for under a key of its own choice: a grant, a gift.
#[must_use]
pub fn asked(account: AccountId, key: &str) -> TransferId {
    hashed(ASKED, fingerprint(&(ASKED, account, key)))
}

/// The transfers of one leg of a payout: of its credits, or of the money that they become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutLeg {
    /// It is set aside.
    pub hold: TransferId,
    /// The rail has paid: it is gone.
    pub post: TransferId,
    /// The rail has refused: it goes back.
    pub void: TransferId,
}

impl PayoutLeg {
    const fn of(first: u8, payout: PayoutId) -> Self {
        let id = payout.0 as u128;
        Self { hold: tagged(first, id), post: tagged(first + 1, id), void: tagged(first + 2, id) }
    }
}

/// The credits of a payout.
#[must_use]
pub const fn payout(payout: PayoutId) -> PayoutLeg {
    PayoutLeg::of(PAYOUT, payout)
}

/// The money that a payout's credits are exchanged for.
#[must_use]
pub const fn payout_money(payout: PayoutId) -> PayoutLeg {
    PayoutLeg::of(PAYOUT_MONEY, payout)
}

/// Credits for what came in over a rail, which names it by an id of its own.
#[must_use]
pub fn deposit(rail: &str, id: &str) -> TransferId {
    hashed(DEPOSIT, fingerprint(&(DEPOSIT, rail, id)))
}

/// The money of a deposit.
#[must_use]
pub fn deposit_money(rail: &str, id: &str) -> TransferId {
    hashed(DEPOSIT_MONEY, fingerprint(&(DEPOSIT_MONEY, rail, id)))
}

/// A step of the posting of a bill.
pub(super) const fn bill_step(step: Step, bill: BillId) -> TransferId {
    tagged(step as u8, bill.0 as u128)
}

/// The expiry of a hold.
pub(super) fn expiry(hold: TransferId) -> TransferId {
    hashed(EXPIRY, fingerprint(&(EXPIRY, hold)))
}

/// The job whose hold this is, if it is one.
pub(super) fn job_of_hold(hold: TransferId) -> Option<JobId> {
    let job = JobId(u64::try_from(hold.0 & u128::from(u64::MAX)).ok()?);
    (job_hold(job) == hold).then_some(job)
}
