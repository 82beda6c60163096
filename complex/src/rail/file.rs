//! A rail of files: what is to be paid is appended to one, what came in is dropped into a folder.
//!
//! For complexes whose operator moves money by hand, or by a program that reads and writes files;
//! and an example of a rail. In its folder:
//!
//! * `payouts.jsonl`: a line of JSON for each payout, on the disk before it counts as paid. Each
//!   key stands in it once: the file itself is what remembers keys. It is locked while it is read
//!   and appended to, so that a server that was deposed and does not know it yet does not write
//!   twice. It must not be cut or moved while payouts wait.
//! * `deposits/NAME.json`: what came in, `{"id": "...", "account": "ada", "amount": "12.50"}`.
//!   Write it under another name first (not ending in `.json`) and rename it. It moves to
//!   `deposits/done/` once it is credited, or to `deposits/bad/` with a text that says why not.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use isos_base::{Guid, MicroCredits};
use serde::{Deserialize, Serialize};

use super::{INCOMING_MAX, Incoming, Instruction, Rail, RailError, Sent};

/// Payouts in the file: 16 bytes of memory for each.
const LINES_MAX: usize = 10_000_000;
/// A line of the file.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// A deposit's file.
const DEPOSIT_BYTES_MAX: u64 = 64 << 10;
/// Entries of the folder of deposits that are looked at in one go.
const ENTRIES_MAX: usize = 10_000;
/// Characters of a deposit's id.
const ID_CHARS_MAX: usize = 200;

/// A payout as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    payout: u64,
    account: u64,
    amount: String,
    currency: String,
    to: String,
    asked: String,
}

/// A deposit as an operator writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deposit {
    id: String,
    account: String,
    amount: String,
    /// For whoever reads the file.
    #[serde(default)]
    #[expect(dead_code, reason = "for whoever reads the file")]
    note: Option<String>,
}

/// What is known of the file.
#[derive(Default)]
struct Known {
    keys: HashSet<u128>,
    /// Bytes that have been read: whole lines.
    read: u64,
}

/// The rail.
pub struct FileRail {
    name: String,
    payouts: PathBuf,
    deposits: PathBuf,
    known: Mutex<Known>,
    /// Files of the deposits that were told.
    told: Mutex<BTreeMap<String, PathBuf>>,
}

impl FileRail {
    /// Opens it, and makes its folders if there are none.
    ///
    /// # Errors
    /// [`RailError::File`].
    pub fn open(name: &str, folder: &Path) -> Result<Self, RailError> {
        let rail = Self {
            name: name.into(),
            payouts: folder.join("payouts.jsonl"),
            deposits: folder.join("deposits"),
            known: Mutex::default(),
            told: Mutex::default(),
        };
        for part in ["", "done", "bad"] {
            let path = rail.deposits.join(part);
            fs::create_dir_all(&path).map_err(|source| rail.error(&path, source))?;
        }
        let file = rail.open_file().and_then(|file| file.sync_all());
        file.map_err(|source| rail.error(&rail.payouts, source))?;
        sync_folder(folder).map_err(|source| rail.error(folder, source))?;
        Ok(rail)
    }

    fn error(&self, path: &Path, source: io::Error) -> RailError {
        RailError::File { rail: self.name.clone(), path: path.display().to_string(), source }
    }

    fn open_file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.payouts)
    }

    /// Appends a payout, unless its key is there. The lock ends with the file.
    fn append(&self, line: &Line) -> io::Result<Sent> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = self.open_file()?;
        file.lock()?;
        known.catch_up(&mut file)?;
        let receipt = format!("line in {}", self.payouts.display());
        if known.keys.contains(&hash(&line.key)) {
            // Whoever wrote it may have died before it was on the disk.
            file.sync_all()?;
            return Ok(Sent::Paid(receipt));
        }
        if known.keys.len() >= LINES_MAX {
            return Ok(Sent::Later(format!("{} has {LINES_MAX} lines", self.payouts.display())));
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        file.seek(SeekFrom::Start(known.read))?;
        file.write_all(&text)?;
        file.sync_all()?;
        known.read += text.len() as u64;
        known.keys.insert(hash(&line.key));
        Ok(Sent::Paid(receipt))
    }

    fn read_deposit(path: &Path) -> Result<Incoming, String> {
        let mut text = String::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        let read = file.take(DEPOSIT_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| error.to_string())?;
        if text.len() as u64 > DEPOSIT_BYTES_MAX {
            return Err(format!("it has more than {DEPOSIT_BYTES_MAX} bytes"));
        }
        let shape = "it must be {\"id\": \"...\", \"account\": \"ada\", \"amount\": \"12.50\"}";
        let deposit: Deposit =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {shape}"))?;
        let chars = deposit.id.chars().count();
        if !(1..=ID_CHARS_MAX).contains(&chars) || deposit.id.chars().any(char::is_control) {
            return Err(format!("its id has {chars} characters: use 1 to {ID_CHARS_MAX}"));
        }
        let money: MicroCredits = deposit
            .amount
            .parse()
            .map_err(|_| format!("{:?} is no amount: use one such as 12.50", deposit.amount))?;
        Ok(Incoming { id: deposit.id, account: deposit.account, money })
    }

    fn to_folder(&self, path: &Path, folder: &str, why: Option<&str>) -> Result<(), RailError> {
        let name = path.file_name().unwrap_or_default();
        let mut to = self.deposits.join(folder).join(name);
        // Nothing is replaced: an operator may use a name again.
        for n in 2.. {
            if !to.exists() {
                break;
            }
            to = self.deposits.join(folder).join(format!("{n}-{}", name.display()));
        }
        let done = || {
            if let Some(why) = why {
                let mut text = to.clone().into_os_string();
                text.push(".why");
                fs::write(text, format!("{why}\n"))?;
            }
            fs::rename(path, &to)?;
            sync_folder(&self.deposits)
        };
        done().map_err(|source| self.error(path, source))
    }

    fn leaves(&self, id: &str, folder: &str, why: Option<&str>) -> Result<(), RailError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = told.get(id) else { return Ok(()) };
        self.to_folder(path, folder, why)?;
        told.remove(id);
        Ok(())
    }
}

impl Known {
    /// Reads what others have appended, and cuts off a line that nobody ended.
    fn catch_up(&mut self, file: &mut File) -> io::Result<()> {
        let length = file.metadata()?.len();
        if length < self.read {
            // Somebody has cut it: what is left of it counts.
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(&mut *file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if count == 0 || line.last() != Some(&b'\n') {
                break;
            }
            self.read += count as u64;
            // A line that somebody else wrote by hand has no key of ours.
            if let Ok(line) = serde_json::from_slice::<Line>(&line) {
                self.keys.insert(hash(&line.key));
            }
        }
        if !line.is_empty() {
            if line.len() as u64 >= LINE_BYTES_MAX {
                let why = "it has a line that is longer than any of ours: mend it by hand";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            // A server died within it: it was not paid, and is about to be.
            file.set_len(self.read)?;
        }
        Ok(())
    }
}

impl Rail for FileRail {
    fn send(&self, instruction: &Instruction) -> Sent {
        let Instruction { key, money, currency, to, payout } = instruction;
        let line = Line {
            key: key.clone(),
            payout: payout.id.0,
            account: payout.account.0,
            amount: money.to_string(),
            currency: currency.clone(),
            to: to.clone(),
            asked: payout.asked.to_rfc3339(),
        };
        // No answer of a disk says for certain that nothing was written.
        let told = self.append(&line);
        told.unwrap_or_else(|error| Sent::Later(format!("{}: {error}", self.payouts.display())))
    }

    fn address(&self, account: u64, name: &str) -> String {
        format!("pay to the operator and name the account: {name} (account {account})")
    }

    fn incoming(&self) -> Result<Vec<Incoming>, RailError> {
        let fail = |source| self.error(&self.deposits, source);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.deposits).map_err(fail)?.take(ENTRIES_MAX) {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|it| it == "json") && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let mut found = Vec::new();
        for path in paths.into_iter().take(INCOMING_MAX) {
            match Self::read_deposit(&path) {
                Ok(incoming) => {
                    let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(other) = told.get(&incoming.id).filter(|other| **other != path) {
                        let why = format!("its id is that of {} too", other.display());
                        drop(told);
                        self.to_folder(&path, "bad", Some(&why))?;
                        continue;
                    }
                    told.insert(incoming.id.clone(), path);
                    found.push(incoming);
                }
                Err(why) => self.to_folder(&path, "bad", Some(&why))?,
            }
        }
        Ok(found)
    }

    fn taken(&self, id: &str) -> Result<(), RailError> {
        self.leaves(id, "done", None)
    }

    fn rejected(&self, id: &str, why: &str) -> Result<(), RailError> {
        self.leaves(id, "bad", Some(why))
    }
}

fn hash(key: &str) -> u128 {
    let mut low = [0; 16];
    low.copy_from_slice(&Guid::of(key.as_bytes()).0[..16]);
    u128::from_le_bytes(low)
}

/// A name is on the disk when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
