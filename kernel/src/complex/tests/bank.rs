//! Money out, money in, and what one operator cannot do alone. The numbers of invariants are those
//! of docs/internals/bank.md.

use isos_base::record::system::{self, Edge};
use isos_base::record::{PayoutState, ProposalState, Proposed, Reason};
use isos_base::{PayoutId, ProposalId};
use proptest::prelude::*;

use super::*;
use crate::ledger::{Balances, GENESIS, fold_transfer, verify_chain};

fn rail(name: &str, currency: &str, rate: u64, unit: u64) -> RailTerms {
    RailTerms { name: name.into(), currency: currency.into(), rate, unit }
}

fn config(rails: Vec<RailTerms>) -> Config {
    Config { bank: BankConfig { rails, ..BankConfig::default() }, ..Config::default() }
}

fn credits_only() -> World {
    World::with(config(vec![rail("till", "credit", 1_000_000, 1)]))
}

/// Two cents for a credit.
fn with_euros() -> World {
    World::with(config(vec![rail("bank", "EUR", 20_000, 10_000)]))
}

fn payout(account: AccountId, micros: i64, key: Option<&str>) -> Call {
    Call::Bank(BankCall::Payout {
        account,
        amount: MicroCredits(micros),
        rail: None,
        to: "ada, at the counter".into(),
        key: key.map(Into::into),
    })
}

fn settle(payout: u64, answer: Result<&str, &str>) -> Call {
    let answer = answer.map(Into::into).map_err(Into::into);
    Call::Bank(BankCall::Settle { payout: PayoutId(payout), answer })
}

fn deposit(account: AccountId, rail: &str, id: &str, money: i64) -> Call {
    let (rail, id, money) = (rail.into(), id.into(), MicroCredits(money));
    Call::Bank(BankCall::Deposit { account, rail, id, money })
}

impl World {
    /// Available and held, of whatever the account is in.
    fn money(&self, account: AccountId) -> (i64, i64) {
        let view = self.complex.account_view(account).unwrap();
        (view.available.0, view.held.0)
    }

    /// Invariants 1, 2, 7 and 9: what is kept is a chain, of which all balances are the fold, and
    /// each currency sums to zero by itself.
    fn audit_kept(&self) {
        let mut balances: BTreeMap<AccountId, Balances> = BTreeMap::new();
        let mut head = GENESIS;
        for transfer in self.tables.transfers.values() {
            head = verify_chain(head, transfer).unwrap();
            let (debit, credit) = (transfer.debit, transfer.credit);
            assert_eq!(system::currency_of(debit), system::currency_of(credit));
            let mut giver = balances.get(&debit).copied().unwrap_or_default();
            let mut getter = balances.get(&credit).copied().unwrap_or_default();
            assert!(fold_transfer(&mut giver, &mut getter, transfer));
            balances.insert(debit, giver);
            balances.insert(credit, getter);
        }
        let mut sums: BTreeMap<u64, i128> = BTreeMap::new();
        for (id, record) in &self.tables.accounts {
            let kept = Balances::of(record);
            assert_eq!(kept, balances.get(id).copied().unwrap_or_default(), "account {id}");
            *sums.entry(system::currency_of(*id)).or_default() +=
                i128::from(kept.credits_posted.0) - i128::from(kept.debits_posted.0);
        }
        assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
    }
}

#[test]
fn a_payout_is_held_until_its_rail_has_answered() {
    let mut world = credits_only();
    let buyer = world.buyer();
    let (all, edge) = (1_000_000_000, system::edge(0, Edge::Payout));
    for n in [1, 2] {
        let reply = world.call(payout(buyer, 5_000_000, None));
        assert_eq!(reply, Ok(Reply::Bank(BankReply::Payout(PayoutId(n)))));
    }
    assert_eq!(world.money(buyer), (all - 10_000_000, 10_000_000));
    assert_eq!(world.complex.payouts_waiting(Some(buyer), PayoutId(1)).count(), 1);
    world.restart();
    assert_eq!(world.complex.payouts_waiting(None, PayoutId(0)).count(), 2);
    world.call(settle(1, Ok("receipt 7"))).unwrap();
    world.call(settle(2, Err("no such place"))).unwrap();
    assert_eq!(world.money(buyer), (all - 5_000_000, 0));
    assert_eq!(world.money(edge), (5_000_000, 0));
    // Whoever did not hear of it says it again, also another server, also another thing.
    world.restart();
    world.call(settle(1, Err("never"))).unwrap();
    world.call(settle(2, Ok("yes"))).unwrap();
    assert_eq!(world.money(buyer), (all - 5_000_000, 0));
    let of = |n| &world.tables.payouts[&PayoutId(n)];
    assert_eq!((of(1).state, of(1).answer.as_deref()), (PayoutState::Paid, Some("receipt 7")));
    assert_eq!(
        (of(2).state, of(2).answer.as_deref()),
        (PayoutState::Refused, Some("no such place"))
    );
    let said = world.tables.transfers.values().find(|it| matches!(it.reason, Reason::Refused(..)));
    assert_eq!(said.unwrap().reason, Reason::Refused(PayoutId(2), "no such place".into()));
    world.audit_kept();
}

#[test]
fn the_same_key_pays_out_once_whatever_server_is_asked() {
    let mut world = credits_only();
    let buyer = world.buyer();
    let first = world.call(payout(buyer, 5_000_000, Some("rent"))).unwrap();
    world.restart();
    assert_eq!(world.call(payout(buyer, 5_000_000, Some("rent"))).unwrap(), first);
    world.call(settle(1, Ok("paid"))).unwrap();
    assert_eq!(world.call(payout(buyer, 5_000_000, Some("rent"))).unwrap(), first);
    assert_eq!(world.money(buyer), (995_000_000, 0));
    let other = world.call(payout(buyer, 6_000_000, Some("rent"))).unwrap_err();
    assert_eq!(other.code, ProblemCode::Usage);
}

#[test]
fn what_is_not_paid_out_comes_with_the_number_and_the_remedy() {
    let mut world = credits_only();
    let buyer = world.buyer();
    let mut refused = |call: Call| world.call(call).unwrap_err().message;
    let mut told = vec![
        refused(payout(buyer, 999_999, None)),
        refused(payout(buyer, -5, None)),
        refused(payout(buyer, 2_000_000_000, None)),
        refused(payout(buyer, i64::MAX, None)),
        refused(payout(system::MINT, 5_000_000, None)),
        refused(payout(system::edge(0, Edge::Deposit), 5_000_000, None)),
        refused(payout(system::FEES, 5_000_000, None)),
        refused(deposit(AccountId(999), "till", "a", 5_000_000)),
        refused(deposit(system::FEES, "till", "a", 5_000_000)),
        refused(deposit(buyer, "tram", "a", 5_000_000)),
        refused(deposit(buyer, "till", "a", 0)),
    ];
    world.complex.config.bank.payout_day_max = MicroCredits::credits(12);
    world.call(payout(buyer, 7_000_000, None)).unwrap();
    told.push(world.call(payout(buyer, 7_000_000, None)).unwrap_err().message);
    world.restart();
    told.push(world.call(payout(buyer, 5_000_001, None)).unwrap_err().message);
    // What came back does not count, and a day is a day.
    world.call(settle(1, Err("no"))).unwrap();
    world.call(payout(buyer, 12_000_000, None)).unwrap();
    assert!(world.call(payout(buyer, 1_000_000, None)).is_err());
    world.now += Span::secs(86_400);
    world.call(payout(buyer, 12_000_000, None)).unwrap();
    let mut world = World::new();
    told.push(world.call(payout(world.buyer(), 7_000_000, None)).unwrap_err().message);
    expect_test::expect![[r#"
        0.999999 credits are too few: at least 1.000000 are paid
        -0.000005 credits are too few: at least 1.000000 are paid
        account 100 has 1000.000000 credits, not 2000.000000
        0.000000 credits were asked for within a day, with 9223372036854.775807 more than the most of 10000.000000: ask for less, or wait
        account 1 is the complex's own and pays nothing out
        account 11 is the complex's own and pays nothing out
        account 3 has 0.000000 credits, not 5.000000
        there is no account 999
        account 3 is the complex's own and takes no deposit
        there is no rail "tram"; there are: till
        0.000000 credit come to no credits
        7.000000 credits were asked for within a day, with 7.000000 more than the most of 12.000000: ask for less, or wait
        7.000000 credits were asked for within a day, with 5.000001 more than the most of 12.000000: ask for less, or wait
        this complex pays nothing out: its operator has given it no --rail"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn invariant_7_what_is_exchanged_is_conserved_in_each_currency() {
    let mut world = with_euros();
    let buyer = world.buyer();
    let [outside, liquidity, sold, bought] =
        [Edge::Outside, Edge::Liquidity, Edge::Payout, Edge::Deposit].map(|it| system::edge(1, it));
    // Nothing came in yet, so there is nothing to pay out from.
    let refused = world.call(payout(buyer, 10_000_000, None)).unwrap_err();
    assert!(refused.message.contains("has 0.000000 EUR to pay out from"), "{refused}");
    assert_eq!(world.money(buyer), (1_000_000_000, 0), "and no credits are held");
    world.call(deposit(buyer, "bank", "wire 1", 1_000_000)).unwrap();
    assert_eq!(world.money(buyer), (1_050_000_000, 0));
    assert_eq!(world.money(bought), (-50_000_000, 0));
    assert_eq!((world.money(outside), world.money(liquidity)), ((-1_000_000, 0), (1_000_000, 0)));
    // 10.4 credits are 20.8 cents: the rail pays whole ones.
    world.call(payout(buyer, 10_400_000, None)).unwrap();
    assert_eq!(world.tables.payouts[&PayoutId(1)].money, MicroCredits(200_000));
    assert_eq!(world.money(liquidity), (800_000, 200_000));
    world.restart();
    world.call(settle(1, Ok("sent"))).unwrap();
    world.call(payout(buyer, 20_000_000, None)).unwrap();
    world.call(settle(2, Err("closed"))).unwrap();
    assert_eq!(world.money(buyer), (1_039_600_000, 0));
    assert_eq!((world.money(outside), world.money(liquidity)), ((-800_000, 0), (800_000, 0)));
    assert_eq!(world.money(sold), (10_400_000, 0));
    // The same wire again is the same deposit; with another amount it is none. Over a restart it is
    // the server that asks the database for the id first.
    let known = world.tables.transfers.values();
    known.for_each(|transfer| world.complex.ledger.remember(transfer));
    world.call(deposit(buyer, "bank", "wire 1", 1_000_000)).unwrap();
    assert!(world.call(deposit(buyer, "bank", "wire 1", 2_000_000)).is_err());
    assert_eq!(world.money(buyer), (1_039_600_000, 0));
    world.audit_kept();
}

#[test]
fn the_operator_is_paid_out_what_the_fees_have_come_to() {
    let mut world = credits_only();
    world.join(1);
    let mut spec = job(200);
    spec.fuel = Fuel(1_000_000_000_000);
    let job = world.submit(spec);
    world.run();
    assert_eq!(world.state(job), JobState::Done);
    world.complex.config.bank.payout_min = MicroCredits(1);
    let (fees, _) = world.money(system::FEES);
    let bills: i64 = world.tables.bills.values().map(|bill| bill.fee.0).sum();
    assert!(fees > 0);
    assert_eq!(fees, bills, "what the bills say is what the complex earned");
    world.call(payout(system::FEES, fees, None)).unwrap();
    world.call(settle(1, Ok("to the operator"))).unwrap();
    assert_eq!(world.money(system::FEES), (0, 0));
    world.audit_kept();
}

#[test]
fn invariant_11_usage_bills_and_transfers_reconcile_to_zero() {
    let mut world = World::new();
    for n in 1..=3 {
        world.join(n);
    }
    for spec in [job(50), quorum(30), job(1)] {
        let job = world.submit(spec);
        world.run();
        assert_eq!(world.state(job), JobState::Done);
    }
    let mut fuel_of_leases: BTreeMap<_, (u32, u64, u64)> = BTreeMap::new();
    for lease in world.tables.leases.values() {
        let Some(bill) = lease.bill else { continue };
        let sums = fuel_of_leases.entry(bill).or_default();
        sums.0 += 1;
        sums.1 += u64::from(lease.accepted);
        sums.2 += lease.fuel.0;
    }
    assert!(fuel_of_leases.len() > 3);
    assert_eq!(fuel_of_leases.len(), world.tables.bills.len(), "each bill is for some leases");
    for (id, bill) in &world.tables.bills {
        assert_eq!(fuel_of_leases[id], (bill.leases, bill.tasks, bill.fuel.0), "bill {id}");
        let (charge, earning) = (bill.price.charge(bill.fuel), bill.price.earning(bill.fuel));
        let moved = |wanted: Reason| -> i64 {
            let all = world.tables.transfers.values().filter(|it| it.reason == wanted);
            all.map(|it| it.amount.0).sum()
        };
        let (charged, paid) = (moved(Reason::Charge(*id)), moved(Reason::Pay(*id)));
        let (fee, rest) = (moved(Reason::Fee(*id)), moved(Reason::Rounding(*id)));
        assert_eq!((charged, paid, fee), (bill.charged.0, bill.paid.0, bill.fee.0), "bill {id}");
        assert_eq!((charged, paid + fee), (charge.0, earning.0), "bill {id}");
        assert_eq!(charged - paid - fee - rest, 0, "bill {id}");
    }
    // And of each job: what was held is what was spent and what went back.
    for (id, job) in &world.tables.jobs {
        let bills = world.tables.bills.values().filter(|bill| bill.job == *id);
        assert_eq!(job.spent.0, bills.map(|bill| bill.charged.0).sum::<i64>());
    }
    assert_eq!(world.money(system::ESCROW), (0, 0));
    world.audit_kept();
}

/// A complex whose operators are `ada` and `ben`, and `cat` who is none yet.
fn operators(approvals: u16) -> (World, [AccountId; 3]) {
    let mut config = config(Vec::new());
    config.bank.mint_approvals = approvals;
    let mut world = World::with(config);
    let accounts = ["ada", "ben", "cat"].map(|name| {
        let call = Call::OpenAccount { name: name.into(), welcome: MicroCredits::ZERO };
        let Ok(Reply::Account(account)) = world.call(call) else { panic!("a fresh name") };
        account
    });
    (world, accounts)
}

fn mint(account: AccountId, by: AccountId, key: Option<&str>) -> Call {
    let amount = MicroCredits::credits(5);
    Call::Mint { account, amount, why: "thanks".into(), key: key.map(Into::into), by }
}

fn approve(proposal: u64, by: AccountId) -> Call {
    Call::Bank(BankCall::Approve { proposal: ProposalId(proposal), by })
}

fn proposed(reply: Result<Reply, Problem>) -> (u64, ProposalState) {
    match reply {
        Ok(Reply::Bank(BankReply::Proposal(it))) => (it.id.0, it.state),
        other => panic!("no proposal: {other:?}"),
    }
}

#[test]
fn invariant_3_credits_come_into_being_when_two_operators_agree() {
    let (mut world, [ada, ben, cat]) = operators(2);
    let buyer = world.buyer();
    let reply = world.call(mint(buyer, ada, Some("k")));
    assert_eq!(proposed(reply), (1, ProposalState::Open));
    assert_eq!(proposed(world.call(mint(buyer, ada, Some("k")))), (1, ProposalState::Open));
    assert_eq!(world.money(buyer).0, 1_000_000_000);
    let again = world.call(approve(1, ada)).unwrap_err();
    assert!(again.message.contains("another operator must"), "{again}");
    world.restart();
    assert!(world.call(approve(1, ada)).is_err(), "not by starting the server again either");
    assert_eq!(proposed(world.call(approve(1, ben))), (1, ProposalState::Done));
    assert_eq!(world.money(buyer).0, 1_005_000_000);
    assert!(world.call(approve(1, cat)).is_err(), "it is done");
    // The key that proposed it proposes nothing more.
    assert_eq!(world.call(mint(buyer, ada, Some("k"))), Ok(Reply::Bank(BankReply::Done)));
    assert_eq!(world.money(buyer).0, 1_005_000_000);
    let last = world.tables.transfers.values().last().unwrap();
    let text = format!("thanks; proposed by ada ({ada}), approved by ben ({ben})");
    assert_eq!(last.reason, Reason::Grant(text));
    // Another is refused, and one more forgotten.
    // The start has kept a row of its own about how many must agree: number 2.
    assert_eq!(proposed(world.call(mint(buyer, ada, None))).0, 3);
    let refuse = Call::Bank(BankCall::Refuse { proposal: ProposalId(3), by: ben });
    assert_eq!(proposed(world.call(refuse)), (3, ProposalState::Refused));
    assert!(world.call(approve(3, ben)).is_err());
    assert_eq!(proposed(world.call(mint(buyer, ben, None))).0, 4);
    world.pass(Span::secs(8 * 86_400));
    assert!(world.call(approve(4, ada)).is_err());
    assert_eq!(world.tables.proposals[&ProposalId(4)].state, ProposalState::Expired);
    assert_eq!(world.money(buyer).0, 1_005_000_000);
}

#[test]
fn what_two_operators_have_agreed_to_one_cannot_undo() {
    let (mut world, [ada, ben, _]) = operators(1);
    let buyer = world.buyer();
    assert!(matches!(world.call(mint(buyer, ada, None)), Ok(Reply::Credited(_))));
    // To raise it, two have to show that they are there.
    let rule = |approvals, by| Call::Bank(BankCall::Approvals { approvals, by });
    assert_eq!(proposed(world.call(rule(2, ada))), (1, ProposalState::Open));
    assert_eq!(world.complex.approvals(), (1, false));
    assert_eq!(proposed(world.call(approve(1, ben))), (1, ProposalState::Done));
    assert_eq!(world.complex.approvals(), (2, true));
    // A start that asks for less gets no less.
    world.complex.config.bank.mint_approvals = 1;
    world.restart();
    assert_eq!(world.complex.approvals(), (2, true));
    assert_eq!(proposed(world.call(rule(1, ben))), (2, ProposalState::Open));
    assert!(world.call(approve(2, ben)).is_err());
    assert_eq!(world.complex.approvals(), (2, true));
    // A start that asks for more gets it, for what is open as well.
    assert_eq!(proposed(world.call(mint(buyer, ada, None))), (3, ProposalState::Open));
    world.complex.config.bank.mint_approvals = 3;
    world.restart();
    assert_eq!(world.complex.approvals(), (3, false));
    let kept = world.tables.proposals.values().last().unwrap();
    assert_eq!((&kept.what, kept.agreed.len()), (&Proposed::Approvals(3), 0));
    assert_eq!(proposed(world.call(approve(3, ben))), (3, ProposalState::Open));
    assert_eq!(world.money(buyer).0, 1_005_000_000);
}

/// One random step of the bank.
#[derive(Debug, Clone)]
enum Op {
    Payout { person: usize, amount: i64, key: u8 },
    Settle { payout: u64, paid: bool },
    Deposit { person: usize, id: u8, money: i64 },
    Restart,
    Wait(u64),
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 1_000_000i64..40_000_000,
        1 => (i64::MAX - 2_000)..=i64::MAX,
        1 => (i64::MAX / 2 - 5)..(i64::MAX / 2 + 5),
        1 => -5i64..1_000_000,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0usize..2, amount(), 0u8..6).prop_map(|(person, amount, key)| {
            Op::Payout { person, amount, key }
        }),
        5 => (1u64..12, any::<bool>()).prop_map(|(payout, paid)| Op::Settle { payout, paid }),
        5 => (0usize..2, 0u8..12, amount()).prop_map(|(person, id, money)| {
            Op::Deposit { person, id, money }
        }),
        1 => Just(Op::Restart),
        1 => (1u64..90_000).prop_map(Op::Wait),
    ]
}

/// What a person should have, counted without a ledger.
#[derive(Default)]
struct Plain {
    available: [i128; 2],
    liquidity: i128,
    payouts: BTreeMap<u64, (usize, i128, i128, Option<bool>)>,
    keys: BTreeMap<(usize, u8), (u64, i64)>,
    deposits: BTreeMap<u8, (usize, i64)>,
    /// All that came in, and all that left or may yet: no account counts more than an `i64`.
    deposited: i128,
    sent: i128,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Invariants 1, 2, 3, 4, 5, 7, 8 and 9 at the edge: whatever is asked, answered, repeated and
    /// restarted, in credits and in euros.
    #[test]
    fn any_payouts_and_deposits_agree_with_plain_counting(
        ops in proptest::collection::vec(op(), 1..40),
        euros in any::<bool>(),
    ) {
        let mut world = if euros { with_euros() } else { credits_only() };
        world.complex.config.bank.payout_day_max = MicroCredits(i64::MAX);
        let call = Call::OpenAccount { name: "other".into(), welcome: MicroCredits::ZERO };
        let Ok(Reply::Account(other)) = world.call(call) else { panic!("a fresh name") };
        let people = [world.buyer(), other];
        let mut plain = Plain { available: [1_000_000_000, 0], ..Plain::default() };
        let (rail, rate, unit) =
            if euros { ("bank", 20_000, 10_000) } else { ("till", 1_000_000, 1) };
        for op in ops {
            match op {
                Op::Payout { person, amount, key } => {
                    let name = format!("key {key}");
                    let reply = world.call(payout(people[person], amount, Some(&name)));
                    let money = i128::from(amount) * rate / 1_000_000 / unit * unit;
                    let fits = amount >= 1_000_000
                        && money > 0
                        && i128::from(amount) <= plain.available[person]
                        && (!euros || money <= plain.liquidity)
                        && plain.sent + i128::from(amount) <= i128::from(i64::MAX);
                    match plain.keys.get(&(person, key)) {
                        Some(&(id, before)) if before == amount => {
                            let again = Reply::Bank(BankReply::Payout(PayoutId(id)));
                            prop_assert_eq!(reply, Ok(again));
                        }
                        Some(_) => prop_assert!(reply.is_err()),
                        // The most of a day, in whole numbers, can refuse what would fit.
                        None => match reply {
                            Ok(Reply::Bank(BankReply::Payout(id))) => {
                                prop_assert!(fits, "{op:?}");
                                let entry = (person, i128::from(amount), money, None);
                                plain.available[person] -= entry.1;
                                plain.sent += entry.1;
                                plain.liquidity -= money;
                                prop_assert!(plain.payouts.insert(id.0, entry).is_none());
                                plain.keys.insert((person, key), (id.0, amount));
                            }
                            refused => prop_assert!(!fits, "{refused:?}"),
                        },
                    }
                }
                Op::Settle { payout, paid } => {
                    world.call(settle(payout, if paid { Ok("r") } else { Err("no") })).unwrap();
                    let payout = plain.payouts.get_mut(&payout);
                    if let Some((person, amount, money, state @ None)) = payout {
                        *state = Some(paid);
                        if !paid {
                            plain.available[*person] += *amount;
                            plain.sent -= *amount;
                            plain.liquidity += *money;
                        }
                    }
                }
                Op::Deposit { person, id, money } => {
                    let name = format!("wire {id}");
                    let reply = world.call(deposit(people[person], rail, &name, money));
                    let credits = i128::from(money) * 1_000_000 / rate;
                    match plain.deposits.get(&id) {
                        Some(&before) if before == (person, money) => prop_assert!(reply.is_ok()),
                        Some(_) => prop_assert!(reply.is_err()),
                        None if reply.is_ok() => {
                            prop_assert!(credits > 0);
                            plain.deposits.insert(id, (person, money));
                            plain.available[person] += credits;
                            plain.deposited += credits;
                            plain.liquidity += i128::from(money);
                        }
                        // Refused: less than nothing, or no account could count it. The buyer was
                        // given a thousand credits, so that is where counting ends.
                        None => {
                            let most = i128::from(i64::MAX) - 1_000_000_000;
                            let fits = credits > 0 && plain.deposited + credits <= most;
                            prop_assert!(!fits, "{reply:?}");
                        }
                    }
                }
                Op::Restart => {
                    world.restart();
                    // What the database's index of ids is for, see `outbox` in the server.
                    let known = world.tables.transfers.values();
                    known.for_each(|transfer| world.complex.ledger.remember(transfer));
                }
                Op::Wait(secs) => world.now += Span::secs(secs),
            }
            for (person, account) in people.iter().enumerate() {
                prop_assert_eq!(i128::from(world.money(*account).0), plain.available[person]);
            }
            if euros {
                let liquidity = world.money(system::edge(1, Edge::Liquidity)).0;
                prop_assert_eq!(i128::from(liquidity), plain.liquidity);
            }
        }
        world.audit_kept();
    }
}
