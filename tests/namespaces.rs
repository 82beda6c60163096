//! Real agents on a small Internet of network namespaces: public hosts on two continents, hosts
//! behind routers, behind two of them, and behind one that lets no UDP through. What each says of
//! all, against the truth: while the cable between the continents is cut, after it is mended, and
//! when the complex and some hosts are gone.
//!
//! A small one runs by default. With `ISOS_NAMESPACE_AGENTS=64` it has so many agents, and at its
//! end the cable is cut without the complex for so long that each half has forgotten the other;
//! `--nocapture` prints a table.

mod internet;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{ALWAYS, first_line, isos, last_lines, pause, wait_until};
use internet::{Internet, Router, Side, moved, within};

/// Of agents, if nobody says how many.
const AGENTS: usize = 14;
/// More than these meet less often: the machine of the test is one.
const FEW_AGENTS: usize = 24;
const CYCLE_OF_FEW: Duration = Duration::from_millis(400);
const CYCLE_OF_MANY: Duration = Duration::from_secs(2);
/// Cycles of an epoch, as all agents have it.
const EPOCH_CYCLES: u32 = 30;
/// What changes is counted by the second epoch after it.
const EPOCHS_WAITED: u32 = 6;
/// After so many cycles nobody tells of a host that was not heard of.
const FORGOTTEN_CYCLES: u32 = 90;
/// A count may be off by so much of it, and by less than half a host in a small world.
const COUNT_SLACK: f64 = 0.02;
/// Where the complex's API is, in its own namespace.
const HTTP: &str = "127.0.0.1:7070";
/// Where nobody is.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Where an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    /// Anybody can call it.
    Public(Side),
    /// Behind a router on the near continent, or behind two on the far one.
    Behind(Side),
    /// Behind a router that lets nothing but TCP through: the relay is all that it has.
    Walled,
}

impl Home {
    /// Homes of agents, over and over.
    const STREET: [Self; 14] = {
        use Side::{Far, Near};
        [
            Self::Public(Near),
            Self::Public(Far),
            Self::Behind(Near),
            Self::Behind(Far),
            Self::Walled,
            Self::Public(Near),
            Self::Public(Far),
            Self::Behind(Near),
            Self::Behind(Far),
            Self::Public(Near),
            Self::Public(Far),
            Self::Behind(Near),
            Self::Behind(Far),
            Self::Walled,
        ]
    };

    fn side(self) -> Side {
        match self {
            Self::Public(side) | Self::Behind(side) => side,
            // The wall is on the complex's continent, as is the relay.
            Self::Walled => Side::Near,
        }
    }
}

struct Agent {
    name: String,
    home: Home,
    space: String,
    folder: std::path::PathBuf,
    child: Child,
}

/// Agents that must count the same: which, and what they are called in the table.
type Group<'a> = (&'static str, Vec<&'a Agent>);

/// A server, its agents, and the Internet between them.
struct Scene {
    // Fields are dropped in this order: processes, then where they ran.
    agents: Vec<Agent>,
    server: Child,
    ready: Value,
    server_space: String,
    internet: Internet,
    folder: tempfile::TempDir,
    cycle: Duration,
    table: Vec<String>,
}

/// How many, and whether the story has its long end. None, loudly, where there can be no
/// namespaces; never in CI.
#[expect(clippy::print_stderr, reason = "a test that did not test says so")]
fn agents_wanted() -> Option<(usize, bool)> {
    if let Some(why) = Internet::missing() {
        assert!(std::env::var_os("CI").is_none(), "CI tests network namespaces: {why}");
        eprintln!("NOT TESTED in network namespaces: {why}");
        return None;
    }
    let wanted = std::env::var("ISOS_NAMESPACE_AGENTS").ok();
    let agents =
        wanted.as_ref().map(|text| text.parse().expect("ISOS_NAMESPACE_AGENTS is a number"));
    Some((agents.unwrap_or(AGENTS), wanted.is_some()))
}

impl Scene {
    fn start(agents: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let cycle = if agents > FEW_AGENTS { CYCLE_OF_MANY } else { CYCLE_OF_FEW };
        let mut internet = Internet::new();
        let (server_space, address) = internet.public("complex", Side::Near);
        let (server, ready) = spawn_server(folder.path(), &server_space, &address);
        let home = internet.router("home", Side::Near, Router::Translates);
        let carrier = internet.router("carrier", Side::Far, Router::Translates);
        let village = internet.router_behind("village", carrier, Router::Translates);
        let office = internet.router("office", Side::Near, Router::Walls);
        let (all, table) = (Vec::new(), Vec::new());
        let mut scene =
            Self { agents: all, server, ready, server_space, internet, folder, cycle, table };
        for n in 0..agents {
            let (name, place) = (format!("host-{n}"), Home::STREET[n % Home::STREET.len()]);
            let space = match place {
                Home::Public(side) => scene.internet.public(&name, side).0,
                Home::Behind(Side::Near) => scene.internet.private(&name, home),
                Home::Behind(Side::Far) => scene.internet.private(&name, village),
                Home::Walled => scene.internet.private(&name, office),
            };
            scene.join(name, place, space);
        }
        scene
    }

    /// Starts an agent, which is welcomed some time later.
    fn join(&mut self, name: String, home: Home, space: String) {
        let account = format!("owner-of-{name}");
        let ticket = self.json(&["ticket", "--account", &account, "--rights", "join,read"]);
        let ticket = ticket["ticket"].as_str().expect("a ticket is text").to_owned();
        let folder = self.folder.path().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let policy = folder.join("given.toml");
        fs::write(&policy, ALWAYS).unwrap();
        let log = File::create(self.log_of(&name)).unwrap();
        let mut command = isos_in(&space);
        command.args(["join", &ticket, "--json", "--name", &name, "--no-cgroups"]);
        command.arg("--gossip-cycle").arg(format!("{}ms", self.cycle.as_millis()));
        command.arg("--policy").arg(&policy).arg("--home").arg(&folder);
        // It ends when this process does, however that goes.
        command.arg("--with-parent").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let line = first_line(&mut child);
        assert!(line.contains("host"), "{name} did not start: {}", self.log(&name));
        self.agents.push(Agent { name, home, space, folder, child });
    }

    fn log_of(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn log(&self, name: &str) -> String {
        last_lines(&fs::read_to_string(self.log_of(name)).unwrap_or_default())
    }

    /// The `data` of a command's answer, as the operator on the complex's machine.
    fn json(&self, args: &[&str]) -> Value {
        let mut command = isos_in(&self.server_space);
        command.arg("--json").arg("--home").arg(self.folder.path().join("client")).args(args);
        command.env("ISOS_SERVER", self.ready["api"].as_str().unwrap());
        command.env("ISOS_TOKEN", self.ready["token"].as_str().unwrap());
        let output = command.output().expect("the program starts");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        });
        document["data"].clone()
    }

    /// Hosts that the complex says are there.
    fn seen_by_complex(&self) -> usize {
        let hosts = self.json(&["host", "list"]);
        let able = |host: &&Value| {
            ["idle", "working", "asleep"].contains(&host["state"].as_str().unwrap_or_default())
        };
        hosts.as_array().map_or(0, |all| all.iter().filter(able).count())
    }

    fn epoch(&self) -> Duration {
        self.cycle * EPOCH_CYCLES
    }

    /// Waits until the complex sees all.
    fn wait_for_complex(&self) {
        let patience = Duration::from_secs(60) + self.epoch();
        let so = || self.seen_by_complex() == self.agents.len();
        if !wait_until(patience, so) {
            panic!(
                "the complex does not see all: {}\n{}",
                self.json(&["host", "list"]),
                self.said()
            );
        }
    }

    /// Agents of one continent, or all, without those that live behind the wall.
    fn of(&self, wanted: impl Fn(Home) -> bool) -> Vec<&Agent> {
        self.agents.iter().filter(|agent| wanted(agent.home)).collect()
    }

    /// Waits until in each group everybody counts all of it; what was said goes into the table.
    fn counted(&self, when: &str, groups: &[Group<'_>]) -> Vec<String> {
        let began = Instant::now();
        let patience = self.epoch() * EPOCHS_WAITED + Duration::from_secs(15);
        let is_right = |agent: &Agent, truth: usize| {
            let slack = (COUNT_SLACK * truth as f64).max(0.5);
            hosts(&cloud(agent)).is_some_and(|said| (said - truth as f64).abs() < slack)
        };
        let mut last_wrong: BTreeMap<&str, usize> = BTreeMap::new();
        let mut took: BTreeMap<&str, Duration> = BTreeMap::new();
        let in_time = wait_until(patience, || {
            for (name, group) in groups {
                // Whoever was wrong is asked first: the others need not be, if it still is.
                let first = last_wrong.get(name).copied().unwrap_or(0);
                let order = (0..group.len()).map(|n| (first + n) % group.len());
                let wrong = order.into_iter().find(|n| !is_right(group[*n], group.len()));
                match wrong {
                    Some(wrong) => {
                        last_wrong.insert(name, wrong);
                        took.remove(name);
                    }
                    None => _ = took.entry(name).or_insert_with(|| began.elapsed()),
                }
            }
            pause(self.cycle);
            took.len() == groups.len()
        });
        let rows: Vec<String> = groups
            .iter()
            .map(|(name, group)| {
                let said: Vec<f64> =
                    group.iter().map(|agent| hosts(&cloud(agent)).unwrap_or(0.0)).collect();
                let least = said.iter().copied().fold(f64::INFINITY, f64::min);
                let most = said.iter().copied().fold(0.0, f64::max);
                let mean = said.iter().sum::<f64>() / said.len() as f64;
                let took = took.get(name).map_or(f64::NAN, Duration::as_secs_f64);
                let truth = group.len();
                format!(
                    "| {when} | {name} | {truth} | {least:.2} | {mean:.2} | {most:.2} | {took:.0} s |"
                )
            })
            .collect();
        assert!(in_time, "not all agree in {patience:?}:\n{}\n{}", rows.join("\n"), self.said());
        rows
    }

    /// What all agents say now, for whoever must find out.
    fn said(&self) -> String {
        let of = |agent: &Agent| {
            let said = cloud(agent);
            let (estimate, name) = (&said["estimate"], &agent.name);
            let log = self.log(name);
            format!(
                "{name} {:?}: hosts {} of epoch {} ({} exchanges), public {}, knows {}+{}, begun {} \
                 answered {} served {} disbelieved {} dialled {}\n{log}",
                agent.home,
                estimate["hosts"],
                estimate["epoch"],
                estimate["exchanges"],
                said["public"],
                said["known_public"],
                said["known_private"],
                said["begun"],
                said["answered"],
                said["served"],
                said["disbelieved"],
                said["dialled"],
            )
        };
        let all: Vec<String> = self.agents.iter().map(of).collect();
        format!("{}\nserver:\n{}", all.join("\n"), self.log("server"))
    }

    /// What an agent has moved since a time, in bytes a second.
    fn traffic(
        &self,
        home: impl Fn(Home) -> bool,
        before: &BTreeMap<String, u64>,
        time: f64,
    ) -> f64 {
        let of = self.of(home);
        let all = of.iter().map(|agent| moved(&agent.space).saturating_sub(before[&agent.space]));
        all.sum::<u64>() as f64 / of.len() as f64 / time
    }

    fn traffic_until_now(&self) -> BTreeMap<String, u64> {
        self.agents.iter().map(|agent| (agent.space.clone(), moved(&agent.space))).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().map(|agent| &mut agent.child) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program under test in a namespace.
fn isos_in(space: &str) -> Command {
    let plain = isos();
    let mut command = within(space, plain.get_program());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn spawn_server(folder: &Path, space: &str, address: &str) -> (Child, Value) {
    let log = File::create(folder.join("server.log")).unwrap();
    let (listen, relay) = (format!("{address}:7071"), format!("{address}:7072"));
    let mut child = isos_in(space)
        .args(["server", "--json", "--test-world", "--listen", &listen, "--http", HTTP])
        .args(["--relay", &relay, "--welcome", "1000", "--lost-after", "3s", "--with-parent"])
        .arg("--home")
        .arg(folder.join("complex"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let line = first_line(&mut child);
    let first: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        let said = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        panic!("the server did not start ({error}): {}", last_lines(&said))
    });
    (child, first["data"].clone())
}

/// What an agent knows of all. It is asked over its socket, which is a file; the complex is not.
fn cloud(agent: &Agent) -> Value {
    let mut command = isos();
    command.args(["cloud", "--json", "--home"]).arg(&agent.folder).env("ISOS_SERVER", NOWHERE);
    let output = command.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    said["data"]["cloud"].clone()
}

fn hosts(said: &Value) -> Option<f64> {
    said["estimate"]["hosts"].as_f64()
}

#[test]
fn hosts_behind_routers_count_all_while_cables_are_cut_and_the_complex_is_gone() {
    let Some((agents, is_long)) = agents_wanted() else { return };
    let mut scene = Scene::start(agents);
    scene.wait_for_complex();
    let all = scene.counted("all is well", &[("all", scene.of(|_| true))]);
    scene.table.extend(all);
    let (before, since) = (scene.traffic_until_now(), Instant::now());
    for agent in &scene.agents {
        let is_public = matches!(agent.home, Home::Public(_));
        let knows = wait_until(scene.epoch(), || cloud(agent)["public"] == is_public);
        assert!(knows, "{} {:?}", agent.name, agent.home);
    }

    scene.internet.cable(false);
    let halves = [
        ("near the complex", scene.of(|home| home.side() == Side::Near)),
        ("beyond the cable", scene.of(|home| home.side() == Side::Far)),
    ];
    let cut = scene.counted("the cable is cut", &halves);
    scene.table.extend(cut);
    scene.internet.cable(true);
    let whole = scene.counted("the cable is mended", &[("all", scene.of(|_| true))]);
    scene.table.extend(whole);
    scene.wait_for_complex();

    // The complex dies, and its relay with it; each seventh host dies too.
    let time = since.elapsed().as_secs_f64();
    let (public, private, walled) = (
        scene.traffic(|home| matches!(home, Home::Public(_)), &before, time),
        scene.traffic(|home| matches!(home, Home::Behind(_)), &before, time),
        scene.traffic(|home| home == Home::Walled, &before, time),
    );
    scene.server.kill().unwrap();
    scene.server.wait().unwrap();
    for at in (0..scene.agents.len()).rev().filter(|at| at % 7 == 0) {
        let mut dead = scene.agents.swap_remove(at);
        dead.child.kill().unwrap();
        dead.child.wait().unwrap();
    }
    let left = [("all without those behind the wall", scene.of(|home| home != Home::Walled))];
    let gone = scene.counted("the complex and each seventh host are gone", &left);
    scene.table.extend(gone);

    if is_long {
        let connected = |home: Home, side| home != Home::Walled && home.side() == side;
        scene.internet.cable(false);
        pause(scene.cycle * FORGOTTEN_CYCLES);
        let halves = [
            ("near side", scene.of(|home| connected(home, Side::Near))),
            ("far side", scene.of(|home| connected(home, Side::Far))),
        ];
        let cut = scene.counted("cut until forgotten, without the complex", &halves);
        scene.table.extend(cut);
        scene.internet.cable(true);
        let left = [("all without those behind the wall", scene.of(|home| home != Home::Walled))];
        let mended = scene.counted("mended without the complex", &left);
        scene.table.extend(mended);
    }
    let table = scene.table.join("\n");
    let _ = writeln!(
        std::io::stderr(),
        "{agents} agents, a cycle of {:?}\n\
         | when | who | truth | least | mean | most | all agreed after |\n|---|---|---|---|---|---|---|\n\
         {table}\nbytes a second: public {public:.0}, behind routers {private:.0}, walled {walled:.0}",
        scene.cycle
    );
}
