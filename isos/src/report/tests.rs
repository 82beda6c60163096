//! Every answer in its three forms.

use expect_test::expect_file;
use isos_base::api::{
    AccountView, Assured, BilledWork, ClassQuota, ComplexStatus, Explanation, HostCounts,
    HostEarnings, HostState, HostView, JobView, Plan, QuotaView, ReasonView, SliceView, SliverView,
    Statement, StatementLine, TaskCounts, TaskView, TicketReply,
};
use isos_base::fragment::StorageClass;
use isos_base::host::{Accept, HostSpec, Offer};
use isos_base::job::{JobSpec, Mount, Verify};
use isos_base::key::PublicKey;
use isos_base::price::{Price, StoragePrice};
use isos_base::record::{JobState, TaskState};
use isos_base::sensors::{Power, Reading, Sensors};
use isos_base::slice::{Replaced, SliceState};
use isos_base::task::{Exit, Trap};
use isos_base::trace::{Step, TaskTrace, TraceStep, TraceTry, TryEnd};
use isos_base::{
    AccountId, BillId, Bytes, Fuel, Guid, HostId, JobId, LeaseId, MicroCredits, SliceId, Span, Time,
};
use isos_kernel::policy::{MachineCaps, Override, Policy, Standing};
use isos_sdk::Saved;

use super::*;
use crate::commands::job::results::Format;
use crate::config::Settings;
use crate::output::tests::{NOW, outcome, three_forms};

fn before(secs: u64) -> Time {
    NOW - Span::secs(secs)
}

pub(crate) fn job(id: u64, state: JobState) -> JobView {
    let mut spec = JobSpec::new(Guid::of(b"program"), Bytes::kib(150), 200);
    spec.name = "genematch".into();
    spec.args = vec!["{file}".into(), "/in/lib.fasta".into()];
    spec.env = vec![("MODE".into(), "fast".into())];
    let guid = Guid::of(b"library");
    spec.inputs = vec![Mount { path: "lib.fasta".into(), guid, size: Bytes::mib(3) }];
    spec.each = Some(Guid::of(b"list"));
    spec.constraint = Some("host.cpus >= 4".into());
    spec.verify = Verify::Quorum { agree: 2, of: 3 };
    spec.price_max = Some(MicroCredits::credits(5));
    let over = state.is_over();
    JobView {
        id: JobId(id),
        name: "genematch\x1b[2J".into(),
        account: AccountId(100),
        state,
        tasks: TaskCounts {
            total: 200,
            waiting: if over { 0 } else { 70 },
            running: if over { 0 } else { 10 },
            checking: 0,
            done: if over { 198 } else { 120 },
            failed: if over { 1 } else { 0 },
            given_up: if over { 1 } else { 0 },
        },
        submitted: before(95),
        ended: over.then(|| before(3)),
        price: Price(100),
        why: None,
        unchecked: 0,
        held: if over { MicroCredits::ZERO } else { MicroCredits(1_880_000) },
        spent: MicroCredits(120_042),
        hosts: if over { 0 } else { 6 },
        spec,
        assured: None,
        resumed: Vec::new(),
    }
}

fn host(name: &str, byte: u8, state: HostState) -> HostView {
    let offer = Offer {
        cores: 2,
        memory: Bytes::gib(1),
        disk: Bytes::gib(10),
        price_min: Price(10),
        accept: Accept::Any,
        reasons: vec!["idle for 12 min".into(), "2 of 4 cores given".into()],
    };
    let barred = state == HostState::Barred;
    HostView {
        id: HostId(PublicKey([byte; 32])),
        account: AccountId(101),
        state,
        spec: HostSpec {
            name: name.into(),
            agent: "isos 0.1.0".into(),
            os: "linux".into(),
            arch: "x86_64".into(),
            cpus: 4,
            memory: Bytes::gib(8),
            disk: Bytes::gib(50),
            country: Some("FI".into()),
            engine: "wasmtime-48".into(),
        },
        offer: (!barred).then_some(offer),
        tasks: u32::from(!barred) * 16,
        good: 1_200,
        bad: u64::from(barred) * 4,
        lost: 2,
        barred: barred.then(|| "4 results differ from what two others gave".into()),
        joined: before(86_400),
        seen: before(4),
    }
}

fn account() -> AccountView {
    AccountView {
        id: AccountId(100),
        name: "demo".into(),
        available: MicroCredits(98_000_000),
        held: MicroCredits(1_879_958),
        received: MicroCredits(100_000_000),
        paid: MicroCredits(120_042),
    }
}

fn reason(about: &str, why: &str, remedy: Option<&str>) -> ReasonView {
    ReasonView { about: about.into(), why: why.into(), remedy: remedy.map(Into::into) }
}

fn check(name: &str, report: &dyn crate::output::Report) {
    let path = format!("{}/src/report/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    expect_file![path].assert_eq(&three_forms(report));
}

#[test]
fn jobs() {
    check("job_active", &JobReport(job(42, JobState::Active)));
    check("job_failed", &JobReport(job(42, JobState::Failed)));
    let both = vec![job(42, JobState::Active), job(41, JobState::Done)];
    check("job_list", &JobList { jobs: both.clone(), accounts: None });
    check("job_list_all", &JobList { jobs: both, accounts: Some(vec![account()]) });
    check("job_list_empty", &JobList { jobs: Vec::new(), accounts: None });
    check("job_details", &JobDetails(vec![job(42, JobState::Failed)]));
}

#[test]
fn results() {
    let task = |task, state, exit, why: Option<&str>| TaskView {
        task,
        state,
        exit,
        why: why.map(Into::into),
        fuel: Fuel(3_871_965_333),
        host: Some(HostId(PublicKey([1; 32]))),
        output: exit.map(|_| Guid::of(b"output")),
    };
    let tasks = vec![
        task(0, TaskState::Done, Some(Exit::Code(0)), None),
        task(1, TaskState::Failed, Some(Exit::Trap(Trap::Unreachable)), None),
        task(12, TaskState::GivenUp, None, Some("5 of 5 attempts failed: timed out")),
    ];
    check("task_list", &TaskList { job: JobId(42), tasks });
    check("task_list_empty", &TaskList { job: JobId(42), tasks: Vec::new() });
    let saved =
        Saved { folder: "out".into(), done: 198, failed: 1, given_up: 1, kept: 3, bytes: 4_000 };
    let packed = Saved { folder: "out.tar".into(), kept: 0, ..saved.clone() };
    check("saved", &SavedReport { job: JobId(42), saved, format: Format::Dir });
    check("packed", &SavedReport { job: JobId(42), saved: packed, format: Format::Tar });
    check("log", &TaskLog { job: JobId(42), outcome: outcome(7, b"one\x1b[2J\ntwo\n") });
}

#[test]
fn hosts() {
    let hosts = vec![host("desk", 1, HostState::Working), host("liar", 2, HostState::Barred)];
    check("host_list", &HostList(hosts));
    check("host_list_empty", &HostList(Vec::new()));
    check("host", &HostReport(host("desk", 1, HostState::Working)));
    check("host_barred", &HostReport(host("liar", 2, HostState::Barred)));
}

#[test]
fn accounts() {
    let alone = AccountReport { account: account(), earnings: Vec::new(), here: None };
    check("account", &alone);
    let earnings = |name: &str, byte, earned| HostEarnings {
        host: HostId(PublicKey([byte; 32])),
        name: name.into(),
        leases: 12,
        fuel: Fuel(3_871_965_333),
        earned: MicroCredits(earned),
    };
    let earnings = vec![earnings("desk", 1, 1_234), earnings("attic", 2, 0)];
    let here = Some(HostId(PublicKey([1; 32])));
    check("account_hosts", &AccountReport { account: account(), earnings, here });
    check("account_list", &AccountList(vec![account()]));
    let line = |seq, kind: &str, amount: i64, held: i64, balance: i64| StatementLine {
        seq,
        at: before(95 - seq),
        kind: kind.into(),
        reason: format!("{kind} for something"),
        about: (seq > 1).then(|| "job 42".into()),
        other: AccountId(2),
        amount: MicroCredits(amount),
        held: MicroCredits(held),
        balance: MicroCredits(balance),
        hash: Guid::of(&[seq as u8]),
        work: (kind == "charge").then_some(BilledWork {
            bill: BillId(17),
            job: JobId(42),
            account: AccountId(101),
            leases: 2,
            tasks: 8,
            fuel: Fuel(1_200_420_000_000),
            price: Price(100),
        }),
    };
    let lines = vec![
        line(1, "grant", 100_000_000, 0, 100_000_000),
        line(2, "hold", 0, 2_000_000, 100_000_000),
        line(9, "charge", -120_042, -120_042, 99_879_958),
    ];
    check("statement", &StatementReport(Statement { account: account(), lines }));
    let one = vec![line(1, "grant", 5, 0, 5)];
    check("statement_one", &StatementReport(Statement { account: account(), lines: one }));
}

#[test]
fn explanations_and_plans() {
    let obstacles = vec![
        reason(
            "2 hosts (linux x86_64)",
            "have 1 GiB, the job needs 64 GiB",
            Some("lower --memory"),
        ),
        reason("budget", "4.000000 of 5.000000 credits are spent", None),
    ];
    let explanation = Explanation {
        about: "job 42".into(),
        verdict: "waiting: no host fits".into(),
        reasons: obstacles.clone(),
    };
    check("explanation", &ExplainReport(explanation));
    let assured = "each result is made sure of by about 2.0 hosts now; that falls to 1.04 as hosts \
        earn trust";
    let plan = Plan {
        hosts: 6,
        cores: 12,
        price: Price(100),
        hold: MicroCredits(2_000_000),
        available: MicroCredits(98_000_000),
        can_agree: true,
        obstacles: Vec::new(),
        assured: Assured { now: 200, later: 104, why: assured.into() },
    };
    check("plan", &PlanReport { plan: plan.clone(), tasks: 200 });
    let stuck = Plan { hosts: 0, cores: 0, obstacles, ..plan.clone() };
    check("plan_stuck", &PlanReport { plan: stuck, tasks: 1 });
    let alone = Plan { can_agree: false, hosts: 1, cores: 2, ..plan };
    check("plan_alone", &PlanReport { plan: alone, tasks: 1 });
}

#[test]
fn tickets() {
    let reply = TicketReply {
        ticket: "isos1abc".into(),
        account: AccountId(101),
        expires: NOW + Span::secs(7 * 86_400),
    };
    let report = TicketReport(reply);
    check("ticket", &report);
    let note = "for account 101, expires 2026-11-27T16:08:50Z (in 7 d); whoever has it can use it: \
        isos join TICKET, or isos --server TICKET";
    assert_eq!(report.note(NOW), note);
}

#[test]
fn status() {
    let status = ComplexStatus {
        key: PublicKey([7; 32]),
        version: "0.1.0".into(),
        up: Span::secs(185),
        hosts: HostCounts { working: 2, idle: 3, asleep: 1, barred: 1, ..HostCounts::default() },
        cores: 12,
        jobs: 1,
        tasks_open: 80,
        transfers: 1_204,
        ledger_head: Guid::of(b"head"),
        ledger_sum: 0,
        ledger_wrong: None,
        price: Price(100),
        engine: None,
    };
    let report = |status| StatusReport {
        address: "http://127.0.0.1:7070".into(),
        answered_in: Span::millis(3),
        status,
        account: account(),
        rights: vec!["submit".into(), "read".into()],
    };
    check("status", &report(status.clone()));
    let none = HostCounts { barred: 1, ..HostCounts::default() };
    check("status_no_hosts", &report(ComplexStatus { hosts: none, cores: 0, ..status.clone() }));
    check("status_fault", &report(ComplexStatus { ledger_sum: -5, ..status.clone() }));
    assert!(!report(status.clone()).is_wrong());
    assert!(report(ComplexStatus { ledger_sum: -5, ..status.clone() }).is_wrong());
    let changed = report(ComplexStatus { ledger_wrong: Some("row 10".into()), ..status });
    assert!(changed.is_wrong());
    assert!(three_forms(&changed).starts_with("fault: row 10\n"), "it is said first");
}

#[test]
fn quotas() {
    let class = |class, leases, gib| ClassQuota {
        class,
        leases,
        bytes: Bytes::gib(gib),
        month: MicroCredits(100_000 * gib as i64),
    };
    let quota = QuotaView {
        account: AccountId(101),
        leases: 52,
        leases_max: 16_384,
        bytes: Bytes::gib(60),
        bytes_max: Bytes::gib(256 << 10),
        hosts: 48,
        away: 2,
        classes: vec![class(StorageClass::Standard, 48, 48), class(StorageClass::Hot, 4, 12)],
        month: MicroCredits(6_000_000),
        held: MicroCredits(5_123_456),
        next_end: Some(NOW + Span::secs(26 * 86_400)),
        price: StoragePrice(100_000),
    };
    check("quota", &QuotaReport(quota.clone()));
    let none = QuotaView {
        leases: 0,
        bytes: Bytes::ZERO,
        hosts: 0,
        away: 0,
        classes: Vec::new(),
        month: MicroCredits::ZERO,
        held: MicroCredits::ZERO,
        next_end: None,
        ..quota
    };
    check("quota_none", &QuotaReport(none));
}

#[test]
fn cloud() {
    use isos_gossip::estimate::{Doubt, Spread};
    use isos_gossip::{Attribute, Estimate};
    let spread = |attribute: Attribute| {
        let gib = Bytes::gib(1).0 as f64;
        let unit = match attribute {
            Attribute::MemoryFree | Attribute::DiskFree => gib,
            Attribute::Uptime => 3_600.0,
            Attribute::Busy => 0.125,
            _ => 1.0,
        };
        Spread {
            name: attribute.name().into(),
            sum: 64.0 * unit,
            mean: 4.0 * unit,
            deviation: unit,
            least: unit,
            most: 8.0 * unit,
            quantiles: [1.5, 2.0, 4.0, 6.0, 7.5].map(|it| it * unit),
            rank: 0.25,
            sampled: None,
        }
    };
    let estimate = Estimate {
        epoch: 7,
        began: before(300),
        ended: before(3),
        exchanges: 58,
        hosts: 15.98,
        hosts_between: (15.9, 16.2),
        counts: 16,
        hosts_witnessed: (16.0, 0.0),
        public: Some(0.75),
        attributes: Attribute::ALL.map(spread).to_vec(),
        doubts: Vec::new(),
    };
    let cloud = isos_agent::CloudStatus {
        host: HostId(PublicKey([7; 32])),
        now: NOW,
        public: true,
        admitted_until: Some(NOW),
        allowed: true,
        known_public: 11,
        known_private: 4,
        cycle: Span::secs(10),
        epoch: Span::secs(300),
        estimate: Some(estimate.clone()),
        begun: 60,
        answered: 58,
        served: 72,
        disbelieved: 0,
        dialled: 40,
    };
    let silent = || Err("the complex does not answer".to_owned());
    let forms = |cloud, complex| three_forms(&CloudReport { cloud, complex });
    let text = forms(cloud.clone(), silent());
    let says =
        ["about 16 hosts", "no answer, and none is needed", "memory free", "75 % can be called"];
    assert!(says.iter().all(|it| text.contains(it)), "{text}");
    let doubts = vec![Doubt::Count { witnessed: 900 }];
    let hosts_witnessed = (900.0, 0.18);
    let spoilt = Estimate { doubts, hosts_witnessed, public: None, ..estimate };
    let doubtful = isos_agent::CloudStatus { estimate: Some(spoilt), ..cloud.clone() };
    let text = forms(doubtful, silent());
    assert!(
        text.contains("somebody counts wrongly") && text.contains("give or take 18 %"),
        "{text}"
    );
    let young = isos_agent::CloudStatus { estimate: None, public: false, ..cloud };
    let text = forms(young, silent());
    assert!(text.contains("nothing is known yet: all is summed up anew every"), "{text}");
}

#[test]
fn what_hosts_answered() {
    use isos_gossip::query::Fact;
    let row = |n: u8, name: &str| isos_agent::QueryRow {
        host: HostId(PublicKey([n; 32])),
        name: name.into(),
        country: if n == 7 { "FI".into() } else { String::new() },
        facts: [4.0, 8e9, 1e11, 0.25, 1.0, 7_200.0, 1.5, 0.875],
    };
    let found = isos_agent::QueryFound {
        asked: 16,
        matched: 7,
        lost: 0,
        hosts: Some(16.2),
        waited: Span::millis(20_500),
        sums: vec![28.0, 5.6e10, 7e11, 1.75, 7.0, 50_400.0, 10.5, 6.125],
        rows: vec![row(7, "a"), row(9, "\u{7}b")],
    };
    let report =
        |found, wanted| three_forms(&QueryReport { text: "host.load < 1".into(), wanted, found });
    let text = report(found.clone(), Wanted::Rows(Fact::Reliability));
    let says = ["7 of 16 hosts that were asked: host.load < 1", "16 of about 16 hosts", "87.5 %"];
    assert!(says.iter().all(|it| text.contains(it)), "{text}");
    let text = report(found.clone(), Wanted::Sum(Fact::CoreHours));
    assert!(
        text.contains("10.5 core hours, over 7 of 16 hosts") && text.contains("\n10.5\n"),
        "{text}"
    );
    let some = isos_agent::QueryFound { asked: 9, lost: 2, ..found };
    let text = report(some, Wanted::Count);
    assert!(text.contains("2 hosts took the question on and fell silent"), "{text}");
}

#[test]
fn settings() {
    let env = |name: &str| match name {
        "ISOS_HOME" => Some("/h".to_owned()),
        "ISOS_SERVER" => Some("isos1aaaabbbbccccdddd".to_owned()),
        _ => None,
    };
    let settings = Settings::load(&crate::cli::Global::default(), &env).unwrap();
    check("settings", &SettingsReport::new(settings.clone(), false));
    check("settings_origin", &SettingsReport::new(settings, true));
}

#[test]
fn policies() {
    let text = "price_min = 100\n[cpu]\nshare_in_use = \"0%\"\nshare_idle = \"50%\"\n[[window]]\nname = \"day\"\n\
        days = \"mon-fri\"\nhours = \"09:00-17:00\"\nallow = false\n\
        [[window]]\nhours = \"22:30-06:00\"\nprice_min = \"20x\"\n";
    let policy = Policy::parse(text).unwrap();
    let caps = MachineCaps { cpus: 4, memory: Bytes::gib(8), disk: Bytes::gib(100), parts: false };
    let mut sensors = Sensors::idle_machine();
    let decide = |sensors: &Sensors| {
        let standing = Standing::default();
        let decision = policy.evaluate(sensors, NOW, &Override::None, &caps, &standing);
        let week = policy.week(&caps);
        let keepers = vec![
            isos_sandbox::Keeper {
                limit: "cpu".into(),
                by: "cgroup v2 (cpu.max)".into(),
                gap: None,
            },
            isos_sandbox::Keeper {
                limit: "suspend".into(),
                by: "SIGSTOP to each child".into(),
                gap: Some("a child could be woken; no group: not here".into()),
            },
        ];
        PolicyNow {
            source: "policy.toml".into(),
            now: NOW,
            decision,
            week,
            clock: sensors.clock,
            price_min: policy.price_min(),
            keepers,
        }
    };
    // NOW is a Friday at 16:08; ten hours east of here it is night.
    sensors.clock.utc_offset_secs = 36_000;
    check("policy_now_runs", &decide(&sensors));
    sensors.clock.utc_offset_secs = 0;
    sensors.power = Reading::Known(Power::Battery(40.0));
    check("policy_now_stops", &decide(&sensors));
    let ok = PolicyCheck { source: "policy.toml".into(), problems: Vec::new() };
    check("policy_ok", &ok);
    let tiny = MachineCaps { cpus: 1, ..caps };
    let problems = policy.check_machine(&tiny);
    check("policy_not_ok", &PolicyCheck { source: "policy.toml".into(), problems });
    let lines = vec!["First this.".into(), "Then that.".into()];
    check("policy_text", &PolicyText { source: "policy.toml".into(), lines });
}

#[test]
fn the_life_of_a_task() {
    let step = |step: Step, from: u64, length: Option<u64>| TraceStep {
        step,
        place: step.place(),
        from: Span(from),
        length: length.map(Span),
    };
    let host = |byte: u8| HostId(PublicKey([byte; 32]));
    let there = [
        step(Step::KeepGrant, 5_000, Some(3_000)),
        step(Step::WayThere, 8_000, Some(500)),
        step(Step::Compile, 8_500, Some(1_240_000)),
        step(Step::Run, 1_248_500, Some(80)),
    ];
    let trace = TaskTrace {
        job: JobId(42),
        task: 7,
        submitted: before(95),
        total: None,
        tries: vec![
            TraceTry {
                host: host(1),
                lease: LeaseId(3),
                end: TryEnd::Fault("the sandbox died: \x1b[2J".into()),
                steps: there.to_vec(),
            },
            TraceTry {
                host: host(2),
                lease: LeaseId(4),
                end: TryEnd::Open,
                steps: vec![step(Step::KeepGrant, 600_000, None)],
            },
        ],
        steps: vec![step(Step::Waits, 0, Some(5_000))],
    };
    expect_file!["golden/trace.txt"].assert_eq(&three_forms(&TraceReport(trace)));
}

#[test]
fn slices() {
    let sliver = |rank: u32, state, away: Option<Time>| SliverView {
        rank,
        host: HostId(PublicKey([rank as u8 + 1; 32])),
        name: format!("host-{rank}"),
        owner: AccountId(100),
        country: Some("FI".into()),
        state,
        since: before(3_600),
        away,
        why: away.map(|at| format!("away since {at}; replaced at {} if it does not come", NOW)),
    };
    let slice = SliceView {
        id: SliceId(3),
        name: "lab".into(),
        account: AccountId(100),
        constraint: Some("host.cpus >= 4".into()),
        made: before(7_200),
        until: NOW + Span::secs(6 * 86_400),
        state: SliceState::Open,
        ended: None,
        slivers: vec![
            sliver(0, HostState::Working, None),
            sliver(1, HostState::Asleep, Some(before(90))),
        ],
        replaced: vec![Replaced {
            rank: 0,
            host: HostId(PublicKey([9; 32])),
            at: before(3_600),
            why: "away since yesterday\x1b[2J".into(),
        }],
    };
    check("slice", &SliceReport(slice.clone()));
    let ended = Some(before(5));
    check(
        "slice_dropped",
        &SliceReport(SliceView { state: SliceState::Dropped, ended, ..slice.clone() }),
    );
    check("slice_list", &SliceList(vec![slice]));
    check("slice_list_empty", &SliceList(Vec::new()));
    let mut failed = outcome(1, b"");
    failed.accepted.result = Err("host abc was replaced in slice lab: away since".into());
    let ranks = vec![
        RankReport::of("host-0".into(), &outcome(0, b"rank 0 of 2\n")),
        RankReport::of("host-1".into(), &failed),
    ];
    check("slice_run", &SliceRunReport { slice: "lab".into(), job: JobId(42), ranks });
}
