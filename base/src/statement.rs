//! Statements that an owner can check alone: a chain over the lines, and a head that the complex
//! signs.
//!
//! Each link is a hash over the link before it and a line. The complex signs the last link together
//! with the balances. Who keeps a signed statement can show later that a line was changed or left
//! out: the complex would have signed two chains of which neither begins with the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::{BilledWork, StatementLine};
use crate::codec;
use crate::guid::Guid;
use crate::ids::{AccountId, BillId};
use crate::key::{PublicKey, SecretKey};
use crate::time::Time;
use crate::units::MicroCredits;

/// What is signed is tagged with this.
const TAG: &[u8] = b"isos-statement-1";
/// Heads of the ledger with this.
const LEDGER_TAG: &[u8] = b"isos-ledger-head-1";

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Head {
    /// The account.
    pub account: AccountId,
    /// Lines so far.
    pub lines: u64,
    /// Position in the ledger of the last one; 0 before the first.
    pub last: u64,
    /// The last link.
    pub chain: Guid,
    /// What the account has, held money included.
    pub balance: MicroCredits,
    /// What of it is held.
    pub held: MicroCredits,
}

/// A head with the word of the complex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedHead {
    /// The head.
    pub head: Head,
    /// When it was signed.
    pub at: Time,
    /// The key of the complex.
    pub complex: PublicKey,
    /// Its signature over all of the above, in hexadecimal.
    pub signature: String,
}

/// Where the whole ledger stood, with the word of the complex: the same for all owners, so that
/// they can compare what they were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedLedgerHead {
    /// Position of the last transfer; 0 before the first.
    pub seq: u64,
    /// Its hash, which stands for all before it.
    pub hash: Guid,
    /// It was the last one before this moment.
    pub before: Time,
    /// The key of the complex.
    pub complex: PublicKey,
    /// Its signature over all of the above, in hexadecimal.
    pub signature: String,
}

/// All that an account's owner needs to check it without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// What the complex says of the lines.
    pub signed: SignedHead,
    /// All lines from the first on.
    pub lines: Vec<StatementLine>,
}

/// What is wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatementError {
    /// Signed by another key.
    #[error("it is signed by {found}, not by {expected}")]
    OtherComplex {
        /// The key that was expected.
        expected: PublicKey,
        /// The key in it.
        found: PublicKey,
    },
    /// The signature does not belong to it.
    #[error("the signature of the complex does not fit: what was signed said something else")]
    Signature,
    /// A line is out of order.
    #[error("line {seq} does not come after line {before}")]
    Order {
        /// The position of the line.
        seq: u64,
        /// The position of the line before it.
        before: u64,
    },
    /// A balance does not follow from the line before it.
    #[error(
        "line {seq} says that the balance is {said}; with the lines before it, it is {counted}"
    )]
    Balance {
        /// The position of the line.
        seq: u64,
        /// What it says.
        said: MicroCredits,
        /// What adds up.
        counted: MicroCredits,
    },
    /// A bill was charged or paid otherwise than its work and its price say.
    #[error("bill {bill}: {what} {moved} for work that comes to {worth}")]
    Bill {
        /// Which.
        bill: BillId,
        /// `charged` or `paid`.
        what: &'static str,
        /// What moved.
        moved: MicroCredits,
        /// What the work comes to.
        worth: MicroCredits,
    },
    /// The lines are not those that were signed.
    #[error("the lines come to {counted}, but signed is {signed}: {what}")]
    Head {
        /// What differs.
        what: &'static str,
        /// From the lines.
        counted: String,
        /// In the head.
        signed: String,
    },
    /// A line is not what stood in the ledger.
    #[error(
        "line {seq} has another hash than the ledger's head at that place. Keep both: signed by one \
         complex, they prove that it told two stories"
    )]
    OtherLedger {
        /// The position.
        seq: u64,
    },
    /// An earlier statement is not the beginning of this one.
    #[error(
        "the earlier statement is not the beginning of this one: at line {line} they part. Keep \
         both: signed by one complex, they prove that it changed what was"
    )]
    Rewritten {
        /// The first line that differs, from 1.
        line: u64,
    },
}

impl Head {
    /// The chain of an account without lines.
    #[must_use]
    pub fn new(account: AccountId) -> Self {
        let mut seed = TAG.to_vec();
        seed.extend(codec::encode(&account));
        let (balance, held) = (MicroCredits::ZERO, MicroCredits::ZERO);
        Self { account, lines: 0, last: 0, chain: Guid::of(&seed), balance, held }
    }

    /// Goes on by a line. What is for people alone, the words, is not in the chain.
    pub fn add(&mut self, line: &StatementLine) {
        /// What of a line counts.
        #[derive(Serialize)]
        struct Link<'a> {
            before: Guid,
            seq: u64,
            at: Time,
            kind: &'a str,
            other: AccountId,
            amount: MicroCredits,
            held: MicroCredits,
            balance: MicroCredits,
            hash: Guid,
            work: &'a Option<BilledWork>,
        }
        let link = Link {
            before: self.chain,
            seq: line.seq,
            at: line.at,
            kind: &line.kind,
            other: line.other,
            amount: line.amount,
            held: line.held,
            balance: line.balance,
            hash: line.hash,
            work: &line.work,
        };
        self.chain = Guid::of(&codec::encode(&link));
        self.lines += 1;
        self.last = line.seq;
        self.balance = line.balance;
        self.held = MicroCredits(self.held.0.saturating_add(line.held.0));
    }

    /// The head with the complex's word.
    #[must_use]
    pub fn sign(self, key: &SecretKey, at: Time) -> SignedHead {
        let complex = key.public();
        let signature = key.sign_tagged(TAG, &(&self, at, &complex));
        SignedHead { head: self, at, complex, signature }
    }
}

impl SignedLedgerHead {
    /// The head with the complex's word.
    #[must_use]
    pub fn sign(seq: u64, hash: Guid, before: Time, key: &SecretKey) -> Self {
        let complex = key.public();
        let signature = key.sign_tagged(LEDGER_TAG, &(seq, hash, before, complex));
        Self { seq, hash, before, complex, signature }
    }

    /// Whether the complex has signed this.
    ///
    /// # Errors
    /// [`StatementError::Signature`].
    pub fn check(&self) -> Result<(), StatementError> {
        let Self { seq, hash, before, complex, signature } = self;
        let fits = complex.has_signed(LEDGER_TAG, &(seq, hash, before, complex), signature);
        if fits { Ok(()) } else { Err(StatementError::Signature) }
    }
}

impl SignedHead {
    /// Whether the complex has signed this.
    ///
    /// # Errors
    /// [`StatementError::Signature`].
    pub fn check(&self) -> Result<(), StatementError> {
        let Self { head, at, complex, signature } = self;
        let fits = complex.has_signed(TAG, &(head, at, complex), signature);
        if fits { Ok(()) } else { Err(StatementError::Signature) }
    }
}

impl SignedStatement {
    /// Checks all that can be checked without the complex: each line against those before it and
    /// against the work it is for, the chain against the head, the head against the signature, the
    /// signature's key against the expected one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, complex: Option<&PublicKey>) -> Result<(), StatementError> {
        let found = self.signed.complex;
        if let Some(&expected) = complex
            && expected != found
        {
            return Err(StatementError::OtherComplex { expected, found });
        }
        self.signed.check()?;
        let mut head = Head::new(self.signed.head.account);
        for line in &self.lines {
            if line.seq <= head.last {
                return Err(StatementError::Order { seq: line.seq, before: head.last });
            }
            let counted = MicroCredits(head.balance.0.saturating_add(line.amount.0));
            if line.balance != counted {
                let (seq, said) = (line.seq, line.balance);
                return Err(StatementError::Balance { seq, said, counted });
            }
            head.add(line);
        }
        check_bills(head.account, &self.lines)?;
        let signed = &self.signed.head;
        let differs = |what, counted: &dyn ToString, signed: &dyn ToString| {
            let (counted, signed) = (counted.to_string(), signed.to_string());
            if counted == signed {
                Ok(())
            } else {
                Err(StatementError::Head { what, counted, signed })
            }
        };
        differs("number of lines", &head.lines, &signed.lines)?;
        differs("balance", &head.balance, &signed.balance)?;
        differs("held money", &head.held, &signed.held)?;
        differs("position in the ledger", &head.last, &signed.last)?;
        differs("chain of hashes", &head.chain, &signed.chain)
    }

    /// Checks the statement against a head of the whole ledger: who signed it, and the line that is
    /// at its place, if the account has one there. Says whether it has.
    ///
    /// # Errors
    /// What is wrong with the head, or [`StatementError::OtherLedger`].
    pub fn agrees_with(&self, ledger: &SignedLedgerHead) -> Result<bool, StatementError> {
        let (expected, found) = (self.signed.complex, ledger.complex);
        if expected != found {
            return Err(StatementError::OtherComplex { expected, found });
        }
        ledger.check()?;
        let Ok(at) = self.lines.binary_search_by_key(&ledger.seq, |line| line.seq) else {
            return Ok(false);
        };
        if self.lines[at].hash != ledger.hash {
            return Err(StatementError::OtherLedger { seq: ledger.seq });
        }
        Ok(true)
    }

    /// Checks that an earlier statement of the account is the beginning of this one.
    ///
    /// # Errors
    /// [`StatementError::Rewritten`], also when it is of another account.
    pub fn follows(&self, earlier: &Self) -> Result<(), StatementError> {
        let mut head = Head::new(self.signed.head.account);
        let mut before = Head::new(earlier.signed.head.account);
        let mut lines = self.lines.iter();
        for line in &earlier.lines {
            let now = lines.next();
            now.inspect(|now| head.add(now));
            before.add(line);
            if now.is_none() || head.chain != before.chain {
                return Err(StatementError::Rewritten { line: before.lines });
            }
        }
        if head.chain == before.chain { Ok(()) } else { Err(StatementError::Rewritten { line: 1 }) }
    }
}

/// Whether each bill moved what its work comes to.
fn check_bills(account: AccountId, lines: &[StatementLine]) -> Result<(), StatementError> {
    let mut charged: BTreeMap<BillId, (i64, MicroCredits)> = BTreeMap::new();
    for line in lines {
        let Some(work) = &line.work else { continue };
        match line.kind.as_str() {
            // The owner gets no more than the work earns; the fee is what is less.
            "pay" if work.account == account => {
                let worth = work.price.earning(work.fuel);
                if line.amount > worth || line.amount.0 < 0 {
                    let (bill, moved) = (work.bill, line.amount);
                    return Err(StatementError::Bill { bill, what: "paid", moved, worth });
                }
            }
            // The buyer gives what the work costs, no more and no less, in however many transfers:
            // a bill that was made to say more than was charged is as forged as one that says less.
            "charge" if line.amount.0 < 0 => {
                let worth = work.price.charge(work.fuel);
                let entry = charged.entry(work.bill).or_insert((0, worth));
                entry.0 = entry.0.saturating_sub(line.amount.0);
            }
            _ => {}
        }
    }
    for (bill, (moved, worth)) in charged {
        if moved != worth.0 {
            let moved = MicroCredits(moved);
            return Err(StatementError::Bill { bill, what: "charged", moved, worth });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
