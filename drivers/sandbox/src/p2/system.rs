//! `wasi:cli`, `wasi:clocks`, `wasi:random`.

use wasmtime::component::Resource;

use super::streams::{Input, Output, Pollable};
use super::wasi::{cli, clocks, random};
use crate::host::{Host, Stream};
use crate::stop::Stop;

type Made<T> = wasmtime::Result<T>;

/// Random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

impl cli::environment::Host for Host {
    fn get_environment(&mut self) -> Made<Vec<(String, String)>> {
        self.moves(self.env.iter().map(|(name, value)| name.len() + value.len()).sum());
        self.handles(self.env.len());
        Ok(self.env.clone())
    }

    fn get_arguments(&mut self) -> Made<Vec<String>> {
        self.moves(self.args.iter().map(String::len).sum());
        self.handles(self.args.len());
        Ok(self.args.clone())
    }

    fn initial_cwd(&mut self) -> Made<Option<String>> {
        Ok(Some("/".into()))
    }
}

impl cli::exit::Host for Host {
    fn exit(&mut self, status: Result<(), ()>) -> Made<()> {
        Err(Stop::Exit(i32::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, code: u8) -> Made<()> {
        Err(Stop::Exit(code.into()).into())
    }
}

impl cli::stdin::Host for Host {
    fn get_stdin(&mut self) -> Made<Resource<Input>> {
        Ok(self.table.push(Input::Empty)?)
    }
}

impl cli::stdout::Host for Host {
    fn get_stdout(&mut self) -> Made<Resource<Output>> {
        Ok(self.table.push(Output::Standard(Stream::Out))?)
    }
}

impl cli::stderr::Host for Host {
    fn get_stderr(&mut self) -> Made<Resource<Output>> {
        Ok(self.table.push(Output::Standard(Stream::Err))?)
    }
}

impl cli::terminal_input::Host for Host {}

impl cli::terminal_input::HostTerminalInput for Host {
    fn drop(&mut self, _: Resource<cli::terminal_input::TerminalInput>) -> Made<()> {
        Ok(())
    }
}

impl cli::terminal_output::Host for Host {}

impl cli::terminal_output::HostTerminalOutput for Host {
    fn drop(&mut self, _: Resource<cli::terminal_output::TerminalOutput>) -> Made<()> {
        Ok(())
    }
}

impl cli::terminal_stdin::Host for Host {
    fn get_terminal_stdin(&mut self) -> Made<Option<Resource<cli::terminal_stdin::TerminalInput>>> {
        Ok(None)
    }
}

impl cli::terminal_stdout::Host for Host {
    fn get_terminal_stdout(
        &mut self,
    ) -> Made<Option<Resource<cli::terminal_stdout::TerminalOutput>>> {
        Ok(None)
    }
}

impl cli::terminal_stderr::Host for Host {
    fn get_terminal_stderr(
        &mut self,
    ) -> Made<Option<Resource<cli::terminal_stderr::TerminalOutput>>> {
        Ok(None)
    }
}

impl clocks::monotonic_clock::Host for Host {
    fn now(&mut self) -> Made<u64> {
        Ok(self.monotonic_ns())
    }

    fn resolution(&mut self) -> Made<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> Made<Resource<Pollable>> {
        Ok(self.table.push(Pollable(Some(when)))?)
    }

    fn subscribe_duration(&mut self, duration: u64) -> Made<Resource<Pollable>> {
        let when = self.monotonic_ns().saturating_add(duration);
        Ok(self.table.push(Pollable(Some(when)))?)
    }
}

impl clocks::wall_clock::Host for Host {
    fn now(&mut self) -> Made<clocks::wall_clock::Datetime> {
        let ns = self.realtime_ns();
        let nanoseconds = (ns % 1_000_000_000) as u32;
        Ok(clocks::wall_clock::Datetime { seconds: ns / 1_000_000_000, nanoseconds })
    }

    fn resolution(&mut self) -> Made<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl Host {
    fn random_bytes(&mut self, length: u64) -> Made<Vec<u8>> {
        // The interface has no error for this, and no program needs a megabyte at once.
        if length > RANDOM_BYTES_MAX {
            return Err(Stop::Aborted.into());
        }
        let mut bytes = vec![0; length as usize];
        self.fill_random(&mut bytes)?;
        Ok(bytes)
    }

    fn random_u64(&mut self) -> Made<u64> {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl random::random::Host for Host {
    fn get_random_bytes(&mut self, length: u64) -> Made<Vec<u8>> {
        self.random_bytes(length)
    }

    fn get_random_u64(&mut self) -> Made<u64> {
        self.random_u64()
    }
}

impl random::insecure::Host for Host {
    fn get_insecure_random_bytes(&mut self, length: u64) -> Made<Vec<u8>> {
        self.random_bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> Made<u64> {
        self.random_u64()
    }
}

impl random::insecure_seed::Host for Host {
    fn insecure_seed(&mut self) -> Made<(u64, u64)> {
        Ok((self.random_u64()?, self.random_u64()?))
    }
}
