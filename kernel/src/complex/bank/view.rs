//! What screens and the shell see of the bank.

use isos_base::api::RailView;
use isos_base::record::PayoutRecord;
use isos_base::record::system::{self, Edge};
use isos_base::{AccountId, PayoutId};

use super::super::Complex;
use super::{BankConfig, RailTerms, WAITING_MAX};

impl Complex {
    /// Payouts that wait behind a number, of one account or all, in order.
    pub fn payouts_waiting(
        &self,
        account: Option<AccountId>,
        after: PayoutId,
    ) -> impl Iterator<Item = &PayoutRecord> {
        let behind = self.bank.waiting.range(PayoutId(after.0.saturating_add(1))..);
        let mine = move |it: &&PayoutRecord| account.is_none_or(|account| it.account == account);
        behind.map(|(_, record)| record).filter(mine)
    }

    /// How many payouts wait in the outbox, and how many may.
    #[must_use]
    pub fn outbox_load(&self) -> (usize, usize) {
        (self.bank.waiting.len(), WAITING_MAX)
    }

    /// A payout that waits.
    #[must_use]
    pub fn payout(&self, id: PayoutId) -> Option<&PayoutRecord> {
        self.bank.waiting.get(&id)
    }

    /// The rails and what waits for each.
    #[must_use]
    pub fn rail_views(&self) -> Vec<RailView> {
        let BankConfig { rails, payout_min, payout_day_max, .. } = &self.config.bank;
        let view = |rail: &RailTerms| {
            let waiting = self.bank.waiting.values().filter(|it| it.rail == rail.name).count();
            let liquidity = match self.currency_of(rail) {
                0 => None,
                currency => {
                    let account = system::edge(currency, Edge::Liquidity);
                    self.ledger.account_view(account).map(|view| view.available)
                }
            };
            RailView {
                name: rail.name.clone(),
                currency: rail.currency.clone(),
                rate: rail.rate,
                payout_min: *payout_min,
                payout_day_max: *payout_day_max,
                liquidity,
                waiting: waiting as u64,
                trouble: None,
            }
        };
        rails.iter().map(view).collect()
    }
}
