//! `isos verify`: whether what was put is still there, and making anew what is not.

use isos_sdk::store::{Health, Mended, PutOptions};

use super::{Objects, find};
use crate::context::Context;
use crate::exit::End;
use crate::report::{Checked, VerifyReport};

/// What, and how much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of objects, or capabilities [default: all objects]
    #[arg(value_name = "OBJECT")]
    objects: Vec<String>,
    /// Read all of it, too, and check each byte
    #[arg(long)]
    read: bool,
    /// Make lost fragments anew, on other hosts
    #[arg(long)]
    repair: bool,
}

/// Looks, and mends.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let objects = Objects::open(context, args.repair).await?;
    let names = objects.catalogue()?;
    let wanted: Vec<String> = match args.objects.is_empty() {
        true => names.objects.keys().cloned().collect(),
        false => args.objects.clone(),
    };
    if args.repair {
        objects.renew(&PutOptions::default()).await?;
    }
    let mut checked = Vec::new();
    for what in &wanted {
        let named = find(&names, what)?;
        let guid = named.guid()?;
        context.out.note(&format!("looking at {}", named.title()));
        let mut outcome = Checked { name: named.title(), guid: Some(guid), ..Checked::default() };
        if args.repair {
            let class = named.entry.as_ref().map(|entry| entry.class).unwrap_or_default();
            let options = PutOptions { class, ..PutOptions::default() };
            let used = objects.catalogue()?.used;
            match objects.store.mend(&guid, &options, &used).await {
                Ok(mended) => {
                    let Mended { leases, .. } = &mended;
                    objects.change(|catalogue| catalogue.add_used(leases))?;
                    outcome.mended = Some(mended);
                }
                Err(error) => outcome.error = Some(error.to_string()),
            }
        }
        let manifest = match objects.store.health(&guid).await {
            Ok(health) => {
                outcome.take(&health);
                Some(health.manifest)
            }
            Err(error) => {
                outcome.error = Some(error.to_string());
                None
            }
        };
        if let Some(manifest) = manifest {
            match objects.store.prove(&manifest).await {
                Ok(proved) => outcome.proved = Some(proved),
                Err(error) => outcome.error = Some(error.to_string()),
            }
        }
        if args.read && outcome.error.is_none() {
            match objects.store.read_all(&named.capability).await {
                Ok(bytes) => outcome.read = Some(bytes),
                Err(error) => outcome.error = Some(error.to_string()),
            }
        }
        checked.push(outcome);
    }
    let all_good = checked.iter().all(Checked::is_good);
    let any_good = checked.iter().any(Checked::is_good);
    context.out.show(&VerifyReport(checked))?;
    objects.close().await;
    Ok(match (all_good, any_good) {
        (true, _) => End::Ok,
        (false, true) => End::Partial,
        (false, false) => End::Failed,
    })
}

impl Checked {
    fn take(&mut self, health: &Health) {
        self.segments = health.segments.len() as u32;
        self.whole = health.segments.iter().filter(|it| it.found >= it.n).count() as u32;
        self.unreadable = health.segments.iter().filter(|it| it.found < it.m).count() as u32;
        self.worst = health.worst().copied();
        self.hosts = health.hosts.len() as u32;
    }
}
