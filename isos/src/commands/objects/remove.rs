//! `isos rm`: giving objects up.

use std::collections::BTreeSet;

use isos_base::Guid;
use isos_sdk::store::Removed;
use isos_sdk::store::catalogue::Catalogue;
use isos_store::manifest::Manifest;

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
        wanted.push((named.name.clone(), named.title(), named.guid()?));
    }
    let mut left = names.clone();
    for name in wanted.iter().filter_map(|(name, ..)| name.as_ref()) {
        left.remove(name);
    }
    // The same files may have two names.
    let kept: BTreeSet<Guid> = left.objects.values().map(|entry| entry.guid).collect();
    let guids: BTreeSet<Guid> = wanted.iter().map(|(.., guid)| *guid).collect();
    let guids: Vec<Guid> = guids.difference(&kept).copied().collect();
    // First what they are, while their names are there; then the names; then their fragments.
    let plan = plan(&objects, &guids, &left).await?;
    objects.change(|catalogue| *catalogue = left)?;
    let removed = give_up(&objects, &plan).await?;
    objects.publish().await?;
    let end = if removed.silent > 0 { End::Partial } else { End::Ok };
    let names = wanted.into_iter().map(|(_, title, _)| title).collect();
    context.out.show(&RemovedReport { names, removed })?;
    objects.close().await;
    Ok(end)
}

/// What is to be removed, and what must stay.
pub(super) struct Plan {
    gone: Vec<Manifest>,
    others: Vec<Manifest>,
}

/// Looks what these objects are, and all that stand in the catalogue without them.
pub(super) async fn plan(
    objects: &Objects<'_>,
    guids: &[Guid],
    left: &Catalogue,
) -> anyhow::Result<Plan> {
    let mut plan = Plan { gone: Vec::new(), others: Vec::new() };
    if guids.is_empty() {
        return Ok(plan);
    }
    for guid in guids {
        plan.gone.push(objects.manifest(guid).await?);
    }
    for entry in left.objects.values().filter(|entry| !guids.contains(&entry.guid)) {
        plan.others.push(objects.manifest(&entry.guid).await?);
    }
    // The published list, unless another machine has published a newer one.
    if let Some(list) = left.published
        && let Ok(list) = objects.manifest(&list).await
    {
        plan.others.push(list);
    }
    Ok(plan)
}

/// Has hosts remove what only those objects need that are to go.
pub(super) async fn give_up(objects: &Objects<'_>, plan: &Plan) -> anyhow::Result<Removed> {
    if plan.gone.is_empty() {
        return Ok(Removed::default());
    }
    let removed = objects.store.remove(&plan.gone, &plan.others).await?;
    objects.change(|catalogue| catalogue.take_used(&removed.leases))?;
    plan.gone.iter().for_each(|manifest| objects.forget(&manifest.guid()));
    Ok(removed)
}
