//! `isos backup`: snapshots of folders on other people's disks.
//!
//! The engine is `isos-backup`, which blocks: it runs on a thread of its own, gives segments to the
//! store's feeder, and asks its reader for what is there.

mod args;
mod hosts;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use isos_backup::progress::Done;
use isos_backup::{
    Catalogue, Listed, Observer, Overwrite, Parent, Phrase, Plan, Problem, RestorePlan, Retention,
    Rules, Snapshot, browse, create, diff, garbage, repository, restore, verify,
};
use isos_base::{Bytes, Guid};
use isos_sdk::store::{PutOptions, Store};
use isos_store::capability::{ReadCapability, WriteCapability};
use isos_store::class::Class;
use isos_store::key::StorageSecret;
use isos_store::manifest::Manifest;

pub(crate) use self::args::Command;
use self::args::{
    BrowseArgs, CreateArgs, DiffArgs, ForgetArgs, OneArgs, PhraseArgs, Repository, RestoreArgs,
    When,
};
use self::hosts::{FromHosts, ToHosts};
use crate::clock;
use crate::commands::objects::Objects;
use crate::commands::token::read_key;
use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::progress::BytesMeter;
use crate::report::{
    BackupPhrase, BackupVerified, ChangeList, EntryList, Forgotten, RestoredReport,
    SnapshotCreated, SnapshotList,
};

/// What a put is taken to come to when nobody knows: leases grow if it is more.
const GUESS: Bytes = Bytes::mib(64);
/// What errors call the list of snapshots.
const TITLE: &str = "the list of snapshots";
/// Entries that are listed.
const ENTRIES_MAX: usize = 1_000_000;
/// Bytes of a written recovery phrase.
const PHRASE_BYTES_MAX: u64 = 4_096;

/// A repository that was opened.
struct Open<'a> {
    objects: Objects<'a>,
    store: Arc<Store>,
    name: WriteCapability,
    /// Under which all of it is sealed and named: it shares nothing with other repositories.
    owner: StorageSecret,
    /// The version of its list, 0 if there is none.
    version: u64,
    catalogue: Catalogue,
    /// The object that the list is, if there is one.
    object: Option<Guid>,
}

impl<'a> Open<'a> {
    async fn new(context: &'a Context, which: &Repository, makes: bool) -> anyhow::Result<Self> {
        let objects = Objects::open(context, makes).await?;
        let store = Arc::clone(&objects.store);
        let name = repository(store.secret(), &which.repo);
        let owner = store.secret_for(&format!("backup/{}", which.repo));
        // Who changes the list must have the newest one.
        let newest = match makes {
            true => store.surely_newest(&name, TITLE).await?,
            false => store.newest(&name).await?,
        };
        let (version, catalogue, object) = (0, Catalogue::default(), None);
        let mut open = Self { objects, store, name, owner, version, catalogue, object };
        if let Some(found) = newest {
            let mut hosts = open.hosts().await?;
            let object = found.object.clone();
            let load = move || Catalogue::load(&mut hosts, &object);
            open.catalogue = tokio::task::spawn_blocking(load).await??;
            open.version = found.number;
            open.object = found.object.object().map(|(guid, _)| guid);
        }
        Ok(open)
    }

    async fn hosts(&self) -> anyhow::Result<FromHosts> {
        Ok(FromHosts::new(self.store.reader().await?))
    }

    /// The snapshot that was meant.
    fn find(&self, what: &str) -> anyhow::Result<Listed> {
        let all = self.catalogue.by_time();
        let found: Vec<&Listed> = match what {
            "last" => all.last().copied().into_iter().collect(),
            what => {
                let is_it = |it: &&&Listed| it.root.object.to_string().starts_with(what);
                all.iter().filter(is_it).copied().collect()
            }
        };
        match found[..] {
            [one] => Ok(one.clone()),
            [] => {
                let message = format!("there is no snapshot {what:?}");
                let mut refusal = Refusal::not_found(message);
                refusal.hints = vec!["`isos backup list` shows them".into()];
                Err(refusal.into())
            }
            _ => Err(Refusal::usage(format!("{what:?} is the beginning of several ids")).into()),
        }
    }

    /// Makes the list the newest one. What was listed elsewhere meanwhile is taken in, once, if
    /// `merges`; says how the list is called among hosts.
    async fn publish(&mut self, options: &PutOptions, merges: bool) -> anyhow::Result<Guid> {
        for is_last in [!merges, true] {
            let capability = self.store_list(options).await?;
            match self.store.publish(&self.name, TITLE, self.version, &capability).await {
                Ok(version) => {
                    self.version = version;
                    let object = capability.object().map(|(guid, _)| guid);
                    return object.context("a list is one object");
                }
                Err(isos_sdk::store::StoreError::Overtaken { .. }) if !is_last => {
                    let Some(found) = self.store.newest(&self.name).await? else { continue };
                    let (mut hosts, object) = (self.hosts().await?, found.object.clone());
                    let load = move || Catalogue::load(&mut hosts, &object);
                    let theirs = tokio::task::spawn_blocking(load).await??;
                    self.catalogue = std::mem::take(&mut self.catalogue).merge(theirs);
                    self.version = found.number;
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("the list of snapshots was changed elsewhere again and again: try once more")
    }

    async fn store_list(&self, options: &PutOptions) -> anyhow::Result<ReadCapability> {
        let used = self.objects.catalogue()?.used;
        let next = self.version.saturating_add(1);
        let under = self.name.read().version_secret(next).expect("a name has versions");
        let (list, owner) = (self.catalogue.clone(), self.owner.clone());
        let make =
            move |feeder, settings| list.store(&owner, settings, &under, &mut ToHosts::new(feeder));
        let (made, fragments) = self.store.put_fed(Bytes(0), options, &used, make, |_| ()).await?;
        self.objects.change(|catalogue| catalogue.add_used(&fragments.leases))?;
        Ok(made?)
    }

    /// Gives up the list of before, which nothing names any more.
    async fn drop_list(&self, before: Option<Guid>, now: Guid) -> anyhow::Result<()> {
        let Some(before) = before.filter(|before| *before != now) else { return Ok(()) };
        // What is left of it goes with its leases. Long lists have parts in common.
        let (before, now) = (self.store.manifest(&before).await, self.store.manifest(&now).await);
        if let (Ok(before), Ok(now)) = (before, now) {
            let removed = self.store.remove(&[before], &[now]).await?;
            self.objects.change(|catalogue| catalogue.take_used(&removed.leases))?;
        }
        Ok(())
    }
}

/// Runs it.
pub(crate) async fn run(command: Command, context: &Context) -> anyhow::Result<End> {
    match command {
        Command::Create(args) => make(args, context).await,
        Command::List(which) => {
            let open = Open::new(context, &which, false).await?;
            let all = open.catalogue.by_time().into_iter().cloned().collect();
            context.out.show(&SnapshotList(all))?;
            open.objects.close().await;
            Ok(End::Ok)
        }
        Command::Browse(args) => look(args, context).await,
        Command::Diff(args) => compare(args, context).await,
        Command::Restore(args) => bring_back(args, context).await,
        Command::Verify(args) => check(args, context).await,
        Command::Forget(args) => forget(args, context).await,
        Command::Phrase(args) => phrase(&args, context),
    }
}

/// Shows how far it is and what goes wrong, from the thread that works.
struct Watch {
    meter: BytesMeter,
    total: u64,
    notes: Vec<String>,
}

/// Problems that are told one by one.
const NOTES_MAX: usize = 20;

impl Watch {
    fn new(context: &Context, what: &'static str, total: u64) -> Self {
        Self { meter: BytesMeter::new(&context.out, what), total, notes: Vec::new() }
    }

    fn tell(self, context: &Context) {
        self.meter.finish();
        self.notes.iter().for_each(|note| context.out.note(note));
    }
}

impl Observer for Watch {
    fn progress(&mut self, done: &Done<'_>) -> ControlFlow<()> {
        let path = String::from_utf8_lossy(done.path);
        let more = crate::output::one_line(&path);
        self.meter.at(done.stats.bytes, self.total.max(done.stats.bytes), &more);
        ControlFlow::Continue(())
    }

    fn problem(&mut self, problem: &Problem) {
        if self.notes.len() < NOTES_MAX {
            let path = String::from_utf8_lossy(&problem.path);
            let path = crate::output::one_line(&path);
            self.notes.push(format!("{path}: {:?}: {}", problem.trouble, problem.why));
        }
    }
}

/// The paths as a snapshot lists them: in order, and none inside of another.
fn roots(paths: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut sorted: Vec<&PathBuf> = paths.iter().collect();
    sorted.sort();
    sorted.dedup();
    let mut roots: Vec<&PathBuf> = Vec::new();
    for path in sorted {
        if !roots.iter().any(|root| path.starts_with(root)) {
            roots.push(path);
        }
    }
    roots.iter().map(|it| it.as_os_str().as_bytes().to_vec()).collect()
}

async fn make(args: CreateArgs, context: &Context) -> anyhow::Result<End> {
    let mut paths = Vec::new();
    for path in &args.paths {
        let found = path.canonicalize();
        paths.push(found.with_context(|| format!("cannot read {}", path.display()))?);
    }
    let mut open = Open::new(context, &args.repository, true).await?;
    let options = PutOptions { class: args.class, term: args.term, ..PutOptions::default() };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let raw = roots(&paths);
    let before = open.catalogue.parent(&host, &raw).cloned();
    let rules = Rules {
        patterns: args.exclude,
        files: args.exclude_file,
        ignore_files: true,
        caches: !args.with_caches,
        one_file_system: args.one_file_system,
    };
    let user = std::env::var("USER").unwrap_or_default();
    let (time, tags, force) = (clock::now(), args.tag, args.force);
    let owner = open.owner.clone();
    let parent = before.as_ref().map(|it| it.root.object);
    let mut source = open.hosts().await?;
    let mut watch = Watch::new(context, "backup", before.as_ref().map_or(0, |it| it.stats.bytes));
    let used = open.objects.catalogue()?.used;
    let make = move |feeder, settings| {
        let plan =
            Plan { paths, rules, time, host, user, tags, settings, object_bytes: None, force };
        let mut sink = ToHosts::new(feeder);
        let made = (|| {
            let parent = match &before {
                Some(listed) => {
                    let snapshot = Snapshot::open(&mut source, &listed.root.capability())?;
                    Some(Parent { snapshot, source: &mut source })
                }
                None => None,
            };
            create(&owner, &plan, parent, &mut sink, &mut watch)
        })();
        (made, watch)
    };
    let put = open.store.put_fed(GUESS, &options, &used, make, |_| ()).await;
    let ((made, watch), fragments) = put?;
    watch.tell(context);
    open.objects.change(|catalogue| catalogue.add_used(&fragments.leases))?;
    let created = made?;
    let list = open.object;
    open.catalogue.add(&created);
    let now = open.publish(&options, true).await?;
    open.drop_list(list, now).await?;
    if parent.is_some_and(|parent| !open.catalogue.snapshots.contains_key(&parent)) {
        let message = "the snapshot before was forgotten elsewhere while this one was made: what it \
                       shares with it may be gone";
        let mut refusal = Refusal::verification(message);
        refusal.hints = vec!["make another one, with --force".into()];
        return Err(refusal.into());
    }
    let end =
        if created.problems.is_partial() || fragments.missing > 0 { End::Partial } else { End::Ok };
    context.out.show(&SnapshotCreated { created, fragments })?;
    open.objects.close().await;
    Ok(end)
}

async fn look(args: BrowseArgs, context: &Context) -> anyhow::Result<End> {
    let open = Open::new(context, &args.repository, false).await?;
    let listed = open.find(&args.snapshot)?;
    let mut source = open.hosts().await?;
    let path = args.path.as_os_str().as_bytes().to_vec();
    let work = move || -> anyhow::Result<_> {
        let mut snapshot = Snapshot::open(&mut source, &listed.root.capability())?;
        let mut entries = Vec::new();
        browse(&mut snapshot, &path, args.recursive, &mut source, &mut |visited| {
            entries.push(visited.clone());
            match entries.len() < ENTRIES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        Ok(entries)
    };
    let entries = tokio::task::spawn_blocking(work).await??;
    context.out.show(&EntryList(entries))?;
    open.objects.close().await;
    Ok(End::Ok)
}

async fn compare(args: DiffArgs, context: &Context) -> anyhow::Result<End> {
    let open = Open::new(context, &args.repository, false).await?;
    let (from, to) = (open.find(&args.from)?, open.find(&args.to)?);
    let mut source = open.hosts().await?;
    let work = move || -> anyhow::Result<_> {
        let mut from = Snapshot::open(&mut source, &from.root.capability())?;
        let mut to = Snapshot::open(&mut source, &to.root.capability())?;
        let mut changes = Vec::new();
        diff((&mut from, &mut to), &mut source, &mut |change| {
            changes.push(change);
            match changes.len() < ENTRIES_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        Ok(changes)
    };
    let changes = tokio::task::spawn_blocking(work).await??;
    context.out.show(&ChangeList(changes))?;
    open.objects.close().await;
    Ok(End::Ok)
}

async fn bring_back(args: RestoreArgs, context: &Context) -> anyhow::Result<End> {
    let open = Open::new(context, &args.repository, false).await?;
    let listed = open.find(&args.snapshot)?;
    let mut source = open.hosts().await?;
    let to = std::path::absolute(&args.to).context("the folder to restore to")?;
    let plan = RestorePlan {
        target: to.clone(),
        from: args.from.map(|from| from.as_os_str().as_bytes().to_vec()).unwrap_or_default(),
        include: args.include,
        exclude: args.exclude,
        overwrite: match args.overwrite {
            When::Never => Overwrite::Never,
            When::Changed => Overwrite::Changed,
            When::Always => Overwrite::Always,
        },
        dry_run: args.dry_run,
    };
    let mut watch = Watch::new(context, "restore", listed.stats.bytes);
    let work = move || {
        let restored = Snapshot::open(&mut source, &listed.root.capability())
            .and_then(|mut snapshot| restore(&mut snapshot, &plan, &mut source, &mut watch));
        (restored, watch)
    };
    let (restored, watch) = tokio::task::spawn_blocking(work).await?;
    watch.tell(context);
    let restored = restored?;
    let end = if restored.problems.is_partial() { End::Partial } else { End::Ok };
    context.out.show(&RestoredReport { to, restored, dry_run: args.dry_run })?;
    open.objects.close().await;
    Ok(end)
}

async fn check(args: OneArgs, context: &Context) -> anyhow::Result<End> {
    let open = Open::new(context, &args.repository, false).await?;
    let listed = open.find(&args.snapshot)?;
    let mut source = open.hosts().await?;
    let owner = open.owner.clone();
    let id = listed.root.object;
    let mut watch = Watch::new(context, "verify", listed.stats.bytes);
    let work = move || {
        let verified = Snapshot::open(&mut source, &listed.root.capability())
            .and_then(|mut it| verify(&mut it, Some(&owner), &mut source, &mut watch));
        (verified, watch)
    };
    let (verified, watch) = tokio::task::spawn_blocking(work).await?;
    watch.tell(context);
    let verified = verified?;
    let end =
        if verified.damaged > 0 || verified.problems.count > 0 { End::Failed } else { End::Ok };
    context.out.show(&BackupVerified { id, verified })?;
    open.objects.close().await;
    Ok(end)
}

async fn forget(args: ForgetArgs, context: &Context) -> anyhow::Result<End> {
    let mut open = Open::new(context, &args.repository, true).await?;
    let mut gone = BTreeSet::new();
    for what in &args.snapshots {
        gone.insert(open.find(what)?.root.object);
    }
    let rules = Retention {
        last: args.keep_last,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
        tags: args.keep_tag,
        zone_secs: 0,
    };
    if gone.is_empty() || rules != Retention::default() {
        let decided = rules.decide(open.catalogue.snapshots.values());
        let decided = decided.map_err(|error| Refusal::usage(error.to_string()))?;
        let goes = decided.iter().filter(|verdict| verdict.reasons.is_empty());
        gone.extend(goes.map(|verdict| verdict.snapshot.root.object));
    }
    let all: Vec<Listed> = open.catalogue.by_time().into_iter().cloned().collect();
    let (going, staying): (Vec<Listed>, Vec<Listed>) =
        all.into_iter().partition(|it| gone.contains(&it.root.object));
    let mut source = open.hosts().await?;
    let (list, ids) = (open.catalogue.clone(), gone.clone());
    let work = move || garbage(&list, &ids, &mut source);
    let found = tokio::task::spawn_blocking(work).await??;
    let freed = Bytes(found.stored_bytes());
    if args.dry_run || going.is_empty() {
        context.out.show(&Forgotten { going, staying, freed, silent: 0, dry_run: args.dry_run })?;
        open.objects.close().await;
        return Ok(End::Ok);
    }
    // First the list, then what it names no more: what is lost in between is room, not a snapshot.
    let now = clock::now();
    for id in &gone {
        open.catalogue.remove(id, now);
    }
    let before = open.object;
    // What others have listed meanwhile may need what this would remove.
    let options = PutOptions { class: Class::Bulk, ..PutOptions::default() };
    let now = open.publish(&options, false).await?;
    let mut silent = 0;
    let mut objects: Vec<Manifest> = Vec::new();
    for id in &found.objects {
        if let Ok(manifest) = open.store.manifest(id).await {
            objects.push(manifest);
        }
    }
    // Of these objects' segments, those that others name stay.
    for object in &mut objects {
        let mut bare = object.clone();
        bare.segments.retain(|segment| found.segments.contains_key(&segment.id()));
        let removed = open.store.remove_parts(object, &bare.segments).await?;
        open.objects.change(|catalogue| catalogue.take_used(&removed.leases))?;
        silent = silent.max(removed.silent);
    }
    open.drop_list(before, now).await?;
    let end = if silent > 0 { End::Partial } else { End::Ok };
    context.out.show(&Forgotten { going, staying, freed, silent, dry_run: false })?;
    open.objects.close().await;
    Ok(end)
}

fn phrase(args: &PhraseArgs, context: &Context) -> anyhow::Result<End> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let path = context.settings.paths.storage_key();
    if !args.enter {
        if !path.exists() {
            let mut refusal = Refusal::not_found("there is no storage secret here yet");
            refusal.hints = vec!["the first `isos put` or `isos backup create` makes one".into()];
            return Err(refusal.into());
        }
        let words = Phrase::from_bytes(&read_key(&path)?.to_bytes())?.words();
        context.out.show(&BackupPhrase(words))?;
        return Ok(End::Ok);
    }
    for path in [&path, &context.settings.paths.objects_file()] {
        if path.exists() {
            let message = format!("{} is there already: move it away first", path.display());
            return Err(Refusal::usage(message).into());
        }
    }
    if std::io::stdin().is_terminal() {
        context.out.note("type the 24 words, then Ctrl-D on a line of its own:");
    }
    let mut text = String::new();
    std::io::stdin().take(PHRASE_BYTES_MAX).read_to_string(&mut text).context("no words")?;
    let bytes = Phrase::parse(&text).map_err(|error| Refusal::usage(error.to_string()))?.to_bytes();
    let why = || Refusal::usage("the phrase of a storage has 24 words");
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| why())?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let write = || {
        let mut file = options.open(&path)?;
        std::io::Write::write_all(&mut file, &bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    context.out.note("this machine has the storage secret now: `isos ls`, `isos backup list`");
    Ok(End::Ok)
}
