//! Hosts that lie in all that they can: they claim to have as much as there can be, call every
//! count theirs as if nobody else were there, and tell only of each other.

use std::sync::Arc;

use isos_base::descriptor::Descriptor;
use isos_base::random::Random;
use isos_gossip::average::{Instances, Moments, Sums};
use isos_gossip::sketch::Sketch;
use isos_gossip::wire::{Averaged, Exchange, Exchanged};
use isos_gossip::{Attribute, Told};

/// What a liar says of itself.
pub(super) fn told() -> Told {
    Attribute::ALL.map(Attribute::most)
}

/// What a liar says that it has summed up: nothing in it is impossible.
fn sums(honest: &Sums) -> Sums {
    // All counts are its own: as if nobody else were there.
    let names = honest.instances.names().map(|name| (name, 1.0)).collect();
    let instances = Instances::of(names).unwrap_or_else(|| honest.instances.clone());
    Sums {
        instances,
        moments: Attribute::ALL.map(|it| Moments::of(it.most())),
        sketches: Attribute::ALL.map(|it| Sketch::of(it, it.most())),
    }
}

fn offers(lying: &[Arc<Descriptor>], like: usize, random: &mut Random) -> Vec<Arc<Descriptor>> {
    if lying.is_empty() {
        return Vec::new();
    }
    let one = |random: &mut Random| lying[random.below(lying.len() as u64) as usize].clone();
    (0..like).map(|_| one(random)).collect()
}

/// Spoils what a liar asks.
pub(super) fn ask(it: &mut Exchange, lying: &[Arc<Descriptor>], random: &mut Random) {
    it.offers = offers(lying, it.offers.len().max(4), random);
    it.witnesses.clear();
    if let Some(offered) = &mut it.average {
        offered.sums = sums(&offered.sums);
    }
}

/// Spoils what a liar answers.
pub(super) fn answer(it: &mut Exchanged, lying: &[Arc<Descriptor>], random: &mut Random) {
    it.offers = offers(lying, it.offers.len().max(4), random);
    it.witnesses.clear();
    if let Averaged::Done(before) = &mut it.average {
        **before = sums(before);
    }
}
