//! Zero tests with a tolerance, and what has been found with them.

/// How far from the tolerance an answer counts as clear.
pub const NEAR: f64 = 10.0;

/// The tolerance, and what it decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    pub tolerance: f64,
}

impl Judge {
    /// Whether a magnitude on the scale of 1 counts as 0.
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
