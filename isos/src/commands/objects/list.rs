//! `isos ls`: what is there.

use super::{Objects, catalogue, find};
use crate::context::Context;
use crate::exit::End;
use crate::report::{FileList, ObjectList};

/// Of what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The files of this object: a name or a capability [default: all objects]
    #[arg(value_name = "OBJECT")]
    object: Option<String>,
}

/// Lists.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let mut names = catalogue(context)?;
    let paths = &context.settings.paths;
    if paths.storage_key().exists() && !paths.objects_file().exists() {
        let objects = Objects::open(context, false).await?;
        names = objects.catalogue()?;
        objects.close().await;
    }
    let Some(what) = args.object else {
        context.out.show(&ObjectList(names.objects))?;
        return Ok(End::Ok);
    };
    let named = find(&names, &what)?;
    let objects = Objects::open(context, false).await?;
    let object = objects.store.open_object(&named.capability).await?;
    let files = object.content().files.iter().map(|file| (file.name.clone(), file.size)).collect();
    context.out.show(&FileList { name: named.title(), files })?;
    objects.close().await;
    Ok(End::Ok)
}
