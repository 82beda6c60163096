//! `isos put`: files onto other people's disks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use isos_base::price::StoragePrice;
use isos_base::{Bytes, MicroCredits, Span};
use isos_sdk::Source;
use isos_sdk::store::catalogue::{Catalogue, Entry};
use isos_sdk::store::{PutFile, PutOptions};
use isos_store::class::Class;

use super::Objects;
use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::BytesMeter;
use crate::report::{PutPlan, PutReport};

/// Folders inside each other: more is a loop of links.
const DEPTH_MAX: usize = 64;

/// What, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file, or a folder with all that is in it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// What to call it [default: the name of the file or folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How safe: archive, standard, bulk, hot or small
    #[arg(long, value_name = "CLASS", default_value = "standard")]
    class: Class,
    /// For how long at least
    #[arg(long = "for", value_name = "TIME", default_value = "90d")]
    term: Span,
    /// The most for a GiB and month on one host [default: the operator's price]
    #[arg(long, value_name = "CREDITS")]
    max_price: Option<MicroCredits>,
    /// Put it in the place of what has this name
    #[arg(long)]
    replace: bool,
    /// Only say how it would be kept, and what that is worth
    #[arg(long)]
    plan: bool,
}

fn price(most: MicroCredits) -> anyhow::Result<StoragePrice> {
    let price = u32::try_from(most.0).map(StoragePrice);
    Ok(price.map_err(|_| Refusal::usage("--max-price is 0 to 4294 credits"))?)
}

/// Puts.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let options = PutOptions {
        class: args.class,
        term: args.term,
        price_max: args.max_price.map(price).transpose()?,
        ..PutOptions::default()
    };
    let is_folder = args.path.is_dir();
    let name = match &args.name {
        Some(name) => name.clone(),
        None => file_name(&args.path)?,
    };
    Catalogue::check_name(&name)?;
    let path = args.path.clone();
    let (files, skipped) = tokio::task::spawn_blocking(move || files_of(&path)).await??;
    let objects = Objects::open(context, true).await?;
    for path in &skipped {
        context.out.note(&format!("left out: {}, which is no file and no folder", path.display()));
    }
    let total = Bytes(files.iter().map(|file| file.size.0).sum());
    if args.plan {
        let planned = objects.store.plan(total, &options).await?;
        context.out.show(&PutPlan { name, files: files.len(), bytes: total, planned })?;
        objects.close().await;
        return Ok(End::Ok);
    }
    let before = objects.catalogue()?;
    if !before.has_room() {
        return Err(Refusal::usage("the list of your objects is full: `isos rm` some").into());
    }
    let taken = before.objects.get(&name);
    if taken.is_some() && !args.replace {
        let message = format!("an object is called {name:?} already");
        let mut refusal = Refusal::usage(message);
        refusal.hints = vec!["--replace puts this one in its place, --name NAME beside it".into()];
        return Err(refusal.into());
    }
    let meter = BytesMeter::new(&context.out, "put");
    let put = objects.store.put(files, &options, &before.used, |now| {
        meter.at(now.read.0, now.total.0, &format!("{} on hosts", now.stored));
    });
    let stored = put.await;
    meter.finish();
    let stored = stored?;
    objects.remember(&stored.manifest)?;
    let code = stored.fragments.planned.plan.scheme.code;
    let entry = Entry {
        capability: stored.capability.to_string(),
        guid: stored.guid,
        class: args.class,
        code: (code.m(), code.n()),
        files: stored.files as u64,
        bytes: stored.bytes,
        stored: stored.fragments.stored,
        is_folder,
        put: clock::now(),
    };
    let replaced = objects.change(|catalogue| {
        let replaced = catalogue.remove(&name);
        catalogue.add_used(&stored.fragments.leases);
        catalogue.objects.insert(name.clone(), entry);
        // It may have been given up before.
        catalogue.removed.remove(&stored.guid);
        replaced
    })?;
    if let Some(old) = replaced.filter(|old| old.guid != stored.guid) {
        let left = objects.catalogue()?;
        let is_kept = left.objects.values().any(|entry| entry.guid == old.guid);
        let guids = if is_kept { Vec::new() } else { vec![old.guid] };
        let given_up = match super::remove::plan(&objects, &guids, &left).await {
            Ok(plan) => super::remove::give_up(&objects, &plan).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = given_up {
            let note = format!("what had this name before stays on its hosts for now: {error}");
            context.out.note(&note);
        }
    }
    objects.renew(&options).await?;
    objects.publish().await?;
    let end =
        if stored.fragments.missing > 0 || !skipped.is_empty() { End::Partial } else { End::Ok };
    context.out.show(&PutReport { name, stored })?;
    objects.close().await;
    Ok(end)
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.canonicalize().ok().as_deref().and_then(Path::file_name).map(ToOwned::to_owned);
    let name = name.or_else(|| path.file_name().map(ToOwned::to_owned));
    let text = name.and_then(|name| name.into_string().ok());
    let why = || Refusal::usage("the path has no name that could be kept: say one with --name");
    Ok(text.ok_or_else(why)?)
}

/// All files under a path, with their names in the object, in order; and what is neither file nor
/// folder. Links are followed where they are named, and left out inside of folders.
fn files_of(path: &Path) -> anyhow::Result<(Vec<PutFile>, Vec<PathBuf>)> {
    use anyhow::Context as _;
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        let name = file_name(path)?;
        let size = Bytes(metadata.len());
        return Ok((vec![PutFile { name, source: Source::File(path.into()), size }], skipped));
    }
    if !metadata.is_dir() {
        return Err(Refusal::usage(format!("{} is no file and no folder", path.display())).into());
    }
    let mut folders = vec![(path.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        if depth > DEPTH_MAX {
            let why = format!("{}: more than {DEPTH_MAX} folders deep", folder.display());
            return Err(Refusal::usage(why).into());
        }
        let read = || format!("cannot read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(read)? {
            let entry = entry.with_context(read)?;
            let (path, kind) = (entry.path(), entry.file_type().with_context(read)?);
            let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}"))
            else {
                skipped.push(path);
                continue;
            };
            if kind.is_dir() {
                folders.push((path, format!("{name}/"), depth + 1));
            } else if kind.is_file() {
                let size = Bytes(entry.metadata().with_context(read)?.len());
                files.push(PutFile { name, source: Source::File(path), size });
            } else {
                skipped.push(path);
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    debug_assert_eq!(names.len(), files.len(), "a folder has each name once");
    Ok((files, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_files_in_order_and_links_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/c")).unwrap();
        for name in ["z", "a", "b/c/d", "b/a"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        let (files, skipped) = files_of(root).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a", "b/a", "b/c/d", "z"]);
        assert_eq!(files[2].size, Bytes(5));
        assert_eq!(skipped, [root.join("link")]);
        let (one, _) = files_of(&root.join("z")).unwrap();
        assert_eq!(one[0].name, "z");
        assert!(files_of(&root.join("nothing")).is_err());
    }
}
