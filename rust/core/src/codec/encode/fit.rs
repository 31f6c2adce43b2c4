//! The best scale of a stream for its levels, and the remaining error.

/// Partial sums side by side, because a single sum would wait for each addition. The number is fixed,
/// so that the result does not depend on the machine.
const SUMS: usize = 8;

/// Σ a·b in double precision.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; SUMS];
    let (a, last_a) = a.as_chunks::<SUMS>();
    let (b, last_b) = b.as_chunks::<SUMS>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..SUMS {
            sums[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    for (i, (a, b)) in last_a.iter().zip(last_b).enumerate() {
        sums[i] += f64::from(*a) * f64::from(*b);
    }
    sums.iter().sum()
}

/// Sums over a stream that determine its best scale and its error.
#[derive(Clone, Copy, Default)]
pub(super) struct Fit {
    /// Σ w².
    pub weights: f64,
    /// Σ w·level.
    product: f64,
    /// Σ level².
    levels: f64,
}

impl Fit {
    pub fn of(weights: &[f32], levels: &[f32]) -> Self {
        Self {
            weights: dot(weights, weights),
            product: dot(weights, levels),
            levels: dot(levels, levels),
        }
    }

    /// The scale with the least error.
    pub fn scale(&self) -> f64 {
        self.product / self.levels
    }

    /// Σ (w − scale·level)².
    pub fn error(&self, scale: f64) -> f64 {
        (self.weights - 2.0 * scale * self.product + scale * scale * self.levels).max(0.0)
    }
}
