//! Light: from a tile to its pixels, by following rays backwards (Whitted, CACM 23, 1980) with a
//! lamp that has a size (Cook, Porter, Carpenter, SIGGRAPH 1984), so that shadows are soft.

use isos_guest::Rng;

use crate::camera::Camera;
use crate::scene::{Hit, Scene, sky};
use crate::tiles::Tile;
use crate::vector::{Vector, vector};

/// How many mirrors a ray may meet.
const MAX_BOUNCES: u32 = 5;
/// Rays towards the lamp are spread over a grid with this side.
const LAMP_GRID: u32 = 2;
/// Light that comes from everywhere.
const AMBIENT: Vector = vector(0.16, 0.18, 0.24);
/// Distance at which the floor has half faded into the sky.
const HAZE: f64 = 45.0;

/// Draws a tile; 3 bytes a pixel, row after row, ready for a screen.
pub(crate) fn draw(scene: &Scene, camera: &Camera, tile: &Tile, samples: u32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity((tile.width * tile.height * 3) as usize);
    for y in tile.y..tile.y + tile.height {
        for x in tile.x..tile.x + tile.width {
            // Seeded by the pixel, so that it does not matter how the frame was cut.
            let mut rng = Rng::new(u64::from(y) << 32 | u64::from(x));
            let mut light = Vector::ZERO;
            for sample in 0..samples * samples {
                let (dx, dy) = jitter(sample, samples, &mut rng);
                let direction = camera.direction(f64::from(x) + dx, f64::from(y) + dy);
                light = light + trace(scene, camera.place, direction, MAX_BOUNCES, &mut rng);
            }
            let mean = light * (1.0 / f64::from(samples * samples));
            pixels.extend([mean.x, mean.y, mean.z].map(screen_value));
        }
    }
    pixels
}

/// A random point in cell `number` of a square grid over 0..1 by 0..1.
fn jitter(number: u32, side: u32, rng: &mut Rng) -> (f64, f64) {
    let (column, row) = (f64::from(number % side), f64::from(number / side));
    ((column + rng.unit()) / f64::from(side), (row + rng.unit()) / f64::from(side))
}

/// The light that comes along a ray.
fn trace(scene: &Scene, from: Vector, direction: Vector, bounces: u32, rng: &mut Rng) -> Vector {
    let Some(hit) = scene.hit(from, direction) else {
        return sky(direction);
    };
    let place = from + direction * hit.distance;
    let mut light = lit(scene, place, direction, &hit, rng);

    // Schlick (Computer Graphics Forum 13, 1994): flat angles mirror more.
    let slope = 1.0 - direction.dot(hit.normal).abs();
    let mirror = hit.material.mirror + (1.0 - hit.material.mirror) * power(slope, 5);
    if bounces > 0 && mirror > 0.02 {
        let onward = direction.reflect(hit.normal).unit();
        let seen = trace(scene, place, onward, bounces - 1, rng);
        // A strong mirror tints what it shows, as metal does.
        let tint = vector(1.0, 1.0, 1.0).mix(hit.material.colour, hit.material.mirror);
        light = light.mix(seen.filter(tint), mirror);
    }
    let haze = hit.distance * hit.distance / (hit.distance * hit.distance + HAZE * HAZE);
    light.mix(sky(vector(direction.x, 0.0, direction.z)), haze)
}

/// Light that the surface itself throws back: ambient, from the lamp, and the highlight.
fn lit(scene: &Scene, place: Vector, direction: Vector, hit: &Hit, rng: &mut Rng) -> Vector {
    let lamp = &scene.lamp;
    let (mut diffuse, mut highlight) = (0.0, 0.0);
    for sample in 0..LAMP_GRID * LAMP_GRID {
        let (u, v) = jitter(sample, LAMP_GRID, rng);
        let source = lamp.corner + lamp.sides.0 * u + lamp.sides.1 * v;
        let towards = (source - place).unit();
        let facing = towards.dot(hit.normal);
        if facing > 0.0 && !scene.is_hidden(place, source) {
            diffuse += facing;
            let shine = direction.reflect(hit.normal).dot(towards).max(0.0);
            highlight += power(shine, hit.material.gloss);
        }
    }
    let share = 1.0 / f64::from(LAMP_GRID * LAMP_GRID);
    let received = AMBIENT + lamp.colour * (diffuse * share);
    hit.material.colour.filter(received) + lamp.colour * (0.6 * highlight * share)
}

/// `base` to a whole power, at least 0, by repeated squaring: exact steps, no library.
fn power(base: f64, exponent: i32) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, exponent);
    while left > 0 {
        if left % 2 == 1 {
            result *= square;
        }
        square *= square;
        left /= 2;
    }
    result
}

/// Linear light as a byte for a screen: gamma 2, which needs only a square root.
fn screen_value(light: f64) -> u8 {
    (libm::sqrt(light.clamp(0.0, 1.0)) * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::Frame;

    #[test]
    fn a_tile_is_the_same_part_of_the_frame_however_it_is_cut() {
        let frame = Frame::new(48, 27, 48).unwrap();
        let camera = Camera::around(0.0, &frame);
        let scene = Scene::spiral();
        let whole = draw(&scene, &camera, &Tile { x: 0, y: 0, width: 48, height: 27 }, 2);
        let part = draw(&scene, &camera, &Tile { x: 8, y: 10, width: 16, height: 1 }, 2);
        let start = (10 * 48 + 8) * 3;
        assert_eq!(part, whole[start..start + 16 * 3]);
        assert!(whole.iter().any(|&byte| byte > 200) && whole.iter().any(|&byte| byte < 60));
    }

    #[test]
    fn powers_are_powers() {
        assert_eq!(power(2.0, 0), 1.0);
        assert_eq!(power(2.0, 5), 32.0);
        assert_eq!(power(3.0, 6), 729.0);
    }

    #[test]
    fn light_beyond_the_screen_is_cut_off() {
        assert_eq!([screen_value(-1.0), screen_value(0.25), screen_value(9.0)], [0, 128, 255]);
    }
}
