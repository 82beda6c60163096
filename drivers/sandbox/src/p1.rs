//! WASI preview 1 (`wasi_snapshot_preview1`) for core modules, over the virtual file system; and
//! `isos:host/checkpoint` and `isos:host/peers`.
//!
//! All 46 functions of the witx file are here; sockets answer that the descriptor is no socket.
//! Field offsets are those of `typenames.witx`. A pointer that is out of bounds is `EFAULT`.

mod checkpoint;
mod descriptors;
mod files;
mod guest;
mod paths;
mod peers;
mod process;

use wasmtime::{Caller, Extern, Linker};

pub(crate) use descriptors::Descriptors;
pub(crate) use files::LISTED_MAX;
use guest::Guest;

use crate::host::{Host, enter, leave};
use crate::stop::{Answer, Errno, No, Stop};

/// The name that modules import from.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";
const SUCCESS: u32 = 0;

/// Runs one host function: meter, memory, result as an error number.
fn call(
    mut caller: Caller<'_, Host>,
    work: impl FnOnce(&mut Guest<'_>, &mut Host) -> Answer<()>,
) -> wasmtime::Result<u32> {
    let mut store = (&mut caller).into();
    enter(&mut store)?;
    let memory = if let Some(memory) = caller.data().memory {
        memory
    } else if let Some(Extern::Memory(memory)) = caller.get_export("memory") {
        caller.data_mut().memory = Some(memory);
        memory
    } else {
        leave(&mut (&mut caller).into())?;
        return Ok(Errno::Invalid as u32);
    };
    let (bytes, host) = memory.data_and_store_mut(&mut caller);
    let answer = work(&mut Guest::new(bytes), host);
    leave(&mut (&mut caller).into())?;
    match answer {
        Ok(()) => Ok(SUCCESS),
        Err(No::Errno(errno)) => Ok(errno as u32),
        Err(No::Stop(stop)) => Err(stop.into()),
    }
}

type Ctx<'a> = Caller<'a, Host>;

/// Gives the linker every function of the interface.
pub(crate) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    checkpoint::add_to_linker(linker)?;
    peers::add_to_linker(linker)?;
    add_process(linker)?;
    add_files(linker)?;
    add_paths(linker)?;
    add_sockets(linker)
}

fn add_process(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "args_get", |c: Ctx<'_>, list: u32, text: u32| {
        call(c, |g, h| h.args_get(g, list, text))
    })?;
    l.func_wrap(MODULE, "args_sizes_get", |c: Ctx<'_>, count: u32, bytes: u32| {
        call(c, |g, h| h.args_sizes_get(g, count, bytes))
    })?;
    l.func_wrap(MODULE, "environ_get", |c: Ctx<'_>, list: u32, text: u32| {
        call(c, |g, h| h.environ_get(g, list, text))
    })?;
    l.func_wrap(MODULE, "environ_sizes_get", |c: Ctx<'_>, count: u32, bytes: u32| {
        call(c, |g, h| h.environ_sizes_get(g, count, bytes))
    })?;
    l.func_wrap(MODULE, "clock_res_get", |c: Ctx<'_>, clock: u32, out: u32| {
        call(c, |g, h| h.clock_res_get(g, clock, out))
    })?;
    l.func_wrap(MODULE, "clock_time_get", |c: Ctx<'_>, clock: u32, _precision: u64, out: u32| {
        call(c, |g, h| h.clock_time_get(g, clock, out))
    })?;
    l.func_wrap(MODULE, "poll_oneoff", |c: Ctx<'_>, list: u32, out: u32, n: u32, done: u32| {
        call(c, |g, h| h.poll_oneoff(g, list, out, n, done))
    })?;
    l.func_wrap(MODULE, "proc_exit", |_: Ctx<'_>, code: u32| -> wasmtime::Result<()> {
        Err(Stop::Exit(code.cast_signed()).into())
    })?;
    l.func_wrap(MODULE, "proc_raise", |_: Ctx<'_>, _signal: u32| -> wasmtime::Result<u32> {
        Err(Stop::Aborted.into())
    })?;
    l.func_wrap(MODULE, "sched_yield", |c: Ctx<'_>| call(c, |_, _| Ok(())))?;
    l.func_wrap(MODULE, "random_get", |c: Ctx<'_>, buffer: u32, length: u32| {
        call(c, |g, h| Ok(h.fill_random(g.slice_mut(buffer, length)?)?))
    })?;
    Ok(())
}

fn add_files(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(
        MODULE,
        "fd_advise",
        |c: Ctx<'_>, fd: u32, _at: u64, _length: u64, advice: u32| {
            call(c, |_, h| h.fd_advise(fd, advice))
        },
    )?;
    l.func_wrap(MODULE, "fd_allocate", |c: Ctx<'_>, fd: u32, at: u64, length: u64| {
        call(c, |_, h| h.fd_allocate(fd, at, length))
    })?;
    l.func_wrap(MODULE, "fd_close", |c: Ctx<'_>, fd: u32| call(c, |_, h| h.fd_close(fd)))?;
    l.func_wrap(MODULE, "fd_datasync", |c: Ctx<'_>, fd: u32| call(c, |_, h| h.fd_sync(fd)))?;
    l.func_wrap(MODULE, "fd_sync", |c: Ctx<'_>, fd: u32| call(c, |_, h| h.fd_sync(fd)))?;
    l.func_wrap(MODULE, "fd_fdstat_get", |c: Ctx<'_>, fd: u32, out: u32| {
        call(c, |g, h| h.fd_fdstat_get(g, fd, out))
    })?;
    l.func_wrap(MODULE, "fd_fdstat_set_flags", |c: Ctx<'_>, fd: u32, flags: u32| {
        call(c, |_, h| h.fd_fdstat_set_flags(fd, flags))
    })?;
    l.func_wrap(MODULE, "fd_fdstat_set_rights", |c: Ctx<'_>, fd: u32, base: u64, _more: u64| {
        call(c, |_, h| h.fd_fdstat_set_rights(fd, base))
    })?;
    l.func_wrap(MODULE, "fd_filestat_get", |c: Ctx<'_>, fd: u32, out: u32| {
        call(c, |g, h| h.fd_filestat_get(g, fd, out))
    })?;
    l.func_wrap(MODULE, "fd_filestat_set_size", |c: Ctx<'_>, fd: u32, size: u64| {
        call(c, |_, h| h.fd_filestat_set_size(fd, size))
    })?;
    l.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |c: Ctx<'_>, fd: u32, _access: u64, _change: u64, _flags: u32| {
            call(c, |_, h| h.fd_sync(fd))
        },
    )?;
    l.func_wrap(
        MODULE,
        "fd_pread",
        |c: Ctx<'_>, fd: u32, list: u32, n: u32, at: u64, out: u32| {
            call(c, |g, h| h.fd_pread(g, fd, (list, n), at, out))
        },
    )?;
    l.func_wrap(
        MODULE,
        "fd_pwrite",
        |c: Ctx<'_>, fd: u32, list: u32, n: u32, at: u64, out: u32| {
            call(c, |g, h| h.fd_pwrite(g, fd, (list, n), at, out))
        },
    )?;
    l.func_wrap(MODULE, "fd_read", |c: Ctx<'_>, fd: u32, list: u32, n: u32, out: u32| {
        call(c, |g, h| h.fd_read(g, fd, (list, n), out))
    })?;
    l.func_wrap(MODULE, "fd_write", |c: Ctx<'_>, fd: u32, list: u32, n: u32, out: u32| {
        call(c, |g, h| h.fd_write(g, fd, (list, n), out))
    })?;
    l.func_wrap(MODULE, "fd_prestat_get", |c: Ctx<'_>, fd: u32, out: u32| {
        call(c, |g, h| h.fd_prestat_get(g, fd, out))
    })?;
    l.func_wrap(MODULE, "fd_prestat_dir_name", |c: Ctx<'_>, fd: u32, path: u32, length: u32| {
        call(c, |g, h| h.fd_prestat_dir_name(g, fd, path, length))
    })?;
    l.func_wrap(
        MODULE,
        "fd_readdir",
        |c: Ctx<'_>, fd: u32, buffer: u32, length: u32, cookie: u64, out: u32| {
            call(c, |g, h| h.fd_readdir(g, fd, (buffer, length), cookie, out))
        },
    )?;
    l.func_wrap(MODULE, "fd_renumber", |c: Ctx<'_>, from: u32, to: u32| {
        call(c, |_, h| h.fd_renumber(from, to))
    })?;
    l.func_wrap(MODULE, "fd_seek", |c: Ctx<'_>, fd: u32, by: i64, whence: u32, out: u32| {
        call(c, |g, h| h.fd_seek(g, fd, by, whence, out))
    })?;
    l.func_wrap(MODULE, "fd_tell", |c: Ctx<'_>, fd: u32, out: u32| {
        call(c, |g, h| h.fd_seek(g, fd, 0, 1, out))
    })?;
    Ok(())
}

fn add_paths(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "path_create_directory", |c: Ctx<'_>, fd: u32, path: u32, n: u32| {
        call(c, |g, h| h.path_create_directory(g, fd, (path, n)))
    })?;
    l.func_wrap(
        MODULE,
        "path_filestat_get",
        |c: Ctx<'_>, fd: u32, _follow: u32, path: u32, n: u32, out: u32| {
            call(c, |g, h| h.path_filestat_get(g, fd, (path, n), out))
        },
    )?;
    l.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |c: Ctx<'_>, fd: u32, _follow: u32, path: u32, n: u32, _a: u64, _m: u64, _flags: u32| {
            call(c, |g, h| h.path_exists(g, fd, (path, n)))
        },
    )?;
    l.func_wrap(
        MODULE,
        "path_link",
        |c: Ctx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            call(c, |_, _| Err(Errno::NotSupported.into()))
        },
    )?;
    l.func_wrap(
        MODULE,
        "path_open",
        |c: Ctx<'_>,
         fd: u32,
         _follow: u32,
         path: u32,
         n: u32,
         how: u32,
         rights: u64,
         _inherited: u64,
         flags: u32,
         out: u32| {
            call(c, |g, h| h.path_open(g, fd, (path, n), (how, rights, flags), out))
        },
    )?;
    l.func_wrap(
        MODULE,
        "path_readlink",
        |c: Ctx<'_>, fd: u32, path: u32, n: u32, _buffer: u32, _length: u32, _out: u32| {
            call(c, |g, h| {
                h.path_exists(g, fd, (path, n))?;
                Err(Errno::Invalid.into())
            })
        },
    )?;
    l.func_wrap(MODULE, "path_remove_directory", |c: Ctx<'_>, fd: u32, path: u32, n: u32| {
        call(c, |g, h| h.path_remove_directory(g, fd, (path, n)))
    })?;
    l.func_wrap(
        MODULE,
        "path_rename",
        |c: Ctx<'_>, fd: u32, from: u32, n: u32, new_fd: u32, to: u32, new_n: u32| {
            call(c, |g, h| h.path_rename(g, (fd, from, n), (new_fd, to, new_n)))
        },
    )?;
    l.func_wrap(MODULE, "path_symlink", |c: Ctx<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| {
        call(c, |_, _| Err(Errno::NotSupported.into()))
    })?;
    l.func_wrap(MODULE, "path_unlink_file", |c: Ctx<'_>, fd: u32, path: u32, n: u32| {
        call(c, |g, h| h.path_unlink_file(g, fd, (path, n)))
    })?;
    Ok(())
}

fn add_sockets(l: &mut Linker<Host>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "sock_accept", |c: Ctx<'_>, fd: u32, _: u32, _: u32| {
        call(c, |_, h| h.no_socket(fd))
    })?;
    l.func_wrap(
        MODULE,
        "sock_recv",
        |c: Ctx<'_>, fd: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            call(c, |_, h| h.no_socket(fd))
        },
    )?;
    l.func_wrap(MODULE, "sock_send", |c: Ctx<'_>, fd: u32, _: u32, _: u32, _: u32, _: u32| {
        call(c, |_, h| h.no_socket(fd))
    })?;
    l.func_wrap(MODULE, "sock_shutdown", |c: Ctx<'_>, fd: u32, _: u32| {
        call(c, |_, h| h.no_socket(fd))
    })?;
    Ok(())
}
