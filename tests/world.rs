//! A world of one test: a server and hosts, each a process of the real program.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing that a test waits for takes longer on two slow cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test.
pub(crate) fn isos() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isos"));
    for name in ["ISOS_HOME", "ISOS_SERVER", "ISOS_TOKEN", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// How a host is to be.
#[derive(Default, Clone)]
pub(crate) struct HostPlan {
    pub(crate) lies: bool,
    pub(crate) relay_only: bool,
    /// Whether work is held without control groups, as on a machine that has none.
    pub(crate) no_cgroups: bool,
    /// How often it keeps checkpoints, if not as usual.
    pub(crate) save_every: Option<&'static str>,
    /// How often it meets another, if not as usual.
    pub(crate) gossip_cycle: Option<&'static str>,
    /// Where its owner says that it is.
    pub(crate) country: Option<&'static str>,
    /// Whether its ticket allows nothing but to join.
    pub(crate) join_only: bool,
    /// Text instead of the policy that always allows everything.
    pub(crate) policy: Option<String>,
    /// What the sensors say at first, instead of the truth.
    pub(crate) sensors: Option<String>,
    /// Where the files of its system lie, if it is played.
    pub(crate) sensors_root: Option<PathBuf>,
    /// Owner's account; one for each host, unless named.
    pub(crate) owner: Option<String>,
    /// Its folder, if not one in the world's.
    pub(crate) home: Option<PathBuf>,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) child: Child,
    /// As it was planned: all hosts of a world must agree, also after a restart.
    gossip_cycle: Option<&'static str>,
}

/// Names and values.
type Env = Vec<(&'static str, String)>;

pub(crate) struct World {
    folder: tempfile::TempDir,
    listen: String,
    http: String,
    complex: PathBuf,
    extra: Vec<String>,
    /// What servers have in their environment.
    env: Env,
    pub(crate) server: Child,
    pub(crate) ready: Value,
    pub(crate) hosts: Vec<Host>,
}

/// A policy that always allows everything, on one core.
pub(crate) const ALWAYS: &str = "price_min = 0
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

impl World {
    /// A server, and so many hosts of different owners that have been welcomed.
    pub(crate) fn with_hosts(hosts: usize) -> Self {
        let mut world = Self::start(&[]);
        for _ in 0..hosts {
            world.add_host(HostPlan::default());
        }
        world.wait_for_hosts(hosts);
        world
    }

    /// A server with these flags.
    pub(crate) fn start(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let complex = folder.path().join("complex");
        Self::start_at(folder, complex, extra, Vec::new())
    }

    /// A server that has this in its environment, also after a restart.
    pub(crate) fn start_within(env: Env) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let complex = folder.path().join("complex");
        Self::start_at(folder, complex, &[], env)
    }

    /// A server with its home on this disk.
    pub(crate) fn start_on(disk: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        Self::start_at(folder, disk.join("complex"), &[], Vec::new())
    }

    fn start_at(folder: tempfile::TempDir, complex: PathBuf, extra: &[&str], env: Env) -> Self {
        // Ports that are free now, and the same after a restart.
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr();
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr();
        let (listen, http) = (udp.unwrap().to_string(), tcp.unwrap().to_string());
        let extra: Vec<String> = extra.iter().map(|arg| (*arg).to_owned()).collect();
        let (server, ready) = spawn_server(folder.path(), &complex, (&listen, &http), &extra, &env);
        Self { folder, listen, http, complex, extra, env, server, ready, hosts: Vec::new() }
    }

    /// The UDP port of the server.
    pub(crate) fn udp_port(&self) -> u16 {
        self.listen.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the server another key and another port; the key before answers on the old port.
    pub(crate) fn rotate_server_key(&mut self) {
        let _ = self.server.kill();
        self.server.wait().expect("it can be waited for");
        let earlier = self.folder.path().join("earlier.key");
        let key = self.complex.join("state/complex/server.key");
        fs::rename(key, &earlier).expect("the server's key");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port").local_addr();
        let before = std::mem::replace(&mut self.listen, udp.unwrap().to_string());
        let earlier = earlier.to_str().unwrap().to_owned();
        self.extra.extend(["--earlier-key".into(), earlier, "--earlier-listen".into(), before]);
        self.restart_server();
    }

    /// The key before counts no more.
    pub(crate) fn forget_earlier_key(&mut self) {
        self.extra.truncate(self.extra.len() - 4);
        self.restart_server();
    }

    /// Ends a host's agent, lets somebody do something at its home, and starts it again.
    pub(crate) fn between_runs(&mut self, host: usize, so: impl FnOnce(&Path)) {
        let Host { name, home, child, gossip_cycle } = &mut self.hosts[host];
        let _ = child.kill();
        child.wait().expect("it can be waited for");
        so(home);
        let mut command = isos();
        command.args(["join", "--json", "--name", name, "--in-front-in-test-world"]);
        command.arg("--home").arg(&*home);
        command.arg("--sensors-file").arg(home.join("sensors.toml"));
        if let Some(time) = gossip_cycle {
            command.args(["--gossip-cycle", time]);
        }
        let log = self.folder.path().join(format!("{name}.log"));
        let log = File::options().append(true).open(log).unwrap();
        *child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let line = first_line(child);
        assert!(line.contains("host"), "{name} did not start: {line}");
    }

    /// Kills the server as a power cut would, and starts it again.
    pub(crate) fn restart_server(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        self.server.wait().expect("it can be waited for");
        let folder = self.folder.path();
        let (server, ready) =
            spawn_server(folder, &self.complex, (&self.listen, &self.http), &self.extra, &self.env);
        (self.server, self.ready) = (server, ready);
    }

    /// The same with other flags than before.
    pub(crate) fn restart_server_with(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|arg| (*arg).to_owned()).collect();
        self.restart_server();
    }

    pub(crate) fn ticket(&self, account: &str, rights: &str) -> String {
        let ticket = self.json(&["ticket", "--account", account, "--rights", rights]);
        ticket["ticket"].as_str().expect("a ticket is text").to_owned()
    }

    /// Starts a host. It is welcomed some time later.
    pub(crate) fn add_host(&mut self, plan: HostPlan) -> usize {
        let name = format!("host-{}", self.hosts.len() + 1);
        let owner = plan.owner.clone().unwrap_or_else(|| format!("owner-of-{name}"));
        let ticket = self.ticket(&owner, if plan.join_only { "join" } else { "join,read" });
        let home = plan.home.clone().unwrap_or_else(|| self.folder.path().join(&name));
        fs::create_dir_all(&home).unwrap();
        let policy = home.join("given.toml");
        fs::write(&policy, plan.policy.as_deref().unwrap_or(ALWAYS)).unwrap();
        if let Some(sensors) = &plan.sensors {
            fs::write(home.join("sensors.toml"), sensors).unwrap();
        }
        let mut command = isos();
        command.args(["join", &ticket, "--json", "--name", &name]);
        // The test waits for them, whatever else this machine does.
        command.arg("--in-front-in-test-world");
        command.arg("--policy").arg(&policy).arg("--home").arg(&home);
        command.arg("--sensors-file").arg(home.join("sensors.toml"));
        if let Some(root) = &plan.sensors_root {
            command.arg("--sensors-root").arg(root);
        }
        if plan.lies {
            command.arg("--alter-results-in-test-world");
        }
        if plan.no_cgroups {
            command.arg("--no-cgroups");
        }
        if let Some(time) = plan.save_every {
            command.args(["--save-every", time]);
        }
        if let Some(time) = plan.gossip_cycle {
            command.args(["--gossip-cycle", time]);
        }
        if let Some(country) = plan.country {
            command.args(["--country", country]);
        }
        if plan.relay_only {
            command.arg("--relay-only");
        }
        let log = File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let line = first_line(&mut child);
        assert!(line.contains("host"), "{name} did not start: {}", self.log(&name));
        let gossip_cycle = plan.gossip_cycle;
        self.hosts.push(Host { name, home, child, gossip_cycle });
        self.hosts.len() - 1
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    pub(crate) fn wait_for_hosts(&self, wanted: usize) {
        self.wait(&format!("{wanted} hosts"), || {
            let hosts = self.json(&["host", "list"]);
            let able = |host: &&Value| {
                ["idle", "working"].contains(&host["state"].as_str().unwrap_or_default())
            };
            hosts.as_array().is_some_and(|all| all.iter().filter(able).count() >= wanted)
        });
    }

    /// A command as the operator.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = isos();
        // Before the arguments: what stands behind `--` is the program's.
        command
            .arg("--home")
            .arg(self.folder.path().join("client"))
            .args(args)
            .env("ISOS_SERVER", self.ready["api"].as_str().unwrap())
            .env("ISOS_TOKEN", self.ready["token"].as_str().unwrap());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// The `data` of a command's JSON answer.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        let output = self.run(&all);
        let text = String::from_utf8_lossy(&output.stdout);
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{args:?}: {error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        document["data"].clone()
    }

    /// Exit code and error text of a command that must fail.
    pub(crate) fn refused(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?} should have failed: {text}");
        (output.status.code().expect("it exits, it is not killed"), text)
    }

    /// Submits a job and returns its number.
    pub(crate) fn submit(&self, args: &[&str]) -> u64 {
        let mut all = vec!["job", "submit"];
        // Each task once, unless the test is about checks.
        if !args.iter().any(|arg| ["--verify", "--error"].contains(arg)) {
            all.extend(["--verify", "trusted"]);
        }
        all.extend(args);
        let job = self.json(&all);
        let id = job["job"]["id"].as_u64().or_else(|| job["id"].as_u64());
        id.unwrap_or_else(|| panic!("no job number in {job}"))
    }

    pub(crate) fn job(&self, id: u64) -> Value {
        let shown = self.json(&["job", "show", &id.to_string()]);
        let jobs = shown.as_array().and_then(|jobs| jobs.first()).cloned().unwrap_or(shown);
        if jobs["job"].is_object() { jobs["job"].clone() } else { jobs }
    }

    /// Waits until a job is over and returns its last view.
    pub(crate) fn wait_job(&self, id: u64) -> Value {
        self.wait(&format!("the end of job {id}"), || self.job(id)["state"] != "active");
        self.job(id)
    }

    /// Waits until something is so.
    pub(crate) fn wait(&self, what: &str, so: impl FnMut() -> bool) {
        if !wait_until(PATIENCE, so) {
            let hosts: Vec<String> = self
                .hosts
                .iter()
                .map(|host| format!("{}:\n{}", host.name, last_lines(&self.log(&host.name))))
                .collect();
            let server = last_lines(&self.log("server"));
            // Whoever is asked why may not answer either.
            let all = ["job", "host"].map(|noun| self.run(&[noun, "list"]));
            let all = all.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
            let [jobs, known] = all;
            panic!(
                "waited in vain for {what}\n{jobs}{known}server:\n{server}\n{}",
                hosts.join("\n")
            );
        }
    }

    /// Everything that the ledger says adds up: no debts, nothing held, sum zero.
    pub(crate) fn assert_money_adds_up(&self) {
        let status = self.json(&["status"]);
        assert_eq!(status["complex"]["ledger_sum"], 0, "{status}");
        let accounts = self.json(&["account", "list"]);
        for account in accounts.as_array().expect("a list of accounts") {
            assert_eq!(account["held"], 0, "{account}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.child.kill();
            let _ = host.child.wait();
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn spawn_server(
    folder: &Path,
    complex: &Path,
    (listen, http): (&str, &str),
    extra: &[String],
    env: &Env,
) -> (Child, Value) {
    let log = File::options().create(true).append(true).open(folder.join("server.log")).unwrap();
    let mut child = isos()
        .args(["server", "--json", "--test-world", "--listen", listen, "--http", http])
        .args(["--relay", "127.0.0.1:0", "--welcome", "1000", "--lost-after", "3s"])
        .args(extra)
        .arg("--home")
        .arg(complex)
        .envs(env.iter().map(|(name, value)| (*name, value)))
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let line = first_line(&mut child);
    let first: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        let said = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        panic!("the server did not start ({error}): {}", last_lines(&said))
    });
    assert_eq!((&first["schema"], &first["type"]), (&1.into(), &"server".into()), "{first}");
    (child, first["data"].clone())
}

pub(crate) fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output is a pipe");
    // A process that ends closes the pipe, so this does not wait for ever.
    let _ = BufReader::new(stdout).read_line(&mut line);
    line
}

pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Whether something comes to be so in time.
pub(crate) fn wait_until(time: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if so() {
            return true;
        }
        pause(Duration::from_millis(50));
    }
    false
}

/// Lets time pass where a test looks at a system that tells nobody when it changes.
#[expect(clippy::disallowed_methods, reason = "processes are looked at from outside")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A committed guest module.
pub(crate) fn module(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("guest/modules").join(format!("{name}.wasm")).to_string_lossy().into_owned()
}

pub(crate) fn data(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("guest/data").join(name).to_string_lossy().into_owned()
}

/// A hostile program, made from its text into `folder`.
pub(crate) fn hostile(folder: &Path, name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let wasm = wat::parse_file(root.join("guest/hostile").join(format!("{name}.wat"))).unwrap();
    write(folder, &format!("{name}.wasm"), &wasm)
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_string_lossy().into_owned()
}
