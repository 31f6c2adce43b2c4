//! Whether codes for a layer's inputs are better than plain ones, by tr(E·H·Eᵀ).
//!
//! Feedback is the best that can be done if codes are ideal quantisers. Those there are have a highest
//! rate, a coarsest step of half a bit and one scale a stream. Plain codes have a scale for each output,
//! which is worth more where outputs differ by much and inputs are nearly independent. Plain codes are
//! searched wherever that may be the case, and the better ones are kept.

use super::ldl::{Factor, Finished};
use super::vectors::Vectors;
use crate::codec::encode::fit::dot;
use crate::codec::format::axes::Axes;
use crate::codec::format::tensor::CompressedTensor;
use crate::codec::numbers::element::Element;
use crate::{Control, Result, SimdLevel};

/// Codes are in doubt if they leave more than this part of what plain codes are expected to leave.
const DOUBT: f64 = 0.5;

/// Weights, other than zeros, below which plain codes are always searched: the errors of so few may
/// happen to be small in a single direction, which is all that counts where H has no other.
const FEW: usize = 1 << 16;

/// Inputs whose errors are worked out together.
const TOGETHER: usize = 64;

pub struct Judge<'a, T> {
    pub vectors: &'a Vectors<'a, T>,
    pub factor: &'a Factor,
}

impl<T: Element> Judge<'_, T> {
    /// tr(E·H·Eᵀ) from the same with the damped H, where Σ e² is this.
    pub fn undamped(&self, damped: f64, error: f64) -> f64 {
        (damped - self.factor.raised() * error).max(0.0)
    }

    /// Whether plain codes may be better than these.
    ///
    /// No code of so many bits leaves less of a Gaussian source than 4^(−bits), and the errors of plain
    /// codes are next to independent. Rows of different size, which plain codes give rates of their own,
    /// can be worth some of what is left to [`DOUBT`]. Bits that zeros do not need go to the others.
    pub fn in_doubt(&self, objective: f64, signal: f64, bits: f64) -> bool {
        let variance = signal / self.vectors.inputs as f64;
        let weights = self.vectors.weights;
        let others = weights.iter().filter(|w| w.to_f64() != 0.0).count();
        let bits = bits * weights.len() as f64 / others.max(1) as f64;
        others < FEW || objective > DOUBT * variance * self.factor.trace() * (-2.0 * bits).exp2()
    }

    /// tr(E·H·Eᵀ) for what another tensor makes of the weights.
    pub fn objective(&self, tensor: &CompressedTensor, control: &Control) -> Result<f64> {
        let Vectors {
            inputs, outputs, ..
        } = *self.vectors;
        let errors = self.errors(tensor, control)?;
        let mut finished = Finished::new(SimdLevel::in_use()?, inputs, outputs);
        let (mut damped, mut error) = (0.0, 0.0);
        let mut sums = vec![0.0; outputs];
        for first in (0..inputs).step_by(TOGETHER) {
            let here = first..(first + TOGETHER).min(inputs);
            let own = &errors[here.start * outputs..here.end * outputs];
            let mut targets = finished.targets(self.factor, here.clone(), own, control)?;
            for (input, own) in here.zip(own.chunks_exact(outputs)) {
                // The errors and what is fed back to them are n_j = e_j + Σ_{i<j} U_ij·e_i.
                finished.target(&mut targets, input, &mut sums);
                damped += self.factor.pivot(input) * dot(&sums, &sums);
                error += dot(own, own);
                finished.set(input, own);
            }
        }
        Ok(self.undamped(damped, error))
    }

    /// Weights minus what a tensor decodes to, normalised, input by input.
    fn errors(&self, tensor: &CompressedTensor, control: &Control) -> Result<Vec<f32>> {
        let Vectors {
            weights,
            inputs,
            outputs,
            axes,
            normalise,
        } = *self.vectors;
        let mut decoded = vec![0f64; weights.len()];
        tensor.decompress(&mut decoded, control)?;
        let mut errors = vec![0.0; weights.len()];
        for (at, (weight, decoded)) in weights.iter().zip(&decoded).enumerate() {
            let place = match axes {
                Axes::InOrder => at,
                Axes::Swapped => at % inputs * outputs + at / inputs,
            };
            errors[place] = normalise.times(weight.to_f64() - decoded) as f32;
        }
        Ok(errors)
    }
}
