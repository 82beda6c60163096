//! Programs that call every function of an interface in any order with any arguments.
//!
//! One core module is made for a list of imports. It interprets a script: a number that picks a
//! function, then, for each parameter, a byte that picks a telling value or is followed by the
//! value itself. The script is the text of the first argument, two letters a byte; without one the
//! program draws random bytes of its task. So nothing has to be compiled for the next script.
//!
//! The fuzz targets use this file, too.

use std::fmt::Write;

use super::WIT;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{
    LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, WasmImport, WorldId,
    WorldItem,
};

/// An imported function, by its core signature.
struct Import {
    module: String,
    name: String,
    params: Vec<&'static str>,
    result: Option<&'static str>,
    /// Handles that fit its first parameter, if that is one.
    fitting: Option<[u32; 2]>,
}

/// What programs pass to break a host: ends of ranges, the addresses and lengths of the paths
/// below, descriptors that are there and that are not.
const TELLING_32: [u32; 32] = [
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    15,
    16,
    64,
    66,
    255,
    511,
    512,
    1_023,
    1_024,
    1_040,
    1_056,
    1_072,
    1_088,
    1_104,
    1_120,
    1_136,
    4_096,
    65_535,
    65_536,
    2_621_432,
    2_621_440,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];
const TELLING_64: [u64; 32] = [
    0,
    1,
    2,
    3,
    8,
    64,
    66,
    255,
    511,
    512,
    1_000,
    4_095,
    4_096,
    65_535,
    65_536,
    1_000_000,
    1 << 20,
    (1 << 20) + 1,
    16 << 20,
    1 << 28,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 40,
    1 << 53,
    1 << 62,
    0x7fff_ffff_ffff_ffff,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
    5_000_000,
];
/// At 1024, sixteen bytes each.
const PATHS: [&str; 8] =
    ["out/a", "tmp/b", "in", "out/d/../a", "../../etc/passw", "/etc/passwd", "out//d/", "\u{0}x"];

/// Everything but the functions themselves: `$u8`, `$word`, `$long` read the script.
const BODY: &str = r#"
  (memory (export "memory") 40)
  (global $at (mut i32) (i32.const 4096))
  (global $end (mut i32) (i32.const 4096))
  (global $worst (mut i32) (i32.const 0))
  (global $heap (mut i32) (i32.const 1048576))
  (func $u8 (result i32)
    (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
    (i32.load8_u (global.get $at))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $raw (result i32)
    (i32.or (i32.or (call $u8) (i32.shl (call $u8) (i32.const 8)))
      (i32.or (i32.shl (call $u8) (i32.const 16)) (i32.shl (call $u8) (i32.const 24)))))
  (func $word (result i32) (local $pick i32)
    (local.set $pick (call $u8))
    (if (i32.lt_u (local.get $pick) (i32.const 96)) (then (return (i32.load
      (i32.add (i32.const 2048)
        (i32.shl (i32.and (local.get $pick) (i32.const 31)) (i32.const 2)))))))
    (if (i32.lt_u (local.get $pick) (i32.const 224))
      (then (return (i32.and (local.get $pick) (i32.const 15)))))
    (call $raw))
  (func $long (result i64) (local $pick i32)
    (local.set $pick (call $u8))
    (if (i32.lt_u (local.get $pick) (i32.const 160)) (then (return (i64.load
      (i32.add (i32.const 2304)
        (i32.shl (i32.and (local.get $pick) (i32.const 31)) (i32.const 3)))))))
    (i64.or (i64.extend_i32_u (call $raw))
      (i64.shl (i64.extend_i32_u (call $raw)) (i64.const 32))))
  (func $handle (param $one i32) (param $other i32) (result i32) (local $pick i32)
    (local.set $pick (call $u8))
    (if (i32.lt_u (local.get $pick) (i32.const 120)) (then (return (local.get $one))))
    (if (i32.lt_u (local.get $pick) (i32.const 240)) (then (return (local.get $other))))
    (call $word))
  (func $answer (param $answer i32)
    (if (i32.gt_u (local.get $answer) (global.get $worst))
      (then (global.set $worst (local.get $answer)))))
  (func $decode (param $from i32) (param $letters i32)
    (if (i32.gt_u (local.get $letters) (i32.const 32768))
      (then (local.set $letters (i32.const 32768))))
    (loop $more
      (if (i32.ge_u (local.get $letters) (i32.const 2)) (then
        (i32.store8 (global.get $end) (i32.or
          (i32.shl (i32.sub (i32.load8_u (local.get $from)) (i32.const 97)) (i32.const 4))
          (i32.sub (i32.load8_u offset=1 (local.get $from)) (i32.const 97))))
        (global.set $end (i32.add (global.get $end) (i32.const 1)))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))
        (local.set $letters (i32.sub (local.get $letters) (i32.const 2)))
        (br $more)))))
  (func $interpret
    (loop $more
      (if (i32.lt_u (global.get $at) (global.get $end)) (then
        (call_indirect (i32.rem_u (call $u8) (i32.const COUNT)))
        (br $more)))))
"#;

/// Room for what the host returns; begins anew when it is used up.
const REALLOC: &str = r#"
  (func (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32)
    (param $size i32) (result i32) (local $at i32)
    (if (i32.gt_u (local.get $size) (i32.const 1500000)) (then unreachable))
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 2600000))
      (then (global.set $heap (i32.const 1048576))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.const -16)
      (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 15))))
    (local.get $at))
"#;

/// The module's text, between what imports more and what exports a start.
fn module(first: &str, imports: &[Import], last: &str) -> String {
    let mut text = format!("(module {first}\n");
    let word = |params: &[&str]| {
        let params = params.join(" ");
        if params.is_empty() { params } else { format!("(param {params})") }
    };
    for (index, import) in imports.iter().enumerate() {
        let Import { module, name, params, result, .. } = import;
        let result = result.map_or(String::new(), |ty| format!("(result {ty})"));
        let params = word(params);
        let _infallible = writeln!(
            text,
            r#"  (import "{module}" "{name}" (func $import{index} {params} {result}))"#
        );
    }
    text.push_str(&BODY.replace("COUNT", &imports.len().to_string()));
    let list: String = (0..imports.len()).map(|index| format!(" $call{index}")).collect();
    let _infallible = writeln!(text, "  (table funcref (elem{list}))");
    for (index, import) in imports.iter().enumerate() {
        let read = |ty: &&str| match *ty {
            "i32" => "(call $word) ",
            "i64" => "(call $long) ",
            "f32" => "(f32.reinterpret_i32 (call $word)) ",
            _ => "(f64.reinterpret_i64 (call $long)) ",
        };
        let mut args: String = import.params.iter().map(read).collect();
        if let Some([one, other]) = import.fitting {
            let handle = format!("(call $handle (i32.const {one}) (i32.const {other}))");
            args = args.replacen("(call $word)", &handle, 1);
        }
        let call = format!("(call $import{index} {args})");
        let call = match import.result {
            None => call,
            // An error number of preview 1; anything else of a component.
            Some("i32") => format!("(call $answer {call})"),
            Some(_) => format!("(drop {call})"),
        };
        let _infallible = writeln!(text, "  (func $call{index} {call})");
    }
    let words = TELLING_32.iter().flat_map(|value| value.to_le_bytes());
    let longs = TELLING_64.iter().flat_map(|value| value.to_le_bytes());
    for (at, bytes) in [(2_048, words.collect::<Vec<u8>>()), (2_304, longs.collect())] {
        let hex: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _infallible = writeln!(text, r#"  (data (i32.const {at}) "{hex}")"#);
    }
    for (at, path) in (1_024..).step_by(16).zip(PATHS) {
        let path = path.replace('\0', "\\00");
        let _infallible = writeln!(text, r#"  (data (i32.const {at}) "{path}")"#);
    }
    text + last + ")"
}

/// All functions of preview 1 by their core signatures: `i` is 32 bits, `I` is 64.
pub(crate) const PREVIEW_1: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// A preview-1 command. Its exit code is 99 after an answer that is no error number.
pub(crate) fn preview_1() -> Vec<u8> {
    let ty = |letter| if letter == 'i' { "i32" } else { "i64" };
    let imports: Vec<Import> = PREVIEW_1
        .iter()
        // These two would end most scripts early; they have no arguments that matter.
        .map(
            |(name, params)| {
                if name.starts_with("proc_") { ("sched_yield", "") } else { (*name, *params) }
            },
        )
        .map(|(name, params)| Import {
            module: "wasi_snapshot_preview1".into(),
            name: name.into(),
            params: params.chars().map(ty).collect(),
            result: Some("i32"),
            fitting: None,
        })
        .collect();
    let at = |wanted: &str| {
        PREVIEW_1.iter().position(|(name, _)| *name == wanted).expect("it is in the table")
    };
    let first = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let last = format!(
        r#"(func (export "_start")
          (drop (call $import{args_sizes_get} (i32.const 0) (i32.const 4)))
          (if (i32.ge_u (i32.load (i32.const 0)) (i32.const 2)) (then
            (drop (call $import{args_get} (i32.const 16) (i32.const 65536)))
            (call $decode (i32.load (i32.const 20))
              (i32.sub (i32.sub (i32.add (i32.const 65536) (i32.load (i32.const 4)))
                (i32.load (i32.const 20))) (i32.const 1))))
          (else
            (drop (call $import{random_get} (i32.const 4096) (i32.const 1500)))
            (global.set $end (i32.const 5596))))
          (call $interpret)
          (if (i32.gt_u (global.get $worst) (i32.const 76)) (then (call $exit (i32.const 99)))))"#,
        args_sizes_get = at("args_sizes_get"),
        args_get = at("args_get"),
        random_get = at("random_get"),
    );
    wat::parse_str(module(first, &imports, &last)).expect("a module")
}

/// A script as the programs here take it.
pub(crate) fn text_of(script: &[u8]) -> String {
    let letters = |byte: &u8| [b'a' + (byte >> 4), b'a' + (byte & 15)].map(char::from);
    script.iter().flat_map(letters).collect()
}

/// The number of a function of [`component`], by its name.
pub(crate) fn component_number(wanted: &str) -> u8 {
    let (resolve, world) = world();
    let at = imports_of(&resolve, world).iter().position(|import| import.name == wanted);
    u8::try_from(at.unwrap_or_else(|| panic!("no {wanted}"))).expect("fewer than 256")
}

/// All of WASI 0.2 that there is here, sockets included.
fn world() -> (Resolve, WorldId) {
    const WORLD: &str = "package isos:escape;
        world caller {
          include isos:sandbox/command;
          import wasi:sockets/instance-network@0.2.12;
          import wasi:sockets/tcp-create-socket@0.2.12;
          import wasi:sockets/udp-create-socket@0.2.12;
          import wasi:sockets/ip-name-lookup@0.2.12;
          export wasi:cli/run@0.2.12;
        }";
    let mut resolve = Resolve::default();
    resolve.push_path(WIT).expect("our own interfaces");
    let package = resolve.push_str("caller.wit", WORLD).expect("a package");
    let world = resolve.select_world(&[package], Some("caller")).expect("the only world");
    (resolve, world)
}

/// A component that imports all of it.
pub(crate) fn component() -> Vec<u8> {
    let (resolve, world) = world();
    let imports = imports_of(&resolve, world);
    let at = |module: &str, name: &str| {
        let wanted = |import: &Import| import.module.starts_with(module) && import.name == name;
        imports.iter().position(wanted).unwrap_or_else(|| panic!("no {module} {name}"))
    };
    // Leaves what [`fitting`] says: 1 is the root, 2 to 4 are streams and a wait, 5 is a file.
    let last = format!(
        r#"(func (export "wasi:cli/run@0.2.12#run") (result i32) (local $n i32)
          (call $import{directories} (i32.const 0))
          (drop (call $import{stdin}))
          (drop (call $import{stdout}))
          (drop (call $import{wait} (i64.const 5000)))
          (call $import{open} (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 5)
            (i32.const 1) (i32.const 3) (i32.const 0))
          (call $import{arguments} (i32.const 0))
          (if (i32.ge_u (i32.load (i32.const 4)) (i32.const 2)) (then
            (call $decode (i32.load offset=8 (i32.load (i32.const 0)))
              (i32.load offset=12 (i32.load (i32.const 0)))))
          (else (loop $more
            (i64.store (global.get $end) (call $import{random}))
            (global.set $end (i32.add (global.get $end) (i32.const 8)))
            (br_if $more (i32.lt_u (global.get $end) (i32.const 5600))))))
          (call $interpret)
          (i32.const 0))"#,
        directories = at("wasi:filesystem/preopens", "get-directories"),
        stdin = at("wasi:cli/stdin", "get-stdin"),
        stdout = at("wasi:cli/stdout", "get-stdout"),
        wait = at("wasi:clocks/monotonic-clock", "subscribe-duration"),
        open = at("wasi:filesystem/types", "[method]descriptor.open-at"),
        arguments = at("wasi:cli/environment", "get-arguments"),
        random = at("wasi:random/random", "get-random-u64"),
    );
    let text = module("", &imports, &(REALLOC.to_owned() + &last));
    let mut bytes = wat::parse_str(text).expect("a module");
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .expect("our own module");
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .expect("a component")
}

/// Handles that a script finds when it begins.
fn fitting(name: &str) -> Option<[u32; 2]> {
    let (kind, method) = name.split_once(']')?;
    let resource = method.split('.').next().unwrap_or_default();
    if kind == "[static" || kind == "[constructor" {
        return None;
    }
    Some(match resource {
        "descriptor" => [1, 5],
        "input-stream" => [2, 6],
        "output-stream" => [3, 6],
        "pollable" => [4, 6],
        _ => [6, 7],
    })
}

fn imports_of(resolve: &Resolve, world: WorldId) -> Vec<Import> {
    const LEGACY: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let core = |ty: &WasmType| match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    };
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        for function in resolve.interfaces[*id].functions.values() {
            let import = WasmImport::Func { interface: Some(key), func: function };
            let (module, name) = resolve.wasm_import_name(LEGACY, import);
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
            let fitting = fitting(&name);
            let params = signature.params.iter().map(core).collect();
            let result = signature.results.first().map(core);
            imports.push(Import { module, name, params, result, fitting });
        }
        for resource in resolve.interfaces[*id].types.values() {
            if !matches!(resolve.types[*resource].kind, TypeDefKind::Resource) {
                continue;
            }
            let import = WasmImport::ResourceIntrinsic {
                interface: Some(key),
                resource: *resource,
                intrinsic: ResourceIntrinsic::ImportedDrop,
            };
            let (module, name) = resolve.wasm_import_name(LEGACY, import);
            imports.push(Import { module, name, params: vec!["i32"], result: None, fitting: None });
        }
    }
    imports
}
