//! A plane of the arrangement, and what an enumeration of the vertices on it does.

use std::ops::Range;

use crate::SimdLevel;
use crate::arrangement::coordinates::Space;

/// A plane of the arrangement, and the hyperplanes that cut it.
#[derive(Clone, Copy, Debug)]
pub struct PlaneRows<'a, W> {
    /// Number of each row, rising.
    pub numbers: &'a [u32],
    /// Three values for each row, and infinity's last.
    pub rows: &'a [W],
    /// Three vectors that span the integer points of the plane, of d + 1 entries each.
    pub lattice: &'a [W],
}

impl<'a, W> PlaneRows<'a, W> {
    /// Row `at`; infinity's is the one after the last.
    pub fn row(&self, at: usize) -> &'a [W] {
        &self.rows[at * 3..][..3]
    }

    /// Places of the rows numbered `from`..`to`.
    pub fn between(&self, from: u32, to: u32) -> Range<usize> {
        let first = self.numbers.partition_point(|&n| n < from);
        first..self.numbers.partition_point(|&n| n < to).max(first)
    }
}

/// How the lines of a plane, and the vertices on them, are enumerated.
pub trait Plane<W>: std::fmt::Debug + Send {
    /// No plane yet.
    fn new(simd: SimdLevel) -> Self;
    /// Take up a plane; false if its numbers do not fit. The other calls get the same rows.
    fn load(&mut self, rows: &PlaneRows<'_, W>) -> bool;
    /// Find the rows numbered `from`..`to` that make vertices of the line `at`; `None` if its numbers
    /// do not fit.
    fn meet(&mut self, rows: &PlaneRows<'_, W>, at: usize, from: u32, to: u32) -> Option<()>;
    /// Rows found, rising.
    fn found(&self) -> &[u32];
    /// Append the vertices of the first `count` rows found, in the coordinates of the space.
    /// Some may wait for [`flush`](Self::flush).
    fn push(&mut self, rows: &PlaneRows<'_, W>, space: &Space, count: usize, out: &mut Vec<u64>);
    /// Append what waits.
    fn flush(&mut self, _: &mut Vec<u64>) {}
}
