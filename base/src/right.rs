//! What a token or a key may allow, and to whom.

use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::key::PublicKey;
use crate::time::Time;

/// What a token or a key may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Link hosts to the account: they earn for it.
    Join,
    /// Submit, cancel and read jobs that the account pays.
    Submit,
    /// Read what concerns the account.
    Read,
    /// Everything, for every account: the operator.
    Operate,
    /// Say who may act for the account: its keys, its tickets, its recovery.
    Manage,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Join, Self::Submit, Self::Read, Self::Operate, Self::Manage];

    /// Those of a person over their own account.
    pub const OWN: [Self; 4] = [Self::Join, Self::Submit, Self::Read, Self::Manage];

    /// The word in tokens and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Manage => "manage",
        }
    }
}

impl std::str::FromStr for Right {
    type Err = crate::ids::ParseIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|right| right.name() == text).ok_or_else(|| {
            let wanted = "join, submit, read, manage or operate";
            crate::ids::ParseIdError { text: text.into(), wanted }
        })
    }
}

/// What a token says once it was checked. It has no part of the token by which it could be shown
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// For whom.
    pub account: AccountId,
    /// What is allowed now.
    pub rights: Vec<Right>,
    /// When it expires, as it was issued.
    pub expires: Time,
    /// When it was made.
    pub issued: Time,
    /// The key of the account with which it was made, if it was: then it is void without that.
    pub key: Option<PublicKey>,
    /// Ids under which it, or what it was made from, may have been revoked.
    pub revocation_ids: Vec<Vec<u8>>,
}

impl Holder {
    /// Whether `right` is allowed, or everything is.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right) || self.rights.contains(&Right::Operate)
    }
}
