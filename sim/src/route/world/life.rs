//! Births and deaths.

use super::*;

impl World {
    /// All routers and the holders, over a minute or at once.
    pub(super) fn populate(&mut self) {
        let saved = self.setting.hosts > JOINING_MAX;
        for n in 0..self.setting.hosts {
            if saved {
                self.admit(true);
            } else {
                let after = JOIN_SPAN.0 * u64::from(n) / u64::from(self.setting.hosts);
                self.push(self.now + Span(after), Event::Born);
            }
        }
        if saved {
            self.acquaint_all();
            for n in 0..self.setting.hosts {
                // Not all in one moment.
                let at = self.now + Span(self.random.below(30_000_000));
                if let Some(host) = self.host_mut(n) {
                    host.timer = Some(at);
                }
                self.push(at, Event::Timer(n));
            }
        } else {
            self.run(JOIN_SPAN);
        }
        for _ in 0..HOLDERS {
            let n = self.admit(false);
            self.introduce(n);
        }
    }

    fn lifetime(&mut self) -> Option<Span> {
        let median = self.setting.session?;
        let mean = median.0 as f64 / std::f64::consts::LN_2;
        let life = -mean * (1.0 - self.random.unit()).ln();
        Some(Span(life as u64))
    }

    /// One host more, who knows nobody yet.
    fn admit(&mut self, is_router: bool) -> u32 {
        let n = self.hosts.len() as u32;
        let (own, desk) = admit(self.setting.seed, n, &self.office);
        let is_bad = is_router && self.random.unit() < self.setting.bad;
        let tuning = Tuning { paths: self.setting.paths, ..Tuning::default() };
        let seed = self.random.next_u64();
        let machine = Route::new(own.clone(), is_router, desk, tuning, seed);
        let (spot, born) = (Spot::anywhere(&mut self.random), self.now);
        let (timer, connected) = (None, BTreeMap::new());
        let host = Host { machine, spot, born, is_bad, is_router, timer, connected };
        self.hosts.push(Some(Box::new(host)));
        self.by_key.insert(own.host(), n);
        if is_router {
            self.places.insert(own.position(), n);
            self.living.push(n);
            if is_bad {
                self.bad.insert(own.position(), own);
            } else if self.setting.bad > 0.0 {
                self.honest.push(own);
            }
            if let Some(life) = self.lifetime() {
                self.push(self.now + life, Event::Dies(n));
            }
        }
        n
    }

    /// Tells a host of a few others.
    fn introduce(&mut self, n: u32) {
        let contacts = (0..INTRODUCED)
            .filter_map(|_| {
                let at = self.random.below(self.living.len() as u64) as usize;
                let other = self.living.get(at).copied().filter(|other| *other != n)?;
                self.host(other).map(|host| host.machine.own().clone())
            })
            .collect();
        self.input(n, Input::Met { contacts });
    }

    pub(super) fn born(&mut self) {
        let n = self.admit(true);
        self.introduce(n);
    }

    pub(super) fn dies(&mut self, n: u32) {
        let Some(host) = self.hosts.get_mut(n as usize).and_then(Option::take) else { return };
        let own = host.machine.own();
        self.by_key.remove(&own.host());
        self.places.remove(&own.position());
        self.bad.remove(&own.position());
        self.living.retain(|other| *other != n);
        self.honest.retain(|it| it.host() != own.host());
        self.office.borrow_mut().forget(own.host());
        self.born();
    }

    /// Tables as they would be after a long quiet time: of each bucket some, and all neighbours.
    fn acquaint_all(&mut self) {
        let all: Vec<(isos_route::Position, u32)> =
            self.places.iter().map(|(place, n)| (*place, *n)).collect();
        let size = Tuning::default().bucket;
        for n in 0..self.setting.hosts {
            let Some(host) = self.host(n) else { continue };
            let (own, spot) = (host.machine.own().position(), host.spot);
            let mut contacts = Vec::new();
            for shared in 0..isos_route::position::BITS {
                // A bucket is what a cell has without the cell inside it.
                let cell = own.somewhere_at(shared, &mut self.random).cell(shared + 1);
                let first = all.partition_point(|(place, _)| place < cell.start());
                let last = all.partition_point(|(place, _)| place <= cell.end());
                let count = last - first;
                let offset = self.random.below(count as u64) as usize;
                for step in 0..count.min(size) {
                    let at = first + (offset + step * count / count.min(size)) % count;
                    let other = all.get(at).and_then(|(_, other)| self.host(*other));
                    contacts.extend(
                        other.map(|it| (it.machine.own().clone(), spot.round_trip(&it.spot))),
                    );
                }
                let inside = own.cell(shared + 1);
                let left = all.partition_point(|(place, _)| place <= inside.end())
                    - all.partition_point(|(place, _)| place < inside.start());
                if left <= 1 {
                    break;
                }
            }
            let now = self.now;
            if let Some(host) = self.host_mut(n) {
                host.machine.acquaint(now, contacts);
            }
        }
    }
}
