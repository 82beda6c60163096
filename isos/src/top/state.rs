//! What the screen knows, and what comes next.

use std::collections::{BTreeMap, VecDeque};

use isos_base::Time;
use isos_base::api::{ComplexStatus, HostState, HostView, JobView, PricesView};

/// Loads that are remembered for the curve.
const LOADS_MAX: usize = 240;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    /// The map, and a little of all.
    World,
    Hosts,
    Jobs,
    Prices,
}

impl Panel {
    pub(super) const ALL: [Self; 4] = [Self::World, Self::Hosts, Self::Jobs, Self::Prices];

    pub(super) fn at(self) -> usize {
        Self::ALL.iter().position(|panel| *panel == self).unwrap_or(0)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Hosts => "hosts",
            Self::Jobs => "jobs",
            Self::Prices => "prices",
        }
    }

    fn next(self, forward: bool) -> Self {
        let count = Self::ALL.len();
        Self::ALL[(self.at() + if forward { 1 } else { count - 1 }) % count]
    }

    /// What fills it alone.
    fn question(self) -> Option<Question> {
        match self {
            Self::World => None,
            Self::Hosts => Some(Question::Hosts),
            Self::Jobs => Some(Question::Jobs),
            Self::Prices => Some(Question::Prices),
        }
    }
}

/// What the complex is asked: one of these a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Status,
    Hosts,
    Jobs,
    Prices,
}

impl Question {
    const ALL: [Self; 4] = [Self::Hosts, Self::Jobs, Self::Prices, Self::Status];
}

/// What it says.
#[derive(Debug)]
pub(super) enum Answer {
    Status(Box<ComplexStatus>),
    Hosts(Vec<HostView>),
    Jobs(Vec<JobView>),
    Prices(PricesView),
}

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Pause,
    Panel { forward: bool },
    Scroll { down: bool },
}

/// All that the screen shows.
#[derive(Debug)]
pub(super) struct Top {
    /// How the complex is called.
    pub(super) address: String,
    pub(super) now: Time,
    pub(super) status: ComplexStatus,
    /// Those that the token may see, the first of them if there are many.
    pub(super) hosts: Vec<HostView>,
    /// The newest.
    pub(super) jobs: Vec<JobView>,
    pub(super) prices: Option<PricesView>,
    /// When the complex answered last.
    pub(super) heard: Time,
    /// Why it does not answer.
    pub(super) trouble: Option<String>,
    pub(super) panel: Panel,
    pub(super) paused: bool,
    /// The first row that is shown of a list.
    pub(super) row: usize,
    /// Percent of the cores that had tasks, the oldest first.
    pub(super) loads: VecDeque<u64>,
    pub(super) color: bool,
    pub(super) turn: usize,
}

/// Hosts of one country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InCountry {
    pub(super) hosts: u32,
    pub(super) working: u32,
    pub(super) cores: u32,
}

impl Top {
    /// A screen before anything but this is known.
    pub(super) fn new(address: String, now: Time, status: ComplexStatus, color: bool) -> Self {
        Self {
            address,
            now,
            status,
            hosts: Vec::new(),
            jobs: Vec::new(),
            prices: None,
            heard: now,
            trouble: None,
            panel: Panel::World,
            paused: false,
            row: 0,
            loads: VecDeque::new(),
            color,
            turn: 0,
        }
    }

    /// What to ask this second; nothing while it is paused. What is looked at is asked for every
    /// other time.
    pub(super) fn question(&mut self) -> Option<Question> {
        if self.paused {
            return None;
        }
        self.turn += 1;
        let own = self.panel.question();
        match own {
            Some(own) if self.turn.is_multiple_of(2) => Some(own),
            Some(own) => {
                let others: Vec<_> = Question::ALL.into_iter().filter(|it| *it != own).collect();
                others.get(self.turn / 2 % others.len()).copied()
            }
            None => Question::ALL.get((self.turn - 1) % Question::ALL.len()).copied(),
        }
    }

    /// The complex has answered, or has not.
    pub(super) fn take(&mut self, now: Time, answer: Result<Answer, String>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                self.trouble = Some(why);
                return;
            }
        };
        (self.heard, self.trouble) = (now, None);
        match answer {
            Answer::Status(status) => self.status = *status,
            Answer::Hosts(hosts) => {
                self.hosts = hosts;
                if self.loads.len() >= LOADS_MAX {
                    self.loads.pop_front();
                }
                self.loads.push_back(self.load());
            }
            Answer::Jobs(jobs) => self.jobs = jobs,
            Answer::Prices(prices) => self.prices = Some(prices),
        }
        self.row = self.row.min(self.rows().saturating_sub(1));
    }

    /// A key was pressed. True if that is the end.
    pub(super) fn wish(&mut self, wish: Wish) -> bool {
        match wish {
            Wish::Quit => return true,
            Wish::Pause => self.paused = !self.paused,
            Wish::Panel { forward } => {
                (self.panel, self.row) = (self.panel.next(forward), 0);
            }
            Wish::Scroll { down: false } => self.row = self.row.saturating_sub(1),
            Wish::Scroll { down: true } => {
                self.row = (self.row + 1).min(self.rows().saturating_sub(1));
            }
        }
        false
    }

    /// Rows of the list that is shown.
    fn rows(&self) -> usize {
        match self.panel {
            Panel::World => 0,
            Panel::Hosts => self.hosts.len(),
            Panel::Jobs => self.jobs.len(),
            Panel::Prices => self.prices.as_ref().map_or(0, |it| it.classes.len()),
        }
    }

    /// Hosts by what they tell of their country, in capitals; none if they tell nothing.
    pub(super) fn countries(&self) -> BTreeMap<Option<String>, InCountry> {
        let mut all: BTreeMap<_, InCountry> = BTreeMap::new();
        for host in self.hosts.iter().filter(|host| is_there(host.state)) {
            let country = host.spec.country.as_ref().map(|it| it.to_ascii_uppercase());
            let it = all.entry(country).or_default();
            it.hosts += 1;
            it.working += u32::from(host.state == HostState::Working);
            it.cores += cores(host);
        }
        all
    }

    /// Percent of the cores that are offered and have tasks, among the hosts that are seen.
    pub(super) fn load(&self) -> u64 {
        let offered: u32 = self.hosts.iter().map(cores).sum();
        let taken: u32 = self.hosts.iter().map(|host| host.tasks.min(cores(host))).sum();
        if offered == 0 { 0 } else { u64::from(taken) * 100 / u64::from(offered) }
    }
}

/// Cores that a host offers now.
pub(super) fn cores(host: &HostView) -> u32 {
    host.offer.as_ref().map_or(0, |offer| offer.cores.into())
}

/// Whether the complex can reckon with a host.
pub(super) const fn is_there(state: HostState) -> bool {
    !matches!(state, HostState::Lost | HostState::Barred)
}
