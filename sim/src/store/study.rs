//! Which settings are compared, and the tables that come of it.

use std::fmt::Write;

use isos_base::time::Span;
use isos_store::class::{Class, choose};
use isos_store::code::Code;
use isos_store::durability::Scheme;

use super::{DAY, Disaster, Outcome, Placing, Policy, Setting, measure};
use crate::figures::{self, Figure, figure};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Study {
    /// What is lost, beside what the formulas say: codes that are weak enough to lose something.
    Model,
    /// What repair moves under the class that ships, and under other ways to decide.
    Traffic,
    /// Hosts that go together, with and without the rules that keep fragments apart.
    Together,
}

/// One line: what stands in front, the setting, what came out.
pub type Row = (String, Setting, Outcome);

/// Published mean lifetimes in days: of volunteers' computers, and of operators who are paid.
const LIFETIMES: [u64; 2] = [90, 300];
/// m, n, r of codes that lose something within ten years.
const WEAK: [(u16, u16, u16); 4] = [(3, 6, 4), (4, 8, 6), (3, 10, 6), (10, 16, 14)];
/// How long a repair takes, as far as the choice of a code is concerned: two days of patience, and
/// some hours.
const DELAY: Span = Span::secs(50 * 3_600);

/// Runs a study around a setting; each line is handed over as soon as it is there.
pub fn study(what: Study, base: &Setting, mut tell: impl FnMut(&Row)) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in settings(what, base) {
        rows.push((name, setting, measure(&setting)));
        rows.last().inspect(|row| tell(row));
    }
    rows
}

fn settings(what: Study, base: &Setting) -> Vec<(String, Setting)> {
    let mut all = Vec::new();
    for days in LIFETIMES {
        let base = Setting { lifetime: Span(days * DAY.0), ..*base };
        match what {
            Study::Model => {
                for (m, n, repair_at) in WEAK {
                    let code = Code::new(m, n).expect("all are codes");
                    let scheme = Scheme { code, repair_at };
                    all.push((format!("{days} d, {code} r {repair_at}"), base.with(scheme)));
                }
            }
            Study::Traffic => {
                for class in [Class::Archive, Class::Standard, Class::Bulk, Class::Hot] {
                    let kept = base.with(chosen(class, &base));
                    for policy in [Policy::Shipped, Policy::Oracle] {
                        all.push((format!("{days} d, {class}, {policy}"), kept.by(policy)));
                    }
                }
                let kept = base.with(chosen(Class::Standard, &base));
                for policy in [Policy::Impatient, Policy::Unlazy, Policy::Eager] {
                    let name = format!("{days} d, standard, {policy}");
                    all.push((name, shortened(kept.by(policy))));
                }
            }
            Study::Together => {
                let kept = base.with(chosen(Class::Standard, &base));
                for disaster in [Disaster::None, Disaster::Owner, Disaster::Block, Disaster::System]
                {
                    for placing in [Placing::Spread, Placing::Chance] {
                        let name = format!("{days} d, {disaster}, {placing}");
                        all.push((name, Setting { disaster, placing, ..kept }));
                    }
                }
            }
        }
    }
    all
}

impl Setting {
    /// Segments of files in use, on hosts half of which sleep at night.
    #[must_use]
    pub fn usual(seed: u64) -> Self {
        let base = Self {
            seed,
            years: 10,
            hosts: 400,
            lifetime: Span(300 * DAY.0),
            sleepers: 0.5,
            segments: 300,
            scheme: Scheme { code: Code::new(1, 1).expect("a code"), repair_at: 1 },
            policy: Policy::Shipped,
            disaster: Disaster::None,
            placing: Placing::Spread,
            budget: 4.0,
        };
        base.with(chosen(Class::Standard, &base))
    }

    fn with(self, scheme: Scheme) -> Self {
        Self { scheme, ..self }
    }

    fn by(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }
}

/// What ships, for these hosts.
pub(super) fn chosen(class: Class, setting: &Setting) -> Scheme {
    let count = setting.hosts.min(u32::from(u16::MAX)) as u16;
    let plan = choose(class, count, &setting.hosts_with(DELAY));
    plan.expect("there are hosts").scheme
}

/// Who does not wait repairs so often that a year of few segments says enough.
fn shortened(setting: Setting) -> Setting {
    Setting { years: 1, segments: setting.segments.div_ceil(15), ..setting }
}

/// Room for the name of a line.
const NAME: usize = 33;

/// All figures, in the order of both.
const FIGURES: [Figure<Outcome>; 16] = {
    use figures::Shown::{Number, Percent, Power};
    [
        figure(("m", 3, Number(0)), ("m", 0), |it| number(it, |it| it.code.m())),
        figure(("n", 4, Number(0)), ("n", 0), |it| number(it, |it| it.code.n())),
        figure(("r", 4, Number(0)), ("r", 0), |it| number(it, |it| it.repair_at)),
        figure(("lost", 5, Number(0)), ("lost", 0), |it| f64::from(it.lost)),
        figure(("model", 6, Power), ("lost_model", 3), |it| it.expected),
        figure(("nines", 6, Number(1)), ("nines_model", 2), |it| it.nines),
        figure(("delay h", 8, Number(1)), ("delay_h", 3), |it| it.delay.as_secs_f64() / 3_600.0),
        figure(("moved", 7, Number(2)), ("moved_a_month", 4), |it| it.moved),
        figure(("model", 6, Number(2)), ("moved_model", 4), |it| it.moved_model),
        figure(("repairs", 8, Number(1)), ("repairs_a_year", 3), |it| it.repairs),
        figure(("failed", 7, Percent), ("failed", 5), |it| it.failed),
        figure(("wrongly", 8, Percent), ("wrongly", 5), |it| it.wrongly),
        figure(("unread", 7, Power), ("unreadable", 3), |it| it.unreadable),
        figure(("model", 6, Power), ("unreadable_model", 3), |it| it.unreadable_model),
        figure(("", 0, Number(2)), ("stored", 3), |it| {
            number(it, |it| it.code.n()) / number(it, |it| it.code.m())
        }),
        figure(("", 0, Number(2)), ("moved_over_model", 4), |it| it.moved / it.moved_model),
    ]
};

fn number(outcome: &Outcome, of: fn(&Scheme) -> u16) -> f64 {
    outcome.scheme.as_ref().map_or(f64::NAN, |scheme| f64::from(of(scheme)))
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    figures::head(&FIGURES, NAME)
}

/// One line of it.
#[must_use]
pub fn line((name, _, outcome): &Row) -> String {
    figures::line(&FIGURES, (name, NAME), outcome)
}

/// What the columns are.
pub const LEGEND: &str = "\n\
m-of-n, repaired at r. lost: segments; model: as many the formulas expect, with the delay that was \
measured;\nnines: a year, of that. delay: from the threshold to the end of the repair, 0 where \
repair came before. moved:\nbytes of repair in 30 days for each byte of data. repairs: of a segment \
in a year; failed: too few holders\nwere there. wrongly: of hosts believed to be gone, those that \
were not. unread: of reads, those that found\ntoo few hosts there; model: at the threshold.\n";

/// All figures, for other programs.
#[must_use]
pub fn csv(rows: &[Row]) -> String {
    let names = figures::names(&FIGURES);
    let mut text =
        format!("setting,years,hosts,lifetime_d,sleepers,segments,policy,together,placed{names}\n");
    for (name, setting, outcome) in rows {
        let _ = writeln!(
            text,
            "\"{name}\",{},{},{},{},{},{},{},{}{}",
            setting.years,
            setting.hosts,
            setting.lifetime.0 / DAY.0,
            setting.sleepers,
            setting.segments,
            setting.policy,
            setting.disaster,
            setting.placing,
            figures::values(&FIGURES, outcome),
        );
    }
    text
}
