//! The bank's invariants over real databases: the kernel's ledger with its rows in SQLite and in
//! PostgreSQL, against counting that shares nothing with it. The numbers are those of
//! docs/internals/bank.md.
//!
//! Each run is random and repeats from its seed: transfers, holds, posts, voids, expiries,
//! exchanges of currencies, repetitions, amounts near what can be counted; and servers that die
//! before or behind any commit, after which whoever was not answered asks again.

mod bills;
mod callers;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::process::Command;

use isos_base::key::PublicKey;
use isos_base::random::Random;
use isos_base::record::system::{self, Edge};
use isos_base::record::{Change, Reason, TransferRecord};
use isos_base::{AccountId, JobId, MicroCredits, Span, Time, TransferId};
use isos_db::Db;
use isos_kernel::ledger::{Balances, GENESIS, Ledger, Posting, fold_transfer, verify_chain};

/// Names the server of tests; see CONTRIBUTING.md.
const POSTGRES: &str = "ISOS_TEST_POSTGRES";
/// Runs over each kind of database, and steps of each.
const RUNS: u64 = 12;
const STEPS: u64 = 60;

/// One thing to do.
#[derive(Debug, Clone)]
enum Step {
    /// Linked postings.
    Post(Vec<Posting>),
    /// An earlier step again.
    Again(usize),
    Wait(Span),
    Expire,
}

/// Dies where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    Behind,
}

/// Plain counting: all that ever moved, in numbers that cannot overflow.
#[derive(Debug, Clone, Default)]
struct Plain {
    done: BTreeMap<TransferId, Posting>,
    holds: BTreeMap<TransferId, (AccountId, AccountId, i128, Option<Time>)>,
    /// Per account: debits and credits, pending and posted.
    money: BTreeMap<AccountId, [i128; 4]>,
}

/// As a repetition is compared: without the expiry, which is reckoned from the clock.
fn timeless(posting: &Posting) -> Posting {
    let mut posting = posting.clone();
    if let Posting::Hold { expires, .. } = &mut posting {
        *expires = None;
    }
    posting
}

impl Plain {
    fn moves(&mut self, debit: AccountId, credit: AccountId, pending: i128, posted: i128) -> bool {
        let mut lawful = debit != credit;
        for (account, side) in [(debit, 0), (credit, 2)] {
            let money = self.money.entry(account).or_default();
            money[side] += pending;
            money[side + 1] += posted;
        }
        for account in [debit, credit] {
            let [debits_pending, debits, credits_pending, credits] = self.money[&account];
            let most = i128::from(i64::MAX);
            lawful &= debits_pending + debits <= most && credits_pending + credits <= most;
            lawful &= system::may_owe(account) || debits_pending + debits <= credits;
        }
        lawful
    }

    /// Whether all of them happen.
    fn post(&mut self, now: Time, postings: &[Posting]) -> bool {
        let mut next = self.clone();
        let done = postings.iter().all(|posting| next.one(now, posting));
        if done {
            *self = next;
        }
        done
    }

    fn one(&mut self, now: Time, posting: &Posting) -> bool {
        if let Some(before) = self.done.get(&posting.id()) {
            return timeless(before) == timeless(posting);
        }
        self.done.insert(posting.id(), posting.clone());
        match *posting {
            Posting::Direct { debit, credit, amount, .. } => {
                amount.0 > 0
                    && system::currency_of(debit) == system::currency_of(credit)
                    && self.moves(debit, credit, 0, amount.0.into())
            }
            Posting::Hold { id, debit, credit, amount, expires, .. } => {
                self.holds.insert(id, (debit, credit, amount.0.into(), expires));
                amount.0 > 0
                    && expires.is_none_or(|at| at > now)
                    && system::currency_of(debit) == system::currency_of(credit)
                    && self.moves(debit, credit, amount.0.into(), 0)
            }
            Posting::Post { hold, amount, .. } => {
                let amount = i128::from(amount.0);
                let Some((debit, credit, left, expires)) = self.holds.get_mut(&hold) else {
                    return false;
                };
                *left -= amount;
                let fits = amount > 0 && *left >= 0 && expires.is_none_or(|at| at > now);
                let (debit, credit) = (*debit, *credit);
                fits && self.moves(debit, credit, -amount, amount)
            }
            Posting::Void { hold, .. } => match self.holds.remove(&hold) {
                Some((debit, credit, left, _)) => self.moves(debit, credit, -left, 0),
                None => false,
            },
        }
    }

    fn expire(&mut self, now: Time) {
        for (_, (debit, credit, left, _)) in
            self.holds.clone().iter().filter(|(_, hold)| hold.3.is_some_and(|at| at <= now))
        {
            assert!(self.moves(*debit, *credit, -left, 0));
        }
        self.holds.retain(|_, hold| hold.3.is_none_or(|at| at > now));
    }
}

const EUR: u64 = 1;

fn people() -> [AccountId; 3] {
    [AccountId(100), AccountId(101), AccountId(102)]
}

fn account(random: &mut Random) -> AccountId {
    let people = people();
    match random.below(12) {
        0 => system::MINT,
        1 => system::ESCROW,
        2 => system::edge(EUR, Edge::Payout),
        3 => system::edge(EUR, Edge::Deposit),
        4 => system::edge(EUR, Edge::Liquidity),
        5 => system::edge(EUR, Edge::Outside),
        _ => people[random.below(3) as usize],
    }
}

fn amount(random: &mut Random) -> MicroCredits {
    MicroCredits(match random.below(10) {
        0 => i64::MAX - random.below(2_000) as i64,
        1 => i64::MAX / 2 + random.below(9) as i64,
        2 => -(random.below(3) as i64),
        _ => 1 + random.below(700) as i64,
    })
}

fn posting(random: &mut Random, now: Time) -> Posting {
    let id = |random: &mut Random| TransferId((1 + random.below(60)).into());
    let reason = Reason::Gift("ä \" \0".into());
    let (debit, credit, amount) = (account(random), account(random), amount(random));
    match random.below(12) {
        0..4 => Posting::Direct { id: id(random), debit, credit, amount, reason },
        4..7 => {
            let expires = (random.one_in(2)).then(|| now + Span::secs(random.below(9)));
            let reason = Reason::Hold(JobId(1));
            Posting::Hold { id: id(random), debit, credit, amount, expires, reason }
        }
        7..11 => Posting::Post { id: id(random), hold: id(random), amount, reason },
        _ => Posting::Void { id: id(random), hold: id(random), reason },
    }
}

/// Credits for euros, or euros for credits, at two cents a credit; linked.
fn exchange(random: &mut Random) -> Vec<Posting> {
    let person = people()[random.below(3) as usize];
    let credits = MicroCredits(50 * (1 + random.below(20) as i64));
    let money = MicroCredits(credits.0 / 50);
    let ids = [0, 1].map(|_| TransferId((1_000 + random.below(1_000)).into()));
    let edge = |it| system::edge(EUR, it);
    let (from, to, debit, credit) = if random.one_in(2) {
        (Edge::Outside, Edge::Liquidity, edge(Edge::Deposit), person)
    } else {
        (Edge::Liquidity, Edge::Outside, person, edge(Edge::Payout))
    };
    let leg = |id, debit, credit, amount| Posting::Direct {
        id,
        debit,
        credit,
        amount,
        reason: Reason::Deposit("exchange".into()),
    };
    vec![leg(ids[0], edge(from), edge(to), money), leg(ids[1], debit, credit, credits)]
}

fn step(random: &mut Random, now: Time) -> Step {
    match random.below(16) {
        0..8 => Step::Post((0..=random.below(3)).map(|_| posting(random, now)).collect()),
        8..12 => Step::Post(exchange(random)),
        12 | 13 => Step::Again(random.below(1 << 20) as usize),
        14 => Step::Wait(Span::secs(random.below(6))),
        _ => Step::Expire,
    }
}

/// A ledger and the database that it is kept in.
struct Bank {
    url: String,
    db: Option<Db>,
    ledger: Ledger,
}

impl Bank {
    async fn begin(url: String) -> Self {
        let db = Db::open(&url).await.unwrap();
        let mut bank = Self { url, db: Some(db), ledger: Ledger::new() };
        bank.ledger.take_up_currency("EUR").unwrap();
        let mut changes = Vec::new();
        for (n, name) in ["ada", "ben", "cat"].iter().enumerate() {
            let key = PublicKey([n as u8; 32]);
            bank.ledger.open_account(name, Some(key), &mut changes).unwrap();
        }
        bank.keep(&changes).await;
        bank
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between steps")
    }

    async fn keep(&self, changes: &[Change]) {
        self.db().commit(changes).await.unwrap();
    }

    /// What a server does that was killed: nothing is closed in good order, and all that it knew is
    /// read again. That commits are whole and durable under kill -9, `drivers/db/tests/death.rs`
    /// shows.
    async fn die(&mut self) {
        if let Some(db) = self.db.take() {
            db.close().await.unwrap();
        }
        let db = Db::open(&self.url).await.unwrap();
        let snapshot = db.load().await.unwrap();
        let (accounts, holds) = (snapshot.accounts, snapshot.holds);
        self.ledger = Ledger::restore(accounts, holds, snapshot.ledger_head).unwrap();
        self.ledger.take_up_currency("EUR").unwrap();
        let visit = |transfer: &TransferRecord| {
            self.ledger.remember(transfer);
            ControlFlow::Continue(())
        };
        db.each_transfer(0, visit).await.unwrap();
        self.db = Some(db);
    }

    /// Does a step, dying where it is told to; whether it happened.
    async fn act(&mut self, now: Time, postings: &[Posting], death: Option<Death>) -> bool {
        let mut changes = Vec::new();
        let done = self.ledger.post(now, postings, &mut changes).is_ok();
        assert!(done || changes.is_empty());
        match death {
            // Nobody was answered, so it is asked again.
            Some(Death::Before) => {
                self.die().await;
                changes.clear();
                let again = self.ledger.post(now, postings, &mut changes).is_ok();
                assert_eq!(again, done, "the same request, the same answer");
                self.keep(&changes).await;
            }
            Some(Death::Behind) => {
                self.keep(&changes).await;
                self.die().await;
                changes.clear();
                let again = self.ledger.post(now, postings, &mut changes).is_ok();
                assert_eq!(again, done, "the same request, the same answer");
                assert!(changes.is_empty(), "it happened once");
            }
            None => self.keep(&changes).await,
        }
        self.ledger.check_invariants();
        done
    }

    async fn expire(&mut self, now: Time) {
        let mut changes = Vec::new();
        self.ledger.expire(now, &mut changes);
        self.keep(&changes).await;
    }

    /// Compares what is in the database with plain counting and with the fold of its transfers.
    async fn compare(&self, plain: &Plain, seed: u64) {
        let mut folded: BTreeMap<AccountId, Balances> = BTreeMap::new();
        let (mut head, mut seq) = (GENESIS, 0);
        let (mut ids, mut posted) = (BTreeSet::new(), BTreeMap::<TransferId, i128>::new());
        let visit = |it: &TransferRecord| {
            seq += 1;
            assert_eq!(it.seq, seq, "seed {seed}: no gaps");
            head = verify_chain(head, it).unwrap();
            assert!(ids.insert(it.id), "seed {seed}: each id once");
            if let Some(hold) = it.hold {
                *posted.entry(hold).or_default() += i128::from(it.amount.0);
            }
            let mut giver = folded.get(&it.debit).copied().unwrap_or_default();
            let mut getter = folded.get(&it.credit).copied().unwrap_or_default();
            assert!(fold_transfer(&mut giver, &mut getter, it), "seed {seed}");
            folded.extend([(it.debit, giver), (it.credit, getter)]);
            ControlFlow::Continue(())
        };
        self.db().each_transfer(0, visit).await.unwrap();
        assert_eq!(self.ledger.head(), (seq, head), "seed {seed}");
        let snapshot = self.db().load().await.unwrap();
        let mut sums: BTreeMap<u64, [i128; 2]> = BTreeMap::new();
        for record in &snapshot.accounts {
            let kept = Balances::of(record);
            assert_eq!(kept, folded.get(&record.id).copied().unwrap_or_default(), "seed {seed}");
            let all = [
                kept.debits_pending,
                kept.debits_posted,
                kept.credits_pending,
                kept.credits_posted,
            ];
            let counted = plain.money.get(&record.id).copied().unwrap_or_default();
            let kept_all = all.map(|it| i128::from(it.0));
            assert_eq!(kept_all, counted, "seed {seed}: account {}", record.id);
            let sum = sums.entry(system::currency_of(record.id)).or_default();
            sum[0] += counted[0] - counted[2];
            sum[1] += counted[1] - counted[3];
        }
        assert!(sums.values().all(|sum| *sum == [0, 0]), "seed {seed}: {sums:?}");
        let holds: Vec<_> =
            snapshot.holds.iter().map(|it| (it.id, i128::from(it.remaining.0))).collect();
        let counted: Vec<_> = plain.holds.iter().map(|(id, hold)| (*id, hold.2)).collect();
        assert_eq!(holds, counted, "seed {seed}: open holds");
        // Whatever was posted of a hold, voided or expired is no more than was held.
        for (hold, sum) in posted {
            let held = plain.done.get(&hold);
            let Some(Posting::Hold { amount, .. }) = held else { panic!("seed {seed}: no hold") };
            assert!(sum <= i128::from(amount.0), "seed {seed}: hold {hold}");
        }
    }
}

/// Runs the same history over all banks and counts beside them.
async fn agree(seed: u64, banks: &mut [Bank]) {
    let random = &mut Random::new(seed);
    let mut plain = Plain::default();
    let mut now = Time(1_000_000);
    let mut history: Vec<Vec<Posting>> = Vec::new();
    let grants = people().map(|person| Posting::Direct {
        id: TransferId(5_000 + u128::from(person.0)),
        debit: system::MINT,
        credit: person,
        amount: MicroCredits(2_000),
        reason: Reason::Grant("welcome".into()),
    });
    let mut next = Step::Post(grants.to_vec());
    for n in 0..STEPS {
        match next {
            Step::Post(postings) => history.push(postings),
            Step::Again(which) => {
                let which = which % history.len();
                history.push(history[which].clone());
            }
            Step::Wait(span) => {
                now += span;
                history.push(Vec::new());
            }
            Step::Expire => {
                plain.expire(now);
                for bank in &mut *banks {
                    bank.expire(now).await;
                }
                history.push(Vec::new());
            }
        }
        let postings = history.last().expect("pushed above");
        let expected = plain.post(now, postings);
        let death = match random.below(6) {
            0 => Some(Death::Before),
            1 => Some(Death::Behind),
            _ => None,
        };
        for bank in &mut *banks {
            let done = bank.act(now, postings, death).await;
            assert_eq!(done, expected, "seed {seed}, step {n}: {postings:?}");
        }
        next = step(random, now);
    }
    for bank in &*banks {
        bank.compare(&plain, seed).await;
    }
    // Invariant 10: whatever keeps it, it is the same chain.
    let heads: BTreeSet<_> = banks.iter().map(|bank| bank.ledger.head()).collect();
    assert_eq!(heads.len(), 1, "seed {seed}");
    assert!(plain.done.len() > 3, "seed {seed}: too much was refused to show anything");
}

/// Invariant 9: the head of any day is found by looking at few transfers.
#[tokio::test]
async fn the_head_before_a_moment_is_the_last_transfer_before_it() {
    let mut bank = Bank::begin("sqlite::memory:".into()).await;
    let nothing = crate::statement::ledger_before(bank.db(), Time(u64::MAX)).await.unwrap();
    assert_eq!(nothing, (0, GENESIS));
    let mut heads = vec![(0, GENESIS)];
    for n in 1..=70u64 {
        // Two and two at a time.
        let now = Time(1_000_000 + n.div_ceil(2) * 10);
        let grant = Posting::Direct {
            id: TransferId(n.into()),
            debit: system::MINT,
            credit: people()[0],
            amount: MicroCredits(1),
            reason: Reason::Grant("thanks".into()),
        };
        assert!(bank.act(now, &[grant], None).await);
        heads.push(bank.ledger.head());
    }
    for pairs in 0..=35u64 {
        for (offset, expected) in [(1, 2 * pairs), (10, 2 * pairs)] {
            let before = Time(1_000_000 + pairs * 10 + offset);
            let found = crate::statement::ledger_before(bank.db(), before).await.unwrap();
            assert_eq!(found, heads[expected as usize], "before {before}");
        }
    }
}

/// A database at the server of tests, made anew.
fn postgres(number: u64) -> Option<String> {
    let server = std::env::var(POSTGRES).ok()?;
    let name = format!("isos_bank_{}_{number}", std::process::id());
    let (root, _) = server.rsplit_once('/').expect("a URL has a database");
    for sql in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"),
    ] {
        let done = Command::new("psql").args([&server, "-qc", &sql]).status();
        assert!(done.expect("psql, which comes with the server").success(), "{sql}");
    }
    Some(format!("{root}/{name}"))
}

/// Invariants 1 to 10 and 12: conservation, fold, overdraft, holds, idempotency, crashes, exchange,
/// overflow, chain, and that all keep the same.
#[tokio::test(flavor = "multi_thread")]
async fn invariants_1_to_10_hold_in_memory_in_sqlite_and_in_postgres() {
    let folder = tempfile::tempdir().unwrap();
    if std::env::var_os(POSTGRES).is_none() {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "{POSTGRES} must be set where CI is: see tests/postgres");
    }
    let first = u64::from(std::process::id()) << 8;
    for seed in first..first + RUNS {
        let file = folder.path().join(format!("{seed}.db"));
        let mut urls = vec![file.to_str().unwrap().to_owned()];
        urls.extend(postgres(seed - first));
        let mut banks = Vec::new();
        for url in urls {
            banks.push(Bank::begin(url).await);
        }
        agree(seed, &mut banks).await;
        for bank in banks {
            bank.db().close().await.unwrap();
        }
    }
}
