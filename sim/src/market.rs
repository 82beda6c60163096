//! How well the market does: what it makes of what there is, how long the patient wait, how much
//! prices jump, whether promises are kept, and what it brings to be clever; beside the targets.
//!
//! The kernel's market as it ships (`kernel::market`), with people whose values are known, so that
//! what came of it can be compared with the best that could have come. No network and no machine:
//! in `kernel::complex` the same parts work on real leases.

mod auction;
mod chart;
mod day;
mod firm;
mod promise;

use isos_kernel::market::SHARE_BPS;

pub use chart::chart;
pub use day::{Clever, Day, Outcome, live};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// Accounts that want work done.
    pub accounts: u32,
    /// Hosts, of as many owners.
    pub hosts: u32,
    /// Ticks that are lived through.
    pub ticks: u32,
    /// Repetitions of each auction.
    pub rounds: u32,
}

/// How a figure is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// It is only told.
    None,
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::None => true,
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What came out.
    pub value: f64,
    /// What should.
    pub target: Target,
}

impl Figure {
    fn new(name: impl Into<String>, value: f64, target: Target) -> Self {
        Self { name: name.into(), value, target }
    }

    /// Whether it is as it should be.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.target.is_met(self.value)
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Line by line.
    pub figures: Vec<Figure>,
    /// The prices of the day that was lived through, tick by tick.
    pub prices: Vec<u32>,
}

/// Measures all of it.
#[must_use]
pub fn measure(setting: &Setting) -> Measured {
    use Target::{AtLeast, AtMost};
    let mut figures = Vec::new();
    let mut add = |name: String, value, target| figures.push(Figure::new(name, value, target));
    for (buyers, shade) in [(30, 0.0), (200, 0.0), (30, 0.1), (200, 0.1)] {
        let least = if shade == 0.0 { 0.95 } else { 0.90 };
        let value = auction::one_good(setting, buyers, shade);
        let name = format!("welfare, one class, {buyers} buyers{}", shades(shade));
        add(name, value, AtLeast(least));
    }
    for shade in [0.0, 0.1] {
        let least = if shade == 0.0 { 0.95 } else { 0.90 };
        let value = auction::nested_classes(setting, shade);
        add(format!("welfare, four classes, 3x wanted{}", shades(shade)), value, AtLeast(least));
    }
    let day = Day::of(setting);
    let honest = live(&day, Clever::Honest);
    add("ticks of a day in which somebody buys".into(), honest.sold(), AtLeast(0.9));
    add("welfare, a day with churn".into(), honest.welfare(), AtLeast(0.95));
    let shaded = live(&day, Clever::AllShade(0.9));
    add("welfare, a day, all shade by 10 %".into(), shaded.welfare(), AtLeast(0.90));
    add("price change per tick, mean".into(), honest.volatility(), AtMost(0.02));
    let wait = day::longest_wait(setting);
    add("jobs of the patient that were waited for".into(), wait.jobs as f64, AtLeast(1.0));
    add("wait of the patient, p99 over its bound".into(), wait.p99, AtMost(1.0));
    add("wait of the patient, longest over its bound".into(), wait.longest, AtMost(1.0));
    add("waiting, Gini over accounts".into(), wait.gini, Target::None);
    for (cores, available, service) in [(100, 0.90, 0.99), (20, 0.80, 0.95), (500, 0.95, 0.999)] {
        let kept = promise::kept(setting, cores, available, service);
        let name =
            format!("kept: {cores} cores at {available:.2}, q = {service}, {} behind", kept.behind);
        // Of so many draws the share can be off by three deviations.
        add(name, kept.share, AtLeast(service - kept.error));
    }
    figures.extend(firm_figures(setting));
    let mut add = |name: String, value, target| figures.push(Figure::new(name, value, target));
    let rider = live(&day, Clever::FreeRider { names: 1 });
    let riders = live(&day, Clever::FreeRider { names: 50 });
    let share = SHARE_BPS as f64 / 10_000.0;
    add("supply a free rider gets".into(), rider.clever_share(), AtMost(share));
    add("supply it gets under 50 names".into(), riders.clever_share(), AtMost(share));
    let gains = day::best_gains(&day);
    add(format!("gain of the best shading ({})", gains.shading.0), gains.shading.1, AtMost(0.02));
    add("gain by ten accounts".into(), gains.split, AtMost(0.02));
    let (by, gain) = gains.withdrawal;
    add(format!("gain of an owner that holds back ({by:.0} %)"), gain, AtMost(0.02));
    Measured { figures, prices: honest.prices }
}

/// What becomes of promises with bonds behind them.
fn firm_figures(setting: &Setting) -> Vec<Figure> {
    use Target::{AtLeast, AtMost};
    let mut figures = Vec::new();
    let mut add = |name: &str, value, target| figures.push(Figure::new(name, value, target));
    let quiet = firm::Season::QUIET;
    let kept = |outcome: &firm::Outcome| AtLeast(firm::Outcome::service() - outcome.error());
    let honest = firm::live(setting, &quiet);
    add("windows with bonds kept, q = 0.99", honest.kept_share(), kept(&honest));
    let broken = firm::live(setting, &firm::Season { breakers: 20, ..quiet });
    add("the same, a fifth leave when called", broken.kept_share(), kept(&broken));
    // An evening in which nearly all are back at their machines, once in fifty hours.
    let stormy = firm::Season { storm_one_in: Some(50), breakers: 20, ..quiet };
    let storms = firm::live(setting, &stormy);
    add("windows kept where one in 50 has a storm", storms.kept_share(), Target::None);
    add("core-ticks there of those wanted, with storms", storms.there(), Target::None);
    add("paid of what was owed for the others", storms.covered(), AtLeast(0.99));
    add("of that, from bonds", storms.bonds_share(), Target::None);
    add("there, or its price paid", storms.made_good(), AtLeast(0.999));
    add("left of premiums for the complex", storms.left(), AtLeast(0.0));
    // A firm owner against one that is not, which neither gets nor loses anything.
    add("part of the premium for firm owners, less losses", storms.for_owners(), AtLeast(0.0));
    let stays = firm::live(setting, &firm::Season { breakers: 0, ..stormy });
    let leaves = firm::live(setting, &firm::Season { breakers: 0, first_breaks: true, ..stormy });
    let gain = leaves.first as f64 / stays.first.max(1) as f64 - 1.0;
    add("gain of a firm owner that leaves when called", gain, AtMost(0.02));
    let lurker = firm::live(setting, &firm::Season { lurks: true, ..stormy });
    add("gain of a buyer that wants only in storms", lurker.buyer_gain(), AtMost(0.02));
    figures
}

fn shades(shade: f64) -> &'static str {
    if shade == 0.0 { "" } else { ", all shade by 10 %" }
}

/// The figures as a table.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<52} {:>9} {:>10}\n", "", "measured", "target");
    for figure in figures {
        let target = match figure.target {
            Target::AtLeast(least) => format!(">= {least:.3}"),
            Target::AtMost(most) => format!("<= {most:.3}"),
            Target::None => "-".into(),
        };
        let mark = if figure.is_met() { "" } else { "  MISSED" };
        text += &format!("{:<52} {:>9.4} {target:>10}{mark}\n", figure.name, figure.value);
    }
    text
}

#[cfg(test)]
mod tests;
