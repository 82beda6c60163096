//! Where the picture is taken from.

use crate::tiles::Frame;
use crate::vector::{Vector, vector};

const LOOK_AT: Vector = vector(0.0, 0.55, 0.0);
const DISTANCE: f64 = 9.0;
const HEIGHT: f64 = 3.6;
/// Height of what is seen, at distance 1 in front of the lens.
const VIEW_HEIGHT: f64 = 0.66;

/// Sends a ray through each point of the frame.
pub(crate) struct Camera {
    pub(crate) place: Vector,
    forward: Vector,
    right: Vector,
    down: Vector,
    width: f64,
    height: f64,
}

impl Camera {
    /// A camera that has gone around the scene by `turn` degrees.
    pub(crate) fn around(turn: f64, frame: &Frame) -> Self {
        let angle = turn.to_radians();
        let place = vector(DISTANCE * libm::sin(angle), HEIGHT, -DISTANCE * libm::cos(angle));
        let forward = (LOOK_AT - place).unit();
        let right = vector(0.0, 1.0, 0.0).cross(forward).unit();
        let (width, height) = (f64::from(frame.width), f64::from(frame.height));
        let pixel = VIEW_HEIGHT / height;
        let down = -forward.cross(right) * pixel;
        Self { place, forward, right: right * pixel, down, width, height }
    }

    /// Direction, of length 1, through a point given in pixels from the upper left corner.
    pub(crate) fn direction(&self, x: f64, y: f64) -> Vector {
        let across = self.right * (x - self.width / 2.0);
        (self.forward + across + self.down * (y - self.height / 2.0)).unit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_frame_looks_at_the_middle_of_the_scene() {
        let frame = Frame::new(100, 50, 10).unwrap();
        let camera = Camera::around(30.0, &frame);
        let direction = camera.direction(50.0, 25.0);
        assert!((direction - (LOOK_AT - camera.place).unit()).dot(direction).abs() < 1e-12);
        assert!(camera.direction(50.0, 0.0).y > camera.direction(50.0, 49.0).y);
    }
}
