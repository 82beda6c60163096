//! Arguments, environment, clocks, waiting.

use super::guest::{Guest, offset};
use crate::host::Host;
use crate::stop::{Answer, Errno};

/// Subscriptions of one wait.
const WAITS_MAX: u32 = 1_024;
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
const WAIT_CLOCK: u8 = 0;
const WAIT_WRITE: u8 = 2;
const CLOCK_REALTIME: u32 = 0;
const ABSOLUTE: u16 = 1;

/// Writes texts with a NUL behind each, and a list of their addresses.
fn put_texts(guest: &mut Guest<'_>, texts: &[String], list: u32, text: u32) -> Result<(), Errno> {
    let (mut list, mut at) = (list, text);
    for text in texts {
        guest.put_u32(list, at)?;
        guest.put(at, text.as_bytes())?;
        at = offset(at, u32::try_from(text.len()).map_err(|_| Errno::Overflow)?)?;
        guest.put(at, &[0])?;
        at = offset(at, 1)?;
        list = offset(list, 4)?;
    }
    Ok(())
}

fn put_sizes(guest: &mut Guest<'_>, texts: &[String], n: u32, bytes: u32) -> Result<(), Errno> {
    let total: usize = texts.iter().map(|text| text.len() + 1).sum();
    guest.put_u32(n, u32::try_from(texts.len()).map_err(|_| Errno::Overflow)?)?;
    guest.put_u32(bytes, u32::try_from(total).map_err(|_| Errno::Overflow)?)
}

impl Host {
    fn environment(&self) -> Vec<String> {
        self.env.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    pub(super) fn args_get(&mut self, guest: &mut Guest<'_>, list: u32, text: u32) -> Answer<()> {
        self.moves(self.args.iter().map(String::len).sum());
        self.handles(self.args.len());
        Ok(put_texts(guest, &self.args, list, text)?)
    }

    pub(super) fn args_sizes_get(
        &mut self,
        guest: &mut Guest<'_>,
        count: u32,
        bytes: u32,
    ) -> Answer<()> {
        self.moves(self.args.len() * 8);
        Ok(put_sizes(guest, &self.args, count, bytes)?)
    }

    pub(super) fn environ_get(
        &mut self,
        guest: &mut Guest<'_>,
        list: u32,
        text: u32,
    ) -> Answer<()> {
        let texts = self.environment();
        self.moves(texts.iter().map(String::len).sum());
        self.handles(texts.len());
        Ok(put_texts(guest, &texts, list, text)?)
    }

    pub(super) fn environ_sizes_get(
        &mut self,
        guest: &mut Guest<'_>,
        count: u32,
        bytes: u32,
    ) -> Answer<()> {
        let texts = self.environment();
        self.moves(texts.iter().map(String::len).sum());
        self.handles(texts.len());
        Ok(put_sizes(guest, &texts, count, bytes)?)
    }

    pub(super) fn clock_res_get(
        &mut self,
        guest: &mut Guest<'_>,
        clock: u32,
        out: u32,
    ) -> Answer<()> {
        if clock > 3 {
            return Err(Errno::Invalid.into());
        }
        Ok(guest.put_u64(out, 1)?)
    }

    pub(super) fn clock_time_get(
        &mut self,
        guest: &mut Guest<'_>,
        clock: u32,
        out: u32,
    ) -> Answer<()> {
        let now = match clock {
            CLOCK_REALTIME => self.realtime_ns(),
            // The two clocks of CPU time run with the fuel, like the monotonic one.
            1..=3 => self.monotonic_ns(),
            _ => return Err(Errno::Invalid.into()),
        };
        Ok(guest.put_u64(out, now)?)
    }

    /// Waiting passes virtual time and returns at once. Descriptors are always ready, so time only
    /// passes when clocks alone are waited for: up to the first that rings.
    pub(super) fn poll_oneoff(
        &mut self,
        guest: &mut Guest<'_>,
        list: u32,
        out: u32,
        n: u32,
        done: u32,
    ) -> Answer<()> {
        if n == 0 || n > WAITS_MAX {
            return Err(Errno::Invalid.into());
        }
        self.handles(n as usize);
        let (monotonic, realtime) = (self.monotonic_ns(), self.realtime_ns());
        let mut waits = Vec::with_capacity(n as usize);
        for index in 0..n {
            let at = offset(list, index * SUBSCRIPTION_BYTES)?;
            let user = guest.u64(at)?;
            let kind = guest.u8(offset(at, 8)?)?;
            let mut error = 0u16;
            let mut left_ns = 0;
            if kind == WAIT_CLOCK {
                let clock = guest.u32(offset(at, 16)?)?;
                let timeout = guest.u64(offset(at, 24)?)?;
                let flags = guest.u16(offset(at, 40)?)?;
                left_ns = match (flags & ABSOLUTE != 0, clock) {
                    (_, 4..) => {
                        error = Errno::Invalid as u16;
                        0
                    }
                    (false, _) => timeout,
                    (true, CLOCK_REALTIME) => timeout.saturating_sub(realtime),
                    (true, _) => timeout.saturating_sub(monotonic),
                };
            } else if kind > WAIT_WRITE {
                return Err(Errno::Invalid.into());
            } else if let Err(errno) = self.descriptors.get(guest.u32(offset(at, 16)?)?) {
                error = errno as u16;
            }
            waits.push((user, kind, error, left_ns));
        }
        let first = waits.iter().map(|wait| wait.3).min().unwrap_or(0);
        self.sleep(first);
        let mut rung = 0;
        for (user, kind, error, left_ns) in waits {
            if left_ns > first {
                continue;
            }
            let mut event = [0; EVENT_BYTES as usize];
            event[0..8].copy_from_slice(&user.to_le_bytes());
            event[8..10].copy_from_slice(&error.to_le_bytes());
            event[10] = kind;
            if kind != WAIT_CLOCK {
                event[16..24].copy_from_slice(&1u64.to_le_bytes());
            }
            guest.put(offset(out, rung * EVENT_BYTES)?, &event)?;
            rung += 1;
        }
        Ok(guest.put_u32(done, rung)?)
    }
}
