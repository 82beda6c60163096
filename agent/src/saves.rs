//! The newest checkpoint of each task at hand: on the shelf, and known by a small file in the home,
//! so that a task goes on when the agent was killed.
//!
//! It deliberately does not say whether a checkpoint is good: the sandbox sees that. What is lost
//! here costs work, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use isos_base::checkpoint::Checkpoint;
use isos_base::{Bytes, Fuel, JobId, codec};
use isos_disk::{Home, Pin, Shelf};

/// Names of the files: this, the job and the task.
const PREFIX: &str = "saved-";
/// Checkpoints that are kept at a time.
const SAVES_MAX: usize = 1_024;
/// What nobody has gone on with for so long is forgotten.
const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(14 * 86_400);

/// All of them. They are pinned: the shelf does not make room with them.
pub(crate) struct Saves(Mutex<BTreeMap<(JobId, u32), (Checkpoint, Pin)>>);

impl Saves {
    /// What an earlier run has left.
    pub(crate) fn open(home: &Home, shelf: &Shelf) -> Self {
        let mut saves = BTreeMap::new();
        for entry in std::fs::read_dir(home.dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(key) = key_of(name) else { continue };
            let age = entry.metadata().and_then(|it| it.modified()).ok();
            let age = age.and_then(|at| at.elapsed().ok()).unwrap_or_default();
            let save = home.read(name).ok().flatten();
            let save = save.and_then(|bytes| codec::decode::<Checkpoint>(&bytes).ok());
            match save.filter(|save| shelf.contains(&save.guid)) {
                Some(save) if age < KEPT_FOR && saves.len() < SAVES_MAX => {
                    saves.insert(key, (save, shelf.pin(&save.guid)));
                }
                // The shelf makes room with the object when it must.
                _ => _ = home.remove(name),
            }
        }
        Self(Mutex::new(saves))
    }

    /// Keeps a checkpoint instead of the one before.
    pub(crate) fn keep(
        &self,
        home: &Home,
        shelf: &Shelf,
        (job, task): (JobId, u32),
        (bytes, fuel): (&[u8], Fuel),
    ) -> Result<(), String> {
        let size = Bytes(bytes.len() as u64);
        shelf.make_room(size).map_err(|error| error.to_string())?;
        let guid = shelf.put(bytes).map_err(|error| error.to_string())?;
        let save = Checkpoint { guid, size, fuel };
        let pin = shelf.pin(&guid);
        let before = {
            let mut saves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if saves.len() >= SAVES_MAX && !saves.contains_key(&(job, task)) {
                return Err(format!("{SAVES_MAX} are kept already"));
            }
            home.write(&name(job, task), &codec::encode(&save)).map_err(|e| e.to_string())?;
            saves.insert((job, task), (save, pin))
        };
        if let Some((before, pin)) = before.filter(|(before, _)| before.guid != guid) {
            drop(pin);
            // A chamber may have it linked; then it goes with that.
            let _ = shelf.remove(&before.guid);
        }
        Ok(())
    }

    /// The newest checkpoint of a task that there is here.
    pub(crate) fn newest(&self, job: JobId, task: u32) -> Option<Checkpoint> {
        let saves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        saves.get(&(job, task)).map(|(save, _)| *save)
    }

    /// A task has come to its end.
    pub(crate) fn forget(&self, home: &Home, job: JobId, task: u32) {
        let mut saves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if saves.remove(&(job, task)).is_some() {
            let _ = home.remove(&name(job, task));
        }
    }
}

fn name(job: JobId, task: u32) -> String {
    format!("{PREFIX}{}-{task}", job.0)
}

fn key_of(name: &str) -> Option<(JobId, u32)> {
    let (job, task) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((JobId(job.parse().ok()?), task.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use isos_base::Guid;
    use isos_disk::{Durability, ShelfLimits};

    use super::*;

    #[test]
    fn the_newest_checkpoint_of_a_task_is_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("home");
        let limits = ShelfLimits { quota: Bytes::mib(8), free_floor: Bytes::ZERO };
        {
            let home = Home::open(&dir).unwrap();
            let shelf = home.shelf(limits, Durability::Cache).unwrap();
            let saves = Saves::open(&home, &shelf);
            let key = (JobId(42), 7);
            saves.keep(&home, &shelf, key, (b"first", Fuel(1))).unwrap();
            saves.keep(&home, &shelf, key, (b"second", Fuel(2))).unwrap();
            assert!(!shelf.contains(&Guid::of(b"first")), "one of each task");
        }
        let home = Home::open(&dir).unwrap();
        let shelf = home.shelf(limits, Durability::Cache).unwrap();
        home.write("saved-1-x", b"no task").unwrap();
        home.write("saved-1-1", b"no checkpoint").unwrap();
        let saves = Saves::open(&home, &shelf);
        let newest = saves.newest(JobId(42), 7).unwrap();
        assert_eq!((newest.guid, newest.fuel), (Guid::of(b"second"), Fuel(2)));
        assert_eq!(saves.newest(JobId(1), 1), None);
        saves.forget(&home, JobId(42), 7);
        assert_eq!(Saves::open(&home, &shelf).newest(JobId(42), 7), None);
    }
}
