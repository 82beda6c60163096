//! What work moves over the network: kept to the owner's rates and caps, and counted over restarts.
//!
//! Objects are set aside for before any of their bytes move, with what the protocols below add, so
//! no cap is exceeded by the last one. What is written down is ahead of what was moved: an agent
//! that is killed has counted too much, never too little. A rate holds what is sent exactly; what
//! is fetched is held by not reading on, so the other side may send one window ahead. Frames of the
//! session are counted and not held: without them nothing could be given back.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use isos_base::sensors::LocalClock;
use isos_base::task::OutputAt;
use isos_base::wire::ToComplex;
use isos_base::{Bytes, Span, Time};
use isos_disk::Home;
use isos_kernel::policy::{Meter, Moved, NetworkLimits, Pace, Rate};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::clock;
use crate::keeper::BUDGET_BYTES;

pub(crate) const FILE: &str = "network.json";
/// What waits for the next day looks again this often: the owner may raise the cap.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// Most that is written down ahead, and least.
const AHEAD: (Bytes, Bytes) = (Bytes(64 << 10), Bytes(16 << 20));
/// A piece takes so long at its rate: the timer is exact to a millisecond.
const PIECE: Span = Span::millis(50);
/// Bytes of a piece at the least and at the most.
const PIECE_BYTES: (u64, u64) = (4 << 10, 256 << 10);

/// The way out and in.
#[derive(Debug)]
pub(crate) struct Traffic {
    home: Arc<Home>,
    began: Instant,
    state: Mutex<State>,
    down: Mutex<Pace>,
    up: Mutex<Pace>,
}

#[derive(Debug)]
struct State {
    limits: NetworkLimits,
    meter: Meter,
    clock: LocalClock,
    /// What may be counted before it must be written down again.
    ahead: Bytes,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

impl Traffic {
    /// Goes on from what earlier runs counted.
    pub(crate) fn remembered(home: Arc<Home>, limits: NetworkLimits) -> Self {
        let kept = home.read(FILE).ok().flatten();
        // A file that is damaged is as good as none: it was written whole.
        let meter = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let clock = LocalClock { utc_offset_secs: 0 };
        let state = State { limits, meter, clock, ahead: Bytes::ZERO };
        Self {
            home,
            began: Instant::now(),
            state: Mutex::new(state),
            down: Mutex::default(),
            up: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner's calendar, as the sensors see it.
    pub(crate) fn set_clock(&self, clock: LocalClock) {
        self.state().clock = clock;
    }

    /// The policy has changed.
    pub(crate) fn set_limits(&self, limits: NetworkLimits) {
        self.state().limits = limits;
    }

    /// What was moved today and this month, and what is set aside to be.
    pub(crate) fn moved(&self, now: Time) -> Moved {
        let state = self.state();
        state.meter.moved(now, state.clock)
    }

    /// Counts a frame of the session.
    pub(crate) fn sent(&self, frame: &ToComplex) {
        let mut bytes = 256;
        if let ToComplex::Report(report) = frame {
            for result in report.leases.iter().flat_map(|lease| &lease.results) {
                let inline = match &result.output {
                    OutputAt::Inline(bytes) => bytes.len() as u64,
                    OutputAt::Object(..) => 0,
                };
                bytes += 64 + inline;
            }
        }
        let (mut state, bytes) = (self.state(), Bytes(bytes));
        let clock = state.clock;
        state.meter.add(clock::now(), clock, bytes);
        self.written_ahead(&mut state, bytes);
    }

    /// Counts what gossip has moved: little, always, and not held.
    pub(crate) fn gossiped(&self, bytes: usize) {
        let (mut state, bytes) = (self.state(), Bytes(bytes as u64));
        let clock = state.clock;
        state.meter.add(clock::now(), clock, bytes);
        self.written_ahead(&mut state, bytes);
    }

    /// At most this size, and no more than could ever be set aside.
    pub(crate) fn most(&self, size: Bytes) -> Bytes {
        let most = self.state().limits.most().map_or(size, |most| Bytes(most.0 - most.0 / 16));
        size.min(most)
    }

    /// Sets an object of this size aside. Waits for the next day or month where its cap is used up.
    ///
    /// # Errors
    /// It is more than a cap: then it can never be moved.
    pub(crate) async fn set_aside(&self, size: Bytes) -> Result<SetAside<'_>, String> {
        let bytes = on_the_wire(size);
        let mut said = false;
        loop {
            {
                let now = clock::now();
                let mut state = self.state();
                let (limits, clock) = (state.limits, state.clock);
                if let Some(most) = limits.most()
                    && bytes > most
                {
                    return Err(format!(
                        "{size} are more than the owner lets be moved at all, {most}: see \
                         network.day_max and network.month_max in the policy"
                    ));
                }
                let moved = state.meter.moved(now, clock);
                if limits.left(&moved).is_none_or(|left| bytes <= left) {
                    state.meter.add(now, clock, bytes);
                    self.written_ahead(&mut state, bytes);
                    let moved = AtomicU64::new(0);
                    return Ok(SetAside { traffic: self, at: now, clock, bytes, moved });
                }
            }
            if !said {
                said = true;
                tracing::info!("an object of {size} waits: the network cap leaves no room for it");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a fragment of this size may be moved, and all that can be on its way beside it:
    /// those come as they like, and are counted when they have come.
    pub(crate) fn has_room(&self, size: Bytes) -> bool {
        let now = clock::now();
        let state = self.state();
        let left = state.limits.left(&state.meter.moved(now, state.clock));
        left.is_none_or(|left| left >= on_the_wire(size + Bytes(BUDGET_BYTES)))
    }

    /// Counts a fragment that has come, or is about to go; says after how long it may.
    pub(crate) fn moves(&self, way: Way, size: Bytes) -> Duration {
        let bytes = on_the_wire(size);
        let rate = {
            let mut state = self.state();
            let clock = state.clock;
            state.meter.add(clock::now(), clock, bytes);
            self.written_ahead(&mut state, bytes);
            state.limits.rate(way == Way::Down)
        };
        let Some(rate) = rate else { return Duration::ZERO };
        self.pace(way).take(self.since(), bytes, rate).to_std()
    }

    /// How long a piece would wait.
    pub(crate) fn wait(&self, way: Way) -> Duration {
        self.pace(way).wait(self.since()).to_std()
    }

    /// What comes in such a time at the owner's rate, if there is one.
    pub(crate) fn worth(&self, time: Span) -> Option<Bytes> {
        let rate = self.rate(Way::Down)?;
        let bytes = u128::from(rate.0.0) * u128::from(time.0) / 1_000_000;
        Some(Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }

    fn pace(&self, way: Way) -> MutexGuard<'_, Pace> {
        let pace = if way == Way::Down { &self.down } else { &self.up };
        pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self) -> Span {
        Span::from_std(self.began.elapsed())
    }

    /// Writes the meter down, ahead of what it counts, before more than that is counted.
    fn written_ahead(&self, state: &mut State, bytes: Bytes) {
        if bytes <= state.ahead {
            state.ahead = state.ahead - bytes;
            return;
        }
        let step = state.limits.most().map_or(AHEAD.1, |most| Bytes(most.0 / 64));
        let step = step.clamp(AHEAD.0, AHEAD.1);
        let mut ahead = state.meter.clone();
        ahead.add(clock::now(), state.clock, step);
        state.ahead = if self.write(&ahead) { step } else { Bytes::ZERO };
    }

    fn write(&self, meter: &Meter) -> bool {
        let bytes = serde_json::to_vec(meter).expect("numbers can be written");
        let written = self.home.write(FILE, &bytes);
        if let Err(error) = &written {
            tracing::warn!("what was moved over the network is not written down: {error}");
        }
        written.is_ok()
    }

    /// Writes down what was counted, exactly.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.ahead = Bytes::ZERO;
        self.write(&state.meter);
    }

    fn rate(&self, way: Way) -> Option<Rate> {
        self.state().limits.rate(way == Way::Down)
    }

    /// Takes a piece of at most so many bytes, and says when it may go.
    fn take(&self, way: Way, wanted: usize) -> (usize, Duration) {
        let Some(rate) = self.rate(way) else { return (wanted, Duration::ZERO) };
        let usual = u128::from(rate.0.0) * u128::from(PIECE.0) / 1_000_000;
        let usual = u64::try_from(usual).unwrap_or(u64::MAX).clamp(PIECE_BYTES.0, PIECE_BYTES.1);
        let piece = usual.min(wanted as u64);
        let wait = self.pace(way).take(self.since(), on_the_wire(Bytes(piece)), rate);
        (piece as usize, wait.to_std())
    }
}

/// With what QUIC, UDP, IP and the answers to it add, at the most: a sixteenth.
fn on_the_wire(bytes: Bytes) -> Bytes {
    Bytes(bytes.0.saturating_add(bytes.0 / 16))
}

/// Bytes that were counted before they move. What has not moved in the end is given back.
#[derive(Debug)]
pub(crate) struct SetAside<'a> {
    traffic: &'a Traffic,
    at: Time,
    clock: LocalClock,
    bytes: Bytes,
    moved: AtomicU64,
}

impl SetAside<'_> {
    /// Carries the object's bytes this way, at its rate.
    pub(crate) fn carry<T>(&self, way: Way, inner: T) -> Carried<'_, T> {
        Carried { inner, aside: self, way, piece: 0, wait: None }
    }
}

impl Drop for SetAside<'_> {
    fn drop(&mut self) {
        let moved = on_the_wire(Bytes(self.moved.load(Ordering::Relaxed)));
        let rest = self.bytes - moved;
        self.traffic.state().meter.take_back(self.at, self.clock, rest);
    }
}

/// A stream whose bytes are paced and counted.
#[derive(Debug)]
pub(crate) struct Carried<'a, T> {
    inner: T,
    aside: &'a SetAside<'a>,
    way: Way,
    /// Bytes that may go, now or after the wait.
    piece: usize,
    wait: Option<Pin<Box<Sleep>>>,
}

impl<T> Carried<'_, T> {
    /// How many bytes may go now.
    fn poll_piece(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        if self.piece == 0 {
            let (piece, wait) = self.aside.traffic.take(self.way, wanted);
            self.piece = piece;
            if wait > Duration::ZERO {
                self.wait = Some(Box::pin(tokio::time::sleep(wait)));
            }
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(self.piece.min(wanted))
    }

    fn gone(&mut self, bytes: usize) {
        self.piece -= bytes.min(self.piece);
        self.aside.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Carried<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let piece = ready!(self.poll_piece(cx, buf.len()));
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &buf[..piece]))?;
        self.gone(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Carried<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.poll_piece(cx, buf.remaining()));
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(piece));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.gone(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn limits(day_max: u64, rate: Option<u64>) -> NetworkLimits {
        let rate = rate.map(|rate| Rate(Bytes(rate)));
        NetworkLimits {
            rate_down: rate,
            rate_up: rate,
            day_max: Some(Bytes(day_max)),
            month_max: None,
        }
    }

    fn home(folder: &tempfile::TempDir) -> Arc<Home> {
        Arc::new(Home::open(folder.path()).unwrap())
    }

    #[tokio::test]
    async fn what_is_moved_is_counted_over_restarts_and_what_is_not_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let limits = limits(1 << 20, None);
        let kept = {
            let traffic = Traffic::remembered(home(&folder), limits);
            let aside = traffic.set_aside(Bytes(320 << 10)).await.unwrap();
            assert_eq!(traffic.moved(clock::now()).day, Bytes(340 << 10));
            let mut sink = Vec::new();
            aside.carry(Way::Down, &mut sink).write_all(&vec![7; 160 << 10]).await.unwrap();
            drop(aside);
            assert_eq!(sink.len(), 160 << 10);
            // The agent is killed here.
            traffic.moved(clock::now()).day
        };
        assert_eq!(kept, Bytes(170 << 10));
        let traffic = Traffic::remembered(home(&folder), limits);
        let counted = traffic.moved(clock::now()).day;
        assert!(counted >= kept, "{counted} of {kept}");
        traffic.close();
        drop(traffic);
        let traffic = Traffic::remembered(home(&folder), limits);
        assert_eq!(traffic.moved(clock::now()).day, counted, "a clean end counts nothing ahead");
    }

    #[tokio::test]
    async fn what_no_cap_has_room_for_is_refused_and_what_tomorrows_has_waits() {
        let folder = tempfile::tempdir().unwrap();
        let traffic = Traffic::remembered(home(&folder), limits(1 << 20, None));
        let refused = traffic.set_aside(Bytes(2 << 20)).await.unwrap_err();
        assert!(refused.contains("network.day_max"), "{refused}");
        let _first = traffic.set_aside(Bytes(900 << 10)).await.unwrap();
        let second = traffic.set_aside(Bytes(200 << 10));
        let waits = tokio::time::timeout(Duration::from_millis(50), second).await;
        assert!(waits.is_err(), "it does not wait");
        let small = traffic.set_aside(Bytes(50 << 10)).await.unwrap();
        assert!(traffic.moved(clock::now()).day <= Bytes(1 << 20));
        drop(small);
    }

    #[tokio::test]
    async fn bytes_keep_to_their_rate_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let traffic = Traffic::remembered(home(&folder), limits(1 << 30, Some(400_000)));
        let aside = traffic.set_aside(Bytes(1 << 20)).await.unwrap();
        let began = Instant::now();
        let bytes = vec![1; 100_000];
        let mut sink = Vec::new();
        let mut up = aside.carry(Way::Up, bytes.as_slice());
        let mut down = aside.carry(Way::Down, &mut sink);
        let mut read = Vec::new();
        // Both ways at once: they have paces of their own.
        let (sent, fetched) = tokio::join!(up.read_to_end(&mut read), down.write_all(&bytes));
        sent.unwrap();
        fetched.unwrap();
        let took = began.elapsed();
        // A quarter of a second, less the first piece.
        assert!(took >= Duration::from_millis(190), "{took:?}");
        assert_eq!((read.len(), sink.len()), (100_000, 100_000));
    }
}
