//! Conversion from the coordinates of a search to those of the user's space, in words.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::One;

use super::point_basis::PointBasis;
use crate::SimdLevel;

/// The map from the coordinates in which the rows are kept to those of the user's space.
#[derive(Clone, Debug)]
pub struct Space {
    width: usize,
    limbs: usize,
    /// The images of the unit vectors. `None` for the identity.
    images: Option<PointBasis>,
}

impl Space {
    /// A map to `width` homogeneous coordinates of `limbs` words each, by this matrix. `None` is the
    /// identity.
    pub fn new(simd: SimdLevel, width: usize, limbs: usize, map: Option<&[Vec<BigInt>]>) -> Self {
        let modulus = BigInt::one() << (64 * limbs);
        let images = map.map(|map| {
            let mut words = Vec::new();
            for c in 0..width {
                for row in map {
                    let end = words.len() + limbs;
                    words.extend(row[c].mod_floor(&modulus).iter_u64_digits());
                    words.resize(end, 0);
                }
            }
            let mut images = PointBasis::new(simd);
            images.load(&words, width, limbs);
            images
        });
        Self {
            width,
            limbs,
            images,
        }
    }

    /// Words of a coordinate.
    pub fn limbs(&self) -> usize {
        self.limbs
    }

    /// Replace `points` by the images of these vectors, which are given coordinate by coordinate.
    pub fn place(&self, vectors: impl Iterator<Item = i128>, points: &mut PointBasis) {
        if let Some(images) = &self.images {
            images.derive(&vectors.collect::<Vec<_>>(), points);
            return;
        }
        let mut words = Vec::new();
        for x in vectors {
            let low = [x as u64, (x >> 64) as u64];
            let sign = (x >> 127) as u64;
            words.extend((0..self.limbs).map(|k| low.get(k).copied().unwrap_or(sign)));
        }
        points.load(&words, self.width, self.limbs);
    }
}
