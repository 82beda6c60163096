//! Payouts and proposals as rows.

use isos_base::ids::{AccountId, PayoutId, ProposalId};
use isos_base::record::{
    EarnedRecord, PayoutRecord, PayoutState, ProposalRecord, ProposalState, Proposed,
};
use isos_base::units::MicroCredits;

use super::{MANY, Record};
use crate::cells::{BadRow, Binder, Reader, transfer_bytes};
use crate::table::{Again, Table};

impl Record for PayoutRecord {
    const TABLE: Table = Table {
        name: "payouts",
        columns: &[
            "id", "account", "amount", "hold", "rail", "currency", "money", "pay_to", "state",
            "asked", "ended", "answer",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        to.number(self.account.0);
        to.signed(self.amount.0);
        to.bytes(transfer_bytes(self.hold));
        to.text(&self.rail);
        to.text(&self.currency);
        to.signed(self.money.0);
        to.text(&self.to);
        to.text(match self.state {
            PayoutState::Waiting => "waiting",
            PayoutState::Paid => "paid",
            PayoutState::Refused => "refused",
        });
        to.time(self.asked);
        to.maybe_time(self.ended);
        to.maybe_text(self.answer.as_ref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            id: PayoutId(from.number()?),
            account: AccountId(from.number()?),
            amount: MicroCredits(from.signed()?),
            hold: from.transfer()?,
            rail: from.text()?,
            currency: from.text()?,
            money: MicroCredits(from.signed()?),
            to: from.text()?,
            state: match from.text()?.as_str() {
                "waiting" => PayoutState::Waiting,
                "paid" => PayoutState::Paid,
                "refused" => PayoutState::Refused,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            asked: from.time()?,
            ended: from.maybe_time()?,
            answer: from.maybe_text()?,
        })
    }
}

impl Record for ProposalRecord {
    const TABLE: Table = Table {
        name: "proposals",
        columns: &[
            "id",
            "what",
            "account",
            "amount",
            "why",
            "approvals",
            "agreed",
            "needed",
            "proposed",
            "expires",
            "state",
            "refused_by",
            "ended",
        ],
        key: 1,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.id.0);
        match &self.what {
            Proposed::Mint { account, amount, why } => {
                to.text("mint");
                to.maybe_number(Some(account.0));
                to.maybe_number(u64::try_from(amount.0).ok());
                to.maybe_text(Some(why));
                to.maybe_number(None);
            }
            Proposed::Approvals(approvals) => {
                to.text("approvals");
                to.maybe_number(None);
                to.maybe_number(None);
                to.maybe_text(None::<String>);
                to.maybe_number(Some((*approvals).into()));
            }
        }
        to.packed(&self.agreed);
        to.number(self.needed.into());
        to.time(self.proposed);
        to.time(self.expires);
        to.text(match self.state {
            ProposalState::Open => "open",
            ProposalState::Done => "done",
            ProposalState::Refused => "refused",
            ProposalState::Expired => "expired",
        });
        to.maybe_number(self.refused_by.map(|account| account.0));
        to.maybe_time(self.ended);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let id = ProposalId(from.number()?);
        let what = from.text()?;
        let (account, amount) = (from.maybe_number()?, from.maybe_number()?);
        let (why, approvals) = (from.maybe_text()?, from.maybe_number()?);
        let approvals = approvals.map(u16::try_from).transpose().ok().flatten();
        let amount = amount.map(i64::try_from).transpose().ok().flatten();
        let what = match (what.as_str(), account, amount, why, approvals) {
            ("mint", Some(account), Some(amount), Some(why), None) => {
                Proposed::Mint { account: AccountId(account), amount: MicroCredits(amount), why }
            }
            ("approvals", None, None, None, Some(approvals)) => Proposed::Approvals(approvals),
            (other, ..) => return Err(from.bad(format!("what does not belong to {other:?}"))),
        };
        Ok(Self {
            id,
            what,
            agreed: from.packed()?,
            needed: from.number()?,
            proposed: from.time()?,
            expires: from.time()?,
            state: match from.text()?.as_str() {
                "open" => ProposalState::Open,
                "done" => ProposalState::Done,
                "refused" => ProposalState::Refused,
                "expired" => ProposalState::Expired,
                other => return Err(from.bad(format!("{other:?}, which is no state"))),
            },
            refused_by: from.maybe_number()?.map(AccountId),
            ended: from.maybe_time()?,
        })
    }
}

impl Record for EarnedRecord {
    const TABLE: Table = Table {
        name: "earned",
        columns: &["account", "month", "amount"],
        key: 2,
        again: Again::Replace,
        rows_max: MANY,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.account.0);
        to.number(self.month.into());
        to.signed(self.amount.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        Ok(Self {
            account: AccountId(from.number()?),
            month: from.number()?,
            amount: MicroCredits(from.signed()?),
        })
    }
}
