//! One request and its answer: kept connections, timeouts, and when a request is sent again.
//!
//! A request that never left may always be sent again; one that may have been carried out only if
//! carrying it out twice is the same as once. A complex that has never answered this client is
//! reported at once; one that has is given some seconds to come back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use isos_base::Span;
use isos_base::api::{Problem, ProblemCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use crate::body::RequestBody;
use crate::error::ClientError;
use crate::limits::{
    ANSWER_TIMEOUT, BODY_SILENCE_MAX, IDLE_CONNECTIONS_MAX, JSON_BYTES_MAX, QUOTE_CHARS_MAX,
    RETRY_AFTER_MAX, RETRY_WAITS, UPLOAD_BYTES_PER_SEC_MIN,
};
use crate::transport::{Lane, Transport};

/// What a request carries; made anew for each time it is sent.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Empty,
    Json(Bytes),
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Twice is the same as once.
    Yes,
    /// Only if it never left.
    IfUnsent,
    /// The caller has its own way to come back.
    Never,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) payload: Payload,
    pub(crate) again: Again,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), payload: Payload::Empty, again: Again::Yes }
    }

    pub(crate) fn with(method: Method, path: impl Into<String>, payload: Payload) -> Self {
        Self { method, path: path.into(), payload, again: Again::Yes }
    }

    pub(crate) fn post<T: Serialize>(path: impl Into<String>, body: &T, again: Again) -> Self {
        let json = serde_json::to_vec(body).expect("shapes of the API always encode as JSON");
        let payload = Payload::Json(json.into());
        Self { method: Method::POST, path: path.into(), payload, again }
    }

    /// For messages: `GET /v1/status`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The line to one complex: shared by all clones of a client.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) address: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    transport: Transport,
    idle: Mutex<Vec<Lane>>,
    /// Whether the complex was ever there: it has answered, or somebody had one of its keys.
    reached: AtomicBool,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    line: &'a Line,
    request: String,
    lane: Lane,
    response: Response<Incoming>,
}

/// Why one try failed.
struct Failed {
    error: ClientError,
    /// Whether the request surely was not carried out.
    unsent: bool,
    /// Whether the complex said so itself.
    refused: bool,
    /// Whether trying again makes sense at all.
    lasting: bool,
    /// How long the server asks to wait.
    after: Option<Duration>,
}

impl Failed {
    fn lasting(error: ClientError) -> Self {
        Self { error, unsent: false, refused: false, lasting: true, after: None }
    }
}

impl Line {
    /// A line that is not connected yet. `token` is the text of the `Authorization` header.
    pub(crate) fn new(
        address: String,
        host: &str,
        token: Option<&str>,
        transport: Transport,
    ) -> Result<Self, ClientError> {
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                Problem::new(
                    ProblemCode::Usage,
                    "the token is no token: copy it whole, in one line",
                )
            })
        };
        let authorization = match token {
            Some(token) => {
                let mut value = header(&format!("Bearer {}", token.trim()))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let host = header(host)?;
        let idle = Mutex::default();
        let reached = AtomicBool::new(false);
        Ok(Self { address, host, authorization, transport, idle, reached })
    }

    /// Sends a request, again if need be, until there is an answer of success.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer<'_>, ClientError> {
        let mut waits = RETRY_WAITS.into_iter();
        loop {
            let failed = match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let may = match call.again {
                Again::Yes => true,
                Again::IfUnsent => failed.unsent || failed.refused,
                Again::Never => false,
            };
            let known = self.reached.load(Ordering::Relaxed);
            let Some(wait) = waits.next().filter(|_| may && !failed.lasting && known) else {
                return Err(failed.error);
            };
            tracing::debug!(request = call.name(), error = %failed.error, ?wait, "trying again");
            sleep(failed.after.map_or(wait, |after| after.max(wait))).await;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Answer<'_>, Failed> {
        // A kept connection may have been closed by the server: that is no failure, take the next.
        while let Some(lane) = self.kept().await {
            match self.attempt_on(lane, call).await {
                Err(failed) if failed.unsent && !failed.lasting && failed.after.is_none() => {}
                outcome => return outcome,
            }
        }
        let lane = self.transport.open().await.map_err(|source| Failed {
            error: ClientError::Unreachable { address: self.address.clone(), source },
            unsent: true,
            refused: false,
            lasting: false,
            after: None,
        })?;
        if let Transport::Quic(_) = self.transport {
            self.reached.store(true, Ordering::Relaxed);
        }
        self.attempt_on(lane, call).await
    }

    async fn attempt_on(&self, mut lane: Lane, call: &Call) -> Result<Answer<'_>, Failed> {
        let (request, size) = self.request(call).await.map_err(Failed::lasting)?;
        let limit = ANSWER_TIMEOUT + Duration::from_secs(size / UPLOAD_BYTES_PER_SEC_MIN);
        let outcome = timeout(limit, lane.try_send_request(request)).await;
        let response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                let source = error.into_error();
                if source.is_parse() {
                    let why = format!("it does not speak HTTP: {source}");
                    let request = call.name();
                    return Err(Failed::lasting(ClientError::Protocol { request, why }));
                }
                let (address, source) = (self.address.clone(), source.into());
                // Who hangs up before it was asked is no complex, or none that listens now.
                let error = if unsent {
                    ClientError::Unreachable { address, source }
                } else {
                    ClientError::Interrupted { request: call.name(), address, source }
                };
                return Err(Failed { error, unsent, refused: false, lasting: false, after: None });
            }
            Err(_) => {
                return Err(Failed::lasting(ClientError::TimedOut {
                    request: call.name(),
                    address: self.address.clone(),
                    after: Span::from_std(limit),
                }));
            }
        };
        self.reached.store(true, Ordering::Relaxed);
        let answer = Answer { line: self, request: call.name(), lane, response };
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        Err(answer.failure().await)
    }

    async fn request(&self, call: &Call) -> Result<(Request<RequestBody>, u64), ClientError> {
        let (body, size, kind) = match &call.payload {
            Payload::Empty => (RequestBody::Whole(None), 0, None),
            Payload::Json(bytes) => {
                let kind = Some("application/json");
                (RequestBody::Whole(Some(bytes.clone())), bytes.len() as u64, kind)
            }
            Payload::Bytes(bytes) => {
                let kind = Some("application/octet-stream");
                (RequestBody::Whole(Some(bytes.clone())), bytes.len() as u64, kind)
            }
            Payload::File { path, size } => {
                let file = open_file(path, *size).await?;
                (RequestBody::File { file, left: *size }, *size, Some("application/octet-stream"))
            }
        };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, concat!("isos/", env!("CARGO_PKG_VERSION")));
        if let Some(kind) = kind {
            // Said here: hyper leaves it out where nothing follows, as behind an empty file.
            request = request.header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, size);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request.body(body).map_err(|error| {
            let why = format!("cannot be asked for: {error}");
            ClientError::Problem(Problem::new(ProblemCode::Usage, why))
        })?;
        Ok((request, size))
    }

    async fn kept(&self) -> Option<Lane> {
        loop {
            let mut lane = self.idle().pop()?;
            if lane.ready().await.is_ok() {
                return Some(lane);
            }
        }
    }

    fn keep(&self, lane: Lane) {
        let mut idle = self.idle();
        if idle.len() < IDLE_CONNECTIONS_MAX && !lane.is_closed() {
            idle.push(lane);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        // Nothing panics while it is locked, and a list of connections is never half made.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Closes what is open.
    pub(crate) async fn close(&self) {
        self.idle().clear();
        self.transport.close().await;
    }

    pub(crate) fn interrupted(&self, request: &str, source: io::Error) -> ClientError {
        let (request, address) = (request.into(), self.address.clone());
        ClientError::Interrupted { request, address, source: source.into() }
    }
}

async fn open_file(path: &Path, size: u64) -> Result<tokio::fs::File, ClientError> {
    let file = tokio::fs::File::open(path).await.map_err(ClientError::file("read", path))?;
    let now = file.metadata().await.map_err(ClientError::file("read", path))?.len();
    if now == size { Ok(file) } else { Err(ClientError::Changed { path: path.into() }) }
}

impl Answer<'_> {
    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The media type, without parameters.
    pub(crate) fn media_type(&self) -> &str {
        let value = self.response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }

    /// The body as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let request = self.request.clone();
        let bytes = self.bytes(JSON_BYTES_MAX).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Protocol { request, why: error.to_string() })
    }

    /// The whole body. The connection is kept for the next request.
    pub(crate) async fn bytes(self, max: usize) -> Result<Bytes, ClientError> {
        let line = self.line;
        let mut pieces = self.into_pieces();
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next(BODY_SILENCE_MAX, line).await? {
            if whole.len() + piece.len() > max {
                let why = format!("more than {max} bytes");
                return Err(ClientError::Protocol { request: pieces.request, why });
            }
            whole.extend_from_slice(&piece);
        }
        line.keep(pieces.lane);
        Ok(whole.freeze())
    }

    /// The body piece by piece.
    pub(crate) fn into_pieces(self) -> Pieces {
        Pieces { request: self.request, body: self.response.into_body(), lane: self.lane }
    }

    async fn failure(self) -> Failed {
        let (status, request) = (self.status(), self.request.clone());
        let after = self
            .response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|secs| Duration::from_secs(secs).min(RETRY_AFTER_MAX));
        let bytes = match self.bytes(JSON_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                return Failed { error, unsent: false, refused: false, lasting: false, after };
            }
        };
        let problem = match problem_of(status).filter(|_| bytes.is_empty()) {
            // An answer to HEAD has no body: the status has to say it.
            Some(ProblemCode::Unauthorised) => {
                let why = "the token was revoked, has expired, or does not allow this";
                Ok(Problem::new(ProblemCode::Unauthorised, format!("{why} ({request}: {status})")))
            }
            Some(code) => Ok(Problem::new(code, format!("{request}: {status}"))),
            None => serde_json::from_slice::<Problem>(&bytes),
        };
        match problem {
            Ok(problem) => {
                // Of those two it says so only when nothing was begun.
                let refused = matches!(problem.code, ProblemCode::Busy | ProblemCode::Limited);
                let lasting = !refused && problem.code != ProblemCode::Unsure;
                Failed { error: problem.into(), unsent: false, refused, lasting, after }
            }
            Err(_) => {
                let quote = quote(&bytes);
                let why = format!("status {status} without a reason, but {quote:?}");
                Failed::lasting(ClientError::Protocol { request, why })
            }
        }
    }
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) request: String,
    body: Incoming,
    lane: Lane,
}

impl Pieces {
    /// The next piece; `None` at the end. Waits no longer than `silence`.
    pub(crate) async fn next(
        &mut self,
        silence: Duration,
        line: &Line,
    ) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = timeout(silence, self.body.frame()).await.map_err(|_| {
                let (request, address) = (self.request.clone(), line.address.clone());
                ClientError::TimedOut { request, address, after: Span::from_std(silence) }
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(line.interrupted(&self.request, io::Error::other(error)));
                }
            }
        }
    }
}

/// What a status alone says.
fn problem_of(status: StatusCode) -> Option<ProblemCode> {
    let codes = [
        ProblemCode::Usage,
        ProblemCode::NotFound,
        ProblemCode::Refused,
        ProblemCode::Unauthorised,
        ProblemCode::Busy,
        ProblemCode::Limited,
        ProblemCode::Unsure,
        ProblemCode::Verification,
        ProblemCode::Internal,
    ];
    codes.into_iter().find(|code| code.status() == status.as_u16())
}

/// The beginning of a foreign answer, fit for a screen.
fn quote(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(QUOTE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A part of a path: everything but letters, digits and `-._~` is escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
