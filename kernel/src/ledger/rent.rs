//! What a storage lease costs for a time that has passed, as linked postings.
//!
//! As a bill's settlement, but from the one hold of all of an account's storage, and numbered by
//! the lease and how often it was settled before.

use isos_base::record::{Reason, system};
use isos_base::{AccountId, LeaseId, MicroCredits, TransferId};

use super::posting::Posting;
use super::transfer_id::{RentStep, rent_step};

/// The amounts of one settlement of a storage lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rent {
    /// Which lease.
    pub lease: LeaseId,
    /// How often it was settled before.
    pub number: u32,
    /// The hold of the buyer's storage, towards [`system::ESCROW`].
    pub hold: TransferId,
    /// The account that earns.
    pub earner: AccountId,
    /// What the buyer pays.
    pub charge: MicroCredits,
    /// What the host earns before the fee; at most the charge.
    pub earning: MicroCredits,
    /// What the complex keeps of the earning.
    pub fee: MicroCredits,
}

impl Rent {
    /// Appends the postings: the charge to escrow, and from escrow to the last micro-credit the
    /// pay, the fee, and what the roundings left. Steps of nothing are left out.
    ///
    /// # Panics
    /// Unless `charge >= earning >= fee >= 0`: the caller has reckoned wrongly.
    pub fn postings(&self, postings: &mut Vec<Posting>) {
        let Self { lease, number, hold, earner, charge, earning, fee } = *self;
        let in_order = charge >= earning && earning >= fee && fee >= MicroCredits::ZERO;
        assert!(in_order, "lease {lease}: charge {charge}, earning {earning}, fee {fee}");
        if charge == MicroCredits::ZERO {
            return;
        }
        let reason = Reason::Rent(lease);
        let id = |step| rent_step(step, lease, number);
        let taken = Posting::Post {
            id: id(RentStep::Charge),
            hold,
            amount: charge,
            reason: reason.clone(),
        };
        postings.push(taken);
        let steps = [
            (RentStep::Pay, earner, earning.0 - fee.0),
            (RentStep::Fee, system::FEES, fee.0),
            (RentStep::Rounding, system::ROUNDING, charge.0 - earning.0),
        ];
        for (step, credit, amount) in steps {
            if amount > 0 {
                postings.push(Posting::Direct {
                    id: id(step),
                    debit: system::ESCROW,
                    credit,
                    amount: MicroCredits(amount),
                    reason: reason.clone(),
                });
            }
        }
    }
}
