//! The errors of the vectors coded so far, and their feedback to the next targets.

use std::ops::Range;

use rayon::prelude::*;

use super::factor::Factor;
use crate::codec::kernels::feedback_tile::{HEIGHT, Real, accumulate};
use crate::{Control, Result, SimdLevel};

/// Columns of a panel.
const PANEL: usize = <f32 as Real>::PANEL;

/// Errors that are fed back at a time. Their panel stays in the first-level cache while it is
/// multiplied for all targets of a block.
const DEPTH: usize = 128;

/// The errors e_i of the vectors coded so far, in panels of outputs, so that feedback is a product of
/// panels.
pub struct Finished {
    simd: SimdLevel,
    inputs: usize,
    outputs: usize,
    /// For each panel of outputs, all inputs, one after the other.
    errors: Vec<f32>,
}

/// The targets of some inputs that are coded next.
pub struct Targets {
    inputs: Range<usize>,
    /// U_ij (see [`Factor::columns`]).
    factors: Vec<f32>,
    /// For each panel of outputs, these inputs.
    values: Vec<f32>,
}

impl Finished {
    /// For a matrix of this many inputs and outputs, of which no vector is coded yet.
    pub fn new(simd: SimdLevel, inputs: usize, outputs: usize) -> Self {
        Self {
            simd,
            inputs,
            outputs,
            errors: vec![0.0; outputs.div_ceil(PANEL) * inputs * PANEL],
        }
    }

    /// Store the errors, one for each output, of the vector of this input.
    pub fn set(&mut self, input: usize, errors: &[f32]) {
        let panels = self.errors.chunks_exact_mut(self.inputs * PANEL);
        for (panel, errors) in panels.zip(errors.chunks(PANEL)) {
            panel[input * PANEL..][..errors.len()].copy_from_slice(errors);
        }
    }

    /// The targets of `inputs`, whose `weights` are in C order, with the feedback of the errors of all
    /// inputs before these.
    ///
    /// O(outputs·inputs.len()·inputs.start) multiply-adds.
    pub fn targets(
        &self,
        factor: &Factor,
        inputs: Range<usize>,
        weights: &[f32],
        control: &Control,
    ) -> Result<Targets> {
        let (simd, before, count) = (self.simd, inputs.start, inputs.len());
        let factors = factor.columns(inputs.clone());
        let mut values = vec![0.0; self.outputs.div_ceil(PANEL) * count * PANEL];
        let panels = values.par_chunks_exact_mut(count * PANEL).enumerate();
        panels.try_for_each(|(at, values)| {
            control.check()?;
            let column = at * PANEL;
            let width = PANEL.min(self.outputs - column);
            let rows = weights.chunks_exact(self.outputs);
            for (row, weights) in values.chunks_exact_mut(PANEL).zip(rows) {
                row[..width].copy_from_slice(&weights[column..column + width]);
            }
            let errors = &self.errors[at * self.inputs * PANEL..][..before * PANEL];
            for (part, errors) in errors.chunks(DEPTH * PANEL).enumerate() {
                let from = part * DEPTH;
                let depth = errors.len() / PANEL;
                let tiles = factors.chunks_exact(inputs.end * HEIGHT);
                for (factors, sums) in tiles.zip(values.chunks_mut(HEIGHT * PANEL)) {
                    let factors = &factors[from * HEIGHT..][..depth * HEIGHT];
                    accumulate(simd, 0..sums.len() / PANEL, factors, errors, sums, PANEL);
                }
            }
            Ok(())
        })?;
        Ok(Targets {
            inputs,
            factors,
            values,
        })
    }

    /// The target of one of these inputs, after those before it have been coded: adds the feedback of
    /// their errors.
    pub fn target(&self, targets: &mut Targets, input: usize, out: &mut [f32]) {
        let Targets {
            inputs,
            factors,
            values,
        } = targets;
        let place = input - inputs.start;
        let factors = &factors[place / HEIGHT * inputs.end * HEIGHT..];
        let factors = &factors[inputs.start * HEIGHT..input * HEIGHT];
        let row = place % HEIGHT..place % HEIGHT + 1;
        let panels = values.chunks_exact_mut(inputs.len() * PANEL);
        let errors = self.errors.chunks_exact(self.inputs * PANEL);
        for ((values, errors), out) in panels.zip(errors).zip(out.chunks_mut(PANEL)) {
            let errors = &errors[inputs.start * PANEL..input * PANEL];
            let sums = &mut values[place * PANEL..][..PANEL];
            accumulate(self.simd, row.clone(), factors, errors, sums, PANEL);
            out.copy_from_slice(&sums[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::numbers::gaussian::gaussian;

    /// A second moment that feeds back from every input to every later one.
    fn factor(inputs: usize) -> Factor {
        let entry = |at: usize| 0.9f64.powi((at / inputs).abs_diff(at % inputs) as i32);
        let matrix: Vec<f64> = (0..inputs * inputs).map(entry).collect();
        Factor::new(&matrix, inputs, 0.01, &Control::new()).unwrap()
    }

    /// All targets if every input has the errors in `errors`, computed in blocks of this many inputs.
    fn targets(
        simd: SimdLevel,
        factor: &Factor,
        weights: &[f32],
        errors: &[f32],
        block: usize,
    ) -> Vec<f32> {
        let inputs = factor.inputs();
        let outputs = weights.len() / inputs;
        let mut finished = Finished::new(simd, inputs, outputs);
        let mut all = vec![0.0; weights.len()];
        for first in (0..inputs).step_by(block) {
            let range = first..(first + block).min(inputs);
            let own = &weights[range.start * outputs..range.end * outputs];
            let mut targets = finished
                .targets(factor, range.clone(), own, &Control::new())
                .unwrap();
            for input in range {
                let row = input * outputs..(input + 1) * outputs;
                finished.target(&mut targets, input, &mut all[row.clone()]);
                finished.set(input, &errors[row]);
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn targets_are_those_of_a_plain_loop(
            inputs in 1usize..160, outputs in 1usize..100, block in 1usize..70, seed: u64,
        ) {
            let factor = factor(inputs);
            let values = gaussian(seed, 2 * inputs * outputs);
            let (weights, errors) = values.split_at(inputs * outputs);
            let plain = targets(SimdLevel::Portable, &factor, weights, errors, inputs);
            for simd in SimdLevel::available() {
                prop_assert!(targets(simd, &factor, weights, errors, block) == plain, "{:?}", simd);
            }
            for (at, target) in plain.iter().enumerate() {
                let (input, output) = (at / outputs, at % outputs);
                let fed: f64 = (0..input)
                    .map(|i| factor.feedback(i, input) * f64::from(errors[i * outputs + output]))
                    .sum();
                prop_assert!((f64::from(*target) - f64::from(weights[at]) - fed).abs() < 1e-4);
            }
        }
    }
}
