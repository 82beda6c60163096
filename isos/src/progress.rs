//! Progress on standard error: a bar on a terminal, a line now and then elsewhere, nothing for
//! programs.

use std::collections::VecDeque;
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
/// And one at least so often, while anything moves.
const SILENCE_MAX: Span = Span::secs(30);
/// Uploads and downloads smaller than this are over before anybody reads of them.
const WORTH_TELLING: usize = 32;

/// A job on its way.
#[derive(Debug)]
pub(crate) struct JobMeter {
    out: Output,
    bar: Option<ProgressBar>,
    begin: Instant,
    pace: Pace,
    /// The tenth of which a line has told, and when.
    told: Option<(u64, Span)>,
    /// Whether the complex does not answer.
    away: bool,
}

/// How fast tasks end: over the last minute, so that it follows what changes, and never over less
/// than two seconds, so that it does not jump.
#[derive(Debug, Default)]
struct Pace {
    /// How many had ended when, the oldest first.
    marks: VecDeque<(Span, u32)>,
}

impl Pace {
    const WINDOW: Span = Span::secs(60);
    const SHORTEST: Span = Span::secs(2);
    const BETWEEN: Span = Span::secs(1);

    /// Tasks a second, once there is enough to tell: `ended` have, after so much time.
    fn note(&mut self, now: Span, ended: u32) -> Option<f64> {
        let over = |since: Span, span: Span| now.0.saturating_sub(since.0) >= span.0;
        if self.marks.back().is_none_or(|&(at, _)| over(at, Self::BETWEEN)) {
            self.marks.push_back((now, ended));
        }
        while self.marks.get(1).is_some_and(|&(at, _)| over(at, Self::WINDOW)) {
            self.marks.pop_front();
        }
        let &(since, before) = self.marks.front()?;
        if ended <= before || !over(since, Self::SHORTEST) {
            return None;
        }
        Some(f64::from(ended - before) / Span(now.0 - since.0).as_secs_f64())
    }
}

/// How long so many tasks take at this rate.
fn time_left(tasks: u32, rate: f64) -> Span {
    // Nobody plans by milliseconds.
    Span::secs((f64::from(tasks) / rate).ceil() as u64)
}

impl JobMeter {
    /// A meter that shows what `out` shows.
    pub(crate) fn new(out: &Output) -> Self {
        let bar = out.is_watched().then(|| {
            let template = "{prefix} [{bar:28}] {pos}/{len}{msg}";
            bar(template)
        });
        let (begin, pace) = (Instant::now(), Pace::default());
        Self { out: *out, bar, begin, pace, told: None, away: false }
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
        let now = Span::from_std(self.begin.elapsed());
        let rate = self.pace.note(now, done);
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total.into()) {
                bar.set_length(total.into());
                bar.set_prefix(format!("job {}", job.id));
            }
            bar.set_position(done.into());
            bar.set_message(message(job, rate));
            return;
        }
        let step = u64::from(done) * STEPS / u64::from(total.max(1));
        let due = self.told.is_none_or(|(told, at)| {
            told != step || now.0 - at.0 >= SILENCE_MAX.0 || job.state.is_over()
        });
        if self.out.mode() == Mode::Text && due {
            self.told = Some((step, now));
            let message = message(job, rate);
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

/// What follows the count: `, 34/s, 2 s left, 6 hosts, 1 failed`.
fn message(job: &JobView, rate: Option<f64>) -> String {
    let mut text = String::new();
    let mut add = |part: String| text.push_str(&format!(", {part}"));
    match rate {
        Some(rate) if rate < 10.0 => add(format!("{rate:.1}/s")),
        Some(rate) => add(format!("{rate:.0}/s")),
        None => {}
    }
    let open = job.tasks.total.saturating_sub(ended(&job.tasks));
    match rate {
        _ if job.state != JobState::Active => {}
        Some(rate) => add(format!("{} left", duration(time_left(open, rate)))),
        None if job.hosts == 0 => add(format!("waiting (isos explain {})", job.id)),
        None => {}
    }
    if job.hosts > 0 {
        add(plural(job.hosts, "host"));
    }
    for (count, word) in [(job.tasks.failed, "failed"), (job.tasks.given_up, "given up")] {
        if count > 0 {
            add(format!("{count} {word}"));
        }
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

/// Bytes on their way to or from hosts.
#[derive(Debug)]
pub(crate) struct BytesMeter {
    bar: Option<ProgressBar>,
}

impl BytesMeter {
    /// A meter that shows what `out` shows.
    pub(crate) fn new(out: &Output, what: &'static str) -> Self {
        let template =
            "{prefix} [{bar:28}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}";
        let bar = out.is_watched().then(|| bar(template));
        if let Some(bar) = &bar {
            bar.set_prefix(what);
        }
        Self { bar }
    }

    /// How far it is.
    pub(crate) fn at(&self, now: u64, total: u64, more: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(now);
            bar.set_message(more.to_owned());
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
    fn speed_is_that_of_the_last_minute_and_does_not_jump() {
        let mut pace = Pace::default();
        // What had ended before the first look does not count, nor does a short time.
        assert_eq!(pace.note(Span::ZERO, 5_000_000), None);
        assert_eq!(pace.note(Span::millis(100), 5_004_000), None);
        assert_eq!(pace.note(Span::secs(2), 5_010_000), Some(5_000.0));
        for second in 3..=200 {
            pace.note(Span::secs(second), 5_000_000 + 5_000 * second as u32);
        }
        // Another host: after a minute the new pace is all that counts.
        let mut last = 5_000.0;
        for second in 1..=61 {
            let ended = 6_000_000 + 10_000 * second as u32;
            let rate = pace.note(Span::secs(200 + second), ended).unwrap();
            assert!(rate >= last && rate - last < 200.0, "{last} to {rate}");
            last = rate;
        }
        assert!(last > 9_999.0 && pace.marks.len() < 64, "{last}");
        assert_eq!(time_left(3_000_001, 10_000.0), Span::secs(301));
        // Nothing has ended for a minute: nobody knows how long the rest takes.
        for second in 1..=61 {
            pace.note(Span::secs(261 + second), 6_610_000);
        }
        assert_eq!(pace.note(Span::secs(323), 6_610_000), None);
    }

    #[test]
    fn what_failed_and_what_was_given_up_are_told_apart() {
        let mut job = crate::report::tests::job(42, JobState::Active);
        (job.tasks.failed, job.tasks.given_up) = (3, 2);
        assert_eq!(message(&job, Some(7.5)), ", 7.5/s, 10 s left, 6 hosts, 3 failed, 2 given up");
        job.hosts = 0;
        assert_eq!(message(&job, None), ", waiting (isos explain 42), 3 failed, 2 given up");
    }
}
