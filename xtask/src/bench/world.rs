//! A world to measure: one server and some agents, each a process of the real program, in a folder
//! that vanishes. As `isos dev` makes it, but with every process in our hands.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::process::{Process, wait_until};

/// A process of the world has this long to start, an answer to come.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A command has this long, waiting for a job included.
const COMMAND_PATIENCE: Duration = Duration::from_secs(120);
/// The longest answer of the API that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The policy of the hosts: always, one core each, whoever sits at the machine.
const POLICY: &str = "price_min = 0
[cpu]
share_in_use = \"100%\"
share_idle = \"100%\"
cores_max = 1
[idle]
after = \"0s\"
unknown = \"idle\"
[load]
other_max = 4096
[memory]
in_use = \"50%\"
idle = \"50%\"
free_floor = \"1%\"
[disk]
max = \"25%\"
free_floor = \"1%\"
[power]
on_battery = true
[network]
metered = true
";

/// A running world. Its agents end before its server, and its folder goes last.
pub(super) struct World {
    isos: PathBuf,
    flags: Vec<String>,
    /// The UDP address for hosts.
    listen: String,
    pub(super) agents: Vec<Process>,
    pub(super) server: Process,
    pub(super) address: String,
    pub(super) token: String,
    /// For any number of hosts.
    pub(super) ticket: String,
    folder: Folder,
}

impl World {
    /// A server, started with these further flags.
    pub(super) fn start(isos: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_at(isos, flags, "127.0.0.1:0")
    }

    /// As [`Self::start`], but a server that listens here for hosts, and so does the next.
    pub(super) fn start_at(isos: &Path, flags: &[&str], listen: &str) -> Result<Self> {
        let folder = Folder::new()?;
        let flags: Vec<String> = flags.iter().copied().map(str::to_owned).collect();
        let (server, ready) = serve(isos, listen, &flags, &folder)?;
        let Ready { address, token, ticket } = ready;
        let (isos, listen, agents) = (isos.to_owned(), listen.to_owned(), Vec::new());
        Ok(Self { isos, flags, listen, agents, server, address, token, ticket, folder })
    }

    /// Kills the server and starts another over the same database; seconds until it is ready.
    pub(super) fn restart(&mut self) -> Result<f64> {
        self.server.kill()?;
        let begun = Instant::now();
        let (server, ready) = serve(&self.isos, &self.listen, &self.flags, &self.folder)?;
        let secs = begun.elapsed().as_secs_f64();
        (self.server, self.address, self.token) = (server, ready.address, ready.token);
        self.ticket = ready.ticket;
        Ok(secs)
    }

    /// Starts so many agents, and waits until they are welcomed.
    pub(super) fn add_agents(&mut self, count: usize) -> Result<()> {
        self.add_agents_with(count, POLICY)
    }

    /// Agents that keep this much for others.
    pub(super) fn add_keepers(&mut self, count: usize, room: &str) -> Result<()> {
        self.add_agents_with(count, &format!("{POLICY}[storage]\nroom = \"{room}\"\n"))
    }

    /// Where the world's files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.path
    }

    fn add_agents_with(&mut self, count: usize, given: &str) -> Result<()> {
        for _ in 0..count {
            let name = format!("host-{}", self.agents.len() + 1);
            // One owner each: voters of one owner are not independent.
            let owner = format!("owner-of-{name}");
            let ticket = self.isos(&["ticket", "--account", &owner, "--rights", "join,read"])?;
            let ticket = ticket["ticket"].as_str().context("a ticket is text")?.to_owned();
            let home = self.folder.path.join(&name);
            fs::create_dir_all(&home)?;
            let policy = home.join("given.toml");
            fs::write(&policy, given)?;
            let log = self.folder.path.join(format!("{name}.log"));
            let mut command = isos_command(&self.isos);
            command.args(["join", &ticket, "--json", "--name", &name]);
            command.arg("--policy").arg(&policy).arg("--home").arg(&home);
            command.arg("--sensors-file").arg(home.join("sensors.toml"));
            let agent = Process::start(&name, command.stderr(File::create(&log)?))?;
            agent.line(START_TIMEOUT).with_context(|| last_words(&log))?;
            self.agents.push(agent);
        }
        let wanted = self.agents.len();
        let joined = wait_until(START_TIMEOUT, || {
            let hosts = self.get("/v1/hosts")?;
            let able = |host: &&Value| host["state"] == "idle" || host["state"] == "working";
            Ok(hosts.as_array().is_some_and(|all| all.iter().filter(able).count() >= wanted))
        })?;
        ensure!(joined, "not all of {wanted} hosts joined within {START_TIMEOUT:?}");
        Ok(())
    }

    /// Ends the world in good order; bytes of the database that it leaves, its log folded in.
    pub(super) fn end(self) -> Result<u64> {
        let Self { agents, server, folder, .. } = self;
        drop(agents);
        drop(server);
        let database = folder.path.join("complex/state/complex/complex.db");
        let database = database.metadata().context("the database that the server left")?;
        Ok(database.len())
    }

    /// The `data` of a command's answer, as the operator.
    pub(super) fn isos(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = isos_command(&self.isos);
        command
            .arg("--json")
            .args(arguments)
            .arg("--home")
            .arg(self.folder.path.join("client"))
            .env("ISOS_SERVER", format!("http://{}", self.address))
            .env("ISOS_TOKEN", &self.token);
        let what = format!("isos {}", arguments.join(" "));
        let text = Process::start(&what, &mut command)?.finish(COMMAND_PATIENCE);
        let text = text.with_context(|| last_words(&self.folder.path.join("server.log")))?;
        let document: Value =
            serde_json::from_str(&text).with_context(|| format!("the answer of {what}"))?;
        Ok(document["data"].clone())
    }

    /// The engine that hosts must have.
    pub(super) fn engine(&self) -> Result<String> {
        let status = self.get("/v1/status")?;
        let engine = status["engine"].as_str().map(str::to_owned);
        engine.with_context(|| format!("no engine in {status}"))
    }

    /// An answer of the API, in which times are whole microseconds.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.fetch(path)?).with_context(|| format!("the answer to {path}"))
    }

    /// One of the server's metrics.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        let text = self.fetch("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no metric {name}"))?;
        value.parse().with_context(|| format!("metric {name}"))
    }

    /// A page of the server, by the oldest HTTP: the answer ends with the connection.
    fn fetch(&self, path: &str) -> Result<String> {
        let address = self.address.to_socket_addrs()?.next().context("no address")?;
        let mut stream = TcpStream::connect_timeout(&address, START_TIMEOUT)?;
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n", self.token)?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("an answer without a head")?;
        let status = head.lines().next().unwrap_or_default();
        ensure!(status.contains(" 200 "), "{path}: {status}: {body}");
        Ok(body.to_owned())
    }
}

/// What a server says when it is ready.
struct Ready {
    address: String,
    token: String,
    ticket: String,
}

fn serve(isos: &Path, listen: &str, flags: &[String], folder: &Folder) -> Result<(Process, Ready)> {
    let log = folder.path.join("server.log");
    let mut command = isos_command(isos);
    command
        .args(["server", "--json", "--test-world", "--listen", listen])
        .args(["--http", "127.0.0.1:0", "--relay", "127.0.0.1:0", "--welcome", "1000"])
        .args(flags)
        .arg("--home")
        .arg(folder.path.join("complex"))
        .stderr(File::create(&log)?);
    let server = Process::start("the server", &mut command)?;
    let next = || -> Result<(String, Value)> {
        let line = server.line(START_TIMEOUT).with_context(|| last_words(&log))?;
        let said = serde_json::from_str(&line).context("a line of the server")?;
        Ok((line, said))
    };
    let (mut line, mut said) = next()?;
    // Over PostgreSQL the lease of a server that was killed runs out first.
    while said["type"] == "follower" {
        (line, said) = next()?;
    }
    let ready = &said["data"];
    let text = |name: &str| {
        let field = ready[name].as_str().map(str::to_owned);
        field.with_context(|| format!("no {name} in {line}"))
    };
    let address = text("api")?.trim_start_matches("http://").to_owned();
    let ready = Ready { address, token: text("token")?, ticket: text("ticket")? };
    Ok((server, ready))
}

/// The program, untouched by settings of whoever runs the benchmark.
pub(super) fn isos_command(isos: &Path) -> Command {
    let mut command = Command::new(isos);
    for name in ["ISOS_HOME", "ISOS_SERVER", "ISOS_TOKEN"] {
        command.env_remove(name);
    }
    command
}

/// What a process said last.
pub(super) fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!(
        "{} says: {}",
        log.file_name().unwrap_or_default().display(),
        lines[lines.len().saturating_sub(10)..].join("\n  ")
    )
}

/// A new folder of this process, gone when dropped.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Result<Self> {
        let beside = std::env::temp_dir();
        for n in 0..1_000 {
            let path = beside.join(format!("isos-bench-{}-{n}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        }
        bail!("no free name for a folder in {}", beside.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
