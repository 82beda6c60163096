//! A child that puts up the walls of a running program and then tries to climb them.
//!
//! It tries with the standard library what a program that had escaped from WebAssembly would try
//! with native code, and names what worked. It harms nothing where a wall is missing.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use crate::vfs::inputs::Source;
use crate::walls::{Duty, Walls};

/// In front of the list, so that silence is not taken for success.
pub(crate) const GREETING: &str = "walls probed\n";

/// The child's main.
pub(crate) fn main() -> ExitCode {
    let mut walls = Walls::default();
    walls.close_inherited();
    let folder = std::env::temp_dir();
    // Any folder does as the one that may be read, but not the one that is tried below.
    let Ok(source) = Source::open("/proc/self".as_ref(), None) else { return ExitCode::from(4) };
    let parent = rustix::process::getppid();
    walls.limit(&[(rustix::process::Resource::Fsize, 0)]);
    walls.no_new_privileges();
    walls.landlock(source.folders());
    walls.seccomp(Duty::Run);

    let made = folder.join(format!("isos-probe-{}", std::process::id()));
    let tries: &[(&str, &dyn Fn() -> bool)] = &[
        ("read files of the machine", &|| File::open("/etc/passwd").is_ok()),
        ("read folders of the machine", &|| fs::read_dir("/").is_ok()),
        ("make a file", &|| File::create_new(&made).is_ok()),
        ("make a folder", &|| fs::create_dir(&made).is_ok()),
        ("remove a file", &|| match fs::remove_file(&made) {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }),
        ("start a program", &|| Command::new("/proc/self/exe").arg("none").status().is_ok()),
        ("start a thread", &|| std::thread::Builder::new().spawn(|| ()).is_ok()),
        ("listen for TCP", &|| TcpListener::bind("127.0.0.1:0").is_ok()),
        ("use UDP", &|| UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("make a local socket", &|| UnixStream::pair().is_ok()),
        ("signal other processes", &|| {
            parent.is_some_and(|parent| rustix::process::test_kill_process(parent).is_ok())
        }),
        ("raise its own limits", &|| {
            let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::setrlimit(rustix::process::Resource::Core, limit).is_ok()
        }),
    ];
    let mut text = String::from(GREETING);
    for (name, attempt) in tries {
        if attempt() {
            text.push_str(name);
            text.push('\n');
        }
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(3),
    }
}
