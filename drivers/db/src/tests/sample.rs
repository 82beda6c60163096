//! Random records in a small space of keys, so that they meet.

use isos_base::audit::{Actor, AuditRecord, Deed};
use isos_base::fragment::StorageClass;
use isos_base::guid::Guid;
use isos_base::host::HostSpec;
use isos_base::ids::{
    AccountId, BillId, HostId, JobId, LeaseId, PayoutId, ProposalId, ReservationId, SliceId,
    TransferId,
};
use isos_base::job::{JobSpec, Mount, Verify};
use isos_base::key::PublicKey;
use isos_base::keyring::{Asked, KeyKind, KeyRecord, KeyringRecord};
use isos_base::market::{
    BondRecord, BondState, FirmRecord, HourPrice, MarketRecord, ReservationRecord,
    ReservationState, TickPrice,
};
use isos_base::price::{Price, StoragePrice};
use isos_base::random::Random;
use isos_base::ranges::TaskRange;
use isos_base::record::{
    Accepted, AccountRecord, BillRecord, Change, EarnedRecord, Held, HoldRecord, HostRecord,
    IdempotencyRecord, JobRecord, JobState, KeeperRecord, KeptCheckpoint, LeaseRecord, LeaseState,
    PayoutRecord, PayoutState, Pinned, ProposalRecord, ProposalState, Proposed, Reason, Referee,
    ResultBatch, Resumed, SavedRecord, SliceRecord, StateChunk, StorageRecord, TransferKind,
    TransferRecord, Trust, VoteBatch,
};
use isos_base::right::Right;
use isos_base::slice::{Replaced, SliceState, Sliver};
use isos_base::storage::{ShelfOffer, StorageState};
use isos_base::task::{Exit, OutputAt, TaskResult, Trap};
use isos_base::time::{Span, Time};
use isos_base::units::{Bytes, Fuel, MicroCredits};

/// Kinds of change.
pub(super) const KINDS: u64 = 28;

/// A change of the given kind. What is appended follows from its key, so that the same key never
/// has two contents; everything else differs each time.
pub(super) fn change(kind: u64, random: &mut Random) -> Change {
    match kind {
        0 => Change::Job(Box::new(job(random))),
        1 => Change::States(StateChunk {
            job: JobId(1 + random.below(4)),
            chunk: random.below(3) as u32,
            bits: (0..random.below(1_025)).map(|_| random.below(256) as u8).collect(),
        }),
        2 => Change::Results(results(1 + random.below(4), random.below(20))),
        3 => Change::Votes(votes(1 + random.below(9), random.below(4) as u32)),
        4 => Change::DropVotes(JobId(1 + random.below(4))),
        5 => Change::Lease(Box::new(lease(random))),
        6 => Change::Host(Box::new(host(random))),
        7 => Change::Account(Box::new(account(random))),
        8 => Change::Transfer(Box::new(transfer(1 + random.below(50)))),
        9 => Change::Hold(HoldRecord {
            id: TransferId(u128::MAX - u128::from(random.below(5))),
            debit: AccountId(random.below(9)),
            credit: AccountId(2),
            remaining: money(random),
            expires: maybe_time(random),
            closed: random.one_in(2),
        }),
        10 => Change::Idempotency(IdempotencyRecord {
            account: AccountId(random.below(3)),
            key: format!("key {}", random.below(5)),
            request: guid(random),
            job: JobId(random.below(5)),
            expires: Time(random.below(100)),
        }),
        11 => Change::Bill(Box::new(bill(random))),
        12 => Change::Payout(Box::new(payout(random))),
        13 => Change::Proposal(Box::new(proposal(random))),
        14 => Change::Saved(Box::new(saved(random))),
        15 => Change::Market(Box::new(market(random))),
        16 => Change::Reservation(Box::new(reservation(random))),
        17 => Change::Audit(Box::new(audit(1 + random.below(50)))),
        18 => Change::Key(Box::new(key(random))),
        19 => Change::Keyring(Box::new(keyring(random))),
        21 => Change::Storage(Box::new(storage(random))),
        22 => Change::Keeper(Box::new(keeper(random))),
        20 => {
            let (id, account) = (vec![random.below(5) as u8; 7], AccountId(random.below(3)));
            Change::Narrowed(id, Time(random.below(100)), account)
        }
        23 => Change::Firm(firm(random)),
        24 => Change::Bond(Box::new(bond(random))),
        25 => Change::Earned(EarnedRecord {
            account: AccountId(100 + random.below(3)),
            month: random.below(9) as u32,
            amount: money(random),
        }),
        26 => Change::Slice(Box::new(slice(random))),
        _ => Change::Revocation(vec![random.below(5) as u8; 7], Time(random.below(100))),
    }
}

fn payout(random: &mut Random) -> PayoutRecord {
    PayoutRecord {
        id: PayoutId(1 + random.below(9)),
        account: AccountId(100 + random.below(3)),
        amount: MicroCredits(1 + random.below(1 << 62) as i64),
        hold: TransferId(random.next_u64().into()),
        rail: "file".into(),
        currency: "EUR".into(),
        money: MicroCredits(i64::MAX),
        to: "ä \" ö".into(),
        state: pick(random, &[PayoutState::Waiting, PayoutState::Paid, PayoutState::Refused]),
        asked: Time(random.below(1 << 40)),
        ended: maybe_time(random),
        answer: random.one_in(2).then(|| "no such account".into()),
    }
}

fn proposal(random: &mut Random) -> ProposalRecord {
    let mint =
        Proposed::Mint { account: AccountId(100), amount: money(random), why: "thanks".into() };
    ProposalRecord {
        id: ProposalId(1 + random.below(9)),
        what: if random.one_in(2) { mint } else { Proposed::Approvals(u16::MAX) },
        agreed: (0..random.below(3)).map(AccountId).collect(),
        needed: 2,
        proposed: Time(random.below(1 << 40)),
        expires: Time(random.below(1 << 50)),
        state: pick(
            random,
            &[
                ProposalState::Open,
                ProposalState::Done,
                ProposalState::Refused,
                ProposalState::Expired,
            ],
        ),
        refused_by: random.one_in(2).then_some(AccountId(7)),
        ended: maybe_time(random),
    }
}

fn saved(random: &mut Random) -> SavedRecord {
    let kept = |n| KeptCheckpoint { segments: n, size: Bytes(1 << 24), fuel: Fuel(n.into()) };
    let lease = 1 + random.below(9);
    SavedRecord {
        lease: LeaseId(lease),
        task: random.below(3) as u32,
        // A lease is of one job.
        job: JobId(1 + lease % 4),
        host: host_id(random.below(3)),
        fuel: Fuel(random.below(1 << 63)),
        roots: (0..random.below(5)).map(|_| guid(random)).collect(),
        kept: (0..random.below(3) as u32).map(kept).collect(),
        referee: random.one_in(2).then_some(Referee {
            segment: 3,
            fuel: Fuel(7),
            of: random.one_in(2).then_some(LeaseId(4)),
        }),
        resumed: random.one_in(2).then_some(Resumed {
            lease: LeaseId(2),
            segments: 5,
            fuel: Fuel(random.below(1 << 60)),
        }),
    }
}

/// An audit record follows from its position.
pub(super) fn audit(seq: u64) -> AuditRecord {
    let deeds = [
        Deed::AccountOpened { name: "ä\0".into() },
        Deed::TokenMade { id: "ff".into(), rights: Right::ALL.to_vec(), expires: Time(seq) },
        Deed::HostBarred { host: host_id(1), why: "it lied".into() },
    ];
    let account = (!seq.is_multiple_of(3)).then_some(AccountId(seq % 3));
    let mut record = AuditRecord {
        seq,
        at: Time(seq * 7),
        by: Actor::Complex,
        account,
        deed: deeds[seq as usize % 3].clone(),
        ledger_seq: seq,
        ledger_hash: Guid([4; 32]),
        own: None,
        hash: Guid([0; 32]),
    };
    record.link(Guid([5; 32]), Guid([6; 32]));
    record
}

fn key(random: &mut Random) -> KeyRecord {
    KeyRecord {
        key: host_id(random.below(5)).0,
        account: AccountId(random.below(3)),
        label: "läptop".into(),
        rights: vec![Right::Submit, Right::Manage],
        kind: pick(random, &[KeyKind::Person, KeyKind::Recovery]),
        added: Time(random.below(1 << 60)),
        removed: maybe_time(random),
    }
}

fn keyring(random: &mut Random) -> KeyringRecord {
    let (at, due) = (Time(random.below(1 << 60)), Time(9));
    let asked = Asked { key: host_id(3).0, label: "new".into(), at, due };
    KeyringRecord {
        account: AccountId(random.below(3)),
        void_before: Time(random.below(1 << 60)),
        asked: random.one_in(2).then_some(asked),
    }
}

pub(super) fn job(random: &mut Random) -> JobRecord {
    let mut spec = JobSpec::new(guid(random), Bytes(random.below(99)), 1 + random.below(9) as u32);
    spec.name = format!("job {}", random.below(9));
    spec.args = vec!["{task}".into(), "ä ö".into()];
    spec.env = vec![("A".into(), "b".into())];
    spec.inputs = vec![Mount { path: "a/b".into(), guid: guid(random), size: Bytes(7) }];
    spec.each = random.one_in(2).then(|| guid(random));
    spec.constraint = random.one_in(2).then(|| "host.cpus > 1".into());
    spec.verify = pick(
        random,
        &[
            Verify::Trusted,
            Verify::Quorum { agree: 2, of: 3 },
            Verify::Credibility { error_ppm: 1_000 },
        ],
    );
    spec.price_max = random.one_in(2).then(|| money(random));
    spec.slice = random.one_in(2).then(|| "lab".into());
    JobRecord {
        id: JobId(1 + random.below(4)),
        account: AccountId(100 + random.below(3)),
        spec,
        state: pick(
            random,
            &[
                JobState::Active,
                JobState::Active,
                JobState::Active,
                JobState::Done,
                JobState::Failed,
                JobState::Cancelled,
            ],
        ),
        price: Price(random.next_u64() as u32),
        hold: TransferId(random.next_u64().into()),
        submitted: Time(random.below(1 << 60)),
        ended: maybe_time(random),
        spent: money(random),
        done: random.next_u64() as u32,
        failed: random.below(9) as u32,
        given_up: u32::MAX,
        why: Some("cancelled".into()),
        redone: (0..random.below(3) as u32).map(|n| TaskRange::new(n * 9, n * 9 + 4)).collect(),
        unchecked: random.below(1_000) as u32,
        pinned: random.one_in(2).then(|| Pinned {
            slice: SliceId(random.below(9)),
            hosts: (0..random.below(3)).map(|_| host_id(random.below(9))).collect(),
        }),
    }
}

fn slice(random: &mut Random) -> SliceRecord {
    let sliver = |random: &mut Random| Sliver { host: host_id(random.below(9)), since: Time(7) };
    let replaced = |random: &mut Random| Replaced {
        rank: random.below(9) as u32,
        host: host_id(random.below(9)),
        at: Time(random.below(1 << 60)),
        why: "ä away".into(),
    };
    SliceRecord {
        id: SliceId(1 + random.below(9)),
        account: AccountId(100 + random.below(3)),
        name: format!("lab-{}", random.below(3)),
        constraint: random.one_in(2).then(|| "host.cpus > 1".into()),
        made: Time(random.below(1 << 60)),
        until: Time(random.below(1 << 60)),
        state: pick(random, &[SliceState::Open, SliceState::Dropped, SliceState::Over]),
        ended: maybe_time(random),
        slivers: (0..random.below(4)).map(|_| sliver(random)).collect(),
        replaced: (0..random.below(3)).map(|_| replaced(random)).collect(),
    }
}

fn market(random: &mut Random) -> MarketRecord {
    let price = Price(random.next_u64() as u32);
    let tick = TickPrice { at: Time(random.below(99)), price, units: 1, supply: 3, demand: 2 };
    let hour = HourPrice { hour: 9, low: Price(1), high: price, sum: 1 << 60, ticks: 9, units: 7 };
    MarketRecord {
        class: format!("x86_64-{}g", random.below(3)),
        posted_milli: random.below(1 << 40),
        price,
        fair: Price(random.below(9) as u32),
        at: Time(random.below(1 << 60)),
        ticks: vec![tick; random.below(3) as usize],
        hours: vec![hour; random.below(3) as usize],
    }
}

fn reservation(random: &mut Random) -> ReservationRecord {
    use ReservationState::{Active, Booked, Cancelled, Over};
    ReservationRecord {
        id: ReservationId(1 + random.below(5)),
        account: AccountId(100 + random.below(3)),
        class: "x86_64-4g".into(),
        cores: random.below(100) as u32,
        behind: u32::MAX,
        service_ppm: 990_000,
        from: Time(random.below(1 << 60)),
        until: Time(random.below(1 << 60)),
        price: Price(random.next_u64() as u32),
        premium: money(random),
        penalty: money(random),
        hold: TransferId(random.next_u64().into()),
        state: pick(random, &[Booked, Active, Over, Cancelled]),
        wanted: random.below(1 << 60),
        given: random.below(9),
        ticks: random.below(9),
        paid: money(random),
        compensated: money(random),
        standby: money(random),
        bond: money(random),
        forfeited: money(random),
    }
}

fn firm(random: &mut Random) -> FirmRecord {
    FirmRecord {
        host: host_id(random.below(3)),
        account: AccountId(100 + random.below(3)),
        cores: random.below(3) as u32,
        since: Time(random.below(1 << 60)),
        leaves: maybe_time(random),
    }
}

fn bond(random: &mut Random) -> BondRecord {
    use BondState::{Forfeited, Returned, Standing};
    BondRecord {
        reservation: ReservationId(1 + random.below(5)),
        nth: random.below(3) as u32,
        host: host_id(random.below(3)),
        account: AccountId(100 + random.below(3)),
        cores: u32::MAX,
        from: Time(random.below(1 << 60)),
        until: Time(random.below(1 << 60)),
        amount: money(random),
        hold: TransferId(random.next_u64().into()),
        state: pick(random, &[Standing, Returned, Forfeited]),
        stood: random.below(1 << 60),
        missed: random.below(9),
        lost: money(random),
        paid: money(random),
    }
}

fn storage(random: &mut Random) -> StorageRecord {
    use StorageState::{Ended, Open, Released};
    StorageRecord {
        id: LeaseId(1 + random.below(12)),
        first: LeaseId(1 + random.below(9)),
        account: AccountId(100 + random.below(3)),
        host: host_id(random.below(3)),
        holder: PublicKey([random.below(256) as u8; 32]),
        class: pick(random, &StorageClass::ALL),
        bytes: Bytes(random.below(1 << 44)),
        price: StoragePrice(random.next_u64() as u32),
        state: pick(random, &[Open, Released, Ended]),
        begun: Time(random.below(1 << 60)),
        issued: Time(random.below(1 << 60)),
        until: Time(random.below(1 << 60)),
        settled: Time(random.below(1 << 60)),
        shown: Span(random.below(1 << 60)),
        settlements: random.next_u64() as u32,
        charged: money(random),
        paid: money(random),
        told: random.one_in(2),
    }
}

fn keeper(random: &mut Random) -> KeeperRecord {
    let addresses = ["127.0.0.1:7071", "[2001:db8::1]:1"].map(|text| text.parse().unwrap());
    KeeperRecord {
        host: host_id(random.below(3)),
        offer: ShelfOffer {
            bytes: Bytes(random.next_u64()),
            price_min: StoragePrice(random.below(9) as u32),
            addresses: addresses[..random.below(3) as usize].into(),
            relay: random.one_in(2).then(|| "https://relay.example".into()),
        },
        since: Time(random.below(1 << 60)),
        present: Span(random.below(1 << 60)),
        counted: Time(random.below(1 << 60)),
        heard: Time(random.below(1 << 60)),
        failed: maybe_time(random),
    }
}

pub(super) fn lease(random: &mut Random) -> LeaseRecord {
    LeaseRecord {
        id: LeaseId(1 + random.below(9)),
        job: JobId(1 + random.below(4)),
        host: host_id(random.below(3)),
        account: AccountId(random.below(9)),
        ranges: vec![TaskRange::new(0, 5), TaskRange::new(u32::MAX - 1, u32::MAX)],
        state: pick(random, &[LeaseState::Open, LeaseState::Returned, LeaseState::Settled]),
        deadline: Time(random.below(1 << 60)),
        accepted: random.next_u64() as u32,
        rejected: random.below(9) as u32,
        fuel: Fuel(random.below(1 << 63)),
        bill: random.one_in(2).then(|| BillId(random.below(9))),
        next_votes: u32::MAX,
        price: Price(random.next_u64() as u32),
        held: random
            .one_in(2)
            .then(|| Held { passed: random.below(1 << 63), until: Time(random.below(1 << 60)) }),
    }
}

pub(super) fn bill(random: &mut Random) -> BillRecord {
    BillRecord {
        id: BillId(1 + random.below(9)),
        job: JobId(1 + random.below(4)),
        account: AccountId(random.below(9)),
        leases: u32::MAX,
        tasks: random.below(1 << 63),
        fuel: Fuel(random.below(1 << 63)),
        price: Price(u32::MAX),
        opened: Time(random.below(1 << 50)),
        posted: random.one_in(2).then(|| Time(random.below(1 << 50))),
        charged: money(random),
        paid: money(random),
        fee: money(random),
    }
}

pub(super) fn host(random: &mut Random) -> HostRecord {
    HostRecord {
        id: host_id(random.below(3)),
        account: AccountId(100 + random.below(2)),
        spec: HostSpec {
            name: format!("host {}", random.below(9)),
            agent: "0.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: random.below(99) as u16,
            memory: Bytes(u64::MAX),
            disk: Bytes(random.next_u64()),
            country: random.one_in(2).then(|| "FI".into()),
            engine: "wasmtime-48".into(),
        },
        good: random.below(1 << 63),
        bad: random.below(9),
        lost: random.below(9),
        barred: random.one_in(2).then(|| "it lied".into()),
        joined: Time(random.below(99)),
        seen: Time(random.below(99)),
        trust: Trust { passed: random.below(1 << 63), results: random.below(9) },
        ticket: (0..random.below(3)).map(|n| vec![n as u8; 64]).collect(),
        suspended: random.one_in(2),
        successor: random.one_in(2).then(|| host_id(7)),
    }
}

pub(super) fn account(random: &mut Random) -> AccountRecord {
    let id = 1 + random.below(5);
    AccountRecord {
        id: AccountId(id),
        name: format!("account {id}"),
        key: random.one_in(2).then_some(PublicKey([id as u8; 32])),
        debits_pending: money(random),
        debits_posted: money(random),
        credits_pending: money(random),
        credits_posted: money(random),
    }
}

/// The transfer at this position.
pub(super) fn transfer(seq: u64) -> TransferRecord {
    let random = &mut Random::new(seq);
    let (job, bill) = (JobId(random.below(9)), BillId(random.below(9)));
    TransferRecord {
        seq,
        id: TransferId(u128::from(seq) << 64),
        kind: pick(
            random,
            &[
                TransferKind::Direct,
                TransferKind::Hold,
                TransferKind::Post,
                TransferKind::Void,
                TransferKind::Expire,
            ],
        ),
        debit: AccountId(random.below(5)),
        credit: AccountId(random.below(5)),
        amount: money(random),
        hold: random.one_in(2).then(|| TransferId(u128::MAX - u128::from(seq))),
        reason: match seq % 16 {
            0 => Reason::Grant("welcome".into()),
            1 => Reason::Hold(job),
            2 => Reason::Charge(bill),
            3 => Reason::Pay(bill),
            4 => Reason::Fee(bill),
            5 => Reason::Rounding(bill),
            6 => Reason::Release(job),
            7 => Reason::Reserve(ReservationId(seq)),
            8 => Reason::Compensation(ReservationId(seq)),
            9 => Reason::Storage,
            10 => Reason::Rent(LeaseId(seq)),
            11 => Reason::Bond(ReservationId(seq)),
            12 => Reason::Forfeit(ReservationId(seq)),
            13 => Reason::Standby(ReservationId(seq)),
            14 => Reason::Demurrage(seq),
            _ => Reason::Gift(String::new()),
        },
        at: Time(random.below(1 << 50)),
        hash: Guid::of(&seq.to_le_bytes()),
    }
}

/// The batch with this number: tasks `10 * batch ..`.
pub(super) fn results(job: u64, batch: u64) -> ResultBatch {
    let random = &mut Random::new(job << 32 | batch);
    let accepted = |n: u64| Accepted {
        task: (batch * 10 + n) as u32,
        result: if random.one_in(4) {
            Err("no agreement".into())
        } else {
            Ok(result((batch * 10 + n) as u32, random))
        },
        host: random.one_in(2).then(|| host_id(n)),
    };
    ResultBatch { job: JobId(job), batch, results: (0..batch % 4).map(accepted).collect() }
}

/// A lease has one job.
pub(super) fn votes(lease: u64, batch: u32) -> VoteBatch {
    let random = &mut Random::new(lease << 32 | u64::from(batch));
    VoteBatch {
        job: JobId(1 + lease % 4),
        lease: LeaseId(lease),
        batch,
        results: (0..3).map(|task| result(task, random)).collect(),
    }
}

fn result(task: u32, random: &mut Random) -> TaskResult {
    TaskResult {
        task,
        exit: pick(
            random,
            &[
                Exit::Code(-1),
                Exit::Trap(Trap::StackOverflow),
                Exit::OutOfFuel,
                Exit::OutputTooLarge,
            ],
        ),
        fuel: Fuel(random.next_u64()),
        output: if random.one_in(2) {
            OutputAt::Inline(vec![7; random.below(99) as usize])
        } else {
            OutputAt::Object(guid(random), random.next_u64())
        },
    }
}

pub(super) fn host_id(n: u64) -> HostId {
    HostId(PublicKey(Guid::of(&n.to_le_bytes()).0))
}

fn guid(random: &mut Random) -> Guid {
    Guid::of(&random.next_u64().to_le_bytes())
}

fn money(random: &mut Random) -> MicroCredits {
    MicroCredits(random.below(1 << 63) as i64)
}

fn maybe_time(random: &mut Random) -> Option<Time> {
    random.one_in(2).then(|| Time(random.below(1 << 60)))
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}
