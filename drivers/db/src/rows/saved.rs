//! How far the runs of tasks have come.

use isos_base::ids::{JobId, LeaseId};
use isos_base::record::{Referee, SavedRecord};
use isos_base::units::Fuel;

use super::{FEW, Record};
use crate::cells::{BadRow, Binder, Reader};
use crate::table::{Again, Table};

impl Record for SavedRecord {
    const TABLE: Table = Table {
        name: "saved",
        columns: &["lease", "task", "job", "host", "fuel", "roots", "kept", "part_of", "resumed"],
        key: 2,
        again: Again::Replace,
        rows_max: FEW,
    };

    fn bind(&self, to: &mut Binder) {
        to.number(self.lease.0);
        to.number(self.task.into());
        to.number(self.job.0);
        to.bytes(self.host.0.0);
        to.number(self.fuel.0);
        to.packed(&self.roots);
        let part = self.referee.map(|it| (it.segment, it.fuel));
        to.packed(&(&self.kept, part));
        to.maybe_number(self.referee.and_then(|it| it.of).map(|lease| lease.0));
        to.maybe_packed(self.resumed.as_ref());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, BadRow> {
        let lease = LeaseId(from.number()?);
        let (task, job) = (from.number()?, JobId(from.number()?));
        let (host, fuel, roots) = (from.host()?, Fuel(from.number()?), from.packed()?);
        let (kept, part): (_, Option<(u32, Fuel)>) = from.packed()?;
        let of = from.maybe_number()?.map(LeaseId);
        let referee = part.map(|(segment, fuel)| Referee { segment, fuel, of });
        let resumed = from.maybe_packed()?;
        Ok(Self { lease, task, job, host, fuel, roots, kept, referee, resumed })
    }
}
