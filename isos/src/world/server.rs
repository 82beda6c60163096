//! `isos server`: one server of a complex, in the foreground.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};

use anyhow::Context as _;
use isos_base::capability::{self, Right};
use isos_base::price::{Price, StoragePrice};
use isos_base::{Bytes, MicroCredits, Span};
use isos_complex::rail::RailSpec;
use isos_complex::{
    EarlierKey, Follows, JournalConfig, Kept, Member, Part, Server, ServerConfig, Stopped, Turned,
};
use isos_kernel::complex::{APPROVALS_MAX, BankConfig, Config, Pricing};
use isos_kernel::market::Band;
use serde::{Deserialize, Serialize};

use super::limits::{LimitArgs, unless_zero};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::local::LocalComplex;
use crate::output::Mode;
use crate::report::Started;

/// What `isos server` is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// Where hosts and clients reach it: a UDP address.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:7071")]
    pub(crate) listen: SocketAddr,
    /// Where the HTTP API, health, metrics and dashboard answer: a TCP address, best on loopback.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub(crate) http: SocketAddr,
    /// Run a relay on this TCP address, for hosts that nobody can reach directly.
    #[arg(long, value_name = "ADDR")]
    pub(crate) relay: Option<SocketAddr>,
    /// The address under which others see this machine, if it is another.
    #[arg(long, value_name = "ADDR")]
    pub(crate) public: Option<SocketAddr>,
    /// The database: a file, a sqlite:// URL, or postgres://USER@HOST:PORT/DATABASE, over which
    /// any number of servers may run. Default: a file in the home.
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// File of the complex's key, which all its servers must have. Default: one in the home, made
    /// at the first start.
    #[arg(long, value_name = "FILE")]
    pub(crate) complex_key: Option<PathBuf>,
    /// File of the key that this server had before: who knows it by no other finds it by that.
    #[arg(long, value_name = "FILE", requires = "earlier_listen")]
    pub(crate) earlier_key: Option<PathBuf>,
    /// The UDP address that tickets name with the key before.
    #[arg(long, value_name = "ADDR", requires = "earlier_key")]
    pub(crate) earlier_listen: Option<SocketAddr>,
    /// Credits that a new account starts with.
    #[arg(long, value_name = "CREDITS", default_value = "10")]
    pub(crate) welcome: MicroCredits,
    /// Folder of programs, inputs and outputs, which all servers of a complex share. Default: one
    /// in the home.
    #[arg(long, value_name = "DIR")]
    pub(crate) objects: Option<PathBuf>,
    /// Room for programs, inputs and outputs.
    #[arg(long, value_name = "SIZE", default_value = "100GiB")]
    pub(crate) objects_max: Bytes,
    /// How long results stay after the end of their job; for ever, if not said.
    #[arg(long, value_name = "TIME")]
    pub(crate) keep: Option<Span>,
    /// The price: micro-credits per gigafuel; with --market, the one at which it opens.
    #[arg(long, value_name = "N", default_value_t = Config::default().price.0)]
    pub(crate) price: u32,
    /// Let a market make the price of each class of hosts, every half minute.
    #[arg(long)]
    pub(crate) market: bool,
    /// No price of the market falls lower. Default: a tenth of --price.
    #[arg(long, value_name = "N", requires = "market")]
    pub(crate) price_floor: Option<u32>,
    /// No price of the market rises higher. Default: a hundred times --price.
    #[arg(long, value_name = "N", requires = "market")]
    pub(crate) price_ceiling: Option<u32>,
    /// The price of storage: micro-credits for a GiB on a host's disk and 30 days, where its owner
    /// does not ask for more.
    #[arg(long, value_name = "N", default_value_t = Config::default().storage_price.0)]
    pub(crate) storage_price: u32,
    /// The complex's share of what hosts earn, such as 2.5%: at most 50%. It holds for bills that
    /// are posted from now on.
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = fee_bps)]
    pub(crate) fee: u16,
    /// What credits lose in a month that were earned more than three months ago and not spent, such
    /// as 5%: at most 50%. Credits that were paid in or granted lose nothing.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value = "0%",
        value_parser = fee_bps,
        requires = "market"
    )]
    pub(crate) demurrage: u16,
    /// A host that vanishes with tasks may come back within this time.
    #[arg(long, value_name = "TIME", default_value_t = Config::default().lost_after)]
    pub(crate) lost_after: Span,
    /// A host that keeps what others store, and was not heard of for so long, is given up: its
    /// leases go to others, and what lay there is made anew.
    #[arg(long, value_name = "TIME", default_value_t = Config::default().mend_after)]
    pub(crate) mend_after: Span,
    /// A host that is away for so long is replaced in its slices.
    #[arg(long, value_name = "TIME", default_value_t = Config::default().slice_away)]
    pub(crate) slice_away: Span,
    /// Idle hosts that keep their connection; all others sleep and poll.
    #[arg(long, value_name = "N", default_value_t = Config::default().held_hosts_max)]
    pub(crate) held_hosts: usize,
    /// Polls a second of all other idle hosts together: the more hosts, the longer each sleeps.
    #[arg(long, value_name = "N", default_value_t = Config::default().polls_per_second_max)]
    pub(crate) polls_per_second: u32,
    /// Who asks for an account with its recovery phrase gets it after this time, in which those who
    /// have its keys see it and can say no.
    #[arg(long, value_name = "TIME", default_value_t = Config::default().recovery_delay)]
    pub(crate) recovery_delay: Span,
    /// Write down what the server is told and decides, for `isos replay`; a number is added to the
    /// name if the file is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// The journal ends at this length.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub(crate) journal_max: Bytes,
    /// A way for money out and in: file=DIR, and behind it, if they are needed, ,name=NAME
    /// ,currency=EUR ,rate=0.02 (of it for a credit) ,unit=0.01 (the smallest amount). Repeatable.
    #[arg(long = "rail", value_name = "RAIL")]
    pub(crate) rails: Vec<RailSpec>,
    /// The fewest credits that are paid out at once.
    #[arg(long, value_name = "CREDITS", default_value_t = BankConfig::default().payout_min)]
    pub(crate) payout_min: MicroCredits,
    /// The most credits that one account is paid out in a day.
    #[arg(long, value_name = "CREDITS", default_value_t = BankConfig::default().payout_day_max)]
    pub(crate) payout_day_max: MicroCredits,
    /// So many operators must agree before credits are made. It raises what is in force; to lower
    /// it, as many must agree (`isos bank mint approvals`).
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(APPROVALS_MAX)))]
    pub(crate) mint_approvals: u16,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// End when standard input does: whoever started this process holds its other end.
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    /// A world of `isos dev`, `isos tour` or a test: nothing in it is worth anything.
    #[arg(long, hide = true)]
    pub(crate) test_world: bool,
}

/// The most that a complex keeps of what hosts earn, in hundredths of a percent.
const FEE_BPS_MAX: u16 = 5_000;

/// Hundredths of a percent, from a text such as `2.5%` or `2.5`.
fn fee_bps(text: &str) -> Result<u16, String> {
    let wrong = || format!("is not a share from 0% to {}%, such as 2.5%", FEE_BPS_MAX / 100);
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let (whole, parts) = number.split_once('.').unwrap_or((number, ""));
    if parts.len() > 2 {
        return Err(
            "has more than two places: a share is counted in hundredths of a percent".into()
        );
    }
    let digits = |text: &str| -> Result<u16, String> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        text.parse().map_err(|_| wrong())
    };
    let bps = digits(whole)?.checked_mul(100);
    let bps = bps.and_then(|bps| bps.checked_add(digits(&format!("{parts:0<2}")).ok()?));
    bps.filter(|bps| *bps <= FEE_BPS_MAX).ok_or_else(wrong)
}

impl ServerArgs {
    /// How prices are made.
    fn pricing(&self) -> Result<Pricing, Refusal> {
        if !self.market {
            return Ok(Pricing::Fixed);
        }
        let floor = self.price_floor.unwrap_or(self.price / 10).max(1);
        let ceiling = self.price_ceiling.unwrap_or(self.price.saturating_mul(100));
        if !(floor..=ceiling).contains(&self.price) {
            let why = format!(
                "the market opens at {}, which is not from --price-floor {floor} to \
                 --price-ceiling {ceiling}",
                self.price
            );
            return Err(Refusal::usage(why));
        }
        Ok(Pricing::Market(Band { floor: Price(floor), ceiling: Price(ceiling) }))
    }
}

/// What a server prints once it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Base of the HTTP API.
    pub(crate) api: String,
    /// The operator's token as text.
    pub(crate) token: String,
    /// A ticket for hosts of the operator's own.
    pub(crate) ticket: String,
    /// The complex's key.
    pub(crate) key: String,
    /// Its relay.
    pub(crate) relay: Option<String>,
    /// Its process.
    pub(crate) pid: u32,
}

/// What a server prints that answers for another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Followed {
    /// Base of its HTTP API.
    pub(crate) api: String,
    /// Key of the server that leads.
    pub(crate) leader: String,
    /// Its process.
    pub(crate) pid: u32,
}

/// A ticket that is printed at the start lasts this long.
const TICKET_FOR: Span = Span::secs(7 * 86_400);

/// Runs a server until it is asked to end.
pub(crate) async fn run(args: ServerArgs, context: &Context) -> anyhow::Result<End> {
    let paths = &context.settings.paths;
    let kernel = Config {
        price: Price(args.price),
        pricing: args.pricing()?,
        fee_bps: args.fee,
        demurrage_bps: args.demurrage,
        lost_after: args.lost_after,
        mend_after: args.mend_after,
        held_hosts_max: args.held_hosts,
        polls_per_second_max: args.polls_per_second,
        account_hosts_max: unless_zero(args.limits.account_hosts),
        account_jobs_max: unless_zero(args.limits.account_jobs),
        account_tasks_max: match args.limits.account_tasks {
            0 => u64::MAX,
            max => max,
        },
        recovery_delay: args.recovery_delay,
        slice_away: args.slice_away,
        storage_price: StoragePrice(args.storage_price),
        account_storage_max: match args.limits.account_storage {
            Bytes(0) => Bytes(u64::MAX),
            max => max,
        },
        engine: Some(isos_sandbox::Sandbox::engine().into()),
        bank: BankConfig {
            payout_min: args.payout_min,
            payout_day_max: args.payout_day_max,
            mint_approvals: args.mint_approvals,
            rails: Vec::new(),
        },
        ..Config::default()
    };
    let earlier = args.earlier_key.zip(args.earlier_listen);
    let home = paths.complex_home();
    let config = ServerConfig {
        home: home.clone(),
        database: args.database,
        complex_key: args.complex_key,
        listen: args.listen,
        http: args.http,
        relay: args.relay,
        public_address: args.public,
        welcome: args.welcome,
        objects: args.objects,
        objects_max: args.objects_max,
        keep: args.keep,
        limits: args.limits.of_server(),
        journal: args.journal.map(|file| JournalConfig { file, max: args.journal_max }),
        rails: args.rails,
        earlier: earlier.map(|(file, listen)| EarlierKey { file, listen }),
        test_world: args.test_world,
        kernel,
    };
    std::fs::create_dir_all(&paths.state)
        .with_context(|| format!("cannot make {}", paths.state.display()))?;
    let mut member = Member::open(config).await.context("the server did not start")?;
    // Heard from now on without a gap, whatever is done meanwhile.
    let mut asked = pin!(super::asked_to_end(args.with_parent));
    let asked_between = loop {
        let part = tokio::select! {
            part = member.take_part() => part.context("the server did not start")?,
            asked = &mut asked => break asked,
        };
        let end = match part {
            Part::Leads(server) => lead(*server, &home, context, asked.as_mut()).await?,
            Part::Follows(follows) => follow(*follows, context, asked.as_mut()).await?,
        };
        match end {
            Ended::Asked => return Ok(End::Ok),
            Ended::Turn(db, kept) => member.turned(db, kept),
            Ended::Stopped(why, kept) => tokio::select! {
                after = member.after(why, kept) => after?,
                asked = &mut asked => break asked,
            },
        }
    };
    member.close().await;
    asked_between.map(|()| End::Ok).map_err(Into::into)
}

/// Resolves when somebody wants the process to end.
type Asked<'a, F> = Pin<&'a mut F>;

/// Why a server's part came to its end.
enum Ended {
    /// Somebody wants the process to end.
    Asked,
    /// It was a follower and leads from now on.
    Turn(Turned, Kept),
    /// It led, and the database is another's or away.
    Stopped(Stopped, Kept),
}

/// Leads until that ends.
async fn lead<F: Future<Output = std::io::Result<()>>>(
    mut server: Server,
    home: &Path,
    context: &Context,
    asked: Asked<'_, F>,
) -> anyhow::Result<Ended> {
    let paths = &context.settings.paths;
    let open = server.open();
    // Whoever adds a machine by it earns for the operator, and can spend nothing.
    let rights = [Right::Join];
    let ticket = match server.ticket("operator", &rights, TICKET_FOR).await {
        Ok(ticket) => ticket,
        Err(problem) => {
            let kept = server.leave().await;
            return Ok(Ended::Stopped(problem.into(), kept));
        }
    };
    let ready = Ready {
        api: open.api,
        token: capability::to_text(&open.operator_token),
        ticket: ticket.ticket,
        key: open.key.to_string(),
        relay: open.addr.relay,
        pid: std::process::id(),
    };
    // Other commands of this user find the server by this note, unless another was here first.
    let note = LocalComplex { server: ready.api.clone(), token: ready.token.clone() };
    let note_file = paths.local_file();
    let other = LocalComplex::beside(&note_file, &ready.api);
    if other.is_none() {
        note.write(&note_file).with_context(|| format!("cannot write {}", note_file.display()))?;
    }
    let quiet = ready.api.clone();
    context.out.show(&Started { kind: "server", data: &ready, quiet })?;
    if context.out.mode() == Mode::Text {
        let Ready { api, ticket, .. } = &ready;
        anstream::eprintln!(
            "isos server is ready\n  dashboard  {api}\n  state      {}\n\nTo add a machine, run \
             there:\n  isos join {ticket}\n",
            home.display(),
        );
        if let Some(other) = &other {
            anstream::eprintln!(
                "Commands of this user find the complex at {}, which was here first. To have this \
                 one found\nbeside it, start it with --home DIR, and give commands the same.\n",
                other.server
            );
        }
    }
    let stopped = tokio::select! {
        asked = asked => Err(asked),
        stopped = server.failed() => Ok(stopped),
    };
    let end = match stopped {
        Ok(stopped) => Ok(Ended::Stopped(stopped, server.leave().await)),
        Err(asked) => {
            server.stop().await;
            asked.map(|()| Ended::Asked).map_err(Into::into)
        }
    };
    note.remove(&note_file)?;
    end
}

/// Answers for the server that leads, until that ends.
async fn follow<F: Future<Output = std::io::Result<()>>>(
    mut follows: Follows,
    context: &Context,
    asked: Asked<'_, F>,
) -> anyhow::Result<Ended> {
    let following =
        Followed { api: follows.api(), leader: follows.leader(), pid: std::process::id() };
    let quiet = following.api.clone();
    context.out.show(&Started { kind: "follower", data: &following, quiet })?;
    if context.out.mode() == Mode::Text {
        anstream::eprintln!(
            "isos server is ready: it follows server {} until that is gone\n  dashboard  {}\n",
            following.leader.chars().take(10).collect::<String>(),
            following.api,
        );
    }
    let turn = tokio::select! {
        asked = asked => {
            follows.stop().await;
            return asked.map(|()| Ended::Asked).map_err(Into::into);
        }
        turn = follows.turn() => turn,
    };
    let kept = follows.leave().await;
    turn.map(|turn| Ended::Turn(turn, kept)).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::fee_bps;

    #[test]
    fn a_fee_is_read_in_percent_and_bounded() {
        for (text, bps) in [("2%", 200), ("2.5%", 250), ("0.05", 5), ("0", 0), ("50%", 5_000)] {
            assert_eq!(fee_bps(text), Ok(bps), "{text}");
        }
        for text in ["", "%", "-1%", "51%", "2.555%", "1e2", "two", "+3", "99999"] {
            assert!(fee_bps(text).is_err(), "{text}");
        }
    }
}
