//! What one address, one account and one host may take of a server: numbers for its operator.

use isos_base::Bytes;
use isos_base::rate::Rate;

/// Rates may be taken for so many seconds at once, by somebody who was quiet for as long.
pub(crate) const BURST_SECS: u64 = 10;

/// What one thing takes of a rate by the minute.
pub(crate) const MINUTE: u64 = 60;

/// The limits of a server. 0 anywhere is without limit.
///
/// An address is an IPv4 address or a /56 of IPv6, of which a /48 has no more than a few; whoever
/// comes through a relay counts as one that may do sixteen times as much. The defaults leave a
/// crowd behind one address, such as a laboratory, what it needs, and keep a single one from taking
/// what all share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// HTTP requests a second from one address.
    pub address_requests: u32,
    /// Tokens a second from one address that the server does not remember: each costs it
    /// signatures, and the wrong ones are never remembered.
    pub address_tokens: u32,
    /// Connections to the API at once from one address.
    pub address_connections: u32,
    /// QUIC handshakes a second from one address: each costs 0.7 ms of a core.
    pub address_handshakes: u32,
    /// Connections of hosts at once from one address.
    pub address_hosts: u32,
    /// Whether callers of the HTTP socket all have a proxy's address: limits of addresses are not
    /// for them then.
    pub http_behind_proxy: bool,
    /// Requests a second of one account.
    pub account_requests: u32,
    /// Requests of one account at once, streams of events and results among them.
    pub account_open: u32,
    /// Bytes of one account's uploads at once.
    pub account_uploads: Bytes,
    /// Bytes of objects that are in memory whole for one account, while their readers take them.
    pub account_reads: Bytes,
    /// How much of the room for objects that others leave free one account may have, in percent.
    pub account_shelf: u32,
    /// Requests of one account at once that read much of the database: statements, explanations of
    /// jobs, results, lists of tasks.
    pub account_scans: u32,
    /// Changes a minute of an account's rights and promises: logins, tickets, revocations, keys,
    /// bids, reservations, payouts, hosts that come from another account. Each leaves a row in the
    /// audit log, for ever. Operators have no such limit.
    pub account_changes: u32,
    /// Sessions a second of all hosts of one account: a ticket makes as many keys as one likes.
    pub account_sessions: u32,
    /// Frames a second of all hosts of one account. They are read more slowly beyond it, in turn.
    pub account_frames: u32,
    /// Sessions a second of one host.
    pub host_sessions: u32,
    /// Frames a second of one host: reports, and offers, after each of which work is looked for. A
    /// host that sends more is read more slowly.
    pub host_frames: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_requests: 4_000,
            address_tokens: 100,
            address_connections: 256,
            address_handshakes: 400,
            address_hosts: 4_096,
            http_behind_proxy: false,
            account_requests: 2_000,
            account_open: 128,
            account_uploads: Bytes::gib(8),
            account_reads: Bytes::mib(256),
            account_shelf: 50,
            account_scans: 2,
            account_changes: 300,
            account_sessions: 500,
            account_frames: 20_000,
            host_sessions: 1,
            host_frames: 1_000,
        }
    }
}

/// So much a minute, all of it at once too, where each is taken as [`MINUTE`] of them.
pub(crate) fn rate_a_minute(per_minute: u32) -> Rate {
    let per_second = u64::from(per_minute);
    Rate { per_second, burst: per_second * MINUTE }
}

/// So much a second, and ten seconds' worth at once.
pub(crate) fn rate(per_second: u32) -> Rate {
    let per_second = u64::from(per_second);
    Rate { per_second, burst: per_second * BURST_SECS }
}
