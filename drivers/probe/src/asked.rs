//! What only another program knows: asked in the background, at most once a minute, never waited
//! for.
//!
//! The program is `busctl` of systemd: its output is made for programs, and it brings the D-Bus
//! library that we do not want in every agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use isos_base::sensors::Reading;

const EVERY: Duration = Duration::from_secs(60);

/// How another program is asked: with the path of `busctl`.
type Ask<T> = fn(&Path) -> Reading<T>;

/// The latest answer to a question.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    ask: Ask<T>,
    busctl: PathBuf,
    asked: Option<Instant>,
    shared: Arc<Mutex<Shared<T>>>,
}

#[derive(Debug)]
struct Shared<T> {
    answer: Reading<T>,
    asking: bool,
}

impl<T: Clone + Send + 'static> Asked<T> {
    /// Asks on the machine whose files are under `root`.
    pub(crate) fn new(root: &Path, ask: Ask<T>) -> Self {
        // Ours is wherever the user's programs are.
        let ours = root == Path::new("/");
        let busctl = if ours { "busctl".into() } else { root.join("usr/bin/busctl") };
        let answer = Reading::Unknown("the system was asked and has not answered yet".into());
        let shared = Arc::new(Mutex::new(Shared { answer, asking: false }));
        Self { ask, busctl, asked: None, shared }
    }

    /// Something has changed: the next look asks again.
    pub(crate) const fn hurry(&mut self) {
        self.asked = None;
    }

    /// What was answered last; asks again if that is a minute ago. A question that hangs is not
    /// asked twice.
    pub(crate) fn latest(&mut self, now: Instant) -> Reading<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.asked.is_none_or(|asked| now.duration_since(asked) >= EVERY);
        if due && !shared.asking {
            self.asked = Some(now);
            shared.asking = true;
            let (ask, busctl) = (self.ask, self.busctl.clone());
            let answers = Arc::clone(&self.shared);
            let spawned = thread::Builder::new().name("isos-probe-ask".into()).spawn(move || {
                let answer = ask(&busctl);
                *answers.lock().unwrap_or_else(PoisonError::into_inner) =
                    Shared { answer, asking: false };
            });
            if let Err(e) = spawned {
                *shared = Shared { answer: Reading::Unknown(e.to_string()), asking: false };
            }
        }
        shared.answer.clone()
    }
}

/// Whether the network is metered, by NetworkManager.
pub(crate) fn metered(busctl: &Path) -> Reading<bool> {
    const NAME: &str = "org.freedesktop.NetworkManager";
    match properties(busctl, NAME, "/org/freedesktop/NetworkManager", NAME, &["Metered"]) {
        Ok(text) => parse_metered(&text),
        Err(reason) => Reading::Unknown(format!("NetworkManager: {reason}")),
    }
}

/// `NMMetered`: 0 unknown, 1 yes, 2 no, 3 and 4 guessed.
pub(crate) fn parse_metered(text: &str) -> Reading<bool> {
    match text.trim() {
        "u 1" | "u 3" => Reading::Known(true),
        "u 2" | "u 4" => Reading::Known(false),
        "u 0" => Reading::Unknown("NetworkManager does not know".into()),
        _ => Reading::Unknown("NetworkManager answered what we do not understand".into()),
    }
}

/// What desktops tell logind: since when nobody uses any session; `None` inside when somebody does.
pub(crate) fn desktop_idle(busctl: &Path) -> Reading<Option<Duration>> {
    let answer = properties(
        busctl,
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        &["IdleHint", "IdleSinceHint"],
    );
    match answer {
        Ok(text) => parse_desktop_idle(&text),
        Err(reason) => Reading::Unknown(format!("logind: {reason}")),
    }
}

/// The answer is a length of time since 1970, for a clock that the caller reads.
pub(crate) fn parse_desktop_idle(text: &str) -> Reading<Option<Duration>> {
    let mut lines = text.lines().map(str::trim);
    let since = |line: &str| line.strip_prefix("t ").and_then(|n| n.parse().ok());
    match (lines.next(), lines.next().and_then(since)) {
        (Some("b false"), _) => Reading::Known(None),
        (Some("b true"), Some(micros)) => Reading::Known(Some(Duration::from_micros(micros))),
        _ => Reading::Unknown("logind answered what we do not understand".into()),
    }
}

fn properties(
    busctl: &Path,
    name: &str,
    path: &str,
    interface: &str,
    wanted: &[&str],
) -> Result<String, String> {
    let output = Command::new(busctl)
        .args(["--system", "--timeout=2", "--auto-start=no", "get-property"])
        .args([name, path, interface])
        .args(wanted)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run busctl: {e}"))?;
    if !output.status.success() {
        return Err("does not run here".into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
