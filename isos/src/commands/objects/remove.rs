//! `isos rm`: giving objects up.

use isos_base::Guid;
use isos_sdk::store::Removed;

use super::{Objects, find};
use crate::context::Context;
use crate::exit::End;
use crate::report::RemovedReport;

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names of objects
    #[arg(value_name = "OBJECT", required = true)]
    objects: Vec<String>,
}

/// Removes.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let objects = Objects::open(context, true).await?;
    let names = objects.catalogue()?;
    let mut wanted = Vec::new();
    for what in &args.objects {
        let named = find(&names, what)?;
        wanted.push((named.title(), named.guid()?));
    }
    let guids: Vec<Guid> = wanted.iter().map(|(_, guid)| *guid).collect();
    objects.change(|catalogue| {
        catalogue.objects.retain(|_, entry| !guids.contains(&entry.guid));
    })?;
    let removed = give_up(&objects, &guids).await?;
    objects.publish().await?;
    let end = if removed.silent > 0 { End::Partial } else { End::Ok };
    let names = wanted.into_iter().map(|(name, _)| name).collect();
    context.out.show(&RemovedReport { names, removed })?;
    objects.close().await;
    Ok(end)
}

/// Has hosts remove what only these objects need, which stand in the catalogue no more.
pub(super) async fn give_up(objects: &Objects<'_>, guids: &[Guid]) -> anyhow::Result<Removed> {
    let kept = objects.catalogue()?;
    let (mut gone, mut others) = (Vec::new(), Vec::new());
    for guid in guids {
        gone.push(objects.manifest(guid).await?);
    }
    for guid in kept.objects.values().map(|entry| entry.guid).chain(kept.published) {
        others.push(objects.manifest(&guid).await?);
    }
    let removed = objects.store.remove(&gone, &others).await?;
    objects.change(|catalogue| catalogue.take_used(&removed.leases))?;
    guids.iter().for_each(|guid| objects.forget(guid));
    Ok(removed)
}
