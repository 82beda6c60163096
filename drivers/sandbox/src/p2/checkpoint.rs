//! `isos:host/checkpoint` for components.

use super::bindings::isos::host::checkpoint;
use crate::host::Host;
use crate::stop::No;

impl checkpoint::Host for Host {
    fn due(&mut self) -> wasmtime::Result<bool> {
        Ok(self.save_is_due())
    }

    fn restore(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        self.pays(self.saving.restored.as_ref().map_or(0, Vec::len))?;
        Ok(self.saving.restored.clone())
    }

    fn save(&mut self, state: Vec<u8>) -> wasmtime::Result<Result<(), checkpoint::Refused>> {
        // It was copied before anybody could ask whether a save is due.
        self.moves(state.len());
        match Self::save(self, &state) {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(_)) => Ok(Err(checkpoint::Refused::TooLarge)),
            Err(No::Stop(stop)) => Err(stop.into()),
            Err(No::Errno(errno)) => Err(wasmtime::Error::msg(format!("{errno:?}"))),
        }
    }
}
