//! `isos:host/peers` for components.

use isos_base::peers::Problem;

use super::bindings::isos::host::peers;
use crate::host::Host;

impl From<Problem> for peers::Problem {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Gone => Self::Gone,
            Problem::TooLarge => Self::TooLarge,
            Problem::NoRank => Self::NoRank,
        }
    }
}

impl peers::Host for Host {
    fn rank(&mut self) -> wasmtime::Result<u32> {
        Ok(self.peers_rank().0)
    }

    fn size(&mut self) -> wasmtime::Result<u32> {
        Ok(self.peers_rank().1)
    }

    fn send(&mut self, to: u32, message: Vec<u8>) -> wasmtime::Result<Result<(), peers::Problem>> {
        Ok(self.peers_send(Some(to), &message)?.map(drop).map_err(Into::into))
    }

    fn receive(
        &mut self,
        from: Option<u32>,
        wait: u64,
    ) -> wasmtime::Result<Result<Option<(u32, Vec<u8>)>, peers::Problem>> {
        Ok(self.peers_receive(from, wait)?.map_err(Into::into))
    }

    fn multicast(&mut self, message: Vec<u8>) -> wasmtime::Result<Result<u32, peers::Problem>> {
        Ok(self.peers_send(None, &message)?.map_err(Into::into))
    }
}
