//! `isos put`: files onto other people's disks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use isos_base::price::StoragePrice;
use isos_base::{Bytes, Guid, MicroCredits, Span};
use isos_sdk::Source;
use isos_sdk::store::catalogue::{Catalogue, Entry};
use isos_sdk::store::{PutFile, PutOptions};
use isos_store::class::Class;

use super::Objects;
use crate::clock;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::BytesMeter;
use crate::report::{PutList, PutPlan, PutReport};

/// Folders inside each other: more is a loop of links.
const DEPTH_MAX: usize = 64;

/// What, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, or folders with all that is in them: each an object of its own
    #[arg(value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// What to call it, if it is one [default: the name of the file or folder]
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

/// What becomes an object.
struct Wanted {
    name: String,
    is_folder: bool,
    files: Vec<PutFile>,
    /// What is no file and no folder.
    skipped: Vec<PathBuf>,
}

impl Wanted {
    fn bytes(&self) -> Bytes {
        Bytes(self.files.iter().map(|file| file.size.0).sum())
    }
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
    let (name, paths) = (args.name.clone(), args.paths.clone());
    if paths.len() > 1 && (name.is_some() || args.plan) {
        return Err(Refusal::usage("--name and --plan are for one PATH").into());
    }
    let wanted = tokio::task::spawn_blocking(move || wanted(name, &paths)).await??;
    let objects = Objects::open(context, true).await?;
    for path in wanted.iter().flat_map(|it| &it.skipped) {
        context.out.note(&format!("left out: {}, which is no file and no folder", path.display()));
    }
    if args.plan {
        for one in wanted {
            let (bytes, files) = (one.bytes(), one.files.len());
            let planned = objects.store.plan(bytes, &options).await?;
            context.out.show(&PutPlan { name: one.name, files, bytes, planned })?;
        }
        objects.close().await;
        return Ok(End::Ok);
    }
    // Nothing is sent before all of it can be.
    let before = objects.catalogue()?;
    if !before.has_room_for(wanted.len()) {
        return Err(Refusal::usage("the list of your objects is full: `isos rm` some").into());
    }
    if let Some(taken) = wanted.iter().find(|it| before.objects.contains_key(&it.name))
        && !args.replace
    {
        let mut refusal = Refusal::usage(format!("an object is called {:?} already", taken.name));
        refusal.hints = vec!["--replace puts this one in its place, --name NAME beside it".into()];
        return Err(refusal.into());
    }
    let total: u64 = wanted.iter().map(|it| it.bytes().0).sum();
    let has_left_out = wanted.iter().any(|it| !it.skipped.is_empty());
    let (many, mut reports, mut replaced) = (wanted.len() > 1, Vec::new(), Vec::new());
    let mut failed = None;
    let meter = BytesMeter::new(&context.out, "put");
    let mut done = 0;
    for one in wanted {
        let bytes = one.bytes().0;
        let told = |read: Bytes, stored: Bytes| {
            meter.at(done + read.0, total, &format!("{stored} on hosts"));
        };
        match put(&objects, one, &options, told).await {
            Ok((report, old)) => {
                reports.push(report);
                replaced.extend(old);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        done += bytes;
    }
    meter.finish();
    // What is stored is kept, whatever became of the next.
    if !reports.is_empty() {
        if let Err(error) = objects.renew(&options).await {
            failed.get_or_insert(error);
        }
        if let Err(error) = objects.publish().await {
            failed.get_or_insert(error);
        }
        // Not before the list of another machine names what is there now.
        give_up(&objects, replaced).await;
    }
    let is_short = reports.iter().any(|it| it.stored.fragments.missing > 0);
    let end = if is_short || has_left_out { End::Partial } else { End::Ok };
    if many && !reports.is_empty() {
        context.out.show(&PutList(reports))?;
    } else if let Some(report) = reports.pop() {
        context.out.show(&report)?;
    }
    objects.close().await;
    failed.map_or(Ok(end), Err)
}

/// Puts one, and gives it its name; what had that before is to be given up.
async fn put(
    objects: &Objects<'_>,
    wanted: Wanted,
    options: &PutOptions,
    progress: impl Fn(Bytes, Bytes),
) -> anyhow::Result<(PutReport, Option<Guid>)> {
    let Wanted { name, is_folder, files, .. } = wanted;
    let used = objects.catalogue()?.used;
    let put = objects.store.put(files, options, &used, |now| progress(now.read, now.stored));
    let stored = put.await.with_context(|| format!("cannot put {name:?}"))?;
    objects.remember(&stored.manifest)?;
    let code = stored.fragments.planned.plan.scheme.code;
    let entry = Entry {
        capability: stored.capability.to_string(),
        guid: stored.guid,
        class: options.class,
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
    let old = replaced.map(|old| old.guid).filter(|old| *old != stored.guid);
    Ok((PutReport { name, stored }, old))
}

/// Has hosts remove what has no name any more.
async fn give_up(objects: &Objects<'_>, mut old: Vec<Guid>) {
    if old.is_empty() {
        return;
    }
    let given_up = async {
        let left = objects.catalogue()?;
        old.retain(|old| left.objects.values().all(|entry| entry.guid != *old));
        let plan = super::remove::plan(objects, &old, &left).await?;
        super::remove::give_up(objects, &plan).await.map(|_| ())
    };
    if let Err(error) = given_up.await {
        objects.note(&format!("what had these names before stays on its hosts for now: {error}"));
    }
}

/// What the paths become, each with a name of its own.
fn wanted(name: Option<String>, paths: &[PathBuf]) -> anyhow::Result<Vec<Wanted>> {
    let (mut wanted, mut names) = (Vec::with_capacity(paths.len()), BTreeSet::new());
    for path in paths {
        let name = name.clone().map_or_else(|| file_name(path), Ok)?;
        Catalogue::check_name(&name)?;
        if !names.insert(name.clone()) {
            let why = format!("two of the paths are called {name:?}: put one of them by itself");
            return Err(Refusal::usage(why).into());
        }
        let (files, skipped) = files_of(path)?;
        wanted.push(Wanted { name, is_folder: path.is_dir(), files, skipped });
    }
    Ok(wanted)
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

    #[test]
    fn each_path_is_an_object_of_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/a")).unwrap();
        std::fs::write(root.join("a"), "first").unwrap();
        std::fs::write(root.join("b/z"), "second").unwrap();
        let both = wanted(None, &[root.join("a"), root.join("b")]).unwrap();
        let told: Vec<_> = both.iter().map(|it| (it.name.as_str(), it.is_folder)).collect();
        assert_eq!(told, [("a", false), ("b", true)]);
        assert_eq!((both[0].bytes(), both[1].bytes()), (Bytes(5), Bytes(6)));
        let same = wanted(None, &[root.join("a"), root.join("b/a")]);
        assert!(same.err().unwrap().to_string().contains("are called \"a\""));
        assert_eq!(wanted(Some("x".into()), &[root.join("a")]).unwrap()[0].name, "x");
    }
}
