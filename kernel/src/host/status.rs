//! What a screen shows of a host: plain data, computed when asked for.

use serde::{Deserialize, Serialize};

use isos_base::time::{Span, Time};
use isos_base::units::MicroCredits;
use isos_base::wire::Refusal;
use isos_base::{JobId, Machine};

use super::Host;
use super::session::Link;

/// A host in one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// What it is about.
    pub state: HostState,
    /// Why the policy allows what it allows.
    pub reasons: Vec<String>,
    /// Cores that the policy allows now.
    pub cores: u16,
    /// Tasks that run now, or stand still in a frozen chamber.
    pub running: u32,
    /// Tasks that wait.
    pub queued: u32,
    /// Time in which all of them will be done, as far as can be told.
    pub backlog: Span,
    /// Tasks done since the agent started.
    pub done: u64,
    /// Tasks that failed through no fault of the program since the agent started.
    pub failed: u64,
    /// Tasks given back since the agent started.
    pub returned: u64,
    /// Earned since the agent started; held until verified.
    pub earned: MicroCredits,
    /// When the complex last said something.
    pub last_seen: Option<Time>,
    /// Whether there is news that the complex has not acknowledged.
    pub unreported: bool,
    /// By job, those with work or a chamber.
    pub jobs: Vec<JobStatus>,
    /// When the machine next does something by itself.
    pub next: Option<Time>,
}

/// What a host is about: the first of these that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// The agent has shut the work down.
    Stopped,
    /// The complex will not have this host; what to do is in the refusal's text.
    Refused(Refusal),
    /// The owner wants quiet.
    Suspended {
        /// Since when.
        since: Option<Time>,
    },
    /// Tasks run.
    Working,
    /// A session is being made.
    Connecting,
    /// The complex cannot be reached.
    Offline {
        /// Why.
        why: String,
        /// When it is tried again.
        retry_at: Option<Time>,
    },
    /// There is no work; the complex will be asked again.
    Sleeping {
        /// When.
        until: Time,
    },
    /// Connected, without work.
    Idle,
}

/// One job on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its number.
    pub job: JobId,
    /// The buyer's name for it.
    pub name: String,
    /// Its sandbox.
    pub chamber: ChamberState,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that wait.
    pub queued: u32,
    /// Tasks done here.
    pub done: u64,
    /// Tasks that failed here through no fault of the program.
    pub failed: u64,
    /// How long its tasks take, smoothed.
    pub mean: Option<Span>,
}

/// The state of a job's sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChamberState {
    /// There is none yet.
    None,
    /// Being opened: program fetched, checked, compiled.
    Preparing,
    /// Open.
    Open,
    /// Open, and closed as soon as its tasks are done.
    Closing,
}

impl Host {
    /// What a screen shows.
    #[must_use]
    pub fn status(&self) -> HostStatus {
        let jobs: Vec<_> = self
            .work
            .jobs
            .iter()
            .filter(|(_, job)| job.queued > 0 || job.chamber.is_some())
            .map(|(&id, job)| {
                let (chamber, running) = match &job.chamber {
                    None => (ChamberState::None, 0),
                    Some(c) if !c.open => (ChamberState::Preparing, 0),
                    Some(c) if c.closing => (ChamberState::Closing, c.used()),
                    Some(c) => (ChamberState::Open, c.used()),
                };
                let running = u32::from(running).min(job.held());
                JobStatus {
                    job: id,
                    name: job.offer.spec.name.clone(),
                    chamber,
                    running,
                    queued: job.held() - running,
                    done: job.done,
                    failed: job.failed,
                    mean: job.mean,
                }
            })
            .collect();
        let running = jobs.iter().map(|job| job.running).sum();
        HostStatus {
            state: self.state(running),
            reasons: self.offer.reasons.clone(),
            cores: self.offer.cores,
            running,
            queued: jobs.iter().map(|job| job.queued).sum(),
            backlog: self.work.room(&self.offer, self.now).backlog,
            done: self.tally.done,
            failed: self.tally.failed,
            returned: self.tally.returned,
            earned: self.session.earned(),
            last_seen: self.session.last_seen,
            unreported: !self.outbox.is_empty() || !self.work.turned_down.is_empty(),
            jobs,
            next: self.deadline(),
        }
    }

    fn state(&self, running: u32) -> HostState {
        if self.stopped {
            return HostState::Stopped;
        }
        match &self.session.link {
            Link::Refused(refusal) => HostState::Refused(refusal.clone()),
            _ if self.offer.cores == 0 => HostState::Suspended { since: self.quiet.since },
            _ if running > 0 => HostState::Working,
            Link::Connecting { .. } | Link::Greeting { .. } => HostState::Connecting,
            Link::Away(wait) if wait.asleep.is_some() => HostState::Sleeping { until: wait.until },
            Link::Away(_) => HostState::Offline {
                why: self.session.why.clone(),
                retry_at: self.session.connect_at(&self.offer, !self.outbox.is_empty()),
            },
            Link::Online { .. } => HostState::Idle,
        }
    }
}
