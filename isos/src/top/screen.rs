//! The terminal: keys in, frames out, one request a second. It is left as it was found, whether the
//! user quits, a signal ends the program, or it panics.

use std::io::IsTerminal as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use isos_sdk::Client;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::draw::draw;
use super::state::{Answer, Question, Top, Wish};
use crate::clock;

/// Between two requests, and two frames that nobody asked for.
const BEAT: Duration = Duration::from_secs(1);
/// The complex has so long to answer; nothing else is asked meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Keys are looked for so often: the thread that does so ends as soon after the screen.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// Keys that wait.
const KEYS_MAX: usize = 16;
/// Hosts that are asked for: more fit on no screen, and the complex counts the others.
const HOSTS_MAX: u32 = 1_000;
/// Jobs that are asked for.
const JOBS_MAX: u32 = 100;

/// Whether there is a terminal to show anything on.
pub(crate) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Shows the complex until the user has seen enough.
pub(crate) async fn run(client: Client, color: bool) -> anyhow::Result<()> {
    // What is wrong with the complex or the token is said on the terminal as it is.
    let status = client.status().await?;
    let mut top = Top::new(client.address().to_owned(), clock::now(), status, color);
    let mut terminal = ratatui::try_init()?;
    let end = show(&mut terminal, &mut top, &client).await;
    ratatui::restore();
    end
}

async fn show(
    terminal: &mut DefaultTerminal,
    top: &mut Top,
    client: &Client,
) -> anyhow::Result<()> {
    let mut asked_to_end = pin!(crate::world::asked_to_end(false));
    let (mut keys, _watch) = keys()?;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asking = JoinSet::new();
    loop {
        top.now = clock::now();
        terminal.draw(|frame| draw(frame, top))?;
        tokio::select! {
            _ = beat.tick() => if asking.is_empty() && let Some(question) = top.question() {
                asking.spawn(ask(client.clone(), question));
            },
            Some(answer) = asking.join_next() => match answer {
                Ok(answer) => top.take(clock::now(), answer),
                Err(error) => return Err(error.into()),
            },
            key = keys.recv() => match key {
                Some(Ok(wish)) => if wish.is_some_and(|wish| top.wish(wish)) {
                    return Ok(());
                },
                // Somebody has taken the terminal away.
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            asked = &mut asked_to_end => return asked.map_err(Into::into),
        }
    }
}

async fn ask(client: Client, question: Question) -> Result<Answer, String> {
    let asked = async {
        Ok(match question {
            Question::Status => Answer::Status(Box::new(client.status().await?)),
            Question::Hosts => Answer::Hosts(client.first_hosts(HOSTS_MAX).await?),
            Question::Jobs => Answer::Jobs(client.jobs(Some(JOBS_MAX), None).await?),
            Question::Prices => Answer::Prices(client.prices().await?),
        })
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("the complex does not answer")));
    answer.map_err(|error| format!("{error:#}"))
}

/// Ends the thread that looks for keys.
struct Watch(Arc<AtomicBool>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the user wants; nothing where only the size has changed.
type Keys = mpsc::Receiver<std::io::Result<Option<Wish>>>;

/// Looks for keys on a thread of its own, since they are waited for by a call that blocks.
fn keys() -> std::io::Result<(Keys, Watch)> {
    let (send, keys) = mpsc::channel(KEYS_MAX);
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let look = move || {
        while !is_over.load(Ordering::Relaxed) {
            let next = match event::poll(KEYS_EVERY) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let is_end = next.is_err();
            let next = match next {
                Ok(Event::Key(key)) => match wish(key) {
                    Some(wish) => Ok(Some(wish)),
                    None => continue,
                },
                Ok(Event::Resize(..)) => Ok(None),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            if send.blocking_send(next).is_err() || is_end {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".into()).spawn(look)?;
    Ok((keys, Watch(over)))
}

/// What a key means.
fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    Some(match key.code {
        // The terminal tells keys, not interrupts, while the screen is up.
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Char('p' | ' ') => Wish::Pause,
        KeyCode::Tab | KeyCode::Right => Wish::Panel { forward: true },
        KeyCode::BackTab | KeyCode::Left => Wish::Panel { forward: false },
        KeyCode::Down | KeyCode::Char('j') => Wish::Scroll { down: true },
        KeyCode::Up | KeyCode::Char('k') => Wish::Scroll { down: false },
        _ => return None,
    })
}
