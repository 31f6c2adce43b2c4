//! The rows of a plane, and the interface of an enumeration of the vertices on it.

use std::ops::Range;

use crate::SimdLevel;
use crate::arrangement::coordinates::Space;

/// A flat of dimension 2, and the hyperplanes that cut it.
#[derive(Clone, Copy, Debug)]
pub struct PlaneRows<'a, W> {
    /// The number of each row, rising.
    pub numbers: &'a [u32],
    /// Three values for each row. The last row is that of infinity.
    pub rows: &'a [W],
    /// Three vectors that span the integer points of the plane, of d + 1 entries each.
    pub lattice: &'a [W],
}

impl<'a, W> PlaneRows<'a, W> {
    /// Row `at`. The row of infinity follows that of the last hyperplane.
    pub fn row(&self, at: usize) -> &'a [W] {
        &self.rows[at * 3..][..3]
    }

    /// The places of the rows with numbers in `from`..`to`.
    pub fn between(&self, from: u32, to: u32) -> Range<usize> {
        let first = self.numbers.partition_point(|&n| n < from);
        first..self.numbers.partition_point(|&n| n < to).max(first)
    }
}

/// An enumeration of the vertices on a plane, line by line.
pub trait Plane<W>: std::fmt::Debug + Send {
    /// An enumeration without a plane.
    fn new(simd: SimdLevel) -> Self;
    /// Begin with a plane. False if its numbers do not fit. Later calls have to pass the same rows.
    fn load(&mut self, rows: &PlaneRows<'_, W>) -> bool;
    /// Find the rows with numbers in `from`..`to` that make vertices on the line of row `at`. `None` if
    /// the numbers of the line do not fit.
    fn meet(&mut self, rows: &PlaneRows<'_, W>, at: usize, from: u32, to: u32) -> Option<()>;
    /// The rows that the last [`meet`](Self::meet) has found, rising.
    fn found(&self) -> &[u32];
    /// Append the vertices of the first `count` rows found, in the coordinates of the user's space.
    /// [`flush`](Self::flush) may append some of them later.
    fn push(&mut self, rows: &PlaneRows<'_, W>, space: &Space, count: usize, out: &mut Vec<u64>);
    /// Append the vertices that [`push`](Self::push) has kept back.
    fn flush(&mut self, _: &mut Vec<u64>) {}
}
