//! What commands answer with, each in all three forms.

mod account;
mod agent;
mod audit;
mod backup;
mod bank;
mod cloud;
mod explain;
mod export;
mod host;
mod job;
mod keys;
mod market;
mod objects;
mod place;
mod policy;
mod query;
mod quota;
mod replay;
mod results;
mod settings;
mod slice;
mod started;
mod status;
mod token;
mod trace;

pub(crate) use account::{AccountList, AccountReport, StatementReport};
pub(crate) use agent::{AgentReport, RestingReport};
pub(crate) use audit::{AuditChecked, AuditList};
pub(crate) use backup::{
    BackupPhrase, BackupVerified, ChangeList, EntryList, Forgotten, RestoredReport,
    SnapshotCreated, SnapshotList,
};
pub(crate) use bank::{
    DepositAddresses, PayoutList, PayoutReport, ProposalReport, Proposals, RailList,
};
pub(crate) use cloud::CloudReport;
pub(crate) use explain::ExplainReport;
pub(crate) use export::{Exported, LedgerHead, Verified};
pub(crate) use host::{HostKeyRotated, HostList, HostReport};
pub(crate) use job::{JobDetails, JobList, JobReport, ended};
pub(crate) use keys::{KeyList, KeyRemoved, Phrase, Recovering, RecoveryStopped};
pub(crate) use market::{
    AskReport, FirmList, HistoryReport, PricesReport, ReservationList, ReservationReport,
};
pub(crate) use objects::{
    Checked, FileList, GetReport, HealthReport, ObjectList, PutList, PutPlan, PutReport,
    RemovedReport, ShareReport, VerifyReport,
};
pub(crate) use place::{PlanReport, Revoked, TicketReport};
pub(crate) use policy::{PolicyCheck, PolicyNow, PolicyText};
pub(crate) use query::{QueryReport, Wanted};
pub(crate) use quota::QuotaReport;
pub(crate) use replay::ReplayReport;
pub(crate) use results::{SavedReport, TaskList, TaskLog};
pub(crate) use settings::SettingsReport;
pub(crate) use slice::{RankReport, SliceList, SliceReport, SliceRunReport};
pub(crate) use started::{Started, data_of};
pub(crate) use status::StatusReport;
pub(crate) use token::{KeyReport, NewToken, TokenReport};
pub(crate) use trace::TraceReport;

#[cfg(test)]
pub(crate) mod tests;
