//! What the commands about backups take.

use std::path::PathBuf;

use isos_base::Span;
use isos_store::class::Class;

/// Which backups.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Repository {
    /// Which set of snapshots: each has a list of its own
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) repo: String,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Keep a snapshot of folders and files; what is there already is not sent again
    Create(CreateArgs),
    /// List snapshots
    List(Repository),
    /// List what is at a path of a snapshot
    Browse(BrowseArgs),
    /// Show what differs between two snapshots
    Diff(DiffArgs),
    /// Restore a snapshot, or a part of it, to a folder
    Restore(RestoreArgs),
    /// Read every byte of a snapshot and check it
    Verify(OneArgs),
    /// Give snapshots up: those that no rule keeps
    Forget(ForgetArgs),
    /// Print the words by which a new machine finds all backups and objects, or enter them there
    Phrase(PhraseArgs),
}

/// What to keep, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Folders and files
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) repository: Repository,
    /// Leave out what matches, as in .gitignore
    #[arg(long, value_name = "PATTERN")]
    pub(super) exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    pub(super) exclude_file: Vec<PathBuf>,
    /// Keep caches too: folders with a CACHEDIR.TAG
    #[arg(long)]
    pub(super) with_caches: bool,
    /// Stay on the file systems of the paths
    #[arg(long)]
    pub(super) one_file_system: bool,
    /// A word to find the snapshot by, and to keep it by
    #[arg(long, value_name = "TAG")]
    pub(super) tag: Vec<String>,
    /// Read files that seem unchanged, too
    #[arg(long)]
    pub(super) force: bool,
    /// How safe: archive, standard, bulk, hot or small
    #[arg(long, value_name = "CLASS", default_value = "bulk")]
    pub(super) class: Class,
    /// For how long at least
    #[arg(long = "for", value_name = "TIME", default_value = "90d")]
    pub(super) term: Span,
}

/// Which snapshot.
#[derive(Debug, clap::Args)]
pub(crate) struct OneArgs {
    /// The beginning of a snapshot's id, or last
    #[arg(value_name = "SNAPSHOT", default_value = "last")]
    pub(super) snapshot: String,
    #[command(flatten)]
    pub(super) repository: Repository,
}

/// What of it.
#[derive(Debug, clap::Args)]
pub(crate) struct BrowseArgs {
    /// The beginning of a snapshot's id, or last
    #[arg(value_name = "SNAPSHOT", default_value = "last")]
    pub(super) snapshot: String,
    /// A folder or file in it
    #[arg(value_name = "PATH", default_value = "")]
    pub(super) path: PathBuf,
    /// All below it, too
    #[arg(long, short = 'R')]
    pub(super) recursive: bool,
    #[command(flatten)]
    pub(super) repository: Repository,
}

/// Between which.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The beginning of a snapshot's id
    #[arg(value_name = "FROM")]
    pub(super) from: String,
    /// The beginning of a snapshot's id, or last
    #[arg(value_name = "TO", default_value = "last")]
    pub(super) to: String,
    #[command(flatten)]
    pub(super) repository: Repository,
}

/// What, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The beginning of a snapshot's id, or last
    #[arg(value_name = "SNAPSHOT", default_value = "last")]
    pub(super) snapshot: String,
    /// The folder to restore to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(super) to: PathBuf,
    /// Only this folder or file of it, without the folders above
    #[arg(long, value_name = "PATH")]
    pub(super) from: Option<PathBuf>,
    /// Only what matches, as in .gitignore
    #[arg(long, value_name = "PATTERN")]
    pub(super) include: Vec<String>,
    /// Not what matches
    #[arg(long, value_name = "PATTERN")]
    pub(super) exclude: Vec<String>,
    /// What becomes of files that are there: never replaced, if they changed, or always
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub(super) overwrite: When,
    /// Write nothing, only count
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) repository: Repository,
}

/// When files that are there are replaced.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum When {
    Never,
    Changed,
    Always,
}

/// What to keep.
#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    /// These snapshots go, whatever rules say
    #[arg(value_name = "SNAPSHOT")]
    pub(super) snapshots: Vec<String>,
    /// Keep the last so many of each machine and set of paths
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) keep_last: usize,
    /// Keep the last of each day, for so many days that have one
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) keep_daily: usize,
    /// Of each week
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) keep_weekly: usize,
    /// Of each month
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) keep_monthly: usize,
    /// Of each year
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) keep_yearly: usize,
    /// Keep all with this tag
    #[arg(long, value_name = "TAG")]
    pub(super) keep_tag: Vec<String>,
    /// Only say what would go
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) repository: Repository,
}

/// Show or enter.
#[derive(Debug, clap::Args)]
pub(crate) struct PhraseArgs {
    /// Read the words from standard input and make this machine one of their owner's
    #[arg(long)]
    pub(super) enter: bool,
}
