//! Hosts that have described themselves, so that whoever comes can be told of some: that is all
//! that gossip among hosts needs of the complex. In memory, and nothing is decided by it.
//!
//! A host describes itself twice. First without admission: it gets the certificate by which others
//! take it in. Then with it: only that is handed on, as the host has signed it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use isos_base::certificate::{Admitted, Blocks, Certificate};
use isos_base::descriptor::{Access, Descriptor, INTRODUCED_MAX, Introduction};
use isos_base::key::SecretKey;
use isos_base::notary::Keys;
use isos_base::random::Random;
use isos_base::{AccountId, HostId, Span, Time};

/// Hosts that are remembered. Of a million any will do to begin with.
const MET_MAX: usize = 4_096;
/// Those of one account: nobody introduces newcomers to itself alone.
const OF_ACCOUNT_PART: usize = 4;
/// Who has not said anything for so long is not told of.
const FRESH: Span = Span::secs(2 * 3_600);
/// How long a certificate is good: gossip goes on for so long without the complex.
const GOOD_FOR: Span = Span::secs(30 * 86_400);
/// Places in the keyspace are drawn anew after this; certificates name the drawing.
const EPOCH: Span = Span::secs(90 * 86_400);

/// Who is known.
#[derive(Debug)]
pub(crate) struct Meeting {
    complex: SecretKey,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Keys,
    random: Random,
    hosts: BTreeMap<HostId, (AccountId, Descriptor)>,
}

impl Meeting {
    /// Nobody is known yet.
    pub(crate) fn new(complex: SecretKey) -> Self {
        let keys = Keys::new(complex.clone(), vec![complex.public()]);
        // Only to spread newcomers: if the system has no randomness, any number will do.
        let random = Random::new(getrandom::u64().unwrap_or(0x0060_551b));
        let state = Mutex::new(State { keys, random, hosts: BTreeMap::new() });
        Self { complex, state }
    }

    /// A host with a session describes itself. Nothing if it is not this host's word.
    pub(crate) fn introduce(
        &self,
        now: Time,
        (host, owner): (HostId, AccountId),
        address: Option<SocketAddr>,
        described: Descriptor,
    ) -> Option<Introduction> {
        // Each change is whole before its guard is given back.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { keys, random, hosts } = &mut *state;
        if described.host != host || described.check_own(keys).is_err() {
            return None;
        }
        let same = |a: &SocketAddr, b: &SocketAddr| {
            a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port()
        };
        let direct = address.is_some_and(|it| described.addresses.iter().any(|own| same(own, &it)));
        let blocks = Blocks::of(&address.map(|it| it.ip()).into_iter().collect::<Vec<_>>());
        let epoch = u32::try_from(now.0 / EPOCH.0).unwrap_or(u32::MAX);
        let admitted = Admitted { host, owner, blocks, epoch, expires: now + GOOD_FOR };
        let certificate = Certificate::issue(&self.complex, admitted);
        if described.check(keys, now).is_ok() {
            remember(hosts, now, owner, described);
        }
        let peers = draw(hosts, host, random);
        Some(Introduction { certificate, direct, peers })
    }
}

fn remember(
    hosts: &mut BTreeMap<HostId, (AccountId, Descriptor)>,
    now: Time,
    owner: AccountId,
    described: Descriptor,
) {
    let host = described.host;
    if !hosts.contains_key(&host) {
        if hosts.len() >= MET_MAX {
            hosts.retain(|_, (_, it)| it.issued + FRESH > now);
        }
        // The oldest makes room: of the account's own where it has its part, else of all.
        if hosts.len() >= MET_MAX {
            let of_owner = hosts.values().filter(|(account, _)| *account == owner).count();
            let is_greedy = of_owner >= MET_MAX / OF_ACCOUNT_PART;
            let candidates =
                hosts.iter().filter(|(_, (account, _))| !is_greedy || *account == owner);
            let oldest = candidates.min_by_key(|(_, (_, it))| it.issued).map(|(host, _)| *host);
            oldest.and_then(|oldest| hosts.remove(&oldest));
        }
    }
    hosts.insert(host, (owner, described));
}

/// Some of them at random, and of those that can be called as many as there are places, before
/// others.
fn draw(
    hosts: &BTreeMap<HostId, (AccountId, Descriptor)>,
    host: HostId,
    random: &mut Random,
) -> Vec<Descriptor> {
    let mut drawn: Vec<Descriptor> = Vec::with_capacity(INTRODUCED_MAX);
    for access in [Access::Public, Access::Private] {
        let of: Vec<&Descriptor> = hosts
            .values()
            .map(|(_, it)| it)
            .filter(|it| it.access == access && it.host != host)
            .collect();
        let mut left = of.len();
        let mut wanted = (INTRODUCED_MAX - drawn.len()).min(left);
        for it in of {
            if random.below(left as u64) < wanted as u64 {
                drawn.push(it.clone());
                wanted -= 1;
            }
            left -= 1;
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use isos_base::descriptor::Admission;

    use super::*;

    const NOW: Time = Time(1_000_000_000_000_000);

    fn complex() -> SecretKey {
        SecretKey::from_bytes(&[9; 32])
    }

    fn secret(n: u32) -> SecretKey {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        SecretKey::from_bytes(&bytes)
    }

    fn address(n: u32) -> SocketAddr {
        ([127, 0, 0, 1], 4_000 + n as u16).into()
    }

    fn described(n: u32, certificate: Option<&Certificate>) -> Descriptor {
        let described = Descriptor {
            addresses: vec![address(n)],
            admission: certificate.map(Admission::from),
            ..Descriptor::unsigned(HostId(secret(n).public()), Access::Public, NOW)
        };
        described.signed(&mut Keys::new(secret(n), Vec::new()))
    }

    fn comes(meeting: &Meeting, n: u32, from: SocketAddr) -> Introduction {
        let who = (HostId(secret(n).public()), AccountId(u64::from(n)));
        let first = meeting.introduce(NOW, who, Some(from), described(n, None)).unwrap();
        let again = described(n, Some(&first.certificate));
        meeting.introduce(NOW, who, Some(from), again).unwrap()
    }

    #[test]
    fn newcomers_are_told_of_those_who_came_before() {
        let meeting = Meeting::new(complex());
        assert_eq!(comes(&meeting, 1, address(1)).peers, []);
        for n in 2..40 {
            let Introduction { certificate, direct, peers } = comes(&meeting, n, address(n));
            assert!(certificate.is_by(&complex().public()) && direct);
            assert_eq!(peers.len(), (n as usize - 1).min(INTRODUCED_MAX));
            let mut keys = Keys::new(secret(n), vec![complex().public()]);
            assert!(peers.iter().all(|peer| peer.check(&mut keys, NOW).is_ok()));
            assert!(peers.iter().all(|peer| peer.host != certificate.host));
        }
    }

    #[test]
    fn who_calls_from_elsewhere_is_behind_something() {
        let meeting = Meeting::new(complex());
        assert!(!comes(&meeting, 1, ([127, 0, 0, 1], 9).into()).direct);
        let mapped = "[::ffff:127.0.0.1]:4002".parse().unwrap();
        assert!(comes(&meeting, 2, mapped).direct);
    }

    #[test]
    fn nobody_is_described_by_another() {
        let meeting = Meeting::new(complex());
        let who = (HostId(secret(1).public()), AccountId(1));
        assert_eq!(meeting.introduce(NOW, who, None, described(2, None)), None);
        let forged = Descriptor { access: Access::Private, ..described(1, None) };
        assert_eq!(meeting.introduce(NOW, who, None, forged), None);
    }

    #[test]
    fn memory_is_bounded_and_nobody_fills_it() {
        let mut hosts = BTreeMap::new();
        for n in 0..MET_MAX as u64 + 500 {
            let mut key = [7; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            let host = HostId(isos_base::key::PublicKey(key));
            let it = Descriptor::unsigned(host, Access::Public, NOW + Span(n));
            // The first half are many owners', the rest one's.
            let owner = if n < MET_MAX as u64 / 2 { n } else { u64::MAX };
            remember(&mut hosts, NOW, AccountId(owner), it);
        }
        assert_eq!(hosts.len(), MET_MAX);
        let of_many = hosts.values().filter(|(owner, _)| *owner != AccountId(u64::MAX)).count();
        assert_eq!(of_many, MET_MAX / 2, "the one's own have made room");
    }
}
