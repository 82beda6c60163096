//! Beside jobs: credits that two operators make, payouts over a rail, and hosts' tickets that are
//! taken back in mid-job.
//!
//! The sender of a leader is here, as `complex/src/outbox.rs` has it: it sees what waits once that
//! is kept, gives it to the rail under a key that does not change, and tells the machine what the
//! rail answered for good. The rail pays a key once.

use std::collections::BTreeMap;

use isos_base::record::{PayoutRecord, PayoutState, Reason, TransferKind};
use isos_base::{MicroCredits, PayoutId, Span, Time};
use isos_kernel::complex::{BankCall, Call, Input, RequestId};

use super::errands::Made;
use super::{Event, World};
use crate::server::Act;

/// How often the sender looks: `EVERY` of the outbox.
const EVERY: Span = Span::secs(1);
/// A rail answers within this time.
const RAIL_MAX: Span = Span::secs(3);
/// One in so many times a rail says "later", or its answer is lost.
const TROUBLE_ONE_IN: u64 = 4;
/// What is made, and what is paid out.
const MINTED: MicroCredits = MicroCredits::credits(100);
const PAID_OUT: MicroCredits = MicroCredits::credits(10);
/// So many of each; the last payout is to where the rail never pays.
const MINTS: u32 = 2;
const PAYOUTS: u32 = 3;
const NOWHERE: &str = "nowhere";
/// One in so many hosts has its ticket taken back, and gets another after a while.
const REVOKED_ONE_IN: u32 = 16;
const NEW_TICKET_WITHIN: Span = Span::secs(60);
/// A ticket would have expired then.
const TICKET_UNTIL: Time = Time(u64::MAX / 2);

/// What the world outside has been paid.
#[derive(Default)]
pub(super) struct Rail {
    paid: BTreeMap<PayoutId, MicroCredits>,
}

impl World {
    /// What will be asked for beside jobs.
    pub(super) fn plan_edge(&mut self) -> Result<(), String> {
        let within = self.plan.faults_until;
        let proposes = self.open_account("operator0".into(), MicroCredits::ZERO)?;
        let agrees = self.open_account("operator1".into(), MicroCredits::ZERO)?;
        for n in 0..MINTS {
            let account = self.open_account(format!("minted{n}"), MicroCredits::ZERO)?;
            let (why, key) = (format!("minted {n}"), Some(format!("mint {n}")));
            let mint = Call::Mint { account, amount: MINTED, why, key, by: proposes };
            let proposed = self.errand(mint, None, within);
            let approve = BankCall::Approve { proposal: Default::default(), by: agrees };
            self.errand(Call::Bank(approve), Some(proposed), within);
        }
        for n in 0..PAYOUTS {
            let account = self.open_account(format!("payee{n}"), MINTED)?;
            let to = if n + 1 == PAYOUTS { NOWHERE } else { "somewhere" };
            let payout = BankCall::Payout {
                account,
                amount: PAID_OUT,
                rail: None,
                to: to.into(),
                key: Some(format!("payout {n}")),
            };
            self.errand(Call::Bank(payout), None, within);
        }
        for n in (0..self.plan.hosts).step_by(REVOKED_ONE_IN as usize) {
            let id = self.hosts[n as usize].ticket();
            let account = Some(self.accounts[n as usize]);
            let (until, above) = (TICKET_UNTIL, Vec::new());
            self.errand(Call::RevokeToken { id, until, account, above }, None, within);
        }
        Ok(())
    }

    /// The owner of a host whose ticket was taken back has heard of it.
    pub(super) fn ticket_is_gone(&mut self, id: &[u8]) {
        let at = self.now + Span(self.random.below(NEW_TICKET_WITHIN.0));
        if let Some(n) = self.hosts.iter().position(|host| host.ticket() == id) {
            self.at(at, Event::NewTicket(n as u32));
        }
    }

    /// The sender of a leader looks what waits.
    pub(super) fn send_payouts(&mut self, n: u32) {
        let Some(machine) = self.servers[n as usize].machine() else { return };
        // Another leader may have kept another payout under the same number meanwhile.
        let kept = |it: &&PayoutRecord| self.database.tables.payouts.get(&it.id) == Some(*it);
        let waiting = machine.payouts_waiting(None, PayoutId(0)).filter(kept);
        for payout in waiting.cloned().collect::<Vec<_>>() {
            let Some(answer) = self.pay_out(&payout) else { continue };
            let at = self.now + Span(self.random.below(RAIL_MAX.0));
            self.at_server(at, n, Act::PaidOut(payout.id, answer));
        }
        self.at_server(self.now + EVERY, n, Act::Send);
    }

    /// What the rail answers for good, if that is heard.
    fn pay_out(&mut self, payout: &PayoutRecord) -> Option<Result<String, String>> {
        if self.random.one_in(TROUBLE_ONE_IN) {
            return None;
        }
        if payout.to == NOWHERE {
            return Some(Err("nobody is there".into()));
        }
        let before = *self.rail.paid.entry(payout.id).or_insert(payout.money);
        if before != payout.money {
            let what = format!("the rail has paid {before} under the key of {payout:?}");
            self.promise(Err(what));
        }
        let heard = !self.random.one_in(TROUBLE_ONE_IN);
        heard.then(|| Ok("receipt".into()))
    }

    /// The sender tells the machine.
    pub(super) fn paid_out(&mut self, n: u32, payout: PayoutId, answer: Result<String, String>) {
        self.next_errand += 1;
        let request = RequestId(self.next_errand);
        let call = Call::Bank(BankCall::Settle { payout, answer });
        self.step(n, Input::Requested { request, call });
    }

    /// A payout that its rail has not answered yet.
    pub(super) fn payout_waits(&self) -> Option<PayoutId> {
        let mut payouts = self.database.tables.payouts.values();
        payouts.find(|it| it.state == PayoutState::Waiting).map(|it| it.id)
    }

    /// Each payout that was asked for is one, paid once or back where it was; what two operators
    /// have agreed on was made once.
    pub(super) fn edge_is_as_asked(&self) -> Result<(), String> {
        let tables = &self.database.tables;
        let asked = self.errands.iter().filter_map(|errand| match errand.answer {
            Some(Made::Payout(payout)) => Some(payout),
            _ => None,
        });
        let asked: Vec<PayoutId> = asked.collect();
        let kept: Vec<PayoutId> = tables.payouts.keys().copied().collect();
        let mut sorted = asked;
        sorted.sort_unstable();
        if sorted != kept || kept.len() != PAYOUTS as usize {
            return Err(format!("payouts {sorted:?} were asked for, kept are {kept:?}"));
        }
        for payout in tables.payouts.values() {
            let money = self.rail.paid.get(&payout.id).copied();
            let is_right = match payout.state {
                PayoutState::Paid => money == Some(payout.money),
                PayoutState::Refused => money.is_none() && payout.to == NOWHERE,
                PayoutState::Waiting => false,
            };
            if !is_right {
                return Err(format!("the rail has paid {money:?} for {payout:?}"));
            }
        }
        if let Some(payout) = self.rail.paid.keys().find(|it| !tables.payouts.contains_key(it)) {
            return Err(format!("the rail has paid {payout}, which nobody asked for"));
        }
        for n in 0..MINTS {
            let why = format!("minted {n};");
            let made = tables.transfers.values().filter(|transfer| {
                matches!(&transfer.reason, Reason::Grant(text) if text.starts_with(&why))
            });
            let made: Vec<_> = made.map(|it| (it.kind, it.amount)).collect();
            if made != [(TransferKind::Direct, MINTED)] {
                return Err(format!("what two operators agreed on was made so: {made:?}"));
            }
        }
        Ok(())
    }
}
