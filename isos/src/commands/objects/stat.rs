//! `isos stat`: how an object stands, as its hosts themselves say.

use isos_store::capability::{Target, VerifyCapability};

use super::{Objects, catalogue, find};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::HealthReport;

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of an object, or a capability to read or verify it
    #[arg(value_name = "OBJECT")]
    object: String,
}

/// Asks and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let names = catalogue(context)?;
    let (title, guid) = match args.object.parse::<VerifyCapability>() {
        Ok(VerifyCapability { target: Target::Object(guid) }) => (guid.to_string(), guid),
        Ok(_) => return Err(Refusal::usage("a capability for one object is needed").into()),
        Err(_) => {
            let named = find(&names, &args.object)?;
            (named.title(), named.guid()?)
        }
    };
    let objects = Objects::open(context, false).await?;
    let health = objects.store.health(&guid).await?;
    let end = if health.is_readable() { End::Ok } else { End::Failed };
    context.out.show(&HealthReport { name: title, health })?;
    objects.close().await;
    Ok(end)
}
