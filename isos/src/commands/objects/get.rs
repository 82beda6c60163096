//! `isos get`: objects from other people's disks.

use std::path::PathBuf;

use isos_sdk::store::inside;

use super::{Objects, find};
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::BytesMeter;
use crate::report::GetReport;

/// What, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of an object, or a capability to read one
    #[arg(value_name = "OBJECT")]
    object: String,
    /// Only these files of it; a folder's name means all in it
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Where to: a file, or the folder for several [default: here, under its own name]
    #[arg(long, visible_alias = "output", value_name = "PATH")]
    to: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// Gets.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let objects = Objects::open(context, false).await?;
    let named = find(&objects.catalogue()?, &args.object)?;
    let mut object = objects.store.open_object(&named.capability).await?;
    let names: Vec<String> = object.content().files.iter().map(|file| file.name.clone()).collect();
    let is_wanted = |name: &str| {
        args.files.is_empty()
            || args.files.iter().any(|wanted| {
                let wanted = wanted.trim_end_matches('/');
                name == wanted
                    || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
            })
    };
    for wanted in &args.files {
        let wanted = wanted.trim_end_matches('/');
        let has = |name: &String| {
            name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
        };
        if !names.iter().any(has) {
            let message = format!("{} has no file {wanted:?}", named.title());
            let mut refusal = Refusal::not_found(message);
            refusal.hints = vec![format!("`isos ls {}` shows its files", args.object)];
            return Err(refusal.into());
        }
    }
    let is_folder = named.entry.as_ref().map_or(names.len() != 1, |entry| entry.is_folder);
    let to = match &args.to {
        Some(to) if !is_folder && to.is_dir() => to.join(leaf(&names)?),
        Some(to) => to.clone(),
        None => match (&named.name, names.first()) {
            (_, Some(_)) if !is_folder => leaf(&names)?,
            (Some(name), _) => PathBuf::from(name.replace('/', "_")),
            (None, _) => PathBuf::from(named.guid()?.short()),
        },
    };
    let meter = BytesMeter::new(&context.out, "get");
    let got = objects.store.get(&mut object, &to, !is_folder, args.force, is_wanted, |now| {
        meter.at(now.written.0, now.total.0, "");
    });
    let got = got.await;
    meter.finish();
    let gotten = got?;
    for host in &gotten.liars {
        context.out.note(&format!("host {host} served something else than its fragment"));
    }
    context.out.show(&GetReport { name: named.title(), to, gotten })?;
    objects.close().await;
    Ok(End::Ok)
}

/// What the only file of an object is called where it is written: a name, whatever a stranger has
/// called it.
fn leaf(names: &[String]) -> anyhow::Result<PathBuf> {
    let name = names.first().map_or("", String::as_str);
    Ok(inside(name.rsplit('/').next().unwrap_or(name))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_under_its_last_name_or_not_at_all() {
        let leaf = |name: &str| leaf(&[name.to_owned()]);
        assert_eq!(leaf("a/b.txt").unwrap(), PathBuf::from("b.txt"));
        assert_eq!(leaf("/elsewhere/.ssh/keys").unwrap(), PathBuf::from("keys"));
        for bad in ["", "..", "x/..", "x/", "."] {
            assert!(leaf(bad).is_err(), "{bad:?}");
        }
    }
}
