//! What programs may import, and the words for what they may not.

use wasmtime::component::{self, Component};
use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, UnknownImportError};

use crate::host::Host;
use crate::{p1, p2, peers, step};

/// Links a core module with preview 1.
pub(crate) fn module(engine: &Engine, module: &Module) -> wasmtime::Result<InstancePre<Host>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker(&mut linker)?;
    linker.instantiate_pre(module)
}

/// Links a component with WASI 0.2.
pub(crate) fn component(engine: &Engine, program: &Component) -> wasmtime::Result<p2::Command> {
    let mut linker = component::Linker::new(engine);
    p2::add_to_linker(&mut linker, program)?;
    p2::Command::new(engine.clone(), linker.instantiate_pre(program)?)
}

/// Why a module cannot be a program here, in words for who submitted it.
pub(crate) fn check_module(engine: &Engine, program: &Module) -> Result<(), String> {
    let mut linker: Linker<Host> = Linker::new(engine);
    p1::add_to_linker(&mut linker).map_err(|error| format!("{error:#}"))?;
    linker.instantiate_pre(program).map_err(|error| {
        match error.downcast_ref::<UnknownImportError>() {
            Some(import) => format!(
                "it imports {}::{}, which this host does not offer",
                import.module(),
                import.name()
            ),
            None => one_line(&error),
        }
    })?;
    peers::check_module(program, step::is_stepped(program))?;
    match program.get_export("_start") {
        None if step::is_stepped(program) => step::check(program)?,
        Some(ExternType::Func(start))
            if start.params().len() == 0 && start.results().len() == 0 => {}
        Some(_) => return Err("its export \"_start\" is not a function without arguments".into()),
        None => {
            return Err(
                "it has no function \"_start\": build it as a command, or export \"isos_step\""
                    .into(),
            );
        }
    }
    if !matches!(program.get_export("memory"), Some(ExternType::Memory(_)))
        && program.imports().next().is_some()
    {
        return Err("it does not export its memory as \"memory\"".into());
    }
    Ok(())
}

/// Why a component cannot be a program here.
pub(crate) fn check_component(engine: &Engine, program: &Component) -> Result<(), String> {
    component(engine, program).map(drop).map_err(|error| one_line(&error))?;
    peers::check_component(engine, program)
}

/// An error and its causes on one line.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(500).collect()
}
