//! What the server counts: what its machine is told, what it decides, what waits, and how long the
//! two steps take that everything passes, deciding and keeping.
//!
//! Counted where inputs and effects pass through the core, so that nothing the machine decides is
//! left out. Rendered as Prometheus reads it. Numbers only: no names, no jobs of anybody.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use isos_base::audit::Deed;
use isos_base::market::ReservationState;
use isos_base::record::{Change, JobState, LeaseState, PayoutState, TransferKind};
use isos_base::storage::StorageState;
use isos_base::wire::{Refusal, ToComplex, ToHost};
use isos_kernel::complex::{Effect, Input};

/// Counters, each with its name, label and meaning, in the order in which they are rendered.
const COUNTERS: [(Count, &str, &str); Count::ALL] = {
    use Count::*;
    [
        (HostsCame, "isos_hosts_came_total", "Sessions that hosts began."),
        (HostsWent, "isos_hosts_went_total", "Sessions that ended."),
        (Offers, "isos_offers_total", "Times that a host's policy allowed something else."),
        (Reports, "isos_reports_total", "Reports of hosts."),
        (Reported, "isos_tasks_reported_total", "Results in them."),
        (Faults, "isos_tasks_faulted_total", "Tasks in them that a host could not run."),
        (Returned, "isos_tasks_returned_total", "Tasks in them that were given back."),
        (Requests, "isos_calls_total", "Requests that change something."),
        (Timers, "isos_timers_total", "Times that the clock alone made the machine decide."),
        (Leases, "isos_leases_granted_total", "Leases granted."),
        (Granted, "isos_tasks_granted_total", "Tasks in them, each time that one is granted."),
        (Revoked, "isos_leases_revoked_total", "Leases that hosts were told to drop."),
        (Slept, "isos_hosts_put_to_sleep_total", "Idle hosts that were told to come back later."),
        (RefusedBusy, "isos_hosts_refused_total{why=\"busy\"}", "Hosts turned away."),
        (RefusedTicket, "isos_hosts_refused_total{why=\"ticket\"}", ""),
        (RefusedBarred, "isos_hosts_refused_total{why=\"barred\"}", ""),
        (RefusedUnfit, "isos_hosts_refused_total{why=\"unfit\"}", ""),
        (Accepted, "isos_tasks_accepted_total", "Tasks whose result was accepted."),
        (Failed, "isos_tasks_failed_total", "Tasks that failed for good."),
        (JobsDone, "isos_jobs_ended_total{state=\"done\"}", "Jobs that are over."),
        (JobsFailed, "isos_jobs_ended_total{state=\"failed\"}", ""),
        (JobsCancelled, "isos_jobs_ended_total{state=\"cancelled\"}", ""),
        (Answered, "isos_answers_total{outcome=\"done\"}", "Answers to requests."),
        (Declined, "isos_answers_total{outcome=\"refused\"}", ""),
        (Votes, "isos_votes_total", "Results that wait for others to agree with them."),
        (Saves, "isos_checkpoints_total", "States of long tasks that were kept."),
        (LeasesSettled, "isos_leases_settled_total", "Times that a settled lease was written."),
        (BillsPosted, "isos_bills_posted_total", "Bills of hosts that were paid."),
        (Holds, "isos_transfers_kept_total{kind=\"hold\"}", "Transfers of this server."),
        (Posts, "isos_transfers_kept_total{kind=\"post\"}", ""),
        (Releases, "isos_transfers_kept_total{kind=\"release\"}", ""),
        (Directs, "isos_transfers_kept_total{kind=\"direct\"}", ""),
        (PayoutsAsked, "isos_payouts_total{state=\"asked\"}", "Payouts."),
        (PayoutsPaid, "isos_payouts_total{state=\"paid\"}", ""),
        (PayoutsRefused, "isos_payouts_total{state=\"refused\"}", ""),
        (Proposals, "isos_proposals_total", "Words of operators about new credits."),
        (Cleared, "isos_market_cleared_total", "Auctions, one for each class at a time."),
        (Reserved, "isos_reservations_total{state=\"booked\"}", "Reservations of cores."),
        (Expired, "isos_reservations_total{state=\"over\"}", ""),
        (Unreserved, "isos_reservations_total{state=\"cancelled\"}", ""),
        (Stored, "isos_storage_leases_total{state=\"leased\"}", "Leases of hosts' disks."),
        (Unstored, "isos_storage_leases_total{state=\"released\"}", ""),
        (StoredOut, "isos_storage_leases_total{state=\"ended\"}", ""),
        (Asked, "isos_storage_proofs_total{state=\"asked\"}", "Proofs of fragments."),
        (Unproven, "isos_storage_proofs_total{state=\"failed\"}", ""),
        (Replaced, "isos_storage_replaced_total", "Leases on hosts that were given up."),
        (Mends, "isos_storage_mends_total", "Orders to make anew what such hosts have had."),
        (Deeds, "isos_audit_records_total", "What was done about rights and new credits."),
        (Bars, "isos_hosts_barred_total", "Hosts that were caught."),
        (Suspensions, "isos_hosts_suspended_total", "Hosts whose ticket was revoked."),
        (Tokens, "isos_tokens_revoked_total", "Tokens that were revoked."),
        (Kept, "isos_changes_total", "Changes given to the database."),
    ]
};

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Count {
    HostsCame,
    HostsWent,
    Offers,
    Reports,
    Reported,
    Faults,
    Returned,
    Requests,
    Timers,
    Leases,
    Granted,
    Revoked,
    Slept,
    RefusedBusy,
    RefusedTicket,
    RefusedBarred,
    RefusedUnfit,
    Accepted,
    Failed,
    JobsDone,
    JobsFailed,
    JobsCancelled,
    Answered,
    Declined,
    Votes,
    Saves,
    LeasesSettled,
    BillsPosted,
    Holds,
    Posts,
    Releases,
    Directs,
    PayoutsAsked,
    PayoutsPaid,
    PayoutsRefused,
    Proposals,
    Cleared,
    Reserved,
    Expired,
    Unreserved,
    Stored,
    Unstored,
    StoredOut,
    Asked,
    Unproven,
    Replaced,
    Mends,
    Deeds,
    Bars,
    Suspensions,
    Tokens,
    Kept,
}

impl Count {
    const ALL: usize = Self::Kept as usize + 1;
}

/// Upper ends of a histogram's buckets, in microseconds.
const BUCKETS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000, 10_000_000];

/// Times, by length.
#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BUCKETS.len()],
    longer: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|&end| micros <= end);
        bucket.map_or(&self.longer, |bucket| &self.counts[bucket]).fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    fn render(&self, name: &str, what: &str, out: &mut String) {
        let _ = write!(out, "# HELP {name} {what}\n# TYPE {name} histogram\n");
        let mut sum = 0;
        for (count, end) in self.counts.iter().zip(BUCKETS) {
            sum += count.load(Relaxed);
            let end = Duration::from_micros(end).as_secs_f64();
            let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {sum}");
        }
        sum += self.longer.load(Relaxed);
        let secs = Duration::from_micros(self.micros.load(Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {sum}");
        let _ = write!(out, "{name}_sum {secs}\n{name}_count {sum}\n");
    }
}

/// All counters, from 0.
#[derive(Debug)]
struct Counts([AtomicU64; Count::ALL]);

// Derived only for arrays of up to 32.
impl Default for Counts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Count::ALL])
    }
}

/// The counters of one server, shared by its parts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Counts,
    frames: AtomicU64,
    requests: AtomicU64,
    uploads_refused: AtomicU64,
    journal: Mutex<Written>,
    decide: Histogram,
    keep: Histogram,
}

/// How the journal stands.
#[derive(Debug, Clone, Copy, Default)]
enum Written {
    /// None is kept.
    #[default]
    Nowhere,
    /// So many batches wait for the disk, of so many that may.
    Waits(usize, usize),
    /// It was full, or the disk failed or was too slow.
    Ended,
}

/// Something that waits, and how much of it may.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) name: &'static str,
    pub(crate) waiting: usize,
    pub(crate) max: usize,
}

impl Metrics {
    fn add(&self, what: Count, count: usize) {
        self.counts.0[what as usize].fetch_add(count as u64, Relaxed);
    }

    /// A frame came from a host.
    pub(crate) fn frame(&self) {
        self.frames.fetch_add(1, Relaxed);
    }

    /// A request came with a token.
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// An upload found no place.
    pub(crate) fn upload_refused(&self) {
        self.uploads_refused.fetch_add(1, Relaxed);
    }

    /// How the journal stands after a batch; nothing if it has ended.
    pub(crate) fn journal(&self, waiting: Option<(usize, usize)>) {
        let written = waiting.map_or(Written::Ended, |(now, max)| Written::Waits(now, max));
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = written;
    }

    /// The machine is told this.
    pub(crate) fn told(&self, input: &Input) {
        use Count::*;
        match input {
            Input::HostCame { .. } => self.add(HostsCame, 1),
            Input::HostWent { .. } => self.add(HostsWent, 1),
            Input::HostSaid { frame: ToComplex::Offer(_), .. } => self.add(Offers, 1),
            Input::HostSaid { frame: ToComplex::Report(report), .. } => {
                self.add(Reports, 1);
                for lease in &report.leases {
                    self.add(Reported, lease.results.len());
                    self.add(Faults, lease.faults.len());
                    let returned: u64 = lease.returned.iter().map(|it| u64::from(it.len())).sum();
                    self.add(Returned, usize::try_from(returned).unwrap_or(usize::MAX));
                }
            }
            Input::HostSaid {
                frame:
                    ToComplex::Hello(_)
                    | ToComplex::Goodbye
                    | ToComplex::Traced(_)
                    | ToComplex::Saved(_)
                    | ToComplex::Shelf(_)
                    | ToComplex::Proved(_)
                    | ToComplex::Mended(_)
                    | ToComplex::Described(_)
                    | ToComplex::Reach(_),
                ..
            } => {}
            Input::Requested { .. } => self.add(Requests, 1),
            Input::TimerFired => self.add(Timers, 1),
        }
    }

    /// The machine has decided this.
    pub(crate) fn decided(&self, effect: &Effect) {
        use Count::*;
        match effect {
            Effect::Send(_, frame) => self.sent(frame),
            Effect::Keep(change) => {
                self.add(Kept, 1);
                self.kept(change);
            }
            Effect::Answer(_, reply) => {
                self.add(if reply.is_ok() { Answered } else { Declined }, 1);
            }
            Effect::Close(_) | Effect::JobMoved(_) | Effect::Say(_) => {}
        }
    }

    /// Every kind of change is counted, or says why not.
    fn kept(&self, change: &Change) {
        use Count::*;
        let one = |count| self.add(count, 1);
        match change {
            Change::Results(batch) => {
                let good = batch.results.iter().filter(|it| it.result.is_ok()).count();
                self.add(Accepted, good);
                self.add(Failed, batch.results.len() - good);
            }
            Change::Votes(batch) => self.add(Votes, batch.results.len()),
            Change::Saved(_) => one(Saves),
            Change::Job(job) => match job.state {
                JobState::Active => {}
                JobState::Done => one(JobsDone),
                JobState::Failed => one(JobsFailed),
                JobState::Cancelled => one(JobsCancelled),
            },
            Change::Lease(lease) if lease.state == LeaseState::Settled => one(LeasesSettled),
            Change::Bill(bill) if bill.posted.is_some() => one(BillsPosted),
            Change::Transfer(transfer) => one(match transfer.kind {
                TransferKind::Hold => Holds,
                TransferKind::Post => Posts,
                TransferKind::Void | TransferKind::Expire => Releases,
                TransferKind::Direct => Directs,
            }),
            Change::Payout(payout) => one(match payout.state {
                PayoutState::Waiting => PayoutsAsked,
                PayoutState::Paid => PayoutsPaid,
                PayoutState::Refused => PayoutsRefused,
            }),
            Change::Proposal(_) => one(Proposals),
            Change::Market(_) => one(Cleared),
            Change::Reservation(it) => match it.state {
                ReservationState::Booked => one(Reserved),
                ReservationState::Active => {}
                ReservationState::Over => one(Expired),
                ReservationState::Cancelled => one(Unreserved),
            },
            Change::Audit(record) => {
                one(Deeds);
                match record.deed {
                    Deed::HostBarred { .. } => one(Bars),
                    Deed::HostSuspended { .. } => one(Suspensions),
                    Deed::TokenRevoked { .. } => one(Tokens),
                    Deed::StorageLeased { leases, .. } => self.add(Stored, leases as usize),
                    Deed::StorageUnproven { .. } => one(Unproven),
                    Deed::StorageReplaced { .. } => one(Replaced),
                    _ => {}
                }
            }
            // Who was given up is written once more when its host has heard of it.
            Change::Storage(lease) => match lease.state {
                StorageState::Released if !lease.told => one(Unstored),
                StorageState::Ended => one(StoredOut),
                StorageState::Open | StorageState::Released => {}
            },
            // Granted leases and open bills are counted when they end; the others only write down
            // where something stands that is counted by what moved it.
            Change::Lease(_)
            | Change::Bill(_)
            | Change::States(_)
            | Change::DropVotes(_)
            | Change::Host(_)
            | Change::Account(_)
            | Change::Hold(_)
            | Change::Idempotency(_)
            | Change::Revocation(..)
            | Change::Narrowed(..)
            | Change::Key(_)
            | Change::Keyring(_)
            | Change::Keeper(_)
            | Change::Firm(_)
            | Change::Bond(_)
            | Change::Earned(_)
            | Change::Slice(_) => {}
        }
    }

    fn sent(&self, frame: &ToHost) {
        use Count::*;
        match frame {
            ToHost::Grant(grants) => {
                self.add(Leases, grants.len());
                let ranges = grants.iter().flat_map(|grant| &grant.ranges);
                self.add(Granted, ranges.map(|range| range.len() as usize).sum());
            }
            ToHost::Revoke(leases) => self.add(Revoked, leases.len()),
            ToHost::Prove(_) => self.add(Asked, 1),
            ToHost::Mend(_) => self.add(Mends, 1),
            ToHost::Sleep(_) => self.add(Slept, 1),
            ToHost::Refused(refusal) => match refusal {
                Refusal::Busy(_) => self.add(RefusedBusy, 1),
                Refusal::NoTicket | Refusal::BadTicket(_) => self.add(RefusedTicket, 1),
                Refusal::Barred(_) => self.add(RefusedBarred, 1),
                Refusal::Unfit(_) | Refusal::Elsewhere => self.add(RefusedUnfit, 1),
            },
            ToHost::Welcome { .. }
            | ToHost::Job(_)
            | ToHost::Ack { .. }
            | ToHost::Servers(_)
            | ToHost::Resume(_)
            | ToHost::Storage(_)
            | ToHost::Introduced(_)
            | ToHost::Peers(_) => {}
        }
    }

    /// A batch of inputs was decided in this time.
    pub(crate) fn decided_in(&self, time: Duration) {
        self.decide.add(time);
    }

    /// What was decided was on the disk after this time.
    pub(crate) fn kept_after(&self, time: Duration) {
        self.keep.add(time);
    }

    /// Everything as Prometheus reads it.
    pub(crate) fn render(&self, queues: &[Queue], out: &mut String) {
        let mut last = "";
        for (count, name, what) in COUNTERS {
            let family = name.split('{').next().unwrap_or(name);
            if family != last {
                let _ = write!(out, "# HELP {family} {what}\n# TYPE {family} counter\n");
                last = family;
            }
            let _ = writeln!(out, "{name} {}", self.counts.0[count as usize].load(Relaxed));
        }
        for (name, what, value) in [
            ("isos_host_frames_total", "Frames received from hosts.", &self.frames),
            ("isos_http_requests_total", "HTTP requests that need a token.", &self.requests),
            ("isos_uploads_refused_total", "Uploads that found no place.", &self.uploads_refused),
        ] {
            let value = value.load(Relaxed);
            let _ = write!(out, "# HELP {name} {what}\n# TYPE {name} counter\n{name} {value}\n");
        }
        let written = *self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues = queues.to_vec();
        if let Written::Waits(waiting, max) = written {
            queues.push(Queue { name: "journal", waiting, max });
        }
        Queue::render(&queues, out);
        if !matches!(written, Written::Nowhere) {
            let name = "isos_journal_ended";
            let what = "Whether the journal has ended before the server did: full, or the disk.";
            let ended = u8::from(matches!(written, Written::Ended));
            let _ = write!(out, "# HELP {name} {what}\n# TYPE {name} gauge\n{name} {ended}\n");
        }
        let decide = "How long the machine took to decide a batch of inputs.";
        self.decide.render("isos_decide_seconds", decide, out);
        let keep = "How long it took until a batch of decisions was on the disk.";
        self.keep.render("isos_keep_seconds", keep, out);
    }
}

impl Queue {
    /// Queues as Prometheus reads them.
    pub(crate) fn render(queues: &[Self], out: &mut String) {
        for (name, what, of) in [
            ("isos_queue_waiting", "What waits now.", (|q| q.waiting) as fn(&Self) -> usize),
            ("isos_queue_max", "How much may wait: then senders wait or are refused.", |q| q.max),
        ] {
            let _ = write!(out, "# HELP {name} {what}\n# TYPE {name} gauge\n");
            for queue in queues {
                let _ = writeln!(out, "{name}{{queue=\"{}\"}} {}", queue.name, of(queue));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_where_they_belong() {
        for (place, (count, ..)) in COUNTERS.iter().enumerate() {
            assert_eq!(*count as usize, place, "{count:?}");
        }
    }

    #[test]
    fn prometheus_reads_every_line() {
        let metrics = Metrics::default();
        metrics.told(&Input::TimerFired);
        metrics.decided_in(Duration::from_micros(70));
        metrics.decided_in(Duration::from_secs(60));
        metrics.journal(Some((2, 4_096)));
        let mut text = String::new();
        metrics.render(&[Queue { name: "inputs", waiting: 3, max: 9 }], &mut text);
        assert!(text.contains("\nisos_timers_total 1\n"), "{text}");
        assert!(text.contains("\nisos_queue_waiting{queue=\"inputs\"} 3\n"), "{text}");
        assert!(text.contains("\nisos_queue_waiting{queue=\"journal\"} 2\n"), "{text}");
        assert!(text.contains("\nisos_journal_ended 0\n"), "{text}");
        assert!(text.contains("\nisos_decide_seconds_bucket{le=\"0.00005\"} 0\n"), "{text}");
        assert!(text.contains("\nisos_decide_seconds_bucket{le=\"0.0001\"} 1\n"), "{text}");
        assert!(text.contains("\nisos_decide_seconds_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("\nisos_decide_seconds_sum 60.00007\n"), "{text}");
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let family = rest.split(' ').next().unwrap();
                assert!(!families.contains(&family), "{family} is declared twice");
                families.push(family);
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(families.iter().any(|family| name.starts_with(family)), "{line}");
            }
        }
    }
}
