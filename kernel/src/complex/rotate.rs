//! A host with another key: its account, its history and what it is trusted follow, and so does
//! what it is found guilty of later.

use isos_base::HostId;
use isos_base::api::{Problem, ProblemCode};
use isos_base::audit::{Actor, Deed};

use super::keys::Once;
use super::{Complex, Effect, Host, Reply};

impl Complex {
    /// A host has another key from now on. Both keys have said so.
    pub(super) fn rotate_host(
        &mut self,
        old: HostId,
        new: HostId,
        once: Option<Once>,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Problem> {
        let refuse = |message: String| Err(Problem::new(ProblemCode::Refused, message));
        let Some(host) = self.hosts.get(&old) else {
            let message = format!("no host has the key {old}: it must have joined once");
            return Err(Problem::new(ProblemCode::NotFound, message));
        };
        match host.record.successor {
            // Whoever asks has not heard the first answer.
            Some(next) if next == new => return Ok(Reply::Done),
            Some(next) => return refuse(format!("this host has the key {next} already")),
            None => {}
        }
        if let Some(why) = &host.record.barred {
            return refuse(format!("the host is barred ({why}): another key does not help"));
        }
        if self.hosts.contains_key(&new) {
            return refuse(format!("{new} is the key of another host: make a fresh one"));
        }
        let account = host.record.account;
        let (keys, max) = (self.owners.keys_of(account).count(), self.config.account_hosts_max * 2);
        if keys >= max {
            return refuse(format!("hosts of account {account} have had {max} keys, the limit"));
        }
        self.use_up(once, effects)?;
        self.end_session(old, effects);
        self.lost.retain(|&(_, host)| host != old);
        self.drop_leases(old, effects);
        let host = self.hosts.get_mut(&old).expect("looked up above");
        let mut record = host.record.clone();
        record.id = new;
        host.record.successor = Some(new);
        let (account, spec, ticket) = (record.account, record.spec.clone(), record.ticket.clone());
        let (class, good) = (self.classes.enter(&spec), self.market.enter(&spec));
        let host = Host::absent(record, class, good, self.now);
        self.hosts.insert(new, host);
        self.predecessors.insert(new, old);
        self.move_keeper(old, new, effects);
        self.owners.leave(account, old, &None);
        self.owners.keep_former(account, old);
        self.owners.enter(account, new, &None);
        self.names.leave(&spec.name, old);
        self.names.enter(&spec.name, new);
        self.recount(old);
        self.recount(new);
        self.came_by.leave(old, &ticket);
        self.came_by.enter(new, &ticket);
        self.move_firm(old, new, effects);
        self.move_slivers(old, new, effects);
        self.dirty_hosts.extend([old, new]);
        self.book.by = Actor::Host { host: old };
        self.audit(Some(account), Deed::HostKeyRotated { old, new }, effects);
        self.book.by = Actor::Complex;
        Ok(Reply::Done)
    }

    /// All other keys that a host has and had: it is one machine, whatever it is called.
    pub(super) fn other_keys_of(&self, id: HostId) -> Vec<HostId> {
        let next = |id: &HostId| self.hosts.get(id).and_then(|host| host.record.successor);
        let later = std::iter::successors(next(&id), next);
        let before = |id: &HostId| self.predecessors.get(id).copied();
        later.chain(std::iter::successors(before(&id), before)).collect()
    }
}
