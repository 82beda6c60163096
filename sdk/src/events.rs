//! A job's progress as it happens: server-sent events, and coming back when the connection breaks.

use std::time::Duration;

use isos_base::api::{JobView, Problem, ProblemCode};
use isos_base::causes::report;
use isos_base::{JobId, Span};
use tokio::time::{Instant, sleep_until};

use crate::call::{Again, Call, Pieces};
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{EVENT_BYTES_MAX, EVENT_SILENCE_MAX, OUTAGE_MAX, OUTAGE_WAIT_MAX};
use crate::sse::Parser;

const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What is new about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It stands differently.
    Job(Box<JobView>),
    /// The complex does not answer; it is tried again. Comes with every try that fails.
    Away {
        /// For how long it has not answered.
        since: Span,
        /// What happened at the last try.
        why: String,
    },
}

/// The progress of one job: every view differs from the one before it.
#[derive(Debug)]
pub struct JobEvents {
    client: Client,
    job: JobId,
    stream: Option<(Pieces, Parser)>,
    ready: std::collections::VecDeque<String>,
    last: Option<JobView>,
    /// Since when the complex does not answer.
    away_since: Option<Instant>,
    /// Whether it has answered after an outage, and nobody was told yet.
    back: bool,
    wait: Duration,
    /// When to try again.
    again: Option<Instant>,
}

impl JobEvents {
    pub(crate) fn new(client: Client, job: JobId) -> Self {
        Self {
            client,
            job,
            stream: None,
            ready: std::collections::VecDeque::new(),
            last: None,
            away_since: None,
            back: false,
            wait: FIRST_WAIT,
            again: None,
        }
    }

    /// The last view that was given out.
    #[must_use]
    pub fn last(&self) -> Option<&JobView> {
        self.last.as_ref()
    }

    /// The next view; `None` after the one that says the job is over. Loses nothing when cancelled.
    ///
    /// # Errors
    /// [`ClientError`] when the complex says no, or has not come back within
    /// [`crate::limits::OUTAGE_MAX`].
    pub async fn next(&mut self) -> Result<Option<JobView>, ClientError> {
        loop {
            let before = self.last.clone();
            match self.progress().await? {
                Some(Progress::Job(view)) if before.as_ref() != Some(&view) => {
                    return Ok(Some(*view));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// As [`JobEvents::next`], for those who show that the complex is away; the first view after
    /// that tells that it is back, and may be as the one before.
    ///
    /// # Errors
    /// As [`JobEvents::next`].
    pub async fn progress(&mut self) -> Result<Option<Progress>, ClientError> {
        if self.last.as_ref().is_some_and(|view| view.state.is_over()) {
            return Ok(None);
        }
        loop {
            while let Some(text) = self.ready.pop_front() {
                let view: JobView = serde_json::from_str(&text).map_err(|error| {
                    // The last word of a complex that tells no more.
                    if let Ok(problem) = serde_json::from_str::<Problem>(&text) {
                        return ClientError::Problem(problem);
                    }
                    let why = format!("an event that is no job: {error}");
                    ClientError::Protocol { request: self.path(), why }
                })?;
                if std::mem::take(&mut self.back) || self.last.as_ref() != Some(&view) {
                    self.last = Some(view.clone());
                    return Ok(Some(Progress::Job(view.into())));
                }
            }
            if let Some(again) = self.again {
                sleep_until(again).await;
                self.again = None;
            }
            match self.read().await {
                Ok(()) => {
                    self.back |= self.away_since.take().is_some();
                    self.wait = FIRST_WAIT;
                }
                Err(error) => return self.pause(error).map(Some),
            }
        }
    }

    fn path(&self) -> String {
        format!("/v1/jobs/{}/events", self.job)
    }

    /// Reads one piece; without a stream, opens it first.
    async fn read(&mut self) -> Result<(), ClientError> {
        let line = &self.client.line;
        let (pieces, parser) = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let again = if self.last.is_none() { Again::Yes } else { Again::Never };
                let answer = line.send(&Call { again, ..Call::get(self.path()) }).await?;
                if answer.media_type() != "text/event-stream" {
                    let why = format!("{:?} instead of an event stream", answer.media_type());
                    return Err(ClientError::Protocol { request: self.path(), why });
                }
                self.stream.insert((answer.into_pieces(), Parser::new(EVENT_BYTES_MAX)))
            }
        };
        let outcome = pieces.next(EVENT_SILENCE_MAX, line).await;
        match outcome {
            Ok(Some(piece)) => {
                let pushed = parser.push(&piece, &mut self.ready);
                pushed.map_err(|why| {
                    self.stream = None;
                    ClientError::Protocol { request: self.path(), why: why.to_string() }
                })
            }
            Ok(None) => {
                self.stream = None;
                let early = std::io::Error::other("the event stream ended before the job");
                Err(line.interrupted(&self.path(), early))
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    /// Puts the next try off, or gives up.
    fn pause(&mut self, error: ClientError) -> Result<Progress, ClientError> {
        let passing = match &error {
            ClientError::Interrupted { .. } | ClientError::TimedOut { .. } => true,
            // Nobody there from the start is an answer; nobody there any more is an outage.
            ClientError::Unreachable { .. } => self.last.is_some(),
            error => {
                use ProblemCode::{Busy, Limited, Unsure};
                matches!(error.problem(), Some(Busy | Limited | Unsure))
            }
        };
        let now = Instant::now();
        let since = now - *self.away_since.get_or_insert(now);
        if !passing || since > OUTAGE_MAX {
            return Err(error);
        }
        tracing::info!(job = %self.job, %error, "lost sight of the job; trying again");
        self.again = Some(now + self.wait);
        self.wait = (self.wait * 2).min(OUTAGE_WAIT_MAX);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Ok(Progress::Away { since: Span(micros), why: report(&error) })
    }
}
