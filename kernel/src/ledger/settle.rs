//! What one bill costs the buyer, earns the host and leaves the complex, as linked postings.
//!
//! Not here: what the work was worth. Charge and earning come from the price and the verified fuel
//! (`isos_base::price`: the charge rounds up, the earning down).

use isos_base::record::{Reason, system};
use isos_base::{AccountId, BillId, MicroCredits, TransferId};
use thiserror::Error;

use super::posting::Posting;
use super::transfer_id::{Step, bill_step};

/// The complex's part of an earning, in basis points (hundredths of a percent).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FeeRate(u16);

impl FeeRate {
    /// All of it.
    const WHOLE: u16 = 10_000;

    /// `basis_points` of 10,000; `None` above 10,000.
    #[must_use]
    pub const fn new(basis_points: u16) -> Option<Self> {
        if basis_points > Self::WHOLE { None } else { Some(Self(basis_points)) }
    }

    /// The fee on an earning of zero or more: rounded down, in the host's favour.
    #[must_use]
    pub fn fee(self, earning: MicroCredits) -> MicroCredits {
        let exact = i128::from(earning.0.max(0)) * i128::from(self.0) / i128::from(Self::WHOLE);
        MicroCredits(i64::try_from(exact).expect("a part of an i64 fits an i64"))
    }
}

/// The amounts of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Which bill; it is never paid twice.
    pub bill: BillId,
    /// The buyer's hold, which must be towards [`system::ESCROW`].
    pub hold: TransferId,
    /// The account that earns.
    pub earner: AccountId,
    /// What the buyer pays.
    pub charge: MicroCredits,
    /// What the work earns before the fee; at most the charge.
    pub earning: MicroCredits,
    /// What the complex keeps of the earning.
    pub fee: MicroCredits,
}

/// The three amounts of a settlement contradict each other. Nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "bill {bill}: charge {charge}, earning {earning} and fee {fee} do not settle: \
     charge >= earning >= fee >= 0 must hold"
)]
pub struct SettlementError {
    /// Which bill.
    pub bill: BillId,
    /// See [`Settlement::charge`].
    pub charge: MicroCredits,
    /// See [`Settlement::earning`].
    pub earning: MicroCredits,
    /// See [`Settlement::fee`].
    pub fee: MicroCredits,
}

impl Settlement {
    /// Appends the postings: charge to escrow, and from escrow to the last micro-credit the host's
    /// pay, the fee, and what the roundings left. Steps of nothing are left out.
    ///
    /// The ids follow from the bill, so settling twice is settling once.
    ///
    /// # Errors
    /// [`SettlementError`] unless `charge >= earning >= fee >= 0`.
    pub fn postings(&self, postings: &mut Vec<Posting>) -> Result<(), SettlementError> {
        let Self { bill, hold, earner, charge, earning, fee } = *self;
        if !(charge >= earning && earning >= fee && fee >= MicroCredits::ZERO) {
            return Err(SettlementError { bill, charge, earning, fee });
        }
        if charge == MicroCredits::ZERO {
            return Ok(());
        }
        postings.push(Posting::Post {
            id: bill_step(Step::Charge, bill),
            hold,
            amount: charge,
            reason: Reason::Charge(bill),
        });
        // Differences of ordered numbers that are not negative: they cannot leave an i64.
        let pay = MicroCredits(earning.0 - fee.0);
        let rest = MicroCredits(charge.0 - earning.0);
        let steps = [
            (Step::Pay, earner, pay, Reason::Pay(bill)),
            (Step::Fee, system::FEES, fee, Reason::Fee(bill)),
            (Step::Rounding, system::ROUNDING, rest, Reason::Rounding(bill)),
        ];
        for (step, credit, amount, reason) in steps {
            if amount > MicroCredits::ZERO {
                let id = bill_step(step, bill);
                postings.push(Posting::Direct {
                    id,
                    debit: system::ESCROW,
                    credit,
                    amount,
                    reason,
                });
            }
        }
        Ok(())
    }
}
