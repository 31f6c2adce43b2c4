//! Some of the regions of an arrangement, or all of them.

use super::point_table::PointTable;

/// Some regions of an arrangement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// For each region the sign of every hyperplane, a·x − b, at its points: −1 or 1.
    pub signs: Vec<i8>,
    /// A point inside each region.
    pub points: PointTable,
    /// Whether each region is bounded.
    pub bounded: Vec<bool>,
}

impl Block {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            signs: Vec::new(),
            points: PointTable::new(dimension),
            bounded: Vec::new(),
        }
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.bounded.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bounded.is_empty()
    }

    /// The same regions, with the signs of these hyperplanes among `all`; those of the others are 0.
    pub(super) fn spread(mut self, hyperplanes: &[usize], all: usize) -> Self {
        let mut signs = vec![0; self.len() * all];
        for region in 0..self.len() {
            for (at, hyperplane) in hyperplanes.iter().enumerate() {
                signs[region * all + hyperplane] = self.signs[region * hyperplanes.len() + at];
            }
        }
        self.signs = signs;
        self
    }

    pub(super) fn add(&mut self, other: Self) {
        self.signs.extend(other.signs);
        self.bounded.extend(other.bounded);
        self.points.append(other.points);
    }
}
