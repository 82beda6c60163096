//! A whole world on this machine: a server and hosts, each its own process, key, folder and policy.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use isos_base::api::{HostState, TicketRequest};
use isos_base::{HostId, Span};
use isos_sdk::{Address, Client};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::server::Ready;
use crate::exit::Refusal;
use crate::report::data_of;

/// A server has this long to answer; a host to be welcomed.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Tickets of a test world.
const TICKET_FOR: Span = Span::secs(30 * 86_400);

/// What a host of a world is like.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostPlan {
    /// Its name, its folder's, and after it its owner's.
    pub(crate) name: String,
    /// Whether it answers wrongly.
    pub(crate) lies: bool,
    /// Whether it reaches others through the relay alone.
    pub(crate) relay_only: bool,
    /// Whether its work runs beside all else on this machine.
    pub(crate) in_front: bool,
    /// Cores.
    pub(crate) cores: u16,
}

/// A running host.
pub(crate) struct HostProcess {
    /// Its name.
    pub(crate) name: String,
    /// Its key.
    pub(crate) id: HostId,
    /// Its account's name.
    pub(crate) owner: String,
    child: Child,
    /// The other end of its standard input: it ends when this process does, however it does.
    _leash: Option<ChildStdin>,
}

impl HostProcess {
    /// Kills it as a power cut would.
    pub(crate) async fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill().await
    }
}

/// A running world. Dropping it kills its processes.
pub(crate) struct World {
    /// Its folder.
    pub(crate) home: PathBuf,
    /// How to reach the server.
    pub(crate) ready: Ready,
    /// The operator's client.
    pub(crate) operator: Client,
    server: Child,
    _leash: Option<ChildStdin>,
    /// Its hosts.
    pub(crate) hosts: Vec<HostProcess>,
    /// Held, never read: nobody else's world is in this folder.
    _lock: File,
}

/// The policy of a test world's host: always, whoever sits at the machine.
fn test_policy(cores: u16) -> String {
    format!(
        "price_min = 0\n[cpu]\nshare_in_use = \"100%\"\nshare_idle = \"100%\"\ncores_max = {cores}\n\
         [idle]\nafter = \"0s\"\nunknown = \"idle\"\n[load]\nother_max = 4096\n[memory]\n\
         in_use = \"50%\"\nidle = \"50%\"\nfree_floor = \"1%\"\n[disk]\nmax = \"25%\"\n\
         free_floor = \"1%\"\n[storage]\nroom = \"2GiB\"\n[power]\non_battery = true\n[network]\nmetered = true\n"
    )
}

impl World {
    /// Starts the server of a world in `home`.
    pub(crate) async fn start(home: &Path, http: &str) -> anyhow::Result<Self> {
        let complex = home.join("complex");
        std::fs::create_dir_all(&complex)
            .with_context(|| format!("cannot make {}", complex.display()))?;
        // Before anything of another's is touched.
        let lock = take(home)?;
        let log = File::create(home.join("complex.log"))?;
        let mut server = Command::new(std::env::current_exe()?)
            .args(["server", "--json", "--test-world", "--listen", "127.0.0.1:0", "--http", http])
            .args(["--relay", "127.0.0.1:0", "--welcome", "1000", "--lost-after", "3s"])
            .arg("--home")
            .arg(&complex)
            .arg("--with-parent")
            .env_remove("ISOS_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a server")?;
        let leash = server.stdin.take();
        let line = first_line(&mut server).await;
        let line = line
            .with_context(|| last_words(&home.join("complex.log"), "the server did not start"))?;
        let ready: Ready = data_of(&line).context("the server's first line")?;
        let address: Address = ready.api.parse()?;
        let operator = Client::new(&address, Some(&ready.token))?;
        let (home, hosts) = (home.to_owned(), Vec::new());
        Ok(Self { home, ready, operator, server, _leash: leash, hosts, _lock: lock })
    }

    /// A ticket for an account of this world.
    pub(crate) async fn ticket(&self, account: &str, rights: &[&str]) -> anyhow::Result<String> {
        let request = TicketRequest {
            account: account.into(),
            rights: rights.iter().map(|right| (*right).to_owned()).collect(),
            valid: TICKET_FOR,
        };
        Ok(self.operator.ticket(&request).await?.ticket)
    }

    /// Starts a host; it is welcomed some time later.
    pub(crate) async fn add_host(&mut self, plan: &HostPlan) -> anyhow::Result<()> {
        let owner = format!("owner-of-{}", plan.name);
        let ticket = self.ticket(&owner, &["join", "read"]).await?;
        let home = self.home.join(&plan.name);
        std::fs::create_dir_all(&home)?;
        let policy = home.join("given-policy.toml");
        std::fs::write(&policy, test_policy(plan.cores.max(1)))?;
        let log_path = self.home.join(format!("{}.log", plan.name));
        let log = File::create(&log_path)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["join", "--json", "--name", &plan.name, &ticket, "--policy"])
            .arg(&policy)
            .arg("--home")
            .arg(&home)
            .arg("--sensors-file")
            .arg(home.join("sensors.toml"))
            .arg("--with-parent")
            // A minute is long in a small world: what all have is known after less.
            .args(["--gossip-cycle", "1s"])
            .env_remove("ISOS_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if plan.in_front {
            command.arg("--in-front-in-test-world");
        }
        if plan.lies {
            command.arg("--alter-results-in-test-world");
        }
        if plan.relay_only {
            command.arg("--relay-only");
        }
        let mut child = command.spawn().context("cannot start an agent")?;
        let leash = child.stdin.take();
        let line = first_line(&mut child).await;
        let line = line.with_context(|| last_words(&log_path, "the agent did not start"))?;
        #[derive(serde::Deserialize)]
        struct First {
            host: HostId,
        }
        let First { host } = data_of(&line).context("the agent's first line")?;
        let name = plan.name.clone();
        self.hosts.push(HostProcess { name, id: host, owner, child, _leash: leash });
        Ok(())
    }

    /// Waits until the complex knows so many hosts that can work.
    pub(crate) async fn wait_for_hosts(&self, wanted: usize) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + START_TIMEOUT;
        loop {
            let hosts = self.operator.hosts().await?;
            let able = |state| matches!(state, HostState::Idle | HostState::Working);
            if hosts.iter().filter(|host| able(host.state)).count() >= wanted {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                bail!(
                    "only {} of {wanted} hosts joined within {START_TIMEOUT:?}; their logs are in \
                     {}",
                    hosts.len(),
                    self.home.display()
                );
            }
            // There is no event for a host that joins: the complex is asked.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the server ends, which it should not.
    pub(crate) async fn server_ended(&mut self) -> anyhow::Error {
        let status = self.server.wait().await;
        let log = self.home.join("complex.log");
        let how = match status {
            Ok(status) => format!("the server ended by itself ({status})"),
            Err(error) => format!("the server was lost ({error})"),
        };
        anyhow::Error::msg(last_words(&log, &how))
    }

    /// Ends all processes in good order.
    pub(crate) async fn stop(mut self) {
        let children = self.hosts.iter_mut().map(|host| &mut host.child);
        for child in children.chain(std::iter::once(&mut self.server)) {
            end(child).await;
        }
    }
}

/// Asks a process to end, and kills it if it does not.
async fn end(child: &mut Child) {
    const GRACE: Duration = Duration::from_secs(5);
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The first line that a process prints.
async fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child.stdout.take().context("it has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
    line.context("it does not answer")??.context("it ended at once")
}

/// Takes the folder for a world, until the file is closed.
fn take(home: &Path) -> anyhow::Result<File> {
    let path = home.join("world.lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let home = home.display();
            let why = format!("another world runs in {home}: stop it, or choose another --home");
            Err(Refusal::usage(why).into())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// What became of a process, and what it said last, for those who must find out why.
fn last_words(log: &Path, what: &str) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> = text.lines().map(plain).collect();
    if lines.is_empty() {
        return format!("{what}, and said nothing");
    }
    let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
    format!("{what}; it said last:\n  {last}\n")
}

/// A line of a log as people read it: an error of a process with `--json` is JSON.
fn plain(line: &str) -> String {
    let document: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let message = document.as_ref().and_then(|it| it["error"]["message"].as_str());
    message.unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_world_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let first = take(home.path()).unwrap();
        let said = take(home.path()).unwrap_err().to_string();
        assert!(said.contains("another world"), "{said}");
        drop(first);
        take(home.path()).unwrap();
    }

    #[test]
    fn last_words_are_words() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        assert_eq!(last_words(&log, "it ended"), "it ended, and said nothing");
        let error = "one\n{\"error\":{\"code\":\"x\",\"message\":\"no\\nport\",\"exit\":1}}\n{}\n";
        std::fs::write(&log, error).unwrap();
        assert_eq!(
            last_words(&log, "it ended"),
            "it ended; it said last:\n  one\n  no\nport\n  {}\n"
        );
    }
}
