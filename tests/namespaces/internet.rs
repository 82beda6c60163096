//! A small Internet of network namespaces: two continents that a cable joins, hosts on them, and
//! routers behind which others live. Nothing of it is in the machine's own network.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// All names of one run begin with this and its process id.
const PREFIX: &str = "isos";
/// The namespace of the bridges.
const BACKBONE: &str = "backbone";

/// Which end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Where the complex is.
    Near,
    /// Beyond the cable.
    Far,
}

impl Side {
    fn bridge(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// What a router does to those behind it, in the words of nft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Router {
    /// Gives out its own address, a port for each connection, and lets nobody in.
    Translates,
    /// The same, and nothing but TCP gets through.
    Walls,
}

impl Router {
    fn rules(self) -> String {
        let wall = match self {
            Self::Translates => "",
            Self::Walls => "meta l4proto udp drop",
        };
        format!(
            "table ip home {{
                chain out {{
                    type nat hook postrouting priority srcnat;
                    oifname \"out\" masquerade random
                }}
                chain through {{
                    type filter hook forward priority filter; policy drop;
                    {wall}
                    ct state established,related accept
                    iifname \"in\" accept
                }}
            }}"
        )
    }
}

/// The namespaces of one run. Dropping it ends what runs in them, and removes them.
pub(super) struct Internet {
    prefix: String,
    spaces: Vec<String>,
    /// Addresses on the continents that are taken.
    taken: u8,
    /// Networks behind routers.
    homes: u8,
    /// Where hosts behind a router plug in, with the next address of it.
    routers: Vec<(String, u8, u8)>,
}

/// A router of an [`Internet`].
#[derive(Debug, Clone, Copy)]
pub(super) struct RouterId(usize);

impl Internet {
    /// Why none can be made here, if so.
    pub(super) fn missing() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("only root may make network namespaces".into());
        }
        for (tool, version) in [("ip", "-V"), ("nft", "-v")] {
            if Command::new(tool).arg(version).output().is_err() {
                return Some(format!("`{tool}` is missing: apt-get install iproute2 nftables"));
            }
        }
        None
    }

    /// Two continents and the cable between them.
    pub(super) fn new() -> Self {
        remove_leftovers();
        let prefix = format!("{PREFIX}-{}", std::process::id());
        let (spaces, routers) = (Vec::new(), Vec::new());
        let mut all = Self { prefix, spaces, taken: 0, homes: 0, routers };
        let backbone = all.space(BACKBONE);
        for side in [Side::Near, Side::Far] {
            let bridge = side.bridge();
            ip(&["-n", &backbone, "link", "add", bridge, "type", "bridge"]);
            ip(&["-n", &backbone, "link", "set", bridge, "up"]);
        }
        ip(&["-n", &backbone, "link", "add", "cable", "type", "veth", "peer", "name", "shore"]);
        for (end, side) in [("cable", Side::Near), ("shore", Side::Far)] {
            ip(&["-n", &backbone, "link", "set", end, "master", side.bridge()]);
            ip(&["-n", &backbone, "link", "set", end, "up"]);
        }
        all
    }

    /// Cuts the cable, or mends it.
    pub(super) fn cable(&self, whole: bool) {
        let to = if whole { "up" } else { "down" };
        ip(&["-n", &self.spaces[0], "link", "set", "cable", to]);
    }

    /// A host that anybody can call: its namespace and its address.
    pub(super) fn public(&mut self, name: &str, side: Side) -> (String, String) {
        let space = self.space(name);
        let address = self.plug(&space, "out", side);
        (space, address)
    }

    /// A router on a continent, or behind another router.
    pub(super) fn router(&mut self, name: &str, side: Side, kind: Router) -> RouterId {
        let space = self.space(name);
        self.plug(&space, "out", side);
        self.route(space, kind)
    }

    /// A router whose own provider has it behind another.
    pub(super) fn router_behind(&mut self, name: &str, outer: RouterId, kind: Router) -> RouterId {
        let space = self.space(name);
        self.plug_behind(&space, "out", outer);
        self.route(space, kind)
    }

    /// A host that nobody can call.
    pub(super) fn private(&mut self, name: &str, router: RouterId) -> String {
        let space = self.space(name);
        self.plug_behind(&space, "out", router);
        space
    }

    fn route(&mut self, space: String, kind: Router) -> RouterId {
        self.homes += 1;
        let home = self.homes;
        ip(&["-n", &space, "link", "add", "in", "type", "bridge"]);
        ip(&["-n", &space, "link", "set", "in", "up"]);
        ip(&["-n", &space, "address", "add", &format!("10.0.{home}.1/24"), "dev", "in"]);
        let forward = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        succeeds(within(&space, forward[0]).args(&forward[1..]));
        let mut nft = within(&space, "nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
        let rules = nft.stdin.take().expect("it is a pipe").write_all(kind.rules().as_bytes());
        rules.expect("nft reads its rules");
        assert!(nft.wait().expect("nft ends").success(), "nft does not take {kind:?}");
        self.routers.push((space, home, 1));
        RouterId(self.routers.len() - 1)
    }

    /// A new namespace.
    fn space(&mut self, name: &str) -> String {
        let space = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &space]);
        self.spaces.push(space.clone());
        ip(&["-n", &space, "link", "set", "lo", "up"]);
        space
    }

    fn plug(&mut self, space: &str, link: &str, side: Side) -> String {
        self.taken += 1;
        let address = format!("198.18.0.{}", self.taken);
        let port = format!("port{}", self.taken);
        wire(space, link, &self.spaces[0], &port, side.bridge());
        ip(&["-n", space, "address", "add", &format!("{address}/24"), "dev", link]);
        // Nobody is there; but a machine without such a route believes that it is not connected.
        ip(&["-n", space, "route", "add", "default", "via", "198.18.0.254"]);
        address
    }

    fn plug_behind(&mut self, space: &str, link: &str, router: RouterId) {
        let (outer, home, last) = &mut self.routers[router.0];
        *last += 1;
        wire(space, link, outer, &format!("port{last}"), "in");
        ip(&["-n", space, "address", "add", &format!("10.0.{home}.{last}/24"), "dev", link]);
        ip(&["-n", space, "route", "add", "default", "via", &format!("10.0.{home}.1")]);
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // What hangs on the bridges goes first.
        for space in self.spaces.iter().rev() {
            remove(space);
        }
    }
}

/// A program in a namespace. It takes the place of `ip`, so that the child is the program itself.
pub(super) fn within(space: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", space]).arg(program).stdin(Stdio::null());
    command
}

/// Bytes that a namespace's link to the outside has received and sent.
pub(super) fn moved(space: &str) -> u64 {
    let output = within(space, "cat").arg("/proc/net/dev").output().expect("cat starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("out:"));
    let fields: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|it| it.parse().ok()).collect();
    fields.first().unwrap_or(&0) + fields.get(8).unwrap_or(&0)
}

/// A line from a namespace to a bridge of another.
fn wire(space: &str, link: &str, hub: &str, port: &str, bridge: &str) {
    ip(&["link", "add", link, "netns", space, "type", "veth", "peer", "name", port, "netns", hub]);
    ip(&["-n", hub, "link", "set", port, "master", bridge]);
    ip(&["-n", hub, "link", "set", port, "up"]);
    ip(&["-n", space, "link", "set", link, "up"]);
}

/// Ends whatever still runs in a namespace of ours, and removes it.
fn remove(space: &str) {
    let pids = Command::new("ip").args(["netns", "pids", space]).output();
    let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for pid in pids.unwrap_or_default().lines().filter_map(|pid| pid.trim().parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", space]).status();
}

/// Namespaces of runs that were killed before they could remove them.
fn remove_leftovers() {
    let listed = Command::new("ip").args(["netns", "list"]).output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    for space in listed.unwrap_or_default().lines().filter_map(|it| it.split(' ').next()) {
        let run = space.strip_prefix(PREFIX).and_then(|it| it.strip_prefix('-'));
        let pid = run.and_then(|it| it.split('-').next()).filter(|it| it.parse::<u32>().is_ok());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            remove(space);
        }
    }
}

fn ip(args: &[&str]) {
    succeeds(Command::new("ip").args(args));
}

fn succeeds(command: &mut Command) {
    let done: io::Result<Output> = command.output();
    assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{command:?}: {done:?}");
}
