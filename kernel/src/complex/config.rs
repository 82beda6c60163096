//! What an operator sets of a complex, and what it is if nothing is said.

use isos_base::price::{Price, StoragePrice};
use isos_base::{Bytes, Guid, Span};
use serde::{Deserialize, Serialize};

use super::{BankConfig, Pricing};

/// Settings of a complex. All of them are the operator's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// The price of work; where a market makes prices, the one at which it opens.
    pub price: Price,
    /// Whether that is the price, or a market makes it.
    #[serde(default)]
    pub pricing: Pricing,
    /// The complex's share of what a host earns, in hundredths of a percent.
    pub fee_bps: u16,
    /// Idle hosts that may keep their connection and get work at once. Each costs about 100 KiB.
    pub held_hosts_max: usize,
    /// Polls per second of all other idle hosts together.
    pub polls_per_second_max: u32,
    /// An idle host sleeps at least this long.
    pub sleep_min: Span,
    /// An idle host sleeps at most this long.
    pub sleep_max: Span,
    /// A host that vanished with tasks may come back within this time.
    pub lost_after: Span,
    /// Jobs of one account that are not over.
    pub account_jobs_max: usize,
    /// Tasks of those jobs: a part of what all accounts together may have.
    pub account_tasks_max: u64,
    /// Hosts of one account.
    pub account_hosts_max: usize,
    /// What an agent's engine must be: results of other engines do not compare.
    pub engine: Option<String>,
    /// What is assumed of hosts by jobs that are verified by credibility: the share of work that
    /// is done by hosts that cheat, from 0.000001 to 0.5. Twice of it doubles the checks.
    pub bad_share: f64,
    /// The share of results of every host that is checked at the least.
    pub check_rate_min: f64,
    /// Pay for results that were taken on a host's credit is held until it passed so many checks
    /// more. What a cheat then loses is the pay for this number over the rate of checks.
    pub mature_checks: u64,
    /// Or until so much time has passed.
    pub mature_after: Span,
    /// What is checked follows from this: nobody else may know it. The same for all servers.
    pub check_secret: Guid,
    /// What credits lose in a month that were earned more than three months ago and not spent, in
    /// hundredths of a percent; only where a market makes prices.
    #[serde(default)]
    pub demurrage_bps: u16,
    /// Payouts, deposits, and how many operators make credits.
    #[serde(default)]
    pub bank: BankConfig,
    /// An account that is asked for with its recovery phrase is given after this time, so that
    /// those who have its keys can say no.
    #[serde(default = "recovery_delay")]
    pub recovery_delay: Span,
    /// What a GiB on a host's disk costs a month, where its owner does not ask for more.
    #[serde(default = "storage_price")]
    pub storage_price: StoragePrice,
    /// What one account may lease of all disks together.
    #[serde(default = "account_storage_max")]
    pub account_storage_max: Bytes,
    /// A host that is away for so long is replaced in its slices, and what is pinned to it given
    /// up.
    #[serde(default = "slice_away")]
    pub slice_away: Span,
    /// What is pinned to a host that is there and does not take it waits for so long.
    #[serde(default = "slice_wait")]
    pub slice_wait: Span,
}

/// Long enough to come back from a journey of two days.
fn recovery_delay() -> Span {
    Span::secs(2 * 86_400)
}

/// A tenth of a credit.
fn storage_price() -> StoragePrice {
    StoragePrice(100_000)
}

fn account_storage_max() -> Bytes {
    Bytes::gib(256 << 10)
}

/// Longer than a restart of a machine or of its network.
fn slice_away() -> Span {
    Span::secs(600)
}

fn slice_wait() -> Span {
    Span::secs(3_600)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            price: Price(100),
            pricing: Pricing::Fixed,
            fee_bps: 200,
            held_hosts_max: 256,
            polls_per_second_max: 200,
            sleep_min: Span::secs(2),
            sleep_max: Span::secs(900),
            lost_after: Span::secs(30),
            account_jobs_max: 1_000,
            account_tasks_max: 100_000_000,
            account_hosts_max: 10_000,
            engine: None,
            bad_share: 0.05,
            check_rate_min: 0.02,
            mature_checks: 10,
            mature_after: Span::secs(7 * 86_400),
            check_secret: Guid([0; 32]),
            demurrage_bps: 0,
            bank: BankConfig::default(),
            recovery_delay: recovery_delay(),
            storage_price: storage_price(),
            account_storage_max: account_storage_max(),
            slice_away: slice_away(),
            slice_wait: slice_wait(),
        }
    }
}
