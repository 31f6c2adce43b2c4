//! Samples of a Gaussian source, the same on every machine.

/// `count` samples from SplitMix64 and the Box–Muller transform, divided by their root mean square,
/// like a row by its scale. Otherwise the random energy of the samples would count as an error of the
/// code.
pub fn gaussian(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON
    };
    let drawn: Vec<f64> = (0..count)
        .map(|_| {
            let (radius, angle) = (unit(), unit());
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        })
        .collect();
    let rms = (drawn.iter().map(|x| x * x).sum::<f64>() / count as f64).sqrt();
    drawn.iter().map(|x| (x / rms) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_gaussian() {
        let samples = gaussian(9, 1 << 16);
        let moment = |k| samples.iter().map(|x| f64::from(*x).powi(k)).sum::<f64>() / 65536.0;
        assert!(moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 1e-6);
        assert!(moment(3).abs() < 0.05 && (moment(4) - 3.0).abs() < 0.1);
    }
}
