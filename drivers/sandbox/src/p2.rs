//! WASI 0.2 for command components, over the same file system, clock and streams as preview 1.
//!
//! All of `wasi:cli`, `clocks`, `filesystem`, `io` and `random` that 0.2.12 has. `wasi:sockets`
//! may be imported, as most tools import it unasked: what could make a socket answers "access
//! denied". Everything is always ready, so waiting passes virtual time and nothing else.

mod checkpoint;
mod files;
mod peers;
mod streams;
mod system;

use std::time::Instant;

use wasmtime::component::{
    Component, HasSelf, InstancePre, Linker, ResourceTableError, TypedFunc, Val, types,
};
use wasmtime::{CallHook, Engine, Store};

use crate::host::{Host, enter, leave};
use crate::stop::{No, Stop};
use bindings::wasi;

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "isos:sandbox/speaker",
        imports: { default: trappable },
        trappable_error_type: {
            "wasi:io/streams.stream-error" => super::streams::StreamNo,
            "wasi:filesystem/types.error-code" => crate::stop::No,
        },
        with: {
            "wasi:io/error.error": super::streams::StreamFailure,
            "wasi:io/poll.pollable": super::streams::Pollable,
            "wasi:io/streams.input-stream": super::streams::Input,
            "wasi:io/streams.output-stream": super::streams::Output,
            "wasi:filesystem/types.descriptor": super::files::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::files::Listing,
        },
        require_store_data_send: true,
    });
}

/// Resources that a component may hold at once.
const RESOURCES_MAX: usize = 4_096;
/// Bytes that a component hands over in one call. They are copied before they can be looked at.
const CALL_BYTES_MAX: usize = 16 << 20;
/// What a component must export to be a command, without the patch version.
pub(crate) const RUN: &str = "wasi:cli/run@0.2";

/// A component that is linked and exports `wasi:cli/run`.
pub(crate) struct Command {
    engine: Engine,
    instance: InstancePre<Host>,
    /// The export's full name.
    run: String,
}

impl Command {
    pub(crate) fn new(engine: Engine, instance: InstancePre<Host>) -> wasmtime::Result<Self> {
        let exports = instance.component().component_type();
        let run = exports.exports(&engine).map(|(name, _)| name.to_owned());
        let run = run.into_iter().find(|name| name.starts_with(RUN)).ok_or_else(|| {
            wasmtime::Error::msg("it does not export wasi:cli/run@0.2: it is no command component")
        })?;
        Ok(Self { engine, instance, run })
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs one task.
    pub(crate) async fn run(store: &mut Store<Host>, command: &Self) -> wasmtime::Result<()> {
        store.data_mut().table.set_max_capacity(RESOURCES_MAX);
        store.set_hostcall_fuel(CALL_BYTES_MAX);
        store.call_hook(|mut store, hook| match hook {
            CallHook::CallingHost => enter(&mut store),
            CallHook::ReturningFromHost => leave(&mut store),
            CallHook::CallingWasm | CallHook::ReturningFromWasm => Ok(()),
        });
        let instance = command.instance.instantiate_async(&mut *store).await?;
        store.data_mut().meter.started = Some(Instant::now());
        let no_run = || wasmtime::Error::msg("it has no function run");
        let interface = instance.get_export_index(&mut *store, None, &command.run);
        let function =
            instance.get_export_index(&mut *store, interface.as_ref(), "run").ok_or_else(no_run)?;
        let run: TypedFunc<(), (Result<(), ()>,)> =
            instance.get_typed_func(&mut *store, function)?;
        match run.call_async(&mut *store, ()).await? {
            (Ok(()),) => Ok(()),
            (Err(()),) => Err(Stop::Exit(1).into()),
        }
    }
}

/// Gives the linker everything that a component may import, sockets that cannot be made included.
pub(crate) fn add_to_linker(
    linker: &mut Linker<Host>,
    program: &Component,
) -> wasmtime::Result<()> {
    bindings::Speaker::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    refuse_sockets(linker, program)
}

/// Defines what the component imports of `wasi:sockets`: functions that return an error code
/// return "access denied", and no socket exists that any other could be called on.
fn refuse_sockets(linker: &mut Linker<Host>, program: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let component = program.component_type();
    for (name, item) in component.imports(&engine) {
        let types::ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        if !name.starts_with("wasi:sockets/") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (export, item) in interface.exports(&engine) {
            match item.ty {
                types::ComponentItem::ComponentFunc(_) => {
                    instance
                        .func_new(export, |_, function, _, results| refuse(&function, results))?;
                }
                // Those of `wasi:io` that the interface uses are the real ones.
                types::ComponentItem::Resource(_) if export == "input-stream" => {
                    let ty = wasmtime::component::ResourceType::host::<streams::Input>();
                    instance.resource(export, ty, |_, _| Ok(()))?;
                }
                types::ComponentItem::Resource(_) if export == "output-stream" => {
                    let ty = wasmtime::component::ResourceType::host::<streams::Output>();
                    instance.resource(export, ty, |_, _| Ok(()))?;
                }
                types::ComponentItem::Resource(_) if export == "pollable" => {
                    let ty = wasmtime::component::ResourceType::host::<streams::Pollable>();
                    instance.resource(export, ty, |_, _| Ok(()))?;
                }
                types::ComponentItem::Resource(_) if export == "error" => {
                    let ty = wasmtime::component::ResourceType::host::<streams::StreamFailure>();
                    instance.resource(export, ty, |_, _| Ok(()))?;
                }
                types::ComponentItem::Resource(_) => {
                    let socket = wasmtime::component::ResourceType::host::<NoSocket>();
                    instance.resource(export, socket, |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Stands for every resource of `wasi:sockets`; there is none.
struct NoSocket;

fn refuse(function: &types::ComponentFunc, results: &mut [Val]) -> wasmtime::Result<()> {
    const DENIED: &str = "access-denied";
    let denies = |ty: &types::Type| match ty {
        types::Type::Result(ty) => match ty.err() {
            Some(types::Type::Enum(codes)) => codes.names().any(|name| name == DENIED),
            _ => false,
        },
        _ => false,
    };
    match results {
        [result] if function.results().next().is_some_and(|ty| denies(&ty)) => {
            *result = Val::Result(Err(Some(Box::new(Val::Enum(DENIED.into())))));
            Ok(())
        }
        // `instance-network`: asked for by programs that want the network, and there is none.
        _ => Err(Stop::Aborted.into()),
    }
}

impl From<ResourceTableError> for No {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => crate::stop::Errno::TooManyDescriptors.into(),
            _ => crate::stop::Errno::BadDescriptor.into(),
        }
    }
}
