//! How a world begins: servers, accounts, and what clients will ask for. Most jobs must be done; a
//! few end otherwise.

use std::collections::BTreeSet;

use isos_base::api::SliceRequest;
use isos_base::job::{JobSpec, Verify};
use isos_base::price::Price;
use isos_base::record::Snapshot;
use isos_base::slice::SLICE_TERM_MAX;
use isos_base::{AccountId, Bytes, Fuel, Guid, Machine, MicroCredits, Span};
use isos_kernel::complex::{Call, Complex, Effect, Input, Reply, RequestId, SliceCall};

use super::errands::{Errand, Made};
use super::{Event, START, World};
use crate::checks::Asked;
use crate::database::{Answer, Ask};
use crate::server::{Act, Leader, Part};

/// An error rate at which the word of two strangers who agree is as provisional as that of one.
const STRICT_PPM: u32 = 1_000;

/// One in so many worlds has slices, those whose seeds leave this.
const SLICES_ONE_IN: u64 = 4;
const SLICES_AT: u64 = 2;
/// Of so many hosts; and the one that is not dropped ends so long after the last fault.
const SLICE_HOSTS: u32 = 3;
const SLICE_OUTLIVES: Span = Span::secs(900);

/// What jobs bid where there is a market, and later.
const BID: Price = Price(300);
const BID_LATER: Price = Price(400);

/// The program of jobs that may end otherwise than done.
pub(crate) fn odd_program() -> Guid {
    Guid::of(b"odd")
}

impl World {
    /// The first server leads, others stand, hosts start, clients and faults are on their way.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        for n in 0..self.plan.servers {
            self.servers[n as usize].part = Part::Stands;
        }
        let Answer::Leads(epoch) = self.database.answer(self.now, 0, Ask::Take)? else {
            return Err("the first server does not lead".into());
        };
        let mut leader = Leader::new(epoch, vec![0], self.now);
        // As of a database with nothing in it: what follows from the settings is kept as well.
        let (config, mut effects) = (self.config.clone(), Vec::new());
        let machine = Complex::restore(config, START, Snapshot::default(), &mut effects);
        leader.machine = Some(Box::new(machine.map_err(|error| error.to_string())?));
        self.servers[0].part = Part::Leads(Box::new(leader));
        let keeps = effects.into_iter().filter_map(|effect| match effect {
            Effect::Keep(change) => Some(change),
            _ => None,
        });
        self.keep_now(keeps.collect())?;
        for n in 0..self.plan.hosts {
            let account = self.open_account(format!("owner{n}"), MicroCredits::ZERO)?;
            self.accounts.push(account);
        }
        self.plan_jobs()?;
        self.plan_slices()?;
        self.plan_edge()?;
        self.at_server(START, 0, Act::Send);
        if self.plan.servers > 1 {
            self.at_server(START, 0, Act::Renew);
            self.at_server(START, 0, Act::KnowServers);
        }
        for n in 1..self.plan.servers {
            self.at_server(START, n, Act::Stand);
        }
        self.plan_faults();
        for n in 0..self.plan.hosts {
            let todos = self.hosts[n as usize].start(START);
            self.host_todos(n, todos);
        }
        Ok(())
    }

    /// An account before the world begins: kept at once.
    pub(super) fn open_account(
        &mut self,
        name: String,
        welcome: MicroCredits,
    ) -> Result<AccountId, String> {
        let call = Call::OpenAccount { name, welcome };
        let (mut effects, request) = (Vec::new(), RequestId(0));
        let machine = self.servers[0].leader().and_then(|leader| leader.machine.as_mut());
        let machine = machine.ok_or("the first server leads")?;
        machine.step(START, Input::Requested { request, call }, &mut effects);
        let (mut changes, mut account) = (Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Keep(change) => changes.push(change),
                Effect::Answer(_, Ok(Reply::Account(id))) => account = Some(id),
                _ => {}
            }
        }
        self.keep_now(changes)?;
        account.ok_or_else(|| "an account is not opened".to_owned())
    }

    fn plan_jobs(&mut self) -> Result<(), String> {
        for n in 0..self.plan.jobs {
            let rich = MicroCredits::credits(1_000_000);
            let account = self.open_account(format!("buyer{n}"), rich)?;
            let mut spec = JobSpec::new(Guid::of(&n.to_le_bytes()), Bytes(1), self.plan.tasks);
            spec.fuel = Fuel(100_000_000_000);
            spec.verify = self.rule(n);
            let submitted = self.submit(account, spec, BID);
            if self.plan.market {
                let bid = Call::Bid { job: Default::default(), bid: BID_LATER };
                self.errand(bid, Some(submitted), self.plan.faults_until);
            }
        }
        self.plan_odd_jobs()
    }

    /// How the results of a job are made sure of. Seeds differ in where they begin, so that small
    /// worlds of few jobs have each rule as well.
    fn rule(&self, job: u32) -> Verify {
        let all = [
            Verify::Quorum { agree: 2, of: 3 },
            Verify::default(),
            Verify::Trusted,
            Verify::Credibility { error_ppm: STRICT_PPM },
            Verify::Checkpoint { stretches: 2 },
        ];
        let nth = u64::from(job).wrapping_add(self.plan.seed) % all.len() as u64;
        all[nth as usize]
    }

    /// What clients asked for, by job.
    pub(super) fn asked_for(&self) -> Asked {
        let asked = self.errands.iter().filter_map(|errand| match &errand.call {
            Call::Submit { spec, .. } | Call::SubmitBid { spec, .. } => {
                Some((errand.answer?.job()?, spec.verify))
            }
            _ => None,
        });
        asked.collect()
    }

    /// Jobs that do not end well: one whose hold pays for a part of it, which must end by itself,
    /// and some that are cancelled on the way, unless all of them has ended: each task is given up
    /// when it fails once.
    fn plan_odd_jobs(&mut self) -> Result<(), String> {
        let account = self.open_account("odd".into(), MicroCredits::credits(1_000))?;
        let tasks = (self.plan.tasks / 8).max(1);
        let odd = |agree, of, price_max: Option<MicroCredits>| {
            let mut spec = JobSpec::new(odd_program(), Bytes(1), tasks);
            spec.fuel = Fuel(10_000_000_000);
            spec.verify = Verify::Quorum { agree, of };
            spec.price_max = price_max;
            spec
        };
        // At least what one task can cost.
        let price_max = MicroCredits((i64::from(self.plan.tasks) * 50).max(5_000));
        self.submit(account, odd(3, 5, Some(price_max)), self.config.price);
        for (agree, of) in [(2, 3), (3, 3)] {
            let spec = JobSpec { attempts_max: 1, ..odd(agree, of, None) };
            let submitted = self.submit(account, spec, self.config.price);
            // The number of the job is put in when it is known.
            let call = Call::Cancel { job: Default::default() };
            self.errand(call, Some(submitted), self.plan.faults_until);
        }
        Ok(())
    }

    /// In some worlds, two slices: one has a job, and ends by itself; the other is dropped.
    fn plan_slices(&mut self) -> Result<(), String> {
        if self.plan.seed % SLICES_ONE_IN != SLICES_AT || self.plan.hosts < 2 * SLICE_HOSTS {
            return Ok(());
        }
        let account = self.open_account("slicer".into(), MicroCredits::credits(1_000))?;
        let within = self.plan.submitted_within;
        let end = START + self.plan.faults_until;
        let make = |name: &str, until| {
            let (name, key) = (name.to_owned(), Some(format!("slice {name}")));
            let hosts = SLICE_HOSTS;
            let request = Box::new(SliceRequest { name, hosts, constraint: None, until, key });
            Call::Slice(SliceCall::Make { account, request })
        };
        let made = self.errand(make("lab", end + SLICE_OUTLIVES), None, within);
        // It may lose a host, and what was pinned to that is given up.
        let mut spec = JobSpec::new(odd_program(), Bytes(1), SLICE_HOSTS);
        spec.fuel = Fuel(10_000_000_000);
        (spec.verify, spec.slice) = (Verify::Trusted, Some("lab".into()));
        let job = self.submit(account, spec, BID);
        self.errands[job].about = Some(made);
        let made = self.errand(make("shed", end + Span(SLICE_TERM_MAX.0 / 4)), None, within);
        let drop = Call::Slice(SliceCall::Drop { account, name: "shed".into() });
        self.errand(drop, Some(made), self.plan.faults_until);
        Ok(())
    }

    /// Submits a job, which bids this where there is a market.
    fn submit(&mut self, account: AccountId, spec: JobSpec, bid: Price) -> usize {
        let (key, spec) = (Some(format!("errand {}", self.errands.len())), Box::new(spec));
        let call = if self.plan.market {
            Call::SubmitBid { account, spec, key, bid }
        } else {
            Call::Submit { account, spec, key }
        };
        self.errand(call, None, self.plan.submitted_within)
    }

    /// Something that a client will want within this time.
    pub(super) fn errand(&mut self, call: Call, about: Option<usize>, within: Span) -> usize {
        let n = self.errands.len();
        self.errands.push(Errand { call, about, tries: 0, answer: None });
        let at = START + Span(self.random.below(within.0));
        self.at(at, Event::Errand(n, 0));
        n
    }

    /// Each client got a job of its own, and nobody another.
    pub(super) fn jobs_are_as_asked(&self) -> Result<(), String> {
        let submits =
            |errand: &&Errand| matches!(errand.call, Call::Submit { .. } | Call::SubmitBid { .. });
        let submitted = self.errands.iter().filter(submits);
        // What was to run on a slice that a clock which was ahead had ended is no job.
        let no_job =
            |errand: &&Errand| errand.about.is_some() && errand.answer == Some(Made::Nothing);
        let asked = submitted.clone().filter(|errand| !no_job(errand)).count();
        let answered: BTreeSet<_> = submitted.filter_map(|errand| errand.answer?.job()).collect();
        let kept: BTreeSet<_> = self.database.tables.jobs.keys().copied().collect();
        if answered == kept && kept.len() == asked {
            return Ok(());
        }
        Err(format!("{asked} jobs were asked for, answers name {answered:?}, kept are {kept:?}"))
    }
}
