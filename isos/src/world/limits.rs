//! What one address, one account and one host may take of a server, as its operator says it.

use isos_base::Bytes;
use isos_complex::Limits;
use isos_kernel::complex::Config;

/// The limits of `isos server`.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits (0: none; a second's worth ten times over at once)")]
pub(crate) struct LimitArgs {
    /// HTTP requests a second from one address (IPv4, or /56 of IPv6).
    #[arg(long, value_name = "N", default_value_t = Limits::default().address_requests)]
    pub(crate) address_requests: u32,
    /// Unknown or wrong tokens a second from one address.
    #[arg(long, value_name = "N", default_value_t = Limits::default().address_tokens)]
    pub(crate) address_tokens: u32,
    /// Connections to the API at once from one address.
    #[arg(long, value_name = "N", default_value_t = Limits::default().address_connections)]
    pub(crate) address_connections: u32,
    /// Handshakes a second from one address.
    #[arg(long, value_name = "N", default_value_t = Limits::default().address_handshakes)]
    pub(crate) address_handshakes: u32,
    /// Connections of hosts at once from one address.
    #[arg(long, value_name = "N", default_value_t = Limits::default().address_hosts)]
    pub(crate) address_hosts: u32,
    /// All callers of the HTTP socket come through a proxy, which limits addresses itself.
    #[arg(long)]
    pub(crate) http_behind_proxy: bool,
    /// Requests a second of one account.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_requests)]
    pub(crate) account_requests: u32,
    /// Requests of one account at once, streams of events and results among them.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_open)]
    pub(crate) account_open: u32,
    /// Bytes of one account's uploads at once.
    #[arg(long, value_name = "SIZE", default_value_t = Limits::default().account_uploads)]
    pub(crate) account_uploads: Bytes,
    /// Bytes of outputs and lists of files in memory for one account.
    #[arg(long, value_name = "SIZE", default_value_t = Limits::default().account_reads)]
    pub(crate) account_reads: Bytes,
    /// Jobs of one account that are not over.
    #[arg(long, value_name = "N", default_value_t = Config::default().account_jobs_max)]
    pub(crate) account_jobs: usize,
    /// Tasks of one account's jobs that are not over.
    #[arg(long, value_name = "N", default_value_t = Config::default().account_tasks_max)]
    pub(crate) account_tasks: u64,
    /// Hosts that earn for one account.
    #[arg(long, value_name = "N", default_value_t = Config::default().account_hosts_max)]
    pub(crate) account_hosts: usize,
    /// Percent of the room for objects that one account may have, of what others leave.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_shelf)]
    pub(crate) account_shelf: u32,
    /// What one account may lease of all hosts' disks together.
    #[arg(long, value_name = "SIZE", default_value_t = Config::default().account_storage_max)]
    pub(crate) account_storage: Bytes,
    /// Requests of one account at once that read much: statements, results, explanations of jobs.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_scans)]
    pub(crate) account_scans: u32,
    /// Logins, tickets, revocations, keys, bids, reservations, storage leases and payouts of one
    /// account a minute.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_changes)]
    pub(crate) account_changes: u32,
    /// Sessions that all hosts of one account may begin a second.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_sessions)]
    pub(crate) account_sessions: u32,
    /// Frames of all hosts of one account a second; what they send beyond is read later.
    #[arg(long, value_name = "N", default_value_t = Limits::default().account_frames)]
    pub(crate) account_frames: u32,
    /// Sessions that one host may begin a second.
    #[arg(long, value_name = "N", default_value_t = Limits::default().host_sessions)]
    pub(crate) host_sessions: u32,
    /// Frames of one host a second; what it sends beyond is read later.
    #[arg(long, value_name = "N", default_value_t = Limits::default().host_frames)]
    pub(crate) host_frames: u32,
}

impl LimitArgs {
    /// Those that the server itself sees to; the others are its machine's.
    pub(crate) fn of_server(&self) -> Limits {
        Limits {
            address_requests: self.address_requests,
            address_tokens: self.address_tokens,
            address_connections: self.address_connections,
            address_handshakes: self.address_handshakes,
            address_hosts: self.address_hosts,
            http_behind_proxy: self.http_behind_proxy,
            account_requests: self.account_requests,
            account_open: self.account_open,
            account_uploads: self.account_uploads,
            account_reads: self.account_reads,
            account_shelf: self.account_shelf,
            account_scans: self.account_scans,
            account_changes: self.account_changes,
            account_sessions: self.account_sessions,
            account_frames: self.account_frames,
            host_sessions: self.host_sessions,
            host_frames: self.host_frames,
        }
    }
}

/// As the machine has it, where 0 is nothing at all.
pub(crate) fn unless_zero(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    const OPERATE: &str = include_str!("../../../docs/operate.md");

    /// The first two cells of each row of the table of limits, without what is for eyes alone.
    fn told() -> Vec<(String, String)> {
        let (_, section) = OPERATE.split_once("## Who may take how much").expect("the section");
        let table = section.lines().skip_while(|line| !line.starts_with("| option")).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
        });
        let option = |cell: &str| cell.trim_matches('`').trim_start_matches("--").to_owned();
        let default = |cell: &str| {
            cell.replace(',', "").trim_end_matches("/s").trim_end_matches("/min").to_owned()
        };
        cells.map(|(name, value)| (option(name), default(value))).collect()
    }

    #[test]
    fn the_table_of_limits_tells_each_option_and_its_default() {
        let command = LimitArgs::augment_args(clap::Command::new("server"));
        let known = command.get_arguments().filter(|it| it.get_action().takes_values());
        let known = known.map(|argument| {
            let default = argument.get_default_values().first().expect("each has one");
            let name = argument.get_long().expect("each has a long name");
            (name.to_owned(), default.to_string_lossy().into_owned())
        });
        assert_eq!(told(), known.collect::<Vec<_>>());
    }
}
