//! The error of a code on a Gaussian source. The search for constants minimises it, and a test compares
//! the pinned table with it.

use rayon::prelude::*;

use crate::codec::kernels::viterbi::{SearchTables, ViterbiSearch};
use crate::codec::numbers::gaussian::gaussian;
use crate::codec::trellis::code::Code;
use crate::codec::trellis::tables::Trellis;
use crate::{Control, SimdLevel};

/// Weights that are searched as one chain.
const CHAIN: usize = 8192;

/// The samples on which the noise of the pinned table was measured. Their number depends on the window,
/// because the search takes time in proportion to 2^W.
pub fn held_apart(window: u32) -> Vec<f32> {
    gaussian(3, if window > 12 { 1 << 17 } else { 1 << 19 })
}

/// Sums over the weights that were coded by each phase.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Number of weights by phase.
    pub count: Vec<f64>,
    /// Sum of weights by phase.
    pub sum: Vec<f64>,
    /// Σ (w − level)².
    pub error: f64,
}

/// Encode `samples` with a code and count the phases.
pub fn census(code: Code, samples: &[f32]) -> Census {
    let trellis = Trellis::new(code);
    let tables = SearchTables::new(&trellis);
    // Every level of vector instructions finds the same path, so the override does not matter.
    let simd = SimdLevel::detected();
    let chain = |weights: &[f32]| {
        let mut census = Census {
            count: vec![0.0; trellis.levels.len()],
            sum: vec![0.0; trellis.levels.len()],
            error: 0.0,
        };
        let mut search = ViterbiSearch::new(code.window, simd);
        let targets: Vec<i16> = weights.iter().map(|w| tables.target(*w)).collect();
        search.start(0);
        search
            .advance(&tables, &targets, &Control::new())
            .expect("nobody cancels");
        search.finish();
        let (mut register, mut cells, mut levels) = (0, Vec::new(), Vec::new());
        tables.choose(
            &mut register,
            &search.path,
            &targets,
            &mut cells,
            &mut levels,
        );
        for (w, level) in weights.iter().zip(&levels) {
            let phase = trellis.levels.partition_point(|l| l < level);
            let w = f64::from(*w);
            census.count[phase] += 1.0;
            census.sum[phase] += w;
            census.error += (w - f64::from(*level)).powi(2);
        }
        census
    };
    samples
        .par_chunks(CHAIN)
        .map(chain)
        .collect::<Vec<_>>()
        .into_iter()
        .reduce(|mut all, chain| {
            all.error += chain.error;
            for (a, b) in all.count.iter_mut().zip(chain.count) {
                *a += b;
            }
            for (a, b) in all.sum.iter_mut().zip(chain.sum) {
                *a += b;
            }
            all
        })
        .unwrap_or_default()
}

/// Mean squared error of a code on `samples`.
pub fn noise(code: Code, samples: &[f32]) -> f64 {
    census(code, samples).error / samples.len() as f64
}

/// Distance in dB of a mean squared error to the rate–distortion bound 2^(−2R) of a source of
/// variance 1.
pub fn gap_db(half_bits: u32, noise: f64) -> f64 {
    10.0 * noise.log10() + 10.0 * f64::from(half_bits) * 2f64.log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::trellis::code_set::PinnedCode;

    /// The noise in the table is measured on samples that the search for constants did not use.
    #[test]
    fn the_pinned_table_is_what_its_scoring_says() {
        for code in PinnedCode::all().map(|code| *code.code()) {
            // With the widest register all samples take minutes, and a part of them reveals a wrong
            // line, too. (The search measures with integers that follow from the noise of the round
            // before.)
            let samples = held_apart(code.window);
            let (part, tolerance) = match code.window {
                16 => (1 << 13, 0.06),
                12 => (1 << 16, 0.025),
                _ => (samples.len(), 0.006),
            };
            let measured = noise(code, &samples[..part]);
            let energy: f64 = samples[..part].iter().map(|x| f64::from(*x).powi(2)).sum();
            let measured = measured * part as f64 / energy;
            let off = measured / f64::from(code.noise) - 1.0;
            assert!(off.abs() < tolerance, "{code:?}: {measured}");
        }
    }
}
