//! What can be asked of a complex, and what it answers.

use isos_base::api::{AccountView, JobView, SliceView};
use isos_base::audit::Actor;
use isos_base::job::JobSpec;
use isos_base::key::PublicKey;
use isos_base::market::{FirmRecord, ReservationRecord};
use isos_base::price::Price;
use isos_base::right::Holder;
use isos_base::{AccountId, HostId, JobId, MicroCredits, ReservationId, Time};
use serde::{Deserialize, Serialize};

use super::{BankCall, BankReply, KeyCall, SliceCall, StorageCall, StorageReply, Wish};

/// What can be asked for. Which right it needs is known to the shell, which has asked for it; that
/// it was not taken back since is seen to by [`Call::As`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Call {
    /// Run a job.
    Submit {
        /// Who pays.
        account: AccountId,
        /// What.
        spec: Box<JobSpec>,
        /// The caller's idempotency key.
        key: Option<String>,
    },
    /// Run a job that says what it pays at the most.
    SubmitBid {
        /// Who pays.
        account: AccountId,
        /// What.
        spec: Box<JobSpec>,
        /// The caller's idempotency key.
        key: Option<String>,
        /// The most for a gigafuel.
        bid: Price,
    },
    /// Change what a job pays at the most.
    Bid {
        /// Which.
        job: JobId,
        /// The most for a gigafuel.
        bid: Price,
    },
    /// Promise cores to an account.
    Reserve {
        /// To whom.
        account: AccountId,
        /// What.
        wish: Wish,
    },
    /// Give a reservation up.
    Unreserve {
        /// Whose.
        account: AccountId,
        /// Which.
        id: ReservationId,
    },
    /// Stop a job.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// The account of this name, made if there is none.
    OpenAccount {
        /// Its name.
        name: String,
        /// Credits that a new one starts with.
        welcome: MicroCredits,
    },
    /// New credits for an account, by the operator.
    Mint {
        /// For whom.
        account: AccountId,
        /// How much.
        amount: MicroCredits,
        /// Why, for the statement.
        why: String,
        /// The caller's idempotency key.
        #[serde(default)]
        key: Option<String>,
        /// Which operator, by the account of the token.
        #[serde(default)]
        by: AccountId,
    },
    /// A token is good no more.
    RevokeToken {
        /// Its id.
        id: Vec<u8>,
        /// When it would have expired anyway.
        until: Time,
        /// Whose it is.
        #[serde(default)]
        account: Option<AccountId>,
        /// The ids of what it was made from: whoever revoked one of them has revoked it.
        #[serde(default)]
        above: Vec<Vec<u8>>,
    },
    /// Something of the bank.
    Bank(BankCall),
    /// As the inner one, by somebody who is known: what is written down of it says by whom. Of
    /// earlier versions, whose shells asked for the right; see [`Call::As`].
    By {
        /// Who asks.
        by: Actor,
        /// What for.
        call: Box<Self>,
    },
    /// A server begins to lead.
    Lead {
        /// Its own key.
        server: PublicKey,
        /// Its settings that matter, for people.
        settings: String,
    },
    /// About keys of accounts, and what is made with them.
    Keys(KeyCall),
    /// As the inner one, by whoever holds a token or a key. Their right is asked for in the step
    /// that does it, since what they sent can have taken minutes to arrive; and what is written
    /// down of it says by whom.
    As {
        /// What they have shown.
        holder: Box<Holder>,
        /// What for.
        call: Box<Self>,
    },
    /// About storage that accounts lease of hosts.
    Storage(StorageCall),
    /// A host may be called to stand behind reservations, with a bond for each.
    Firm {
        /// Whose bonds.
        account: AccountId,
        /// Which host.
        host: HostId,
        /// With how many cores at the most.
        cores: u32,
    },
    /// Notice for a host that stands behind reservations.
    EndFirm {
        /// Whose.
        account: AccountId,
        /// Which host.
        host: HostId,
    },
    /// About slices: hosts that an account holds together.
    Slice(SliceCall),
}

impl Call {
    /// The same by somebody; or by the complex itself.
    #[must_use]
    pub fn by(self, holder: Option<&Holder>) -> Self {
        match holder {
            Some(holder) => Self::As { holder: Box::new(holder.clone()), call: Box::new(self) },
            None => self,
        }
    }
}

/// The answer to a [`Call`] that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The job.
    Job(Box<JobView>),
    /// The job, which ended so long ago that only the database knows it.
    Ended(JobId),
    /// The account.
    Account(AccountId),
    /// The reservation.
    Reserved(Box<ReservationRecord>),
    /// The account that has got credits, as it is now.
    Credited(Box<AccountView>),
    /// It is done.
    Done,
    /// What the bank says.
    Bank(BankReply),
    /// An account will be recovered.
    Recovery {
        /// Which.
        account: AccountId,
        /// When.
        due: Time,
    },
    /// What is said about storage.
    Storage(StorageReply),
    /// How a host stands behind reservations.
    Firm(FirmRecord),
    /// The slice, as it is now.
    Slice(Box<SliceView>),
}
