//! What can be told of a program before anything of it is compiled.
//!
//! Nothing is validated here: what is malformed is left to the compiler, which says it better.

use wasmparser::{Parser, Payload};

/// Refuses what is valid WebAssembly and could never run here, wherever in a component it is.
pub(crate) fn check(wasm: &[u8]) -> Result<(), String> {
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { return Ok(()) };
        if let Payload::MemorySection(memories) = payload
            && memories.into_iter().flatten().any(|memory| memory.shared)
        {
            return Err("it has shared memory, and a task is one thread: build it without threads"
                .to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_found_in_a_module_and_inside_of_a_component() {
        let shared = "(core module (memory 1) (memory 1 1 shared))";
        for (text, good) in [
            ("(module (memory 1) (memory 2 3))".to_owned(), true),
            ("(module (memory 1) (memory 1 1 shared))".to_owned(), false),
            (format!("(component (component {shared}))"), false),
            ("(component (component (core module (memory 1))))".to_owned(), true),
        ] {
            let wasm = wat::parse_str(&text).expect("well-formed text");
            assert_eq!(check(&wasm).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_program_are_left_to_the_compiler() {
        assert_eq!(check(b"\0asm\x01\0\0\0\x05\xff\xff"), Ok(()));
        assert_eq!(check(b""), Ok(()));
    }
}
