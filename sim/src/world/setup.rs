//! The jobs of a world: those that must be done, and a few that end otherwise.

use isos_base::job::{JobSpec, Verify};
use isos_base::{Bytes, Fuel, Guid, MicroCredits, Span};
use isos_kernel::complex::{Call, Reply};

use super::{Event, START, World};

impl World {
    pub(super) fn submit_jobs(&mut self) {
        for n in 0..self.plan.jobs {
            let name = format!("buyer{n}");
            let call = Call::OpenAccount { name, welcome: MicroCredits::credits(1_000_000) };
            let Reply::Account(account) = self.call(call) else { continue };
            let mut spec = JobSpec::new(Guid::of(&n.to_le_bytes()), Bytes(1), self.plan.tasks);
            spec.fuel = Fuel(100_000_000_000);
            if n % 2 == 0 {
                spec.verify = Verify::Quorum { agree: 2, of: 3 };
            }
            self.call(Call::Submit { account, spec: Box::new(spec), key: None });
        }
        self.submit_odd_jobs();
    }

    /// Jobs that do not end well: one whose hold pays for a part of it, which must end by itself,
    /// and some that are cancelled on the way.
    fn submit_odd_jobs(&mut self) {
        let call = Call::OpenAccount { name: "odd".into(), welcome: MicroCredits::credits(1_000) };
        let Reply::Account(account) = self.call(call) else { return };
        let submit = |world: &mut Self, agree, of, price_max: Option<MicroCredits>| {
            let tasks = (world.plan.tasks / 8).max(1);
            let mut spec = JobSpec::new(Guid::of(b"odd"), Bytes(1), tasks);
            spec.fuel = Fuel(10_000_000_000);
            spec.verify = Verify::Quorum { agree, of };
            spec.price_max = price_max;
            match world.call(Call::Submit { account, spec: Box::new(spec), key: None }) {
                Reply::Job(view) => view.id,
                other => panic!("a job is answered with a job, not {other:?}"),
            }
        };
        submit(self, 3, 5, Some(MicroCredits(i64::from(self.plan.tasks) * 50)));
        for (agree, of) in [(2, 3), (3, 3)] {
            let id = submit(self, agree, of, None);
            let at = START + Span(self.random.below(self.plan.faults_until.0));
            self.at(at, Event::Cancelled(id));
        }
    }
}
