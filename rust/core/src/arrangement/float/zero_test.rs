//! Zero tests with a tolerance, and the results of a search that uses them.

/// A zero test is near if the magnitude and the tolerance differ by less than this factor.
pub const NEAR: f64 = 10.0;

/// Decides by a tolerance whether a number counts as zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct ZeroTest {
    pub tolerance: f64,
}

impl ZeroTest {
    /// Whether the magnitude of a number counts as 0, for numbers that were scaled to about 1. `near` counts
    /// the tests that are near the tolerance.
    pub fn is_zero(self, magnitude: f64, near: &mut u64) -> bool {
        let (t, m) = (self.tolerance, magnitude);
        *near += u64::from(m > t / NEAR && m < t * NEAR);
        m <= t
    }
}

#[derive(Debug, Default)]
pub(super) struct PartialResult {
    pub coordinates: Vec<f64>,
    pub vertices: usize,
    pub near_decisions: u64,
}

impl PartialResult {
    pub fn after(mut self, before: Self) -> Self {
        self.coordinates.splice(..0, before.coordinates);
        self.vertices += before.vertices;
        self.near_decisions += before.near_decisions;
        self
    }
}
