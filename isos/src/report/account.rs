//! Accounts and what moved in them. All figures are the ledger's own.

use isos_base::api::{AccountView, HostEarnings, Statement};
use isos_base::{HostId, MicroCredits};
use serde_json::{Value, json};

use crate::output::{Page, Report, Table, Tone, clean, credits, plural, stamp};

/// One account.
#[derive(Debug)]
pub(crate) struct AccountReport {
    /// Its balances.
    pub(crate) account: AccountView,
    /// What its hosts earned.
    pub(crate) earnings: Vec<HostEarnings>,
    /// This machine, if it is a host.
    pub(crate) here: Option<HostId>,
}

/// Accounts, a line each.
#[derive(Debug)]
pub(crate) struct AccountList(pub(crate) Vec<AccountView>);

/// What moved in an account.
#[derive(Debug)]
pub(crate) struct StatementReport(pub(crate) Statement);

impl Report for AccountReport {
    fn kind(&self) -> &'static str {
        "account"
    }

    fn text(&self, page: &mut Page) {
        let account = &self.account;
        page.toned(Tone::Bold, format!("account {} ({})", clean(&account.name), account.id));
        let amounts = [
            ("available", account.available),
            ("held", account.held),
            ("received", account.received),
            ("paid", account.paid),
        ];
        for (name, amount) in amounts {
            page.field(name, format!("{:>18} credits", amount.to_string()));
        }
        if self.earnings.is_empty() {
            return;
        }
        page.line("earned by its hosts, before fees:");
        let mut table = Table::new(&["  host", "key", ">earned", ">leases", ">fuel", ""]);
        for host in &self.earnings {
            let here = if self.here == Some(host.host) { "this machine" } else { "" };
            let row = vec![
                format!("  {}", clean(&host.name)),
                host.host.short(),
                host.earned.to_string(),
                host.leases.to_string(),
                host.fuel.to_string(),
                here.to_owned(),
            ];
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        let mut value = json!(self.account);
        value["hosts"] = json!(self.earnings);
        value["this_host"] = json!(self.here);
        value
    }

    fn quiet(&self, page: &mut Page) {
        page.line(self.account.available.to_string());
    }
}

impl Report for AccountList {
    fn kind(&self) -> &'static str {
        "accounts"
    }

    fn text(&self, page: &mut Page) {
        let mut table =
            Table::new(&[">account", "name", ">available", ">held", ">received", ">paid"]);
        for account in &self.0 {
            let amounts = [account.available, account.held, account.received, account.paid];
            let mut row = vec![account.id.to_string(), clean(&account.name).into_owned()];
            row.extend(amounts.map(|amount| amount.to_string()));
            table.row(Tone::Plain, row);
        }
        page.table(&table);
    }

    fn json(&self) -> Value {
        json!(self.0)
    }

    fn quiet(&self, page: &mut Page) {
        for account in &self.0 {
            page.line(account.id.to_string());
        }
    }
}

/// How a bill becomes money, for those who count again.
const ROUNDING: &str = "µcr: micro-credits, the smallest unit. A bill is charged rounded up and \
    paid rounded down; what is between goes to the account `rounding`.";

/// With its sign, also when it is more: `+1.000000`.
fn signed(amount: MicroCredits) -> String {
    match amount.0 {
        0 => "-".into(),
        1.. => format!("+{amount}"),
        _ => amount.to_string(),
    }
}

impl Report for StatementReport {
    fn kind(&self) -> &'static str {
        "statement"
    }

    fn text(&self, page: &mut Page) {
        let Statement { account, lines } = &self.0;
        page.toned(Tone::Bold, format!("account {} ({})", clean(&account.name), account.id));
        let mut table =
            Table::new(&[">seq", "when", "what", "about", ">amount", ">held", ">balance", "why"]);
        for line in lines {
            table.row(
                Tone::Plain,
                vec![
                    line.seq.to_string(),
                    line.at.to_string(),
                    clean(&line.kind).into_owned(),
                    line.about.as_deref().map(clean).unwrap_or_default().into_owned(),
                    signed(line.amount),
                    signed(line.held),
                    line.balance.to_string(),
                    clean(&line.reason).into_owned(),
                ],
            );
        }
        page.table(&table);
        let sum = |keep: fn(i64) -> bool| {
            let amounts = lines.iter().map(|line| line.amount.0).filter(|amount| keep(*amount));
            MicroCredits(amounts.fold(0, i64::saturating_add))
        };
        let (came, went) = (sum(|amount| amount > 0), sum(|amount| amount < 0));
        let transfers = plural(lines.len() as u64, "transfer");
        let went = MicroCredits(went.0.saturating_neg());
        page.line(format!("{transfers}, in {came}, out {went}"));
        let now =
            format!("available {}, held {}", credits(account.available), credits(account.held));
        page.line(now);
        if lines.iter().any(|line| line.work.is_some()) {
            page.toned(Tone::Dim, ROUNDING);
        }
    }

    fn json(&self) -> Value {
        let lines: Vec<Value> =
            self.0.lines.iter().map(|line| stamp(json!(line), &["at"])).collect();
        json!({ "account": self.0.account, "lines": lines })
    }

    fn quiet(&self, page: &mut Page) {
        for line in &self.0.lines {
            page.line(format!("{} {}", line.seq, line.amount));
        }
    }
}
