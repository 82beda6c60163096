//! Results as they come: frames, each checked against its hash before it is given out.

use bytes::{Buf, BytesMut};
use isos_base::api::{RESULT_FRAME_BYTES_MAX, RESULT_STREAM_TYPE, ResultEntry};
use isos_base::codec::{FRAME_HEAD_BYTES, decode, frame_length};
use isos_base::record::Accepted;
use isos_base::task::{Output, OutputAt};
use isos_base::{Guid, JobId, TaskRange};

use crate::call::{Call, Pieces};
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::BODY_SILENCE_MAX;

/// One task's end, with what it left if that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was accepted, or why there is no result.
    pub accepted: Accepted,
    /// Its output, checked against the GUID in the result, its paths plain and sorted.
    pub output: Option<Output>,
}

/// Which tasks' results are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// All that there are.
    #[default]
    All,
    /// Those of these tasks that there are.
    Range(TaskRange),
    /// That of one task, which must have one.
    Task(u32),
}

impl Wanted {
    /// Whether a task is among them.
    #[must_use]
    pub fn has(self, task: u32) -> bool {
        match self {
            Self::All => true,
            Self::Range(range) => range.tasks().contains(&task),
            Self::Task(one) => one == task,
        }
    }

    fn query(self) -> String {
        match self {
            Self::All => String::new(),
            Self::Range(TaskRange { start, end }) => format!("&from={start}&to={end}"),
            Self::Task(task) => format!("&task={task}"),
        }
    }
}

/// The results of a job, one after another, in the order of their acceptance.
#[derive(Debug)]
pub struct Results {
    client: Client,
    job: JobId,
    with_output: bool,
    pieces: Pieces,
    buffer: BytesMut,
}

impl Results {
    pub(crate) async fn open(
        client: &Client,
        job: JobId,
        with_output: bool,
        wanted: Wanted,
    ) -> Result<Self, ClientError> {
        let query = wanted.query();
        let path = format!("/v1/jobs/{job}/results?output={with_output}{query}");
        let answer = client.line.send(&Call::get(&*path)).await?;
        if answer.media_type() != RESULT_STREAM_TYPE {
            let why = format!("{:?} instead of results", answer.media_type());
            return Err(ClientError::Protocol { request: path, why });
        }
        let pieces = answer.into_pieces();
        let buffer = BytesMut::new();
        Ok(Self { client: client.clone(), job, with_output, pieces, buffer })
    }

    /// The next result; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Interrupted`] for a stream that ends within a result,
    /// [`ClientError::Verification`] for bytes that do not fit their hash,
    /// [`ClientError::Protocol`] for what is no result. After [`ClientError::Lost`] the stream goes
    /// on with the next result.
    pub async fn next(&mut self) -> Result<Option<Outcome>, ClientError> {
        if !self.fill(FRAME_HEAD_BYTES).await? {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        self.buffer.copy_to_slice(&mut head);
        let bad = |why: String| ClientError::Protocol { request: self.pieces.request.clone(), why };
        let length =
            frame_length(head, RESULT_FRAME_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
        if !self.fill(length).await? && length > 0 {
            return Err(self.truncated());
        }
        let frame = self.buffer.split_to(length);
        let entry: ResultEntry = decode(&frame).map_err(|error| {
            let request = self.pieces.request.clone();
            ClientError::Protocol { request, why: error.to_string() }
        })?;
        check(self.job, entry, self.with_output).map(Some)
    }

    /// Waits until `wanted` bytes are there; false if the stream ends with none of them.
    async fn fill(&mut self, wanted: usize) -> Result<bool, ClientError> {
        while self.buffer.len() < wanted {
            match self.pieces.next(BODY_SILENCE_MAX, &self.client.line).await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.buffer.is_empty() => return Ok(false),
                None => return Err(self.truncated()),
            }
        }
        Ok(true)
    }

    fn truncated(&self) -> ClientError {
        let early = std::io::Error::other("the stream ended within a result");
        self.client.line.interrupted(&self.pieces.request, early)
    }
}

/// Checks an entry against the hashes in it.
fn check(job: JobId, entry: ResultEntry, with_output: bool) -> Result<Outcome, ClientError> {
    let ResultEntry { accepted, output } = entry;
    let wrong = |what: &str| ClientError::Verification {
        what: format!("{what} of task {job}@{}", accepted.task),
    };
    let Ok(result) = &accepted.result else {
        return Ok(Outcome { accepted, output: None });
    };
    if result.task != accepted.task {
        return Err(wrong("the number"));
    }
    let bytes = match (&result.output, &output) {
        _ if !with_output => None,
        (_, Some(bytes)) => Some(bytes),
        (OutputAt::Inline(bytes), None) => Some(bytes),
        (OutputAt::Object(..), None) => {
            return Err(ClientError::Lost { job, tasks: vec![accepted.task] });
        }
    };
    let output = match bytes {
        Some(bytes) if Guid::of(bytes) != result.output.guid() => {
            return Err(wrong("the output"));
        }
        Some(bytes) => Some(Output::decode(bytes).map_err(|_| wrong("the form of the output"))?),
        None => None,
    };
    Ok(Outcome { accepted, output })
}
