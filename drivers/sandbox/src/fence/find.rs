//! Where a control group of ours may be made: below the group that this agent is in, or, in version
//! 2, below one above it that is ours to write to and limits nothing.
//!
//! Nothing of others is touched: no process but children is moved, with one exception that the
//! kernel's rules make (this agent itself, alone in a group that was delegated to it), and no
//! controller is turned on where other groups would feel it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::group::{Ability, Group, NAME, Version, processes, sweep};

/// Said where the search found nothing better.
pub(super) const WHY_NONE: &str = "no control group here is this user's to divide";

/// The trees of groups that this process sees, and where in them it is.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Root and own folder of the one tree of version 2.
    two: Option<(PathBuf, PathBuf)>,
    /// Controller and own folder in each tree of version 1.
    one: Vec<(String, PathBuf)>,
}

impl Mounts {
    pub(super) fn here() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &own))
    }

    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(super) fn parse(mounts: &str, own: &str) -> Self {
        let own: Vec<(&str, &str)> = own
            .lines()
            .filter_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                Some((controllers, path))
            })
            .collect();
        let mut found = Self::default();
        for line in mounts.lines() {
            let Some((head, tail)) = line.split_once(" - ") else { continue };
            let fields: Vec<&str> = head.split(' ').collect();
            let (Some(root), Some(point)) = (fields.get(3), fields.get(4)) else { continue };
            let mut tail = tail.split(' ');
            let kind = tail.next().unwrap_or_default();
            let options = tail.nth(1).unwrap_or_default();
            let below = |path: &str| {
                // A path that leads out of what is mounted is not ours to see.
                let rest = path.strip_prefix(root.trim_end_matches('/'))?.trim_start_matches('/');
                (!rest.split('/').any(|part| part == "..")).then(|| Path::new(point).join(rest))
            };
            match kind {
                "cgroup2" if found.two.is_none() => {
                    let own = own.iter().find(|(controllers, _)| controllers.is_empty());
                    let own = own.and_then(|(_, path)| below(path));
                    found.two = own.map(|own| (PathBuf::from(point), own));
                }
                "cgroup" => {
                    for ability in Ability::ALL {
                        let controller = ability.controller();
                        let is_in = |list: &str| list.split(',').any(|one| one == controller);
                        if controller.is_empty() || !is_in(options) {
                            continue;
                        }
                        let own = own.iter().find(|(controllers, _)| is_in(controllers));
                        if let Some(own) = own.and_then(|(_, path)| below(path)) {
                            found.one.push((controller.into(), own));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// Makes the groups that can be made here. Each ability is in one of them at the most.
///
/// # Errors
/// Nothing could be made, and why. Nothing is left behind then.
pub(super) fn groups(mounts: &Mounts, name: &str, idle: bool) -> io::Result<Vec<Group>> {
    let mut made: Vec<Group> = Vec::new();
    let mut refused = None;
    if let Some((root, own)) = &mounts.two {
        match second(root, own, name, idle) {
            Ok(group) => made.push(group),
            Err(error) => refused = Some(error),
        }
    }
    for ability in Ability::ALL {
        if made.iter().any(|group| group.can(ability)) {
            continue;
        }
        let tree = mounts.one.iter().find(|(controller, _)| controller == ability.controller());
        let Some((_, own)) = tree else { continue };
        sweep(own);
        // Controllers that are mounted together share one folder.
        let name = if own.join(name).exists() {
            format!("{name}{}", ability.controller())
        } else {
            name.into()
        };
        match Group::make(own, &name, Version::One, (vec![ability], idle), None) {
            Ok(group) => made.push(group),
            Err(error) => refused = Some(named(own, &error)),
        }
    }
    match (made.is_empty(), refused) {
        (true, Some(error)) => Err(error),
        _ => Ok(made),
    }
}

fn named(dir: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", dir.display()))
}

/// Where a group of version 2 could be made and what it could divide there: what can most first,
/// and the nearest of those.
pub(super) fn places<'a>(root: &Path, own: &'a Path) -> Vec<(&'a Path, Vec<Ability>)> {
    let mut places: Vec<(&Path, Vec<Ability>)> = Vec::new();
    for dir in own.ancestors().take_while(|dir| dir.starts_with(root)) {
        places.push((dir, can_divide(dir)));
        if limits(dir) {
            break;
        }
    }
    places.sort_by_key(|(_, can)| std::cmp::Reverse(can.len()));
    places
}

/// Makes a group of version 2 at the first place that takes one.
fn second(root: &Path, own: &Path, name: &str, idle: bool) -> io::Result<Group> {
    let mut refused = io::Error::other(WHY_NONE);
    for (dir, mut abilities) in places(root, own) {
        sweep(dir);
        let moved = match turn_on(dir, &abilities, name) {
            Ok(moved) => moved,
            Err(error) => {
                refused = named(dir, &error);
                continue;
            }
        };
        abilities.push(Ability::Freeze);
        match Group::make(dir, name, Version::Two, (abilities, idle), moved) {
            Ok(group) => return Ok(group),
            Err(error) => refused = named(dir, &error),
        }
    }
    Err(refused)
}

/// Whether a group holds its processes to less than the whole machine: then work stays below it.
fn limits(dir: &Path) -> bool {
    let says = |file: &str, none: &str| {
        fs::read_to_string(dir.join(file)).is_ok_and(|text| !text.trim().starts_with(none))
    };
    says("cpu.max", "max") || says("memory.max", "max")
}

fn words(dir: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// What a child group of `dir` could hold, with what may be turned on there.
fn can_divide(dir: &Path) -> Vec<Ability> {
    let on = words(dir, "cgroup.subtree_control");
    let there = if may_turn_on(dir) { words(dir, "cgroup.controllers") } else { Vec::new() };
    let has = |ability: &Ability| {
        let controller = ability.controller();
        on.iter().chain(&there).any(|one| one == controller)
    };
    [Ability::Cpu, Ability::Memory, Ability::Processes].into_iter().filter(has).collect()
}

/// Whether nobody else would feel it: no other group is below, and nobody is inside but this
/// process. The root of all groups may have processes inside.
fn may_turn_on(dir: &Path) -> bool {
    let others = fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
        !ours && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    !others && (is_root(dir) || processes(dir).iter().all(|&process| process == std::process::id()))
}

/// The root of all groups has no type.
fn is_root(dir: &Path) -> bool {
    !dir.join("cgroup.type").exists()
}

/// Turns on what is not. A group with processes inside cannot be divided, so this process, if it is
/// there alone, moves to a leaf; says which, and from where.
fn turn_on(
    dir: &Path,
    abilities: &[Ability],
    name: &str,
) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let on = words(dir, "cgroup.subtree_control");
    let off: Vec<String> = abilities
        .iter()
        .map(|ability| ability.controller())
        .filter(|controller| !on.iter().any(|one| one == controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    if off.is_empty() {
        return Ok(None);
    }
    let mut moved = None;
    if !is_root(dir) && !processes(dir).is_empty() {
        let leaf = dir.join(format!("{name}-agent"));
        fs::create_dir(&leaf)?;
        if let Err(error) = fs::write(leaf.join("cgroup.procs"), std::process::id().to_string()) {
            let _best_effort = fs::remove_dir(&leaf);
            return Err(error);
        }
        moved = Some((leaf, dir.to_owned()));
    }
    match (fs::write(dir.join("cgroup.subtree_control"), off.join(" ")), &moved) {
        (Err(error), Some((leaf, home))) => {
            let back = fs::write(home.join("cgroup.procs"), std::process::id().to_string());
            let _best_effort = back.and_then(|()| fs::remove_dir(leaf));
            Err(error)
        }
        (result, _) => result.map(|()| moved),
    }
}
