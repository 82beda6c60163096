//! Routers that are bad. They keep up appearances: they answer pings, ask, and are in everybody's
//! tables as others are. To who walks or puts, they lie.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use isos_base::random::Random;
use isos_route::certificate::Certificate;
use isos_route::pointer::Put;
use isos_route::wire::{Answer, Find, Request};
use isos_route::{Contact, Position};

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// They do not answer, but to pings.
    Silent,
    /// They tell of honest hosts, of the farthest that may be told of.
    Far,
    /// They tell of hosts that there are not, under certificates of their own making.
    Forged,
    /// They tell of each other only, of those nearest to the place, and say that they keep
    /// pointers.
    Collude,
}

impl Lie {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Far, Self::Forged, Self::Collude];
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Silent => "silent",
            Self::Far => "far",
            Self::Forged => "forged",
            Self::Collude => "collude",
        })
    }
}

/// Hosts by their places.
pub(super) type Places = BTreeMap<Position, Arc<Contact>>;

/// Those nearest to a place.
pub(super) fn nearest(places: &Places, target: Position, most: usize) -> Vec<Arc<Contact>> {
    // Begins where about so many are, and goes on until there are enough.
    let bits = (places.len() / most.max(1)).max(1).ilog2() as usize;
    for shared in (0..=bits + 2).rev() {
        let mut all: Vec<&Arc<Contact>> =
            places.range(target.cell(shared)).map(|(_, contact)| contact).collect();
        if all.len() >= most || shared == 0 {
            all.sort_unstable_by_key(|it| it.position().distance(target));
            return all.into_iter().take(most).cloned().collect();
        }
    }
    Vec::new()
}

/// What a bad router answers; nothing where it is silent, or where it is as good as others.
pub(super) enum Reply {
    /// As the machine says.
    Honest,
    /// Nothing.
    Nothing,
    /// This.
    Lie(Answer),
}

pub(super) fn reply(
    lie: Lie,
    request: &Request,
    bad: &Places,
    honest: &[Arc<Contact>],
    random: &mut Random,
) -> Reply {
    let find = match request {
        Request::Ping => return Reply::Honest,
        Request::Put(_) if lie == Lie::Silent => return Reply::Nothing,
        Request::Put(pointers) => {
            return Reply::Lie(Answer::Put(vec![Put::Kept; pointers.len()]));
        }
        Request::Find(find) => find,
    };
    let want = usize::from(find.want);
    let may = |it: &Arc<Contact>| {
        it.position().distance(find.target).top() <= find.within
            && !find.known.contains(&it.position().mark())
    };
    let contacts = match lie {
        Lie::Silent => return Reply::Nothing,
        Lie::Far => {
            let mut some: Vec<Arc<Contact>> = (0..4 * want)
                .filter_map(|_| honest.get(random.below(honest.len() as u64) as usize))
                .filter(|it| may(it))
                .cloned()
                .collect();
            some.sort_unstable_by_key(|it| it.position().distance(find.target));
            some.dedup_by_key(|it| it.position());
            some.into_iter().rev().take(want).collect()
        }
        Lie::Forged => (0..want).filter_map(|_| forged(find, random)).collect(),
        Lie::Collude => {
            let near = nearest(bad, find.target, want + find.known.len());
            near.into_iter().filter(may).take(want).collect()
        }
    };
    Reply::Lie(Answer::Found { contacts, pointers: Vec::new() })
}

/// A host that there is not, near the place: salts are tried until one fits, as who could choose
/// places would.
fn forged(find: &Find, random: &mut Random) -> Option<Arc<Contact>> {
    let seal = isos_base::key::Signature([7; 64]).into();
    let key: [u8; 32] = Position::anywhere(random).into();
    let fits = |contact: &Contact| contact.position().distance(find.target).top() <= find.within;
    (0..64).find_map(|_| {
        let salt: [u8; 32] = Position::anywhere(random).into();
        let mut short = [0; 16];
        short.copy_from_slice(&salt[..16]);
        let certificate = Certificate {
            host: isos_base::HostId(isos_base::key::PublicKey(key)),
            owner: isos_base::AccountId(1),
            blocks: isos_route::certificate::Blocks::default(),
            epoch: 1,
            salt: short,
            expires: isos_base::Time(1 << 52),
            seal,
        };
        Contact::new(certificate, None, Vec::new()).ok().filter(fits).map(Arc::new)
    })
}

#[cfg(test)]
mod tests {
    use super::super::office::{Office, admit};
    use super::*;

    #[test]
    fn the_nearest_are_those_of_a_full_sort() {
        let office = Office::new(1);
        let all: Vec<Arc<Contact>> = (0..300).map(|n| admit(1, n, &office).0).collect();
        let places: Places = all.iter().map(|it| (it.position(), it.clone())).collect();
        let mut random = Random::new(3);
        for most in [1, 7, 20, 400] {
            let target = Position::anywhere(&mut random);
            let mut sorted = all.clone();
            sorted.sort_by_key(|it| it.position().distance(target));
            sorted.truncate(most);
            assert_eq!(nearest(&places, target, most), sorted);
        }
    }
}
