//! Stories of proofs: who is asked, and what follows for whom.

use isos_base::api::ProveRequest;
use isos_base::fragment::{GROUP_BYTES, Groups, Piece, Proof};

use super::*;

/// A fragment that a host may have or not.
fn fragment() -> Vec<u8> {
    (0..40_000_u32).map(|at| (at / 7) as u8).collect()
}

impl World {
    /// The buyer wants a proof of that fragment.
    pub(super) fn prove(&mut self, lease: LeaseId, drawn: u32) -> Result<Vec<Leased>, Problem> {
        let (account, bytes) = (self.buyer(), fragment());
        let (fragment, length) = (Guid::of(&bytes), bytes.len() as u32);
        let request = ProveRequest { lease, fragment, length };
        self.storage(StorageCall::Prove { account, request, drawn })
    }

    /// A host answers what it was asked last, as it pleases.
    pub(super) fn show(&mut self, n: u8, change: impl FnOnce(&mut Proof)) {
        let session = self.hosts[&n].session.expect("it is connected");
        let asked = self.hosts.get_mut(&n).unwrap().asked.pop().expect("it was asked");
        let bytes = fragment();
        let (_, groups) = Groups::of(&bytes);
        let (first, length) = (asked.group(), bytes.len() as u32);
        let from = (first * GROUP_BYTES) as usize;
        let part = bytes[from..bytes.len().min(from + GROUP_BYTES as usize)].to_vec();
        let piece = Piece { length, groups, first, bytes: part };
        let (lease, fragment) = (asked.lease, asked.fragment);
        let mut proof = Proof { lease, fragment, piece: Some(piece) };
        change(&mut proof);
        let frame = ToComplex::Proved(Box::new(proof));
        self.step(Input::HostSaid { session, frame });
    }

    fn standing(&self, n: u8) -> Standing {
        self.complex.keeper_view(self.now, host_id(n)).unwrap().standing
    }

    fn unproven(&self) -> Vec<(HostId, String)> {
        let deeds = self.tables.audit.values().map(|it| it.deed.clone());
        let why = deeds.filter_map(|deed| match deed {
            Deed::StorageUnproven { host, why, .. } => Some((host, why)),
            _ => None,
        });
        why.collect()
    }
}

pub(super) fn flip(proof: &mut Proof) {
    proof.piece.as_mut().expect("there is one").bytes[9] ^= 1;
}

#[test]
fn a_host_that_proves_what_it_has_keeps_its_lease() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    for drawn in [0, 1, 2, 1_000_003] {
        assert_eq!(world.prove(lease, drawn).unwrap()[0].record.id, lease);
        assert_eq!(world.hosts[&1].asked.last().unwrap().group(), drawn % 3);
        world.show(1, |_| {});
    }
    world.days(31);
    assert_eq!((world.balance("owner1"), world.unproven()), (98_000, vec![]));
}

#[test]
fn who_has_nothing_to_show_loses_the_lease_and_nothing_that_it_has_earned() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.keeper(n, 10));
    let leases = world.rent(world.wish(2, 1, MONTH)).unwrap();
    let of = |n| leases.iter().find(|it| it.record.host == host_id(n)).unwrap().record.id;
    world.days(15);
    world.prove(of(1), 5).unwrap();
    world.show(1, |proof| proof.piece = None);
    assert_eq!(world.unproven(), [(host_id(1), "the host does not have it".to_owned())]);
    assert_eq!((world.quota().leases, world.quota().held), (1, MicroCredits(100_000)));
    assert_eq!(world.balance("owner1"), 49_000, "half of the month");
    assert_eq!((world.standing(1), world.free(1)), (Standing::Here, 10), "for others it is good");
    assert_eq!(world.hosts[&1].news.last().map(|news| news.lease), Some(of(1)), "it was told");
    assert_eq!(world.prove(of(1), 5).unwrap_err().code, ProblemCode::NotFound);
}

#[test]
fn wrong_bytes_convict_a_host_and_it_is_paid_nothing_until_it_proves_something() {
    let mut world = World::new();
    (1..=2).for_each(|n| world.keeper(n, 10));
    let leases = world.rent(world.wish(2, 1, MONTH)).unwrap();
    let more = world.rent(StorageRequest { on: vec![host_id(1)], ..world.wish(0, 1, MONTH) });
    let more = more.unwrap()[0].record.id;
    let of = |n| leases.iter().find(|it| it.record.host == host_id(n)).unwrap().record.id;
    world.days(10);
    world.prove(of(1), 1).unwrap();
    world.show(1, flip);
    assert!(world.unproven()[0].1.contains("something else: group 1"), "{:?}", world.unproven());
    assert_eq!(world.standing(1), Standing::Missing);
    assert!(world.rent(world.wish(2, 1, DAY)).is_err(), "nor does it get others");
    world.days(10);
    world.prove(more, 0).unwrap();
    world.show(1, |_| {});
    assert_eq!(world.standing(1), Standing::Here);
    world.days(11);
    let earned = |days| StoragePrice(100_000).earning(Bytes::gib(1), Span(DAY.0 * days)).0;
    let paid = |days| earned(days) * 98 / 100;
    assert!((paid(10) + paid(20)).abs_diff(world.balance("owner1")) <= 2);
    assert_eq!(world.balance("owner2"), paid(30));
}

#[test]
fn nobody_loses_a_lease_by_the_word_of_who_does_not_pay_it() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    let account = world.open("other");
    let request = ProveRequest { lease, fragment: Guid::of(b"x"), length: 1 };
    let ask = |request| StorageCall::Prove { account, request, drawn: 0 };
    assert_eq!(world.storage(ask(request)).unwrap_err().code, ProblemCode::NotFound);
    for length in [0, u32::MAX] {
        let bad = ProveRequest { length, ..request };
        assert_eq!(world.storage(ask(bad)).unwrap_err().code, ProblemCode::Usage);
    }
    // Nor by answers to what was not asked.
    let session = world.hosts[&1].session.unwrap();
    let proof = Proof { lease, fragment: Guid::of(b"x"), piece: None };
    let frame = ToComplex::Proved(Box::new(proof));
    world.step(Input::HostSaid { session, frame });
    assert_eq!((world.quota().leases, world.unproven()), (1, vec![]));
}

#[test]
fn a_part_of_another_length_is_no_proof() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    let (account, fragment) = (world.buyer(), Guid::of(&fragment()));
    let request = ProveRequest { lease, fragment, length: 90_000 };
    world.storage(StorageCall::Prove { account, request, drawn: 0 }).unwrap();
    world.show(1, |_| {});
    assert!(world.unproven()[0].1.contains("another part"), "{:?}", world.unproven());
    assert_eq!(world.standing(1), Standing::Here, "who of them is wrong nobody knows");
}

#[test]
fn a_host_is_asked_when_it_comes_and_who_never_answers_has_nothing() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    world.leave(1);
    world.prove(lease, 1).unwrap();
    world.pass(Span::secs(3_600));
    world.join(1);
    assert!(world.hosts[&1].asked.is_empty(), "it has not said yet that it is a keeper");
    world.shelf(1, |_| {});
    world.show(1, |_| {});
    assert_eq!(world.unproven(), []);
    // Away for so long that the question is forgotten.
    world.leave(1);
    world.prove(lease, 1).unwrap();
    world.days(3);
    world.join(1);
    world.shelf(1, |_| {});
    assert!(world.hosts[&1].asked.is_empty());
    // There, and silent.
    world.prove(lease, 1).unwrap();
    world.prove(lease, 2).unwrap();
    assert_eq!(world.hosts[&1].asked.len(), 1, "one question is enough");
    world.pass(Span::secs(1_200));
    assert_eq!(world.unproven(), [(host_id(1), "the host did not answer".to_owned())]);
}

#[test]
fn who_hangs_up_whenever_it_is_asked_has_nothing() {
    let mut world = World::new();
    world.keeper(1, 10);
    let lease = world.rent(world.wish(1, 1, MONTH)).unwrap()[0].record.id;
    world.prove(lease, 1).unwrap();
    for _ in 0..3 {
        assert_eq!((world.quota().leases, world.unproven()), (1, vec![]));
        world.leave(1);
        world.join(1);
        world.shelf(1, |_| {});
    }
    assert_eq!((world.quota().leases, world.unproven().len()), (0, 1));
}
