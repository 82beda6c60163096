//! Leaves symbols out of the released program: a profile of a package of its own, as it has for its
//! level of optimisation, makes cargo forget `strip = "symbols"` (seen in 1.95).
#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

fn main() {
    let is = |name, wanted| std::env::var(name).is_ok_and(|value| value == wanted);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--strip-all");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
