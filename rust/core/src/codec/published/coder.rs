//! Encodes and decodes one group of weights.
//!
//! # Arithmetic
//! Everything between the weights and the decoded weights is `f64`, in one fixed order of single
//! operations that the compiler may not contract or reorder, so every machine and every vector
//! width gives the same bits; the result is rounded once, to `f32`. In `f64` the codes of the
//! published program (golden file) come out the same on every group. The centre and the farthest
//! group, which are stored, are `f32`, as the published program has them.

use super::category::{Categories, distance};
use super::orbit::Orbit;
use super::params::WindingParams;

/// The constants of decoding, for other decoders (the GPU): weight i is (point_i −
/// half)·units\[category\] + centre_i, all in `f64`, rounded to `f32`; the category and the index of
/// the point are the quotient and the remainder of code / `points`.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// c; K values, then zeros.
    pub centre: [f64; 4],
    /// m^K / 2.
    pub half: f64,
    /// m.
    pub base: u32,
    /// U + 1.
    pub points: u32,
    /// By category: units of the weights per unit of the orbit.
    pub units: Vec<f64>,
}

/// The map between groups of K weights and codes for one tensor and one number of categories.
#[derive(Clone, Debug)]
pub struct GroupCoder<const K: usize> {
    orbit: Orbit<K>,
    centre: [f64; K],
    categories: Categories,
    /// By category: units of the orbit per weight unit, and the reverse.
    units: Vec<(f64, f64)>,
    /// U + 1, the codes of one category.
    points: u32,
}

impl<const K: usize> GroupCoder<K> {
    /// The coder of validated parameters around `centre`, with `classes` categories up to the
    /// distance of `farthest`.
    pub fn new(
        params: &WindingParams,
        centre: &[f32; K],
        farthest: &[f32; K],
        classes: u32,
    ) -> Self {
        let orbit = Orbit::new(params.samples);
        let centre = centre.map(f64::from);
        let reach = distance(&offset(&farthest.map(f64::from), &centre));
        let categories = Categories::new(classes, params.side, reach);
        let unit = |half_side: &f64| (orbit.half() / half_side, half_side / orbit.half());
        Self {
            units: categories.half_sides().iter().map(unit).collect(),
            points: params.samples + 1,
            orbit,
            centre,
            categories,
        }
    }

    /// The constants of [`decode`](Self::decode).
    pub fn decoding(&self) -> Decoding {
        let mut centre = [0.0; 4];
        centre[..K].copy_from_slice(&self.centre);
        Decoding {
            centre,
            half: self.orbit.half(),
            base: self.orbit.base(),
            points: self.points,
            units: self
                .units
                .iter()
                .map(|(_, from_units)| *from_units)
                .collect(),
        }
    }

    /// The offset of a group from the centre.
    #[inline]
    pub fn offset(&self, group: &[f64; K]) -> [f64; K] {
        offset(group, &self.centre)
    }

    /// Whether a group at this offset is inside the cube.
    #[inline]
    pub fn inside(&self, offset: &[f64; K]) -> bool {
        self.categories.inside(offset)
    }

    /// The category of a group at this offset, outside the cube.
    #[inline]
    pub fn outside(&self, offset: &[f64; K]) -> usize {
        self.categories.outside(offset)
    }

    /// The code of a group at this offset, of this category, and the weights it stands for.
    #[inline]
    pub fn encode(&self, offset: &[f64; K], category: usize) -> (u32, [f32; K]) {
        let (to_units, _) = self.units[category];
        let sought = offset.map(|x| x * to_units + self.orbit.half());
        let index = self.orbit.nearest(&sought);
        let code = index + self.points * category as u32;
        (code, self.place(index, category))
    }

    /// The weights that a code stands for.
    #[inline]
    pub fn decode(&self, code: u32) -> [f32; K] {
        self.place(code % self.points, (code / self.points) as usize)
    }

    /// A sample in units of the weights. A value too large for `f32` becomes the largest finite value,
    /// because decoding a finite weight must not give an infinity.
    #[inline]
    fn place(&self, index: u32, category: usize) -> [f32; K] {
        let (_, from_units) = self.units[category];
        let point = self.orbit.point(index);
        std::array::from_fn(|i| {
            let weight = (point[i] - self.orbit.half()) * from_units + self.centre[i];
            (weight as f32).clamp(f32::MIN, f32::MAX)
        })
    }
}

#[inline]
fn offset<const K: usize>(group: &[f64; K], centre: &[f64; K]) -> [f64; K] {
    std::array::from_fn(|i| group[i] - centre[i])
}
