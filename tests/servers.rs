//! Several servers over one PostgreSQL: one leads, the others answer for it and take over; nothing
//! is lost and nothing is paid twice, whichever is killed, stopped or cut off, and when.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use isos_base::random::Random;
use isos_base::ticket::Ticket;
use serde_json::Value;

use crate::world::{ALWAYS, PATIENCE, isos, last_lines, module, pause, wait_until};

/// A PostgreSQL of one test.
struct Database {
    dir: tempfile::TempDir,
    url: String,
}

impl Database {
    /// Nothing, and a word about it, where there is no PostgreSQL to test with; never on CI.
    fn start() -> Option<Self> {
        if std::env::var_os("ISOS_TEST_POSTGRES").is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI tests PostgreSQL: see .ci/run");
            let said = "NOT TESTED on PostgreSQL: ISOS_TEST_POSTGRES is not set";
            let _ = writeln!(std::io::stderr(), "{said}");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("isos-pg-").tempdir().unwrap();
        // Root cannot run PostgreSQL, so another user must reach its folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.path(), open).unwrap();
        let url = Self::tell(dir.path(), "start");
        Some(Self { url: url.trim().to_owned(), dir })
    }

    fn tell(dir: &Path, action: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres");
        let done = Command::new(script).arg(action).arg(dir.join("pg")).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "tests/postgres {action}: {said}");
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        Self::tell(self.dir.path(), "stop");
    }
}

/// One server, through all its starts.
struct Node {
    name: String,
    home: PathBuf,
    listen: String,
    http: String,
    process: Option<Child>,
}

impl Node {
    /// A page of its own, if it answers soon.
    fn page(&self, path: &str) -> Option<String> {
        let address = self.http.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    }

    fn leads(&self) -> bool {
        self.page("/metrics").is_some_and(|text| text.contains("\nisos_leads 1"))
    }

    fn follows(&self) -> bool {
        self.page("/metrics").is_some_and(|text| text.contains("\nisos_leads 0"))
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn wait_end(&mut self) {
        self.process.take().expect("it runs").wait().unwrap();
    }
}

/// The operator's token, which a leader prints.
fn token(node: &Node) -> Option<String> {
    let said = fs::read_to_string(node.home.join("said")).ok()?;
    let ready = said.lines().find(|line| line.contains("\"type\":\"server\""))?;
    let ready: Value = serde_json::from_str(ready).ok()?;
    Some(ready["data"]["token"].as_str()?.to_owned())
}

/// Servers over one database, and hosts.
struct Cluster {
    nodes: Vec<Node>,
    hosts: Vec<Child>,
    /// A ticket that names all servers.
    buyer: String,
    /// The operator's token.
    operator: String,
    folder: tempfile::TempDir,
    database: Database,
}

impl Cluster {
    fn start(servers: usize, hosts: usize) -> Option<Self> {
        let database = Database::start()?;
        let folder = tempfile::tempdir().unwrap();
        let (nodes, running) = (Vec::new(), Vec::new());
        let (buyer, operator) = (String::new(), String::new());
        let mut cluster = Self { nodes, hosts: running, buyer, operator, folder, database };
        for number in 1..=servers {
            cluster.add_node(number);
        }
        let mut found = String::new();
        cluster.wait("the first to lead", || token(&cluster.nodes[0]).map(drop));
        cluster.operator = token(&cluster.nodes[0]).unwrap();
        cluster.wait("a leader that knows all servers", || {
            let args = ["ticket", "--account", "operator", "--rights", "submit,read"];
            found = cluster.as_operator(&args)?["ticket"].as_str()?.to_owned();
            (found.parse::<Ticket>().ok()?.servers.len() == servers).then_some(())
        });
        cluster.buyer = found;
        for number in 1..=hosts {
            cluster.add_host(number);
        }
        cluster.wait("all hosts", || {
            let list = cluster.as_operator(&["host", "list"])?;
            let able = |host: &&Value| host["state"] == "idle" || host["state"] == "working";
            (list.as_array()?.iter().filter(able).count() == hosts).then_some(())
        });
        Some(cluster)
    }

    fn add_node(&mut self, number: usize) {
        let name = format!("server-{number}");
        let home = self.folder.path().join(&name);
        fs::create_dir_all(&home).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (listen, http) = (udp.to_string(), tcp.to_string());
        self.nodes.push(Node { name, home, listen, http, process: None });
        self.start_node(number - 1);
    }

    /// Starts a server that does not run; it answers when this returns.
    fn start_node(&mut self, index: usize) {
        let objects = self.folder.path().join("objects");
        // All servers of a complex have its key, which the first has made.
        let key = self.nodes[0].home.join("state/complex/complex.key");
        let node = &mut self.nodes[index];
        assert!(node.process.is_none(), "{} runs", node.name);
        let append = |name: &str| {
            File::options().create(true).append(true).open(node.home.join(name)).unwrap()
        };
        let mut command = isos();
        command.arg("server");
        if index > 0 {
            command.arg("--complex-key").arg(key);
        }
        let process = command
            .args(["--json", "--test-world", "--welcome", "1000", "--lost-after", "20s"])
            .args(["--listen", &node.listen, "--http", &node.http])
            .args(["--database", &self.database.url])
            .arg("--objects")
            .arg(objects)
            .arg("--home")
            .arg(&node.home)
            .stdout(append("said"))
            .stderr(append("log"))
            .spawn()
            .unwrap();
        node.process = Some(process);
        let node = &self.nodes[index];
        self.wait(&format!("{} to answer", node.name), || node.page("/healthz").map(drop));
    }

    fn add_host(&mut self, number: usize) {
        let name = format!("host-{number}");
        let account = format!("owner-{number}");
        let args = ["ticket", "--account", &account, "--rights", "join"];
        let ticket = self.as_operator(&args).expect("a ticket");
        let home = self.folder.path().join(&name);
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("given.toml"), ALWAYS).unwrap();
        let log = File::create(home.join("log")).unwrap();
        let host = isos()
            .args(["join", ticket["ticket"].as_str().unwrap(), "--json", "--name", &name])
            .arg("--in-front-in-test-world")
            .arg("--policy")
            .arg(home.join("given.toml"))
            .arg("--home")
            .arg(&home)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.hosts.push(host);
    }

    /// The `data` of a command's answer to a buyer, whose ticket names all servers.
    fn ask(&self, args: &[&str]) -> Option<Value> {
        self.run(&self.buyer, "", args)
    }

    /// The `data` of a command's answer to the operator, by the first server that answers.
    fn as_operator(&self, args: &[&str]) -> Option<Value> {
        let running = self.nodes.iter().filter(|node| node.process.is_some());
        let mut addresses = running.map(|node| format!("http://{}", node.http));
        addresses.find_map(|address| self.run(&address, &self.operator, args))
    }

    fn run(&self, server: &str, token: &str, args: &[&str]) -> Option<Value> {
        let mut command = isos();
        command.arg("--json").arg("--home").arg(self.folder.path().join("client"));
        command.args(args).env("ISOS_SERVER", server);
        if !token.is_empty() {
            command.env("ISOS_TOKEN", token);
        }
        let output = command.output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).ok()?;
        output.status.success().then(|| document["data"].clone())
    }

    /// Submits a job of so many tasks, each run by two hosts; its number.
    fn submit(&self, tasks: u32) -> String {
        let (module, count) = (module("montecarlo"), tasks.to_string());
        let args =
            ["job", "submit", &module, "--count", &count, "--fuel", "5G", "--verify", "quorum=2/2"];
        let job = self.ask(&args).expect("the job is taken");
        let id = job["job"]["id"].as_u64().or_else(|| job["id"].as_u64());
        id.expect("it has a number").to_string()
    }

    fn done(&self, job: &str) -> Option<u64> {
        self.job(job)?["tasks"]["done"].as_u64()
    }

    fn job(&self, job: &str) -> Option<Value> {
        let shown = self.ask(&["job", "show", job])?;
        let shown = shown.as_array().and_then(|jobs| jobs.first()).cloned().unwrap_or(shown);
        Some(if shown["job"].is_object() { shown["job"].clone() } else { shown })
    }

    /// Which server leads, once one does.
    fn leader(&self) -> usize {
        let mut found = None;
        self.wait("a leader", || {
            found = self.nodes.iter().position(|node| node.process.is_some() && node.leads());
            found.map(drop)
        });
        found.expect("it was found")
    }

    fn wait(&self, what: &str, mut so: impl FnMut() -> Option<()>) {
        if wait_until(PATIENCE, || so().is_some()) {
            return;
        }
        let mut said = String::new();
        for node in &self.nodes {
            let log = fs::read_to_string(node.home.join("log")).unwrap_or_default();
            said += &format!("{}:\n{}\n", node.name, last_lines(&log));
        }
        for number in 1..=self.hosts.len() {
            let log = self.folder.path().join(format!("host-{number}/log"));
            let log = fs::read_to_string(log).unwrap_or_default();
            said += &format!("host-{number}:\n{}\n", last_lines(&log));
        }
        panic!("waited in vain for {what}\n{said}");
    }

    /// Waits for the end of a job, all of whose tasks are done, and that money adds up.
    fn assert_ends_well(&self, job: &str, tasks: u64) {
        let mut end = Value::Null;
        self.wait(&format!("the end of job {job}"), || {
            end = self.job(job)?;
            (end["state"] != "active").then_some(())
        });
        assert_eq!(
            (&end["state"], &end["tasks"]["done"]),
            (&"done".into(), &tasks.into()),
            "{end}"
        );
        let status = self.as_operator(&["status"]).expect("a status");
        assert_eq!(status["complex"]["ledger_sum"], 0, "{status}");
        let accounts = self.as_operator(&["account", "list"]).expect("accounts");
        for account in accounts.as_array().unwrap() {
            assert_eq!(account["held"], 0, "{account}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            let _ = host.kill();
            let _ = host.wait();
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

#[test]
fn another_server_takes_over_from_one_that_is_killed_and_any_server_answers() {
    let Some(mut cluster) = Cluster::start(3, 2) else { return };
    assert_eq!(cluster.leader(), 0, "the first leads");
    let job = cluster.submit(150);
    cluster.wait("some results", || (cluster.done(&job)? >= 20).then_some(()));
    // A follower gives the leader's answers.
    let follower = format!("http://{}", cluster.nodes[1].http);
    let shown =
        cluster.run(&follower, &cluster.operator, &["job", "show", &job]).expect("an answer");
    assert!(shown.to_string().contains("\"active\""), "{shown}");

    let before = cluster.done(&job).unwrap();
    cluster.nodes[0].signal("KILL");
    cluster.nodes[0].wait_end();
    let second = cluster.leader();
    assert_ne!(second, 0);
    cluster.wait("the job's state", || (cluster.done(&job)? >= before).then_some(()));
    cluster.start_node(0);
    cluster.wait("it to follow", || cluster.nodes[0].follows().then_some(()));
    cluster.wait("more results", || (cluster.done(&job)? >= before + 20).then_some(()));

    // A rolling restart: whoever is asked to end hands over at once.
    cluster.nodes[second].signal("TERM");
    cluster.nodes[second].wait_end();
    let third = cluster.leader();
    assert_ne!(third, second);
    cluster.assert_ends_well(&job, 150);
}

/// Each is ended and started again while the others serve, and work comes in all the time.
#[test]
fn all_servers_are_replaced_one_after_the_other_and_nothing_is_lost() {
    let Some(mut cluster) = Cluster::start(3, 2) else { return };
    let mut jobs = vec![(cluster.submit(60), 60)];
    for index in 0..cluster.nodes.len() {
        cluster.nodes[index].signal("TERM");
        cluster.nodes[index].wait_end();
        jobs.push((cluster.submit(20), 20));
        cluster.start_node(index);
        let node = &cluster.nodes[index];
        cluster.wait("it to be back", || (node.follows() || node.leads()).then_some(()));
        jobs.push((cluster.submit(20), 20));
    }
    let over = |job: &str| (cluster.job(job)?["state"] != "active").then_some(());
    cluster.wait("the end of all jobs", || jobs.iter().try_for_each(|(job, _)| over(job)));
    for (job, tasks) in &jobs {
        cluster.assert_ends_well(job, *tasks);
    }
}

/// For a minute, which is several times its lease: it wakes and believes that it leads.
#[test]
fn a_leader_that_was_stopped_wakes_and_follows() {
    const STOPPED: Duration = Duration::from_secs(60);
    let Some(cluster) = Cluster::start(2, 2) else { return };
    let job = cluster.submit(150);
    cluster.wait("some results", || (cluster.done(&job)? >= 20).then_some(()));
    cluster.nodes[0].signal("STOP");
    let stopped = Instant::now();
    cluster.wait("the other to lead", || cluster.nodes[1].leads().then_some(()));
    cluster.wait("more results", || (cluster.done(&job)? >= 40).then_some(()));
    pause(STOPPED.saturating_sub(stopped.elapsed()));
    cluster.nodes[0].signal("CONT");
    cluster.wait("it to follow", || cluster.nodes[0].follows().then_some(()));
    assert!(cluster.nodes[1].leads());
    cluster.assert_ends_well(&job, 150);
}

#[test]
fn the_database_may_be_killed_in_mid_job() {
    let Some(cluster) = Cluster::start(2, 2) else { return };
    let job = cluster.submit(150);
    for part in 1..=2 {
        cluster.wait("some results", || (cluster.done(&job)? >= part * 20).then_some(()));
        Database::tell(cluster.database.dir.path(), "crash");
    }
    cluster.assert_ends_well(&job, 150);
}

/// What may happen to a server or the database.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillLeader,
    KillFollower,
    EndLeader,
    StopLeader,
    CrashDatabase,
    RestartDatabase,
}

/// Faults at any moments, by a seed: `ISOS_FAULT_SCHEDULES` says how many schedules, from
/// `ISOS_FAULT_SEED`.
#[test]
fn nothing_is_lost_or_paid_twice_whatever_fails_and_when() {
    let number =
        |name: &str, or| std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(or);
    let (schedules, first) =
        (number("ISOS_FAULT_SCHEDULES", 1u64), number("ISOS_FAULT_SEED", 1u64));
    let Some(mut cluster) = Cluster::start(3, 2) else { return };
    for seed in first..first + schedules {
        let mut random = Random::new(seed);
        let job = cluster.submit(60);
        for _ in 0..=random.below(3) {
            pause(Duration::from_millis(random.below(3_000)));
            let fault = [
                Fault::KillLeader,
                Fault::KillFollower,
                Fault::EndLeader,
                Fault::StopLeader,
                Fault::CrashDatabase,
                Fault::RestartDatabase,
            ][random.below(6) as usize];
            let wait = Duration::from_millis(random.below(4_000));
            let said = format!("schedule {seed}: {fault:?}, for {wait:?}");
            let _ = writeln!(std::io::stderr(), "{said}");
            cluster.suffer(fault, wait);
        }
        cluster.assert_ends_well(&job, 60);
    }
}

impl Cluster {
    fn suffer(&mut self, fault: Fault, wait: Duration) {
        let leader = self.leader();
        let follower = (leader + 1) % self.nodes.len();
        match fault {
            Fault::KillLeader | Fault::EndLeader | Fault::KillFollower => {
                let index = if matches!(fault, Fault::KillFollower) { follower } else { leader };
                let signal = if matches!(fault, Fault::EndLeader) { "TERM" } else { "KILL" };
                self.nodes[index].signal(signal);
                self.nodes[index].wait_end();
                pause(wait);
                self.start_node(index);
            }
            // Up to twice as long as its lease, so that sometimes another leads when it wakes.
            Fault::StopLeader => {
                self.nodes[leader].signal("STOP");
                pause(wait * 5);
                self.nodes[leader].signal("CONT");
            }
            Fault::CrashDatabase => drop(Database::tell(self.database.dir.path(), "crash")),
            Fault::RestartDatabase => drop(Database::tell(self.database.dir.path(), "restart")),
        }
    }
}
