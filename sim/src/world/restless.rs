//! What keeps a world from coming to rest, and what the leader says of it.

use isos_base::TaskId;
use isos_base::api::Explanation;
use isos_base::record::{JobState, LeaseState};
use isos_base::slice::SliceState;

use super::World;
use crate::checks::bad_share;
use crate::server::{Part, Server};

impl World {
    /// What is not done yet.
    pub(super) fn restless(&mut self) -> Option<String> {
        if let Some(n) = self.errands.iter().position(|errand| errand.answer.is_none()) {
            return Some(format!("request {n} is not answered"));
        }
        let active = |state: JobState| state == JobState::Active;
        if let Some(job) = self.database.tables.jobs.values().find(|job| active(job.state)) {
            return Some(format!("job {} is not over", job.id));
        }
        let mut slices = self.database.tables.slices.values();
        if let Some(slice) = slices.find(|it| it.state == SliceState::Open) {
            return Some(format!("slice {} is not over", slice.id));
        }
        if let Some(payout) = self.payout_waits() {
            return Some(format!("payout {payout} waits"));
        }
        let mut rest = self.database.tables.leases.range(self.unsettled..);
        if let Some((&lease, _)) = rest.find(|(_, lease)| lease.state != LeaseState::Settled) {
            self.unsettled = lease;
            return Some(format!("lease {lease} is not settled"));
        }
        let (leader, epoch) = (self.database.leader, self.database.epoch);
        let leads = |server: &mut Server| {
            let leader = server.leader();
            leader.is_some_and(|it| it.epoch == epoch && it.machine.is_some() && it.is_idle())
        };
        if !leads(&mut self.servers[leader as usize]) {
            return Some("no server leads".into());
        }
        for (n, server) in self.servers.iter().enumerate() {
            let follows = matches!(&server.part, Part::Follows(it) if it.leader == Some(leader));
            if n as u32 != leader && !follows {
                return Some(format!("server {n} does not follow the leader"));
            }
        }
        let busy = self.hosts.iter().position(|host| !host.is_at_rest());
        busy.map(|n| format!("host {n} has tasks or news"))
    }

    /// Why a job is not over, as anybody may ask: of the job, and of its first open task.
    pub(super) fn explained(&mut self) -> Option<String> {
        let mut jobs = self.database.tables.jobs.values();
        let job = jobs.find(|job| job.state == JobState::Active)?;
        let (id, verify, count) = (job.id, job.spec.verify, job.spec.count);
        let liars = self.hosts.iter().filter(|host| host.lies()).count();
        let mut text = format!(
            " (by {verify}; {liars} of {} hosts lie, with {:.0} % of the work",
            self.hosts.len(),
            bad_share(&self.hosts) * 100.0
        );
        let leader = self.servers[self.database.leader as usize].leader()?;
        let machine = leader.machine.as_mut()?;
        let tasks = (0..count).filter_map(|task| machine.explain_task(TaskId { job: id, task }));
        let task = tasks.into_iter().find(|task| !task.reasons.is_empty());
        for Explanation { about, verdict, reasons } in
            machine.explain_job(id).into_iter().chain(task)
        {
            text += &format!("; {about} is {verdict}");
            reasons.iter().for_each(|it| text += &format!(", {}: {}", it.about, it.why));
        }
        Some(text + ")")
    }
}
