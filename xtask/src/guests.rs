//! `cargo xtask guests`: builds the example programs under `guest/` to WebAssembly.
//!
//! The small modules are committed in `guest/modules/` beside `manifest.toml`, so that a machine
//! without a guest toolchain can run them. `--check` shows that they are what the sources say:
//!
//! 1. every committed module has the length and hash that the manifest records;
//! 2. the sources have the hash that they had when the modules were built;
//! 3. a fresh build, in a folder of its own, gives the same bytes.
//!
//! The third needs the very compiler that the manifest names ([`RUST`], from rustup). Where that
//! cannot be had, Debian's compiler builds the programs instead (`debian` below): good enough to
//! work on them, but its bytes differ, so `--check` then says loudly that it skipped the third
//! part, and succeeds if the first two do. Without any compiler it does the same.
//!
//! Builds are reproducible: one compiler version, locked dependencies, no flags from outside, and
//! no path of this machine in the output.

#![expect(clippy::print_stderr, reason = "an xtask talks to the person who started it")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use manifest::{Manifest, Module};

/// The example programs: packages of the workspace in `guest/` that have a `main`.
const PROGRAMS: [&str; 7] =
    ["genematch", "mersenne", "montecarlo", "raytrace", "ring", "rollcall", "spin"];
/// The compiler that the committed modules are built with.
const RUST: &str = "1.95.0";
const TARGET: &str = "wasm32-wasip1";
/// Committed modules stay small enough to live in git.
const MODULE_BYTES_MAX: usize = 200_000;

/// A way to compile guests.
enum Toolchain {
    /// rustup's compiler [`RUST`] with its own standard library for the target.
    Rustup,
    /// Debian's compiler, unpacked into the cache folder.
    Debian(debian::Unpacked),
}

/// Builds the modules and writes them with their manifest; with `check`, compares instead.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in a folder")?;
    let guest = root.join("guest");
    let cache = cache_folder()?;
    if check { compare(&guest, &cache) } else { write(&guest, &cache) }
}

fn write(guest: &Path, cache: &Path) -> Result<()> {
    let toolchain = find_toolchain(cache)?;
    if !matches!(toolchain, Toolchain::Rustup) {
        shout("These modules will not be byte-identical to those that CI builds; do not commit.");
    }
    let modules = build(guest, &cache.join("target"), &toolchain)?;
    let folder = guest.join("modules");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (name, bytes) in &modules {
        let path = folder.join(format!("{name}.wasm"));
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        eprintln!("{:>8} bytes  guest/modules/{name}.wasm", bytes.len());
    }
    let manifest = Manifest {
        toolchain: toolchain.describe(),
        sources: manifest::hash_sources(guest)?,
        module: modules.iter().map(|(name, bytes)| Module::new(name, bytes)).collect(),
    };
    manifest.write(&folder)
}

fn compare(guest: &Path, cache: &Path) -> Result<()> {
    let folder = guest.join("modules");
    let manifest = Manifest::read(&folder)?;
    let names: Vec<&str> = manifest.module.iter().map(|module| module.name.as_str()).collect();
    ensure!(names == PROGRAMS, "the manifest lists {names:?}, the programs are {PROGRAMS:?}");
    for recorded in &manifest.module {
        let path = folder.join(format!("{}.wasm", recorded.name));
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        recorded.compare(&Module::new(&recorded.name, &bytes), "the committed module")?;
    }
    let sources = manifest::hash_sources(guest)?;
    ensure!(
        sources == manifest.sources,
        "the sources under guest/ changed after the modules were built\n  manifest  {}\n  \
         sources   {sources}\nrun `cargo xtask guests` and commit guest/modules/",
        manifest.sources,
    );
    // Empty, so that nothing of an earlier build is taken for a new one.
    let target = cache.join("check");
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("empty {}", target.display()))?;
    }
    match find_toolchain(cache) {
        Ok(toolchain) if toolchain.describe() == manifest.toolchain => {
            for (name, bytes) in build(guest, &target, &toolchain)? {
                let recorded = manifest.module.iter().find(|module| module.name == name);
                let recorded = recorded.context("the names were compared above")?;
                recorded.compare(&Module::new(&name, &bytes), "a fresh build")?;
            }
            eprintln!("guest modules are what their sources say, to the byte");
        }
        Ok(toolchain) => {
            build(guest, &target, &toolchain)?;
            shout(&format!(
                "NOT COMPARED: the modules were built with\n  {}\nand this machine has\n  {}\n\
                 The programs compile here, and hashes of modules and sources agree.",
                manifest.toolchain,
                toolchain.describe(),
            ));
        }
        Err(error) => shout(&format!(
            "NOT COMPARED: no compiler for guests: {error:#}\n\
             Hashes of modules and sources agree with the manifest.",
        )),
    }
    Ok(())
}

impl Toolchain {
    /// Names the compiler exactly: equal descriptions promise equal bytes.
    fn describe(&self) -> String {
        match self {
            Self::Rustup => format!("rustc {RUST} and rust-std for {TARGET}, from rustup"),
            Self::Debian(unpacked) => unpacked.describe(),
        }
    }

    /// `cargo`, set up to compile for the target; the flags are still to be added.
    fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Rustup => {
                let mut command = Command::new("rustup");
                command.args(["run", RUST, "cargo"]);
                command
            }
            Self::Debian(unpacked) => unpacked.cargo(),
        };
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(name);
        }
        // What the cargo that runs this xtask tells it must not reach the cargo below.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let ours = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_TARGET_", "CARGO_PKG_"];
            if ours.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command
    }
}

/// Compiles all programs into the folder `target`; names and bytes, in the order of [`PROGRAMS`].
fn build(guest: &Path, target: &Path, toolchain: &Toolchain) -> Result<Vec<(String, Vec<u8>)>> {
    eprintln!("building guests with {}", toolchain.describe());
    let fetched = toolchain.cargo().args(["fetch", "--locked"]).current_dir(guest).status();
    let fetched = fetched.context("start cargo for the guests")?;
    ensure!(fetched.success(), "cargo could not fetch what the guests need ({fetched})");

    let mut flags = vec![
        // Every engine that ISOS uses has it; alignment needs it.
        "-Ctarget-feature=+simd128".to_owned(),
        format!("--remap-path-prefix={}=/guest", guest.display()),
    ];
    // One folder for each registry that crates came from, named by its address.
    let registries = cargo_home()?.join("registry").join("src");
    for registry in manifest::list(&registries)? {
        flags.push(format!("--remap-path-prefix={}=/crates", registry.display()));
    }
    let mut command = toolchain.cargo();
    command.args(["build", "--release", "--locked", "--target", TARGET]);
    command.current_dir(guest).env("CARGO_TARGET_DIR", target);
    for name in PROGRAMS {
        command.args(["--package", name]);
    }
    if let Toolchain::Debian(unpacked) = toolchain {
        command.arg("-Zbuild-std=std,panic_abort");
        flags.extend(unpacked.flags());
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let status = command.status().context("start cargo for the guests")?;
    ensure!(status.success(), "cargo could not build the guests ({status})");
    PROGRAMS
        .iter()
        .map(|name| {
            let path = target.join(TARGET).join("release").join(format!("{name}.wasm"));
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            ensure!(
                bytes.len() <= MODULE_BYTES_MAX,
                "{name}.wasm has {} bytes; at most {MODULE_BYTES_MAX} may be committed",
                bytes.len(),
            );
            Ok(((*name).to_owned(), bytes))
        })
        .collect()
}

/// rustup's compiler where it is or can be had, else Debian's.
fn find_toolchain(cache: &Path) -> Result<Toolchain> {
    if rustup_has_target() {
        return Ok(Toolchain::Rustup);
    }
    eprintln!("rustc {RUST} for {TARGET} is not installed; asking rustup for it");
    let install = ["toolchain", "install", RUST, "--profile", "minimal", "--target", TARGET];
    let asked = Command::new("rustup").args(install).status();
    if asked.is_ok_and(|status| status.success()) && rustup_has_target() {
        return Ok(Toolchain::Rustup);
    }
    eprintln!("rustup did not provide it; trying Debian's rustc-web");
    debian::unpack(cache).map(Toolchain::Debian).with_context(|| {
        format!(
            "neither rustup (rustc {RUST}, {TARGET}) nor Debian (rustc-web) could be used; \
             install rustup and run `rustup toolchain install {RUST} --target {TARGET}`"
        )
    })
}

fn rustup_has_target() -> bool {
    let print = ["run", RUST, "rustc", "--print", "target-libdir", "--target", TARGET];
    let Ok(output) = Command::new("rustup").args(print).output() else {
        return false;
    };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && folder.is_dir()
}

/// `$XDG_CACHE_HOME/isos-guest-toolchain`, or the same under `~/.cache`.
fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => home()?.join(".cache"),
    };
    let folder = base.join("isos-guest-toolchain");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn cargo_home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME").map_or_else(|| Ok(home()?.join(".cargo")), |home| Ok(home.into()))
}

fn home() -> Result<PathBuf> {
    match env::home_dir() {
        Some(folder) if !folder.as_os_str().is_empty() => Ok(folder),
        _ => bail!("there is no home folder; set XDG_CACHE_HOME and CARGO_HOME"),
    }
}

/// What must not be overlooked in a long log.
fn shout(message: &str) {
    let bar = "!".repeat(80);
    eprintln!("{bar}\n{message}\n{bar}");
}

mod manifest {
    //! `guest/modules/manifest.toml`: what the committed modules are and what they are built from.

    use std::fs;
    use std::path::{Path, PathBuf};

    use anyhow::{Context, Result, ensure};
    use serde::{Deserialize, Serialize};

    const FILE: &str = "manifest.toml";
    const HEAD: &str =
        "# Written by `cargo xtask guests`, checked by `cargo xtask guests --check`.\n\n";

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Manifest {
        /// The compiler, exactly.
        pub(super) toolchain: String,
        /// BLAKE3 over the guests' sources, see [`hash_sources`].
        pub(super) sources: String,
        pub(super) module: Vec<Module>,
    }

    /// One committed module.
    #[derive(PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Module {
        pub(super) name: String,
        bytes: usize,
        blake3: String,
    }

    impl Manifest {
        pub(super) fn read(folder: &Path) -> Result<Self> {
            let path = folder.join(FILE);
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("understand {}", path.display()))
        }

        pub(super) fn write(&self, folder: &Path) -> Result<()> {
            let path = folder.join(FILE);
            let text = HEAD.to_owned() + &toml::to_string(self).context("write the manifest")?;
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        }
    }

    impl Module {
        pub(super) fn new(name: &str, content: &[u8]) -> Self {
            let blake3 = blake3::hash(content).to_hex().to_string();
            Self { name: name.to_owned(), bytes: content.len(), blake3 }
        }

        /// Fails with both sides' figures when `found` is not this module.
        pub(super) fn compare(&self, found: &Self, what: &str) -> Result<()> {
            ensure!(
                self == found,
                "{what} {}.wasm is not the one in the manifest\n  manifest  {} bytes, {}\n  \
                 found     {} bytes, {}\nrun `cargo xtask guests` and commit guest/modules/",
                self.name,
                self.bytes,
                self.blake3,
                found.bytes,
                found.blake3,
            );
            Ok(())
        }
    }

    /// Hashes all that a build reads: `Cargo.toml`, `Cargo.lock`, and each package's `Cargo.toml`
    /// and `src/`, in the order of their paths. Paths, contents and the lengths of both count.
    pub(super) fn hash_sources(guest: &Path) -> Result<String> {
        let mut files = vec![guest.join("Cargo.toml"), guest.join("Cargo.lock")];
        for package in list(guest)? {
            if package.join("Cargo.toml").is_file() {
                files.push(package.join("Cargo.toml"));
                collect(&package.join("src"), &mut files)?;
            }
        }
        let mut named = files
            .iter()
            .map(|path| Ok((path.strip_prefix(guest)?.to_string_lossy().replace('\\', "/"), path)))
            .collect::<Result<Vec<_>>>()?;
        named.sort();
        let mut hasher = blake3::Hasher::new();
        for (name, path) in named {
            let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
            for part in [name.as_bytes(), &content] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
        for path in list(folder)? {
            if path.is_dir() {
                collect(&path, files)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
        Ok(())
    }

    pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }
}

mod debian {
    //! Debian's modern Rust compiler, unpacked beside the system instead of installed into it.
    //!
    //! `rustc-web` conflicts with rustup's packages, so its packages are only downloaded and
    //! unpacked into the cache folder. There is no ready standard library for the target among
    //! them; cargo builds it from `rust-web-src` over Debian's `wasi-libc` with `-Zbuild-std`,
    //! which needs the ordinary cargo of this machine. For x86-64 Debian.

    use std::env;
    use std::ffi::OsString;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use anyhow::{Context, Result, ensure};

    /// Packages with the versions that this recipe was last tried with.
    const PACKAGES: [(&str, &str); 7] = [
        ("rustc-web", "1.96.0+dfsg1-1~deb12u2"),
        ("rust-web-src", "1.96.0+dfsg1-1~deb12u2"),
        ("libstd-rust-web-dev", "1.96.0+dfsg1-1~deb12u2"),
        ("libstd-rust-web-1.96", "1.96.0+dfsg1-1~deb12u2"),
        ("libllvm22", "1:22.1.8-1~deb12u1"),
        ("lld-22", "1:22.1.8-1~deb12u1"),
        ("wasi-libc", "0.0~git20220510.9886d3d-2"),
    ];
    /// Lists what was unpacked, one `package=version` a line; written last, so it says "complete".
    const LIST: &str = "packages.txt";

    /// The unpacked packages.
    pub(super) struct Unpacked {
        folder: PathBuf,
        packages: Vec<String>,
    }

    /// Downloads and unpacks the packages, unless that was done before.
    pub(super) fn unpack(cache: &Path) -> Result<Unpacked> {
        let folder = cache.join("debian");
        if let Ok(list) = fs::read_to_string(folder.join(LIST)) {
            let packages = list.lines().map(str::to_owned).collect();
            return Ok(Unpacked { folder, packages });
        }
        let downloads = cache.join("downloads");
        fs::create_dir_all(&downloads).with_context(|| format!("make {}", downloads.display()))?;
        let mut packages = Vec::new();
        for (name, tried) in PACKAGES {
            let offered = offered_version(name)?;
            if offered != tried {
                super::shout(&format!(
                    "apt offers {name} {offered}; the recipe was tried with {tried}. Going on with \
                     what there is."
                ));
            }
            let exact = format!("{name}={offered}");
            run(Command::new("apt-get").args(["download", "-q", &exact]).current_dir(&downloads))?;
            packages.push(exact);
        }
        for entry in fs::read_dir(&downloads).context("list the downloaded packages")? {
            let package = entry.context("list the downloaded packages")?.path();
            run(Command::new("dpkg").arg("-x").arg(&package).arg(&folder))?;
        }
        fs::write(folder.join(LIST), packages.join("\n")).context("write the list of packages")?;
        fs::remove_dir_all(&downloads).context("remove the downloaded packages")?;
        Ok(Unpacked { folder, packages })
    }

    impl Unpacked {
        pub(super) fn describe(&self) -> String {
            format!("Debian {}", self.packages.join(" "))
        }

        /// cargo over this compiler.
        pub(super) fn cargo(&self) -> Command {
            let usr = self.folder.join("usr");
            let llvm = usr.join("lib/llvm-22");
            let libraries = [usr.join("lib/x86_64-linux-gnu"), llvm.join("lib")];
            let mut command = Command::new("cargo");
            command
                .env("PATH", joined(&[usr.join("bin"), llvm.join("bin")], "PATH"))
                .env("LD_LIBRARY_PATH", joined(&libraries, "LD_LIBRARY_PATH"))
                .env("RUSTC", usr.join("bin/rustc"))
                // Building the standard library is an unstable feature of cargo.
                .env("RUSTC_BOOTSTRAP", "1");
            command
        }

        /// Flags that link with Debian's C library instead of the one rustup brings.
        pub(super) fn flags(&self) -> Vec<String> {
            let libraries = self.folder.join("usr/lib/wasm32-wasi");
            let linker = self.folder.join("usr/lib/llvm-22/bin/wasm-ld");
            vec![
                format!("-Clinker={}", linker.display()),
                "-Clink-self-contained=no".to_owned(),
                format!("-Clink-arg={}", libraries.join("crt1-command.o").display()),
                format!("-Lnative={}", libraries.display()),
                "-Cpanic=abort".to_owned(),
                format!("--remap-path-prefix={}=/debian", self.folder.display()),
            ]
        }
    }

    /// The version of a package that apt would download.
    fn offered_version(name: &str) -> Result<String> {
        let output = Command::new("apt-cache")
            .args(["policy", name])
            .env("LC_ALL", "C")
            .output()
            .context("start apt-cache (is this Debian?)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        version
            .filter(|version| *version != "(none)")
            .map(str::to_owned)
            .with_context(|| format!("apt has no package {name}; `apt-get update` may help"))
    }

    fn run(command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command.status().with_context(|| format!("start {program}"))?;
        ensure!(status.success(), "{program} failed ({status})");
        Ok(())
    }

    /// Folders in front of what a variable of search folders has now.
    fn joined(folders: &[PathBuf], variable: &str) -> OsString {
        let now = env::var_os(variable).unwrap_or_default();
        let all = folders.iter().cloned().chain(env::split_paths(&now));
        env::join_paths(all).unwrap_or(now.clone())
    }
}
