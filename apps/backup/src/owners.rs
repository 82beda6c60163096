//! Names of users and groups, each looked up once.

use std::collections::BTreeMap;

use crate::limits::OWNER_BYTES_MAX;

/// What this machine calls its users and groups.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    uids: BTreeMap<String, Option<u32>>,
    gids: BTreeMap<String, Option<u32>>,
}

impl Owners {
    /// The name of a user; empty if there is none.
    pub(crate) fn user(&mut self, uid: u32) -> String {
        let name = |uid| uzers::get_user_by_uid(uid).map(|user| text(user.name()));
        self.users.entry(uid).or_insert_with(|| name(uid).unwrap_or_default()).clone()
    }

    /// The name of a group; empty if there is none.
    pub(crate) fn group(&mut self, gid: u32) -> String {
        let name = |gid| uzers::get_group_by_gid(gid).map(|group| text(group.name()));
        self.groups.entry(gid).or_insert_with(|| name(gid).unwrap_or_default()).clone()
    }

    /// The number that a user of this name has here, or else had there.
    pub(crate) fn uid(&mut self, name: &str, there: u32) -> u32 {
        let number = || uzers::get_user_by_name(name).map(|user| user.uid());
        number_of(&mut self.uids, name, number).unwrap_or(there)
    }

    /// The number that a group of this name has here, or else had there.
    pub(crate) fn gid(&mut self, name: &str, there: u32) -> u32 {
        let number = || uzers::get_group_by_name(name).map(|group| group.gid());
        number_of(&mut self.gids, name, number).unwrap_or(there)
    }
}

fn number_of(
    known: &mut BTreeMap<String, Option<u32>>,
    name: &str,
    number: impl FnOnce() -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if let Some(number) = known.get(name) {
        return *number;
    }
    let number = number();
    known.insert(name.to_owned(), number);
    number
}

fn text(name: &std::ffi::OsStr) -> String {
    let mut name = name.to_string_lossy().into_owned();
    name.retain(|letter| letter != '\0');
    if name.len() > OWNER_BYTES_MAX { String::new() } else { name }
}
