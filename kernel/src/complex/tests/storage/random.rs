//! Whatever is asked for in whatever order, whoever vanishes and whenever the server starts again:
//! money is only moved, room is only lent, and what is set aside is what the leases cost.

use proptest::prelude::*;

use super::prove::flip;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Lease { hosts: u16, mib: u64, hours: u64 },
    Change { pick: usize, mib: Option<u64>, hours: Option<u64> },
    Release { pick: usize, count: usize },
    Pass { minutes: u64 },
    Leave(u8),
    Come { host: u8, gib: u64, ask: u32 },
    Prove { pick: usize, drawn: u32 },
    Answer { host: u8, how: u8 },
    Restart,
}

const HOSTS: u8 = 5;

fn step() -> impl Strategy<Value = Step> {
    let host = || 1..=HOSTS;
    prop_oneof![
        4 => (1_u16..4, 1_u64..3_000, 1_u64..2_000)
            .prop_map(|(hosts, mib, hours)| Step::Lease { hosts, mib, hours }),
        3 => (any::<usize>(), prop::option::of(1_u64..4_000), prop::option::of(1_u64..3_000))
            .prop_map(|(pick, mib, hours)| Step::Change { pick, mib, hours }),
        2 => (any::<usize>(), 1_usize..4).prop_map(|(pick, count)| Step::Release { pick, count }),
        4 => (1_u64..10_000).prop_map(|minutes| Step::Pass { minutes }),
        2 => host().prop_map(Step::Leave),
        3 => (host(), 0_u64..8, 0_u32..200_000)
            .prop_map(|(host, gib, ask)| Step::Come { host, gib, ask }),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(pick, drawn)| Step::Prove { pick, drawn }),
        2 => (host(), 0_u8..4).prop_map(|(host, how)| Step::Answer { host, how }),
        1 => Just(Step::Restart),
    ]
}

impl World {
    fn some_leases(&self, pick: usize, count: usize) -> Vec<Leased> {
        let all = self.complex.storage_leases(self.now, self.buyer(), LeaseId(0), usize::MAX).0;
        let from = pick.checked_rem(all.len()).unwrap_or(0);
        all.into_iter().skip(from).take(count).collect()
    }

    fn act(&mut self, step: Step) {
        let hours = |hours: u64| Span::secs(hours * 3_600);
        match step {
            Step::Lease { hosts, mib, hours: h } => {
                let wish = self.wish(hosts, 1, hours(h));
                let price_max = Some(StoragePrice(150_000));
                let _ = self.rent(StorageRequest { bytes: Bytes::mib(mib), price_max, ..wish });
            }
            Step::Change { pick, mib, hours: h } => {
                let end = h.map(|h| self.now + hours(h));
                let changes = self.some_leases(pick, 2);
                let changes = changes.iter().map(|lease| LeaseChange {
                    lease: lease.record.id,
                    bytes: mib.map(Bytes::mib),
                    until: end,
                });
                let _ = self.change(changes.collect());
            }
            Step::Release { pick, count } => {
                let leases = self.some_leases(pick, count);
                let released = self.release(&leases);
                assert_eq!(released.is_ok(), !leases.is_empty(), "what is open can be given up");
            }
            Step::Pass { minutes } => self.pass(Span::secs(minutes * 60)),
            Step::Leave(host) => {
                if self.hosts.contains_key(&host) {
                    self.leave(host);
                }
            }
            Step::Come { host, gib, ask } => {
                self.join(host);
                self.shelf(host, |report| {
                    report.offer.bytes = Bytes::gib(gib);
                    report.offer.price_min = StoragePrice(ask);
                });
            }
            Step::Prove { pick, drawn } => {
                for lease in self.some_leases(pick, 2) {
                    let _ = self.prove(lease.record.id, drawn);
                }
            }
            Step::Answer { host, how } => {
                let it = self.hosts.get(&host);
                if it.is_some_and(|it| it.session.is_some() && !it.asked.is_empty()) {
                    self.show(host, |proof| match how {
                        0 => proof.piece = None,
                        1 => flip(proof),
                        _ => {}
                    });
                }
            }
            Step::Restart => self.restart(),
        }
    }

    /// Nobody has more or less than the records say, and nothing was made or lost.
    fn check_storage_money(&self) {
        let rows = self.tables.storage.values();
        let charged: i64 = rows.clone().map(|row| row.charged.0).sum();
        let paid: i64 = rows.clone().map(|row| row.paid.0).sum();
        assert_eq!(MicroCredits::credits(1_000).0 - self.balance("buyer"), charged);
        let owners = (1..=HOSTS).map(|n| format!("owner{n}"));
        let owners = owners.filter(|name| self.complex.account_named(name).is_some());
        assert_eq!(owners.map(|name| self.balance(&name)).sum::<i64>(), paid);
        let of = |id| self.complex.account_view(id).unwrap().available.0;
        assert_eq!(charged - paid, of(system::FEES) + of(system::ROUNDING));
        assert_eq!(of(system::ESCROW), 0, "it only passes through");
        for row in rows {
            assert!(row.paid <= row.charged && row.settled <= row.until);
        }
        for (id, keeper) in &self.tables.keepers {
            let time = keeper.counted.since(keeper.since);
            assert!(keeper.present <= time, "host {id} was there for longer than there was time");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn money_and_room_are_conserved(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        (1..=3).for_each(|n| world.keeper(n, 6));
        for step in steps {
            // Invariants are checked after each input.
            world.act(step);
            world.check_storage_money();
        }
        world.restart();
        // In the end nothing is left aside.
        let rest = world.some_leases(0, usize::MAX);
        for leases in rest.chunks(100) {
            world.release(leases).unwrap();
        }
        prop_assert_eq!(world.quota().held, MicroCredits::ZERO);
        prop_assert_eq!(world.complex.ledger.holds().count(), 0);
        world.check_storage_money();
        world.pass(Span(MONTH.0 * 6));
        world.restart();
        prop_assert!(world.tables.storage.values().all(|row| !row.is_of_use()));
    }
}
