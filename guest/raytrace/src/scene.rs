//! What there is to see: spheres on a checkered floor under an evening sky, one large soft lamp.

use crate::vector::{Vector, vector};

/// Nearer hits are taken for the surface that the ray just left.
const NEAR: f64 = 1e-4;

/// How a surface treats light.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Material {
    pub(crate) colour: Vector,
    /// Share of light that is mirrored when seen from straight above; more at a flat angle.
    pub(crate) mirror: f64,
    /// Width of the highlight; larger is smaller.
    pub(crate) gloss: i32,
}

#[derive(Clone, Copy, Debug)]
struct Sphere {
    centre: Vector,
    radius: f64,
    material: Material,
}

/// Where a ray meets a surface.
pub(crate) struct Hit {
    pub(crate) distance: f64,
    pub(crate) normal: Vector,
    pub(crate) material: Material,
}

/// A square lamp: its corner and two sides.
pub(crate) struct Lamp {
    pub(crate) corner: Vector,
    pub(crate) sides: (Vector, Vector),
    pub(crate) colour: Vector,
}

pub(crate) struct Scene {
    spheres: Vec<Sphere>,
    pub(crate) lamp: Lamp,
}

impl Scene {
    /// A mirror ball in a golden spiral of thirty-four coloured ones.
    pub(crate) fn spiral() -> Self {
        let silver = Material { colour: vector(0.94, 0.95, 0.98), mirror: 0.82, gloss: 200 };
        let mut spheres =
            vec![Sphere { centre: vector(0.0, 1.0, 0.0), radius: 1.0, material: silver }];
        // Vogel's sunflower (Math. Biosciences 44, 1979): equal turns of the golden angle.
        const GOLDEN_ANGLE: f64 = 2.399_963_229_728_653;
        for index in 0..34 {
            let turn = f64::from(index) * GOLDEN_ANGLE;
            let away = 1.55 + 0.62 * libm::sqrt(f64::from(index));
            let radius = 0.20 + 0.05 * f64::from(index % 4);
            let centre = vector(away * libm::cos(turn), radius, away * libm::sin(turn));
            let mirror = if index % 5 == 0 { 0.45 } else { 0.06 };
            let material = Material { colour: rainbow(f64::from(index) / 34.0), mirror, gloss: 60 };
            spheres.push(Sphere { centre, radius, material });
        }
        let lamp = Lamp {
            corner: vector(-5.0, 7.0, -4.5),
            sides: (vector(2.5, 0.0, 0.0), vector(0.0, 0.0, 2.5)),
            colour: vector(1.0, 0.93, 0.82),
        };
        Self { spheres, lamp }
    }

    /// The nearest surface along a ray, whose direction has length 1.
    pub(crate) fn hit(&self, from: Vector, direction: Vector) -> Option<Hit> {
        let mut nearest: Option<(f64, &Sphere)> = None;
        for sphere in &self.spheres {
            let limit = nearest.map_or(f64::INFINITY, |(distance, _)| distance);
            if let Some(distance) = sphere.distance(from, direction).filter(|&d| d < limit) {
                nearest = Some((distance, sphere));
            }
        }
        let floor = -from.y / direction.y;
        if floor > NEAR && nearest.is_none_or(|(best, _)| floor < best) {
            let place = from + direction * floor;
            return Some(Hit {
                distance: floor,
                normal: vector(0.0, 1.0, 0.0),
                material: checker(place),
            });
        }
        nearest.map(|(distance, sphere)| {
            let normal = (from + direction * distance - sphere.centre).unit();
            Hit { distance, normal, material: sphere.material }
        })
    }

    /// Whether a sphere stands between two places.
    pub(crate) fn is_hidden(&self, from: Vector, to: Vector) -> bool {
        let way = to - from;
        let length = libm::sqrt(way.dot(way));
        let direction = way * (1.0 / length);
        self.spheres
            .iter()
            .any(|sphere| sphere.distance(from, direction).is_some_and(|d| d < length))
    }
}

impl Sphere {
    fn distance(&self, from: Vector, direction: Vector) -> Option<f64> {
        let to_centre = self.centre - from;
        let along = to_centre.dot(direction);
        let inside = along * along - to_centre.dot(to_centre) + self.radius * self.radius;
        if inside < 0.0 {
            return None;
        }
        let half = libm::sqrt(inside);
        [along - half, along + half].into_iter().find(|&distance| distance > NEAR)
    }
}

fn checker(place: Vector) -> Material {
    let odd = (libm::floor(place.x) + libm::floor(place.z)).rem_euclid(2.0) >= 1.0;
    let colour = if odd { vector(0.78, 0.76, 0.72) } else { vector(0.10, 0.12, 0.16) };
    Material { colour, mirror: 0.10, gloss: 40 }
}

/// Colours around the wheel, `at` from 0 to 1.
fn rainbow(at: f64) -> Vector {
    let wave = |shift: f64| {
        let value = 0.5 + 0.5 * libm::cos(std::f64::consts::TAU * (at + shift));
        0.06 + 0.86 * value * value
    };
    vector(wave(0.0), wave(2.0 / 3.0), wave(1.0 / 3.0))
}

/// The sky in a direction of length 1: dark blue above, warm at the horizon.
pub(crate) fn sky(direction: Vector) -> Vector {
    let height = libm::sqrt(direction.y.clamp(0.0, 1.0));
    vector(0.98, 0.62, 0.36).mix(vector(0.10, 0.22, 0.50), height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_ball_is_seen_from_the_front_and_casts_a_shadow() {
        let scene = Scene::spiral();
        let hit = scene.hit(vector(0.0, 1.5, -50.0), vector(0.0, 0.0, 1.0)).unwrap();
        assert!((hit.distance - (50.0 - libm::sqrt(0.75))).abs() < 1e-9);
        assert!(scene.is_hidden(vector(0.0, 5.0, 0.0), Vector::ZERO));
        assert!(!scene.is_hidden(vector(0.0, 5.0, 0.0), vector(9.0, 5.0, 0.0)));
    }

    #[test]
    fn a_ray_into_the_sky_meets_nothing() {
        assert!(Scene::spiral().hit(vector(0.0, 9.0, 0.0), vector(0.0, 1.0, 0.0)).is_none());
    }
}
