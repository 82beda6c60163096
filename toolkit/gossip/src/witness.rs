//! How many hosts there are, by those that stand for all: the hosts with the least places.
//!
//! Places are hashes that nobody can choose (`isos_base::certificate`). If the thirty-second least
//! of all places is at a thousandth of the keyspace, there are some 32,000 hosts (order statistics
//! as in Bar-Yossef and others 2002), give or take a fifth. It is far coarser than what averaging
//! gives, but no liar can add a place that the complex has not given it. So it is not what hosts go
//! by; it shows when that was spoilt. Among fewer than 32 hosts it is their exact number.

use std::collections::BTreeMap;
use std::sync::Arc;

use isos_base::descriptor::Descriptor;
use isos_base::random::Random;

/// Hosts that stand for all.
pub const WITNESSES: usize = 32;
/// Those that are told of in one exchange.
pub const WITNESSES_TOLD: usize = 2;

/// The hosts with the least places that were heard of.
#[derive(Debug, Clone, Default)]
pub struct Witnesses(BTreeMap<[u8; 32], Arc<Descriptor>>);

impl Witnesses {
    /// Somebody was told of, whose place this is.
    pub fn offer(&mut self, place: [u8; 32], who: &Arc<Descriptor>) {
        if let Some(known) = self.0.get_mut(&place) {
            if known.issued < who.issued {
                *known = who.clone();
            }
            return;
        }
        self.0.insert(place, who.clone());
        if self.0.len() > WITNESSES {
            self.0.pop_last();
        }
    }

    /// Leaves out those that are not wanted any more.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Arc<Descriptor>) -> bool) {
        self.0.retain(|_, who| wanted(who));
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        self.0.values()
    }

    /// Some of them, at random.
    #[must_use]
    pub fn draw(&self, random: &mut Random) -> Vec<Arc<Descriptor>> {
        let mut drawn = Vec::with_capacity(WITNESSES_TOLD);
        let (mut left, mut wanted) = (self.0.len(), WITNESSES_TOLD.min(self.0.len()));
        for who in self.0.values() {
            if random.below(left as u64) < wanted as u64 {
                drawn.push(who.clone());
                wanted -= 1;
            }
            left -= 1;
        }
        drawn
    }

    /// How many hosts there seem to be, besides this one as it may be among them, and by how much
    /// that may be off: one standard deviation, as a part of it.
    #[must_use]
    pub fn estimate(&self) -> (f64, f64) {
        let count = self.0.len();
        match self.0.last_key_value() {
            Some((last, _)) if count >= WITNESSES => {
                let first = last.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let share = (first as f64 / 2_f64.powi(64)).max(f64::MIN_POSITIVE);
                ((count - 1) as f64 / share, 1.0 / ((count - 2) as f64).sqrt())
            }
            _ => (count as f64, 0.0),
        }
    }

    pub(crate) fn check(&self) {
        assert!(self.0.len() <= WITNESSES, "too many witnesses");
    }
}

#[cfg(test)]
mod tests {
    use isos_base::HostId;
    use isos_base::descriptor::Access;
    use isos_base::key::PublicKey;
    use isos_base::time::Time;

    use super::*;

    fn who(n: u32) -> Arc<Descriptor> {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let host = HostId(PublicKey(key));
        Arc::new(Descriptor::unsigned(host, Access::Public, Time(1)))
    }

    fn place(random: &mut Random) -> [u8; 32] {
        let mut place = [0; 32];
        place[..8].copy_from_slice(&random.next_u64().to_be_bytes());
        place
    }

    #[test]
    fn few_are_counted_and_many_are_estimated() {
        let mut random = Random::new(1);
        for hosts in [10_u32, 31, 1_000, 100_000] {
            let mut witnesses = Witnesses::default();
            for n in 0..hosts {
                witnesses.offer(place(&mut random), &who(n));
            }
            witnesses.check();
            let (told, error) = witnesses.estimate();
            let off = (told / f64::from(hosts) - 1.0).abs();
            assert!(off <= 3.0 * error, "{told} of {hosts}, give or take {error}");
        }
    }

    #[test]
    fn the_latest_word_of_a_witness_is_kept() {
        let (mut witnesses, mut random) = (Witnesses::default(), Random::new(2));
        let at = place(&mut random);
        let later = Arc::new(Descriptor { issued: Time(5), ..(*who(1)).clone() });
        for it in [&who(1), &later, &who(1)] {
            witnesses.offer(at, it);
        }
        assert_eq!(witnesses.all().collect::<Vec<_>>(), [&later]);
        assert_eq!(witnesses.draw(&mut random), [later]);
        witnesses.retain(|who| who.issued > Time(5));
        assert_eq!(witnesses.estimate(), (0.0, 0.0));
    }
}
