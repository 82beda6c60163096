//! Who wins.

use std::collections::BTreeMap;

use super::*;

struct World {
    home: tempfile::TempDir,
    env: BTreeMap<String, String>,
    global: Global,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let env = [("HOME".to_owned(), home.path().display().to_string())].into();
        Self { home, env, global: Global::default() }
    }

    fn file(&self, text: &str) {
        let folder = self.home.path().join(".config/isos");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("isos.toml"), text).unwrap();
    }

    fn here(&self) {
        let note = LocalComplex { server: "http://127.0.0.1:9".into(), token: "here".into() };
        note.write(&self.home.path().join(".local/state/isos/complex.toml")).unwrap();
    }

    fn load(&self) -> anyhow::Result<Settings> {
        Settings::load(&self.global, &|name| self.env.get(name).cloned())
    }

    /// Server and token, with their origins.
    fn seen(&self) -> String {
        let settings = self.load().unwrap();
        let text = |setting: Option<Setting<String>>| match setting {
            Some(setting) => format!("{} ({})", setting.value, setting.origin),
            None => "none".into(),
        };
        let home = self.home.path().display().to_string();
        format!("{}; {}", text(settings.server), text(settings.token)).replace(&home, "~")
    }
}

#[test]
fn flags_win_over_environment_over_file_over_what_runs_here() {
    let mut world = World::new();
    assert_eq!(world.seen(), "none; none");
    world.here();
    let note = "the complex on this machine, ~/.local/state/isos/complex.toml";
    assert_eq!(world.seen(), format!("http://127.0.0.1:9 ({note}); here ({note})"));
    world.file("server = 'http://127.0.0.1:1'\ntoken = 'filed'");
    let file = "file ~/.config/isos/isos.toml";
    assert_eq!(world.seen(), format!("http://127.0.0.1:1 ({file}); filed ({file})"));
    world.env.insert("ISOS_SERVER".into(), "http://127.0.0.1:2".into());
    world.env.insert("ISOS_TOKEN".into(), "told".into());
    let env = "http://127.0.0.1:2 (environment ISOS_SERVER); told (environment ISOS_TOKEN)";
    assert_eq!(world.seen(), env);
    world.global.server = Some("http://127.0.0.1:3".into());
    world.global.token = Some("typed".into());
    assert_eq!(world.seen(), "http://127.0.0.1:3 (flag --server); typed (flag --token)");
}

#[test]
fn a_token_is_shown_only_to_the_complex_it_was_written_down_for() {
    let mut world = World::new();
    world.here();
    world.file("server = 'http://127.0.0.1:1'\ntoken = 'filed'");
    world.global.server = Some("http://127.0.0.1:3".into());
    assert_eq!(world.seen(), "http://127.0.0.1:3 (flag --server); none");
}

#[test]
fn home_moves_everything() {
    let mut world = World::new();
    world.env.insert("ISOS_HOME".into(), "/x".into());
    let settings = world.load().unwrap();
    assert_eq!(settings.paths.config_file(), Path::new("/x/isos.toml"));
    assert_eq!(settings.paths.local_file(), Path::new("/x/state/complex.toml"));
    assert_eq!(settings.home, Origin::Env("ISOS_HOME"));
    world.global.home = Some("/y".into());
    assert_eq!(world.load().unwrap().paths.cache, Path::new("/y/cache"));
}

#[test]
fn xdg_folders_are_used_when_they_are_absolute() {
    let mut world = World::new();
    world.env.insert("XDG_CONFIG_HOME".into(), "/c".into());
    world.env.insert("XDG_STATE_HOME".into(), "relative".into());
    let paths = world.load().unwrap().paths;
    assert_eq!(paths.config, Path::new("/c/isos"));
    assert_eq!(paths.state, world.home.path().join(".local/state/isos"));
    world.env.clear();
    let error = world.load().unwrap_err().to_string();
    assert!(error.contains("use --home DIR"), "{error}");
}

#[test]
fn colours_obey_the_usual_variable() {
    let mut world = World::new();
    world.file("color = 'always'");
    assert_eq!(world.load().unwrap().color.value, Color::Always);
    world.env.insert("NO_COLOR".into(), "1".into());
    assert_eq!(world.load().unwrap().color.value, Color::Never);
    world.env.insert("ISOS_COLOR".into(), "auto".into());
    assert_eq!(world.load().unwrap().color.value, Color::Auto);
    world.env.insert("ISOS_COLOR".into(), "blue".into());
    assert!(world.load().is_err());
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_line() {
    let world = World::new();
    for bad in ["servr = 'x'", "server = 5", "server = "] {
        world.file(bad);
        let error = world.load().unwrap_err();
        assert_eq!(crate::exit::classify(&error).0, crate::exit::Code::Usage);
        assert!(error.to_string().contains("line 1"), "{error}");
    }
    std::fs::write(world.home.path().join(".config/isos/isos.toml"), b"server = '\xff'").unwrap();
    let error = world.load().unwrap_err();
    assert_eq!(crate::exit::classify(&error).0, crate::exit::Code::Usage);
    assert!(error.to_string().contains("UTF-8"), "{error}");
}
