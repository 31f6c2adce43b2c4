//! The scale of a stream with outliers.
//!
//! Levels end about four deviations from zero. A Gaussian stream is hardly ever beyond them, and the
//! transform makes most streams Gaussian. An outlier that feedback has made, or that the last block of a
//! length without a large power of two gathers again, is beyond them by many deviations, and is missed
//! by all of that. A larger scale reaches it, at the price of coarser levels for all others:
//!
//! ```text
//! error(s) = noise·σ²·g(s/σ) + Σ max(0, |v| − s·outermost)²/n
//! ```
//!
//! σ² is the mean square of what is not beyond the levels. The density of levels for a scale s is that
//! of a normal distribution of variance 3·s² (Panter and Dite, 1951), so the noise of values of
//! deviation σ is s²·(1 − 2σ²/(3s²))^(−1/2) to a factor, which g has to be 1 at s = σ.

use crate::codec::encode::fit::dot;

/// Values that are looked at one by one: in deviations, below the outermost level of any code.
const LARGE: f64 = 1.0;
/// Clipping that is a part of the noise of a Gaussian stream.
const USUAL: f64 = 0.25;
/// Scales that are tried: from a deviation to 16 times as much, a quarter of an octave apart.
const TRIED: i32 = 16;

/// A stream, and what is far from zero in it.
pub struct Outliers {
    len: f64,
    /// Mean square of all.
    pub variance: f64,
    /// Magnitudes of large values, rising.
    large: Vec<f64>,
}

/// A scale, and the error at it as a part of the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    pub scale: f64,
    pub noise: f64,
}

impl Outliers {
    pub fn of(values: &[f32]) -> Self {
        let len = values.len().max(1) as f64;
        let variance = dot(values, values) / len;
        let least = LARGE * variance.sqrt();
        let magnitudes = values.iter().map(|value| f64::from(value.abs()));
        let mut large: Vec<f64> = magnitudes.filter(|value| *value > least).collect();
        large.sort_unstable_by(f64::total_cmp);
        Self {
            len,
            variance,
            large,
        }
    }

    /// The scale that leaves the least error for a code with this noise and outermost level.
    pub fn fitted(&self, noise: f64, outermost: f64) -> Fitted {
        let deviation = self.variance.sqrt();
        let usual = Fitted {
            scale: deviation,
            noise,
        };
        if self.clipped(deviation * outermost).0 <= USUAL * noise * self.variance {
            return usual;
        }
        let error = |scale: f64| {
            let (clipped, beyond) = self.clipped(scale * outermost);
            let inside = (self.variance - beyond).max(0.0);
            let granular = scale * scale / 3f64.sqrt();
            let spread = (1.0 - 2.0 * inside / (3.0 * scale * scale)).max(0.1);
            noise * granular / spread.sqrt() + clipped
        };
        let mut best = (error(deviation), deviation);
        for step in 1..=TRIED {
            // Products of roots, not powers: the same on any machine.
            let scale = deviation * ROOTS[step as usize % 4] * f64::from(1 << (step / 4));
            let tried = error(scale);
            if tried < best.0 {
                best = (tried, scale);
            }
        }
        Fitted {
            scale: best.1,
            noise: (best.0 / self.variance).clamp(noise, 1.0),
        }
    }

    /// Means over the stream of the squares by which values are beyond this, and of their squares.
    fn clipped(&self, bound: f64) -> (f64, f64) {
        let (mut by, mut all) = (0.0, 0.0);
        for value in self.large.iter().rev().take_while(|value| **value > bound) {
            by += (value - bound).powi(2);
            all += value * value;
        }
        (by / self.len, all / self.len)
    }
}

/// 2^(r/4).
const ROOTS: [f64; 4] = [
    1.0,
    1.189_207_115_002_721,
    std::f64::consts::SQRT_2,
    1.681_792_830_507_429,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::numbers::gaussian::gaussian;

    #[test]
    fn a_gaussian_stream_has_its_deviation_as_scale() {
        let outliers = Outliers::of(&gaussian(1, 4096));
        for noise in [0.3, 0.02, 0.001] {
            let fitted = outliers.fitted(noise, 4.0);
            assert!((fitted.scale - 1.0).abs() < 1e-3 && fitted.noise == noise);
        }
    }

    #[test]
    fn an_outlier_is_reached_where_that_is_worth_it() {
        let mut values = gaussian(1, 576);
        values[7] = 20.0;
        let outliers = Outliers::of(&values);
        let deviation = outliers.variance.sqrt();
        let mut last = deviation;
        for noise in [0.3, 0.02, 0.001] {
            let fitted = outliers.fitted(noise, 3.5);
            assert!(fitted.scale >= last && fitted.noise >= noise, "{fitted:?}");
            last = fitted.scale;
        }
        assert!(3.5 * last > 15.0, "{last}");
    }
}
