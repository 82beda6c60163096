//! Draws a ray-traced frame as PNG tiles: a bright spiral of spheres around a mirror.
//!
//! ```text
//! raytrace [--width 640] [--height 360] [--tile 80] [--samples 4] [--turn 0]
//!          [--out /out] [--task I --tasks N]
//! ```
//! The frame is cut into square tiles, numbered from left to right and from top to bottom; task I
//! of N draws tiles I, I + N, I + 2N and so on, so every tile is drawn whatever N is. A tile's file
//! is named by where its upper left corner belongs: `tile-XXXX-YYYY.png`, in pixels. `--samples`
//! is the side of the grid of rays in each pixel; `--turn` goes around the scene, in degrees.
//! Its arithmetic is in Rust throughout, so the bytes are the same on every host.

mod camera;
mod picture;
mod scene;
mod tiles;
mod vector;

use std::io::Write;
use std::process::ExitCode;

use camera::Camera;
use isos_guest::{Failure, Task};
use scene::Scene;
use tiles::Frame;

/// Most rays in a pixel is the square of this.
const MAX_SAMPLES: u32 = 32;

/// What the command line asks for.
struct Options {
    frame: Frame,
    samples: u32,
    turn: f64,
    out: String,
    task: Task,
}

fn main() -> ExitCode {
    isos_guest::finish(run())
}

fn run() -> Result<(), Failure> {
    let options = options()?;
    let scene = Scene::spiral();
    let camera = Camera::around(options.turn, &options.frame);
    let mut names = String::new();
    for tile in options.frame.tiles_of(options.task) {
        let pixels = picture::draw(&scene, &camera, &tile, options.samples);
        let path = format!("{}/tile-{:04}-{:04}.png", options.out, tile.x, tile.y);
        isos_guest::write(&path, &tile.png(&pixels)?)?;
        names.push_str(&path);
        names.push('\n');
    }
    std::io::stdout()
        .write_all(names.as_bytes())
        .map_err(|error| Failure::because("write the names of the tiles", error))
}

fn options() -> Result<Options, Failure> {
    let mut arguments = pico_args::Arguments::from_env();
    let bad = |error| Failure::because("read the arguments", error);
    let mut number = |key: &'static str, absent: u32| {
        arguments.opt_value_from_str(key).map(|value| value.unwrap_or(absent)).map_err(bad)
    };
    let (width, height) = (number("--width", 640)?, number("--height", 360)?);
    let (tile, samples) = (number("--tile", 80)?, number("--samples", 4)?);
    let turn = arguments.opt_value_from_str("--turn").map_err(bad)?.unwrap_or(0.0);
    let out = arguments.opt_value_from_str("--out").map_err(bad)?;
    let task = arguments.opt_value_from_str("--task").map_err(bad)?;
    let tasks = arguments.opt_value_from_str("--tasks").map_err(bad)?;
    if let Some(unknown) = arguments.finish().first() {
        return Err(Failure::new(format!("unknown argument {}", unknown.to_string_lossy())));
    }
    if !(1..=MAX_SAMPLES).contains(&samples) {
        return Err(Failure::new(format!("--samples is {samples}; it must be 1..{MAX_SAMPLES}")));
    }
    if !f64::is_finite(turn) {
        return Err(Failure::new("--turn is not a number of degrees"));
    }
    Ok(Options {
        frame: Frame::new(width, height, tile)?,
        samples,
        turn,
        out: out.unwrap_or_else(|| isos_guest::OUT.to_owned()),
        task: Task::or_env(task, tasks)?,
    })
}
