//! The dashboard in a real browser: Chromium, headless, where there is one. CI must have one.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::world::{World, module};

/// A browser by one of its names.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let all = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    all.into_iter().find(|path| path.is_file())
}

/// Runs the browser with an empty profile; what it prints.
fn browse(browser: &PathBuf, world: &World, args: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(args)
        .arg(world.ready["api"].as_str().unwrap())
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_dashboard_shows_in_wide_and_narrow_windows_light_and_dark() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "CI needs a browser: apt-get install chromium");
        let _ = writeln!(io::stderr(), "no Chromium here: the dashboard is not looked at");
        return;
    };
    let world = World::with_hosts(2);
    world.submit(&[&module("spin"), "--count", "3", "--memory", "64GiB"]);
    let page = browse(&browser, &world, &["--dump-dom"]);
    assert!(page.contains("2 hosts, 2 cores, 1 open job with 3 tasks to go"), "{page}");
    let mut pictures = Vec::new();
    for (name, size, scheme) in [
        ("wide-light", "1200,900", "1"),
        ("wide-dark", "1200,900", "0"),
        ("narrow-light", "400,900", "1"),
        ("narrow-dark", "400,900", "0"),
    ] {
        let file = world.folder().join(format!("{name}.png"));
        let (shot, window, colours) = (
            format!("--screenshot={}", file.display()),
            format!("--window-size={size}"),
            format!("--blink-settings=preferredColorScheme={scheme}"),
        );
        browse(&browser, &world, &[&shot, &window, &colours]);
        let picture = fs::read(&file).unwrap();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name} is empty");
        pictures.push(picture);
    }
    assert!(pictures[0] != pictures[1] && pictures[2] != pictures[3], "dark looks like light");
}
