//! Which jobs are meant: `42`, `1,3,5-8`, `last`.

use std::collections::BTreeSet;
use std::str::FromStr;

use isos_base::{JobId, TaskRange};
use isos_sdk::Client;

use crate::exit::Refusal;

/// Jobs of one command line: more are a typing error.
pub(crate) const JOBS_MAX: u64 = 10_000;

/// Which jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Jobs {
    /// The newest of the account.
    Last,
    /// These, in order.
    These(BTreeSet<JobId>),
}

impl FromStr for Jobs {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "last" {
            return Ok(Self::Last);
        }
        let mut jobs = BTreeSet::new();
        for part in text.split(',') {
            let number = |text: &str| {
                text.trim().parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(|| {
                    format!("{text:?} is no job: use a number such as 42, 1,3,5-8, or last")
                })
            };
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if last < first {
                return Err(format!("{part:?} ends before it begins"));
            }
            if last - first >= JOBS_MAX || jobs.len() as u64 + (last - first) >= JOBS_MAX {
                return Err(format!("{part:?}: more than {JOBS_MAX} jobs"));
            }
            jobs.extend((first..=last).map(JobId));
        }
        Ok(Self::These(jobs))
    }
}

impl Jobs {
    /// The numbers, with `last` looked up.
    pub(crate) async fn resolve(&self, client: &Client) -> anyhow::Result<Vec<JobId>> {
        match self {
            Self::These(jobs) => Ok(jobs.iter().copied().collect()),
            Self::Last => Ok(vec![last(client).await?]),
        }
    }
}

/// One job: a number or `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OneJob {
    /// The newest of the account.
    Last,
    /// This.
    This(JobId),
}

/// One job, and perhaps one task of it: `42`, `last`, `42@7`, `last@7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobTask {
    /// The job.
    pub(crate) job: OneJob,
    /// The task, if one is named.
    pub(crate) task: Option<u32>,
}

/// A part of a job's tasks: `5..10` is 5 to 9, `5..` from 5 on, `..10` the first ten, `7` one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TaskPart(pub(crate) TaskRange);

impl FromStr for TaskPart {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, otherwise: u32| match text.trim() {
            "" => Ok(otherwise),
            digits => digits.parse::<u32>().map_err(|_| {
                format!("{text:?} is no task: use 5..10 for tasks 5 to 9, 5.., ..10, or 7")
            }),
        };
        let (start, end) = match text.split_once("..") {
            Some((start, end)) => (number(start, 0)?, number(end, u32::MAX)?),
            None if text.trim().is_empty() => return Err("name tasks, such as 5..10".into()),
            None => (number(text, 0)?, number(text, 0)?.saturating_add(1)),
        };
        if end <= start {
            return Err(format!("{text:?} has no task: the second number is one past the last"));
        }
        Ok(Self(TaskRange::new(start, end)))
    }
}

impl TryFrom<String> for TaskPart {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for OneJob {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            _ => text
                .parse()
                .map(Self::This)
                .map_err(|_| format!("{text:?} is no job: use a number such as 42, or last")),
        }
    }
}

impl FromStr for JobTask {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((job, task)) = text.split_once('@') else {
            return Ok(Self { job: text.parse()?, task: None });
        };
        let number = task
            .parse()
            .map_err(|_| format!("{task:?} is no task: use a number from 0 on, as in 42@7"))?;
        Ok(Self { job: job.parse()?, task: Some(number) })
    }
}

impl OneJob {
    /// The number, with `last` looked up.
    pub(crate) async fn resolve(self, client: &Client) -> anyhow::Result<JobId> {
        match self {
            Self::Last => last(client).await,
            Self::This(job) => Ok(job),
        }
    }
}

async fn last(client: &Client) -> anyhow::Result<JobId> {
    let newest = client.last_job().await?.map(|job| job.id);
    newest.ok_or_else(|| {
        Refusal::not_found("this account has no job yet: `isos submit` makes one").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_numbers_ranges_and_the_last_one() {
        let these = |jobs: &[u64]| Ok(Jobs::These(jobs.iter().copied().map(JobId).collect()));
        assert_eq!("last".parse(), Ok(Jobs::Last));
        assert_eq!("42".parse(), these(&[42]));
        assert_eq!("1,3,5-8".parse(), these(&[1, 3, 5, 6, 7, 8]));
        assert_eq!("3, 3".parse(), these(&[3]));
        for bad in ["", "a", "0", "5-3", "1-", "-3", "1,,2", "1-99999999999", "42@7", "latest"] {
            assert!(bad.parse::<Jobs>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_part_is_named_by_its_ends() {
        let of = |start, end| Ok(TaskPart(TaskRange::new(start, end)));
        assert_eq!("5..10".parse(), of(5, 10));
        assert_eq!("5..".parse(), of(5, u32::MAX));
        assert_eq!("..10".parse(), of(0, 10));
        assert_eq!("7".parse(), of(7, 8));
        for bad in ["", "5..5", "9..5", "a", "-1", "1-5", "1..x", "5...9"] {
            assert!(bad.parse::<TaskPart>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_task_is_named_behind_its_job() {
        let of = |job, task| Ok(JobTask { job, task });
        assert_eq!("42@7".parse(), of(OneJob::This(JobId(42)), Some(7)));
        assert_eq!("last@0".parse(), of(OneJob::Last, Some(0)));
        assert_eq!("42".parse(), of(OneJob::This(JobId(42)), None));
        assert!("42@".parse::<JobTask>().is_err());
        assert!("@7".parse::<JobTask>().is_err());
    }
}
