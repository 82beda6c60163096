//! Three numbers: a place, a direction, or a colour (linear red, green, blue from 0 to 1).

use std::ops::{Add, Mul, Neg, Sub};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vector {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) z: f64,
}

/// Short for building one.
pub(crate) const fn vector(x: f64, y: f64, z: f64) -> Vector {
    Vector { x, y, z }
}

impl Vector {
    pub(crate) const ZERO: Self = vector(0.0, 0.0, 0.0);

    pub(crate) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(crate) fn cross(self, other: Self) -> Self {
        vector(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// The same direction, length 1. The vector must not be zero.
    pub(crate) fn unit(self) -> Self {
        self * (1.0 / libm::sqrt(self.dot(self)))
    }

    /// Where a ray in this direction goes after a mirror with this unit normal.
    pub(crate) fn reflect(self, normal: Self) -> Self {
        self - normal * (2.0 * self.dot(normal))
    }

    /// Part by part, as when light of one colour falls on another.
    pub(crate) fn filter(self, other: Self) -> Self {
        vector(self.x * other.x, self.y * other.y, self.z * other.z)
    }

    /// A mixture: this where `share` is 0, the other where it is 1.
    pub(crate) fn mix(self, other: Self, share: f64) -> Self {
        self * (1.0 - share) + other * share
    }
}

impl Add for Vector {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vector(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vector {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vector(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f64> for Vector {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        vector(self.x * factor, self.y * factor, self.z * factor)
    }
}

impl Neg for Vector {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_leaves_a_mirror_as_steeply_as_it_came() {
        let out = vector(1.0, -1.0, 0.0).reflect(vector(0.0, 1.0, 0.0));
        assert_eq!(out, vector(1.0, 1.0, 0.0));
    }

    #[test]
    fn the_cross_product_is_right_handed() {
        let (x, y) = (vector(1.0, 0.0, 0.0), vector(0.0, 1.0, 0.0));
        assert_eq!(x.cross(y), vector(0.0, 0.0, 1.0));
    }
}
