//! Rails: ways for money out of the complex and in. A payment provider is one file with one trait.
//!
//! To add one: a file in this folder with a type that implements [`Rail`], and a line in
//! `open`. Everything hard is done elsewhere: what is held, limits, the outbox, retries with
//! back-off, who leads. What is left for a rail is to say one thing to the provider and to
//! understand the answer. The three answers of [`Rail::send`] are the whole contract:
//!
//! * [`Sent::Paid`]: the provider has it, durably. The credits are gone.
//! * [`Sent::Never`]: it will never be paid, whatever happens. The credits go back.
//! * [`Sent::Later`]: everything else, above all "no answer". It is sent again *under the same
//!   key*, maybe by another server, after a crash, or while the first call still runs; so the
//!   provider must know keys (most do, as "idempotency keys"), or the rail must keep them, as the
//!   file does.
//!
//! When in doubt a rail says `Later`: to say `Never` of something that was paid gives money away.

pub mod file;

use std::sync::Arc;

use isos_base::MicroCredits;
use isos_base::record::PayoutRecord;
use isos_kernel::complex::RailTerms;
use thiserror::Error;

/// Deposits that are taken from a rail at once.
pub(crate) const INCOMING_MAX: usize = 100;

/// What a rail is told to pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The same for the same payout, for ever, and for no other, also of other complexes.
    pub key: String,
    /// How much, in millionths of the rail's currency; a multiple of its unit.
    pub money: MicroCredits,
    /// The code of the currency; `credit` if it is credits.
    pub currency: String,
    /// Where to, as the owner wrote it: the rail is the first that understands it.
    pub to: String,
    /// The order itself: whose, when.
    pub payout: PayoutRecord,
}

/// What a rail answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Paid, or taken to be paid and not to be lost; with a receipt for the owner.
    Paid(String),
    /// Not now; why. It is sent again.
    Later(String),
    /// Never: why, for the owner.
    Never(String),
}

/// Money that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The provider's own id of it: the same id counts once, for ever. At most 200 characters.
    pub id: String,
    /// Number or name of the account that it is for.
    pub account: String,
    /// How much, in millionths of the rail's currency.
    pub money: MicroCredits,
}

/// Why a rail cannot be used.
#[derive(Debug, Error)]
pub enum RailError {
    /// Its folder or file.
    #[error("rail {rail}: cannot use {path}")]
    File {
        /// Its name.
        rail: String,
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What it was told makes no sense.
    #[error("{0:?} is no rail: {1}")]
    Spec(String, String),
    /// Two of one name.
    #[error("there are two rails of the name {0:?}: give one another by name=...")]
    Twice(String),
}

/// A way for money. Calls block, on a thread of their own, one at a time for each rail.
pub trait Rail: Send + Sync {
    /// Pays, or finds that it was paid under this key.
    fn send(&self, instruction: &Instruction) -> Sent;

    /// How to pay in for an account, for its owner.
    fn address(&self, account: u64, name: &str) -> String;

    /// Some of what came in and was not told to be [`Rail::taken`] yet: again and again, until it
    /// is. A deposit that nobody can be credited with comes to [`Rail::rejected`].
    ///
    /// # Errors
    /// [`RailError`] when the rail cannot be reached; it is asked again.
    fn incoming(&self) -> Result<Vec<Incoming>, RailError>;

    /// The complex has it, durably.
    ///
    /// # Errors
    /// [`RailError`]; then it is told again.
    fn taken(&self, id: &str) -> Result<(), RailError>;

    /// The complex will never take it: why, for the operator, who has the money.
    ///
    /// # Errors
    /// [`RailError`]; then it is told again.
    fn rejected(&self, id: &str, why: &str) -> Result<(), RailError>;
}

/// A rail, and what the machine knows of it.
#[derive(Clone)]
pub(crate) struct OpenRail {
    pub(crate) terms: RailTerms,
    pub(crate) rail: Arc<dyn Rail>,
}

/// A rail as an operator asks for it: `file=DIR`, and behind it, with commas between, `name=NAME`,
/// `currency=EUR`, `rate=0.02` (units of the currency for a credit) and `unit=0.01`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RailSpec {
    /// What the machine knows of it.
    pub terms: RailTerms,
    /// Which kind: the first word.
    kind: String,
    /// What the kind is told: a folder.
    place: String,
}

impl std::str::FromStr for RailSpec {
    type Err = RailError;

    fn from_str(text: &str) -> Result<Self, RailError> {
        let bad = |why: &str| RailError::Spec(text.into(), why.into());
        let mut parts = text.split(',');
        let first = parts.next().and_then(|first| first.split_once('='));
        let (kind, place) = first.ok_or_else(|| bad("write file=DIR"))?;
        if kind != "file" {
            return Err(bad("the one kind of rail in the box is file=DIR"));
        }
        if place.is_empty() {
            return Err(bad("name its folder"));
        }
        let mut terms = RailTerms {
            name: kind.into(),
            currency: isos_kernel::ledger::CREDIT.into(),
            rate: 1_000_000,
            unit: 1,
        };
        let (mut rate, mut unit) = (None, None);
        for part in parts {
            let amount = |text: &str| {
                let amount: MicroCredits = text.parse().ok()?;
                u64::try_from(amount.0).ok().filter(|amount| *amount > 0)
            };
            let known = "behind the folder, name=, currency=, rate= and unit= are known";
            match part.split_once('=').ok_or_else(|| bad(known))? {
                ("name", name) => terms.name = name.into(),
                ("currency", code) => terms.currency = code.into(),
                ("rate", text) => {
                    let why = "rate is units of the currency for a credit, such as 0.02";
                    rate = Some(amount(text).ok_or_else(|| bad(why))?);
                }
                ("unit", text) => {
                    let why = "unit is the smallest amount that it pays, such as 0.01";
                    unit = Some(amount(text).ok_or_else(|| bad(why))?);
                }
                _ => return Err(bad(known)),
            }
        }
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=32).contains(&terms.name.len()) || !terms.name.chars().all(named) {
            return Err(bad("its name has 1 to 32 letters, digits and -"));
        }
        if terms.currency == isos_kernel::ledger::CREDIT {
            if rate.is_some() {
                return Err(bad("a rate belongs to a currency: add currency=..."));
            }
            terms.unit = unit.unwrap_or(1);
        } else {
            let why = "a currency needs its rate: units of it for a credit, such as rate=0.02";
            terms.rate = rate.ok_or_else(|| bad(why))?;
            terms.unit = unit.unwrap_or(10_000);
        }
        Ok(Self { terms, kind: kind.into(), place: place.into() })
    }
}

/// Opens all rails. A new kind is a line here.
pub(crate) fn open(specs: &[RailSpec]) -> Result<Vec<OpenRail>, RailError> {
    let mut rails: Vec<OpenRail> = Vec::new();
    for RailSpec { terms, kind, place } in specs {
        if rails.iter().any(|it| it.terms.name == terms.name) {
            return Err(RailError::Twice(terms.name.clone()));
        }
        let rail: Arc<dyn Rail> = match kind.as_str() {
            "file" => Arc::new(file::FileRail::open(&terms.name, place.as_ref())?),
            other => return Err(RailError::Spec(other.into(), "no such kind".into())),
        };
        rails.push(OpenRail { terms: terms.clone(), rail });
    }
    Ok(rails)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rail_is_read_from_one_word() {
        let spec: RailSpec = "file=/var/bank,currency=EUR,rate=0.02".parse().unwrap();
        let terms = |name: &str, currency: &str, rate, unit| RailTerms {
            name: name.into(),
            currency: currency.into(),
            rate,
            unit,
        };
        assert_eq!(spec.terms, terms("file", "EUR", 20_000, 10_000));
        let spec: RailSpec = "file=x,name=till-2".parse().unwrap();
        assert_eq!(spec.terms, terms("till-2", "credit", 1_000_000, 1));
        for bad in [
            "",
            "file",
            "file=",
            "wire=x",
            "file=x,rate=2",
            "file=x,currency=EUR",
            "file=x,currency=EUR,rate=0",
            "file=x,name=a b",
            "file=x,color=red",
        ] {
            assert!(bad.parse::<RailSpec>().is_err(), "{bad}");
        }
    }
}
