//! Progress on standard error: a bar on a terminal, a line now and then elsewhere, nothing for
//! programs.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use isos_base::api::JobView;
use isos_base::record::JobState;
use isos_base::{JobId, Span};
use isos_sdk::UploadProgress;

use crate::output::{Mode, Output, duration, plural};
use crate::report::ended;

/// Lines of a job that is not watched: one for each tenth.
const STEPS: u64 = 10;
/// Uploads and downloads smaller than this are over before anybody reads of them.
const WORTH_TELLING: usize = 32;

/// A job on its way.
#[derive(Debug)]
pub(crate) struct JobMeter {
    out: Output,
    bar: Option<ProgressBar>,
    pace: Option<Pace>,
    step: Option<u64>,
    /// Whether the complex does not answer.
    away: bool,
}

/// How fast tasks end, since they were first looked at.
#[derive(Debug, Clone, Copy)]
struct Pace {
    begin: Instant,
    first: u32,
}

impl Pace {
    /// Tasks a second, and how long the rest will take.
    fn at(self, ended: u32, total: u32, elapsed: Span) -> (f64, Option<Span>) {
        let secs = elapsed.as_secs_f64();
        let rate =
            if secs > 0.0 { f64::from(ended.saturating_sub(self.first)) / secs } else { 0.0 };
        let left = f64::from(total.saturating_sub(ended));
        (
            rate,
            (rate > 0.0).then(|| Span::from_std(std::time::Duration::from_secs_f64(left / rate))),
        )
    }
}

impl JobMeter {
    /// A meter that shows what `out` shows.
    pub(crate) fn new(out: &Output) -> Self {
        let bar = out.is_watched().then(|| {
            let template = "{prefix} [{bar:28}] {pos}/{len}{msg}";
            bar(template)
        });
        Self { out: *out, bar, pace: None, step: None, away: false }
    }

    /// The complex has not answered for so long.
    pub(crate) fn away(&mut self, job: JobId, since: Span, why: &str) {
        if let Some(bar) = &self.bar {
            let since = duration(Span::secs(since.0 / 1_000_000));
            bar.set_message(format!(", the complex is away since {since}, trying again"));
        } else if !self.away {
            self.out.note(&format!("job {job}: the complex is away, trying again: {why}"));
        }
        self.away = true;
    }

    /// Whether the last that was heard is that the complex does not answer.
    pub(crate) const fn is_away(&self) -> bool {
        self.away
    }

    /// Where the job is now.
    pub(crate) fn at(&mut self, job: &JobView) {
        if std::mem::take(&mut self.away) && self.bar.is_none() {
            self.out.note(&format!("job {}: the complex is back", job.id));
        }
        let (total, done) = (job.tasks.total, ended(&job.tasks));
        let pace = *self.pace.get_or_insert(Pace { begin: Instant::now(), first: done });
        let (rate, left) = pace.at(done, total, Span::from_std(pace.begin.elapsed()));
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total.into()) {
                bar.set_length(total.into());
                bar.set_prefix(format!("job {}", job.id));
            }
            bar.set_position(done.into());
            bar.set_message(message(job, rate, left));
            return;
        }
        let step = u64::from(done) * STEPS / u64::from(total.max(1));
        if self.out.mode() == Mode::Text && self.step != Some(step) {
            self.step = Some(step);
            let message = message(job, rate, left);
            self.out.note(&format!("job {}: {done}/{total}{message}", job.id));
        }
    }

    /// Leaves the screen to what follows.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What follows the count: `, 34.0/s, 2 s left, 6 hosts`.
fn message(job: &JobView, rate: f64, left: Option<Span>) -> String {
    let mut text = String::new();
    let mut add = |part: String| text.push_str(&format!(", {part}"));
    if rate > 0.0 {
        add(format!("{rate:.1}/s"));
    }
    match left {
        _ if job.state != JobState::Active => {}
        // Nobody plans by milliseconds.
        Some(left) => add(format!("{} left", duration(Span::secs(left.0.div_ceil(1_000_000))))),
        None if job.hosts == 0 => add(format!("waiting (isos explain {})", job.id)),
        None => {}
    }
    if job.hosts > 0 {
        add(plural(job.hosts, "host"));
    }
    let failed = job.tasks.failed + job.tasks.given_up;
    if failed > 0 {
        add(format!("{failed} failed"));
    }
    text
}

/// Objects on their way to the complex.
#[derive(Debug)]
pub(crate) struct UploadMeter {
    bar: Option<ProgressBar>,
}

impl UploadMeter {
    /// A meter that shows what `out` shows.
    pub(crate) fn new(out: &Output) -> Self {
        let template = "upload [{bar:28}] {bytes}/{total_bytes}  {bytes_per_sec}  {msg}";
        Self { bar: out.is_watched().then(|| bar(template)) }
    }

    /// How far it is.
    pub(crate) fn at(&self, now: UploadProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(now.bytes_total.0);
            bar.set_position(now.bytes.0);
            bar.set_message(format!("{}/{} files", now.objects, now.objects_total));
        }
    }

    /// Leaves the screen to what follows.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Results on their way home.
#[derive(Debug)]
pub(crate) struct SaveMeter {
    bar: Option<ProgressBar>,
}

impl SaveMeter {
    /// A meter that shows what `out` shows.
    pub(crate) fn new(out: &Output) -> Self {
        Self { bar: out.is_watched().then(|| bar("results {pos}")) }
    }

    /// How many are there.
    pub(crate) fn at(&self, count: u32) {
        if let Some(bar) = &self.bar
            && count as usize >= WORTH_TELLING
        {
            bar.set_position(count.into());
        }
    }

    /// Leaves the screen to what follows.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("our templates are well formed");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
        .with_style(style.progress_chars("=> "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_counted_from_the_first_look() {
        let pace = Pace { begin: Instant::now(), first: 100 };
        assert_eq!(pace.at(150, 200, Span::secs(5)), (10.0, Some(Span::secs(5))));
        assert_eq!(pace.at(100, 200, Span::secs(5)), (0.0, None));
        assert_eq!(pace.at(100, 200, Span::ZERO), (0.0, None));
    }
}
