//! News about leases until the complex has acknowledged it. Knows nothing of jobs or sessions.
//!
//! News waits here by lease, leaves in bounded reports while few are unacknowledged, and comes back
//! when a session is lost: a result is named by lease and task, so the complex takes it twice
//! without harm, and reports of a new session count from one again.

use std::collections::{BTreeMap, VecDeque};

use isos_base::LeaseId;
use isos_base::ranges::TaskRange;
use isos_base::task::{Fault, OutputAt, TaskResult};
use isos_base::time::{Span, Time};
use isos_base::wire::{LeaseReport, Report, Room};

use super::tuning::{FAULT_CHARS_MAX, REPORT_BYTES_MAX, REPORT_NEWS_MAX, REPORTS_UNACKED_MAX};

/// Unreported and unacknowledged news.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: BTreeMap<LeaseId, LeaseReport>,
    pending_bytes: usize,
    unacked: VecDeque<Sent>,
    /// The last report of this session.
    seq: u64,
}

#[derive(Debug)]
struct Sent {
    seq: u64,
    at: Time,
    leases: Vec<LeaseReport>,
}

impl Outbox {
    /// Whether there is nothing that the complex has not acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.unacked.is_empty()
    }

    /// Whether all news is on its way.
    pub(super) fn nothing_pending(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether another report may go out.
    pub(super) fn window_is_free(&self) -> bool {
        self.unacked.len() < REPORTS_UNACKED_MAX
    }

    /// When the oldest unacknowledged report went out.
    pub(super) fn oldest_unacked(&self) -> Option<Time> {
        self.unacked.front().map(|sent| sent.at)
    }

    /// About how much memory unreported news takes, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.pending_bytes
    }

    /// A task is done, and took so long.
    pub(super) fn result(&mut self, lease: LeaseId, result: TaskResult, wall: Span) {
        self.pending_bytes += result_bytes(&result);
        let entry = self.entry(lease);
        entry.results.push(result);
        entry.busy = entry.busy + wall;
    }

    /// A task failed after so long.
    pub(super) fn fault(&mut self, lease: LeaseId, task: u32, fault: Fault, wall: Span) {
        let fault = clipped(fault);
        self.pending_bytes += fault_bytes(&fault);
        let entry = self.entry(lease);
        entry.faults.push((task, fault));
        entry.busy = entry.busy + wall;
    }

    /// Tasks are given back.
    pub(super) fn returned(&mut self, lease: LeaseId, range: TaskRange) {
        let ranges = &mut self.entry(lease).returned;
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                ranges.push(range);
                self.pending_bytes += RANGE_BYTES;
            }
        }
    }

    /// A lease is not wanted any more, nor is what it did. Its reports under way keep their
    /// numbers.
    pub(super) fn forget(&mut self, lease: LeaseId) {
        if let Some(news) = self.pending.remove(&lease) {
            self.pending_bytes -= lease_bytes(&news);
        }
        for sent in &mut self.unacked {
            sent.leases.retain(|news| news.lease != lease);
        }
    }

    /// The next report: pending news up to the limits of a report, perhaps none.
    pub(super) fn report(&mut self, now: Time, room: Room) -> Report {
        let mut leases = Vec::new();
        let (mut news_left, mut bytes_left) = (REPORT_NEWS_MAX, REPORT_BYTES_MAX);
        while news_left > 0
            && let Some(entry) = self.pending.first_entry()
        {
            let bytes = lease_bytes(entry.get());
            if lease_news(entry.get()) <= news_left && bytes <= bytes_left {
                let news = entry.remove();
                news_left -= lease_news(&news);
                bytes_left -= bytes;
                self.pending_bytes -= bytes;
                leases.push(news);
                continue;
            }
            let part = split(entry.into_mut(), news_left, bytes_left);
            if lease_news(&part) > 0 {
                self.pending_bytes -= lease_bytes(&part);
                leases.push(part);
            }
            break;
        }
        self.seq += 1;
        self.unacked.push_back(Sent { seq: self.seq, at: now, leases: leases.clone() });
        Report { seq: self.seq, leases, room }
    }

    /// Reports up to `seq` are kept for ever. Calls `each` with every lease and number of tasks;
    /// false when no such report was sent.
    pub(super) fn acked(&mut self, seq: u64, mut each: impl FnMut(LeaseId, u32)) -> bool {
        while let Some(sent) = self.unacked.front()
            && sent.seq <= seq
        {
            for news in &sent.leases {
                each(news.lease, lease_tasks(news));
            }
            self.unacked.pop_front();
        }
        seq <= self.seq
    }

    /// The session is over: what was not acknowledged is to be reported again, in a new count.
    pub(super) fn rewind(&mut self) {
        self.seq = 0;
        while let Some(sent) = self.unacked.pop_back() {
            for mut news in sent.leases {
                self.pending_bytes += lease_bytes(&news);
                let entry = self.entry(news.lease);
                std::mem::swap(entry, &mut news);
                entry.results.append(&mut news.results);
                entry.faults.append(&mut news.faults);
                entry.returned.append(&mut news.returned);
                entry.busy = entry.busy + news.busy;
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All news with its lease, in no particular order, for the invariants.
    pub(super) fn all(&self) -> impl Iterator<Item = &LeaseReport> {
        self.pending.values().chain(self.unacked.iter().flat_map(|sent| &sent.leases))
    }

    /// Asserts what must hold within.
    pub(super) fn check(&self) {
        assert!(self.unacked.len() <= REPORTS_UNACKED_MAX, "too many reports under way");
        let bytes: usize = self.pending.values().map(lease_bytes).sum();
        assert_eq!(bytes, self.pending_bytes, "bytes of pending news");
        assert!(self.pending.values().all(|news| lease_news(news) > 0), "an empty entry");
        let seqs = self.unacked.iter().map(|sent| sent.seq);
        assert!(seqs.rev().eq((0..=self.seq).rev().take(self.unacked.len())), "report numbers");
    }

    fn entry(&mut self, lease: LeaseId) -> &mut LeaseReport {
        self.pending.entry(lease).or_insert_with(|| LeaseReport {
            lease,
            results: Vec::new(),
            faults: Vec::new(),
            returned: Vec::new(),
            busy: Span::ZERO,
        })
    }
}

/// About what a result takes on the wire besides its output.
const RESULT_BYTES: usize = 64;
/// About what a fault takes besides its text.
const FAULT_BYTES: usize = 16;
/// About what a range takes.
const RANGE_BYTES: usize = 16;

fn result_bytes(result: &TaskResult) -> usize {
    match &result.output {
        OutputAt::Inline(bytes) => RESULT_BYTES + bytes.len(),
        OutputAt::Object(..) => RESULT_BYTES,
    }
}

fn fault_bytes(fault: &Fault) -> usize {
    FAULT_BYTES + fault_text(fault).map_or(0, String::len)
}

fn lease_bytes(news: &LeaseReport) -> usize {
    news.results.iter().map(result_bytes).sum::<usize>()
        + news.faults.iter().map(|(_, fault)| fault_bytes(fault)).sum::<usize>()
        + news.returned.len() * RANGE_BYTES
}

fn lease_news(news: &LeaseReport) -> usize {
    news.results.len() + news.faults.len() + news.returned.len()
}

/// Tasks that a lease's news speaks of.
pub(super) fn lease_tasks(news: &LeaseReport) -> u32 {
    let single = u32::try_from(news.results.len() + news.faults.len()).unwrap_or(u32::MAX);
    news.returned.iter().fold(single, |sum, range| sum.saturating_add(range.len()))
}

/// Takes what fits from the front of a lease's news; at least something whenever limits allow it.
fn split(news: &mut LeaseReport, mut items: usize, mut bytes: usize) -> LeaseReport {
    let mut fits = |size: usize| {
        let ok = items > 0 && size <= bytes;
        if ok {
            items -= 1;
            bytes -= size;
        }
        ok
    };
    let ranges = news.returned.iter().take_while(|_| fits(RANGE_BYTES)).count();
    let faults = news.faults.iter().take_while(|(_, fault)| fits(fault_bytes(fault))).count();
    let results = news.results.iter().take_while(|result| fits(result_bytes(result))).count();
    let all = news.results.len() + news.faults.len();
    let share = (results + faults) as u128 * u128::from(news.busy.0) / all.max(1) as u128;
    let busy = Span(u64::try_from(share).unwrap_or(u64::MAX));
    news.busy = Span(news.busy.0 - busy.0);
    LeaseReport {
        lease: news.lease,
        busy,
        results: news.results.drain(..results).collect(),
        faults: news.faults.drain(..faults).collect(),
        returned: news.returned.drain(..ranges).collect(),
    }
}

fn fault_text(fault: &Fault) -> Option<&String> {
    match fault {
        Fault::TimedOut | Fault::NoMemory => None,
        Fault::SandboxDied(why)
        | Fault::BadProgram(why)
        | Fault::NoInput(why)
        | Fault::Policy(why) => Some(why),
    }
}

/// A fault whose text is no longer than [`FAULT_CHARS_MAX`].
fn clipped(mut fault: Fault) -> Fault {
    if let Fault::SandboxDied(why)
    | Fault::BadProgram(why)
    | Fault::NoInput(why)
    | Fault::Policy(why) = &mut fault
        && let Some((end, _)) = why.char_indices().nth(FAULT_CHARS_MAX)
    {
        why.truncate(end);
    }
    fault
}
