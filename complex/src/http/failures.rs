//! Why tasks of a job failed or were given up: the reasons, each once, with how many tasks have it
//! and which for example.

use std::collections::BTreeMap;

use isos_base::JobId;
use isos_base::api::ReasonView;
use isos_base::record::Accepted;
use isos_db::{Db, ReadError};

use super::redone::Redone;

/// Results that are looked at; a job with more failures is explained by these.
const LOOKED_AT_MAX: u64 = 100_000;
/// Rows that are read at once.
const PAGE_ROWS: u32 = 100;
/// Reasons that are told apart; what is rarer is counted together.
const GROUPS_MAX: usize = 20;
/// Tasks that are named of each.
const EXAMPLES_MAX: usize = 3;

/// Tasks that ended alike.
#[derive(Debug, Default)]
struct Group {
    count: u64,
    examples: Vec<u32>,
    /// Whether the program ended by itself, so that it may have said why.
    spoke: bool,
}

/// Counts tasks by how they ended.
#[derive(Debug, Default)]
struct Groups {
    by_reason: BTreeMap<String, Group>,
    found: u64,
    others: u64,
}

/// The reasons of the `unlucky` tasks of a job that failed or were given up one by one.
pub(super) async fn of(db: &Db, job: JobId, unlucky: u64) -> Result<Vec<ReasonView>, ReadError> {
    let mut groups = Groups::default();
    let (mut after, mut looked) = (None, 0);
    let redone = Redone::of(db, job).await?;
    while groups.found < unlucky && looked < LOOKED_AT_MAX {
        let batches = db.results(job, after, PAGE_ROWS).await?;
        let Some(last) = batches.last() else { break };
        after = Some(last.batch);
        for accepted in batches.iter().flat_map(|batch| &batch.results) {
            looked += 1;
            let failed = accepted.result.as_ref().is_ok_and(|result| !result.exit.is_success());
            if (failed || accepted.result.is_err()) && redone.counts(db, job, accepted).await? {
                groups.add(accepted);
            }
        }
    }
    Ok(groups.views(job))
}

impl Groups {
    fn add(&mut self, accepted: &Accepted) {
        let (why, spoke) = match &accepted.result {
            Ok(result) if result.exit.is_success() => return,
            Ok(result) => (format!("the program failed: {}", result.exit), true),
            Err(why) => (format!("given up: {why}"), false),
        };
        self.found += 1;
        if self.by_reason.len() >= GROUPS_MAX && !self.by_reason.contains_key(&why) {
            self.others += 1;
            return;
        }
        let group = self.by_reason.entry(why).or_default();
        group.count += 1;
        group.spoke = spoke;
        if group.examples.len() < EXAMPLES_MAX {
            group.examples.push(accepted.task);
        }
    }

    /// The most frequent first.
    fn views(self, job: JobId) -> Vec<ReasonView> {
        let mut groups: Vec<_> = self.by_reason.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        let view = |(why, group): (String, Group)| {
            let examples: Vec<String> = group.examples.iter().map(u32::to_string).collect();
            let more = if group.count as usize > examples.len() { ", ..." } else { "" };
            let plural = if group.count == 1 { "" } else { "s" };
            let first = group.examples.first().copied().unwrap_or_default();
            let remedy = group
                .spoke
                .then(|| format!("`isos job logs {job}@{first} --stderr` shows what it said"));
            ReasonView {
                about: format!("{} task{plural} ({}{more})", group.count, examples.join(", ")),
                why,
                remedy,
            }
        };
        let mut views: Vec<ReasonView> = groups.into_iter().map(view).collect();
        if self.others > 0 {
            views.push(ReasonView {
                about: format!("{} more tasks", self.others),
                why: "other reasons".into(),
                remedy: None,
            });
        }
        views
    }
}

#[cfg(test)]
mod tests {
    use isos_base::Fuel;
    use isos_base::task::{Exit, OutputAt, TaskResult};

    use super::*;

    fn ended(task: u32, exit: Exit) -> Accepted {
        let output = OutputAt::Inline(Vec::new());
        let result = TaskResult { task, exit, fuel: Fuel(1), output };
        Accepted { task, result: Ok(result), host: None }
    }

    #[test]
    fn each_reason_is_told_once_with_its_count_and_examples() {
        let mut groups = Groups::default();
        for task in 0..10 {
            groups.add(&ended(task, Exit::Code(u8::from(task % 2 == 0).into())));
        }
        groups.add(&Accepted { task: 10, result: Err("timed out".into()), host: None });
        let views = groups.views(JobId(4));
        let told: Vec<_> =
            views.iter().map(|view| format!("{}: {}", view.about, view.why)).collect();
        assert_eq!(
            told,
            [
                "5 tasks (0, 2, 4, ...): the program failed: exit code 1",
                "1 task (10): given up: timed out"
            ]
        );
        let remedy = views[0].remedy.as_deref().unwrap_or_default();
        assert!(remedy.contains("isos job logs 4@0"), "{remedy}");
    }

    #[test]
    fn reasons_are_bounded() {
        let mut groups = Groups::default();
        for code in 1..=100 {
            groups.add(&ended(code, Exit::Code(code as _)));
        }
        let views = groups.views(JobId(4));
        assert_eq!(views.len(), GROUPS_MAX + 1);
        assert_eq!(views[GROUPS_MAX].about, "80 more tasks");
    }
}
