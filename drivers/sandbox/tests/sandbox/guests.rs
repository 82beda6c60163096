//! The programs of `guest/modules`, built from Rust, as modules and as components.

use isos_base::task::Exit;

use crate::components::component;
use crate::world::{Test, exit, shared};

pub(crate) const TESTS: &[Test] =
    &[("a Rust program gives the same as module and component", rust)];

fn rust() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/modules/");
    let spin = std::fs::read(format!("{folder}spin.wasm")).expect("a module of guest/modules");
    let module = shared().job(&spin).with(|spec| spec.args = vec!["1".into()]).run();
    let component = component(&spin);
    let component = shared().job(&component).with(|spec| spec.args = vec!["1".into()]).run();
    assert_eq!(exit(&module), Exit::Code(0), "{}", String::from_utf8_lossy(&module.output.stderr));
    assert_eq!(module.output, component.output);
    assert_eq!(exit(&component), Exit::Code(0));
}
