//! WASI 0.2 command components: the same programs through the preview-1 adapter, which turns each
//! of their calls into calls of 0.2 interfaces.

use isos_base::task::Exit;
use wit_component::ComponentEncoder;

use crate::programs::{hello_world, program};
use crate::world::{Test, exit, order, shared};

pub(crate) const TESTS: &[Test] = &[
    ("a component does what its module does", same),
    ("a component's clocks and random bytes are deterministic", determinism),
    ("a component that floods or loops is stopped", stopped),
];

/// Makes a component of a preview-1 command.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    let module = wat::parse_bytes(module).expect("well-formed text");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| {
            encoder.adapter(
                "wasi_snapshot_preview1",
                wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            )
        })
        .and_then(|encoder| encoder.validate(true).encode())
        .expect("a component")
}

fn hostile(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/hostile/");
    std::fs::read(format!("{folder}{name}.wat")).expect("a program of guest/hostile")
}

fn same() {
    let hello = shared().job(&component(hello_world().as_bytes()));
    let done = hello.run();
    assert_eq!(exit(&done), Exit::Code(0));
    assert_eq!(done.output.stdout, b"hello\n");
    for (name, end) in [
        // The interface that all 0.2 tools use knows success and failure, and no number.
        ("exit_three", Exit::Code(1)),
        // /out and /tmp took the file.
        ("in_write", Exit::Code(1)),
        ("path_escape", Exit::Code(0)),
        ("link_escape", Exit::Code(0)),
        ("sleeper", Exit::Code(0)),
    ] {
        let done = shared().job(&component(&hostile(name))).run();
        assert_eq!(done.end, Ok(end), "{name}");
    }
}

fn determinism() {
    let program = component(&hostile("clock_random"));
    let both = || {
        let job = shared().job(&program).with(|spec| spec.count = 2);
        job.orders(vec![order(0), order(1)])
    };
    let (one, two) = (both(), both());
    assert_eq!(one[0].output.stdout.len(), 104);
    for task in 0..2 {
        assert_eq!(one[task].output, two[task].output);
        assert_eq!(one[task].fuel, two[task].fuel);
    }
    assert_ne!(one[0].output.stdout[40..], one[1].output.stdout[40..]);
}

fn stopped() {
    let forever = program(r#"(func (export "_start") (loop $again (br $again)))"#);
    let small = |spec: &mut isos_base::job::JobSpec| spec.fuel = isos_base::Fuel(20_000_000);
    let done = shared().job(&component(forever.as_bytes())).with(small).run();
    assert_eq!((exit(&done), done.fuel.0), (Exit::OutOfFuel, 20_000_000));
    let done = shared().job(&component(&hostile("output_flood"))).run();
    assert_eq!(exit(&done), Exit::OutputTooLarge);
    let done = shared().job(&component(&hostile("memory_bomb"))).run();
    assert_eq!(exit(&done), Exit::Code(0));
}
