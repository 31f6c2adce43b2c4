//! The variances of targets, and the costs of errors, before anything is coded.
//!
//! A target is its weights and the errors that are fed back to them, t_j = w_j + f_j. Where H is well
//! conditioned, f_j is small beside w_j. Where a few directions hold most of H, an input near the end
//! of such a direction makes up for the errors of all inputs before it, and its target may be a
//! thousand times its weights. Scales and rates have to be chosen from the variance of t_j.
//!
//! With n_j = t_j − q_j, the error that the code of input j makes, e_j = n_j − f_j. So e = U^{−T}·n,
//! and with B = U⁻¹ and an ideal quantiser, whose error has a part `noise` of its target's variance,
//!
//! ```text
//! σ²(t_j) = σ²(w_j) + Σ_{i<j} B_ij²·σ²(n_i),     σ²(n_j) = noise(R_j)·σ²(t_j)
//! ```
//!
//! The error of the outputs is Σ_j D_j·σ²(n_j). More of σ²(n_i) makes the later targets larger, too,
//! and their codes' errors. What it costs in all, at given rates, is its derivative,
//!
//! ```text
//! λ_i = D_i + Σ_{j>i} B_ij²·noise(R_j)·λ_j
//! ```
//!
//! Both sums are estimated with random signs s of mean 0, of which E[(Σ B_ij·s_j·x_j)²] = Σ B_ij²·x_j²:
//! [`PROBES`] outputs are coded in thought, by triangular substitution with U, forward for the
//! variances and backward for the costs. So B is never needed.
//!
//! The rates follow from λ_j·σ²(t_j) by reverse water-filling, and the variances from the rates. A few
//! rounds settle that; the round with the least error is taken.

use super::ldl::Factor;
use super::steps::Step;
use crate::codec::encode::rate::Source;
use crate::{Control, Result, SimdLevel};

/// Outputs that are coded in thought for each piece of a vector: variances are off by a factor of
/// 1 ± √(2/64) at most, which is 0.12 bit.
const PROBES: usize = 64;

/// What is known before coding.
pub struct Forecast {
    /// Streams with the variances of their targets, and with costs as weights.
    pub sources: Vec<Source>,
    /// The error of the outputs.
    pub error: f64,
}

/// What a forecast is made from.
pub struct Forecaster<'a> {
    pub simd: SimdLevel,
    pub factor: &'a Factor,
    /// The steps of all inputs.
    pub steps: &'a [Step],
    /// Streams with the variances of their weights, and with D as weights.
    pub sources: &'a [Source],
    /// Mean squared error of variance 1 by half bits.
    pub noise: &'a [f64],
}

/// Random signs: bits of SplitMix64.
struct Signs {
    state: u64,
    bits: u64,
    left: u32,
}

impl Signs {
    fn new(seed: u64) -> Self {
        Self {
            state: seed,
            bits: 0,
            left: 0,
        }
    }

    fn of(&mut self, magnitude: f32) -> f32 {
        if self.left == 0 {
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            self.bits = z ^ (z >> 31);
            self.left = 64;
        }
        self.left -= 1;
        let negative = self.bits & 1 == 1;
        self.bits >>= 1;
        if negative { -magnitude } else { magnitude }
    }
}

/// What [`PROBES`] outputs have at one place. In single precision, whose rounding is far below the
/// spread of the estimates, so that they fit into vector registers.
type Probes = [f32; PROBES];

impl Forecaster<'_> {
    /// The forecast at these half bits of each stream.
    ///
    /// O(n²) multiply-adds for n inputs, for each of [`PROBES`] and each piece of a vector.
    pub fn at(&self, rates: &[u8], control: &Control) -> Result<Forecast> {
        let pieces = self.steps.iter().map(|step| step.streams.len()).max();
        let pieces = pieces.unwrap_or(1);
        let variances = self.variances(rates, pieces, control)?;
        let costs = self.costs(rates, pieces, control)?;
        let error = self.sources.iter().zip(&variances).zip(rates);
        let error = error.map(|((source, variance), rate)| {
            source.len as f64 * source.weight * variance * self.noise[usize::from(*rate)]
        });
        let error = error.sum();
        let sources = self.sources.iter().zip(variances).zip(costs);
        let sources = sources.map(|((source, variance), weight)| Source {
            len: source.len,
            // Zeros stay so, whatever others have made of their targets.
            variance: if source.variance > 0.0 { variance } else { 0.0 },
            weight,
        });
        Ok(Forecast {
            sources: sources.collect(),
            error,
        })
    }

    /// σ²(t) of each stream.
    fn variances(&self, rates: &[u8], pieces: usize, control: &Control) -> Result<Vec<f64>> {
        let inputs = self.factor.inputs();
        let mut signs = Signs::new(1);
        let mut variances = vec![0.0; self.sources.len()];
        // For each piece and input, what is fed back to it so far.
        let mut fed = vec![[0.0; PROBES]; pieces * inputs];
        for step in self.steps {
            control.check()?;
            let vectors = step.inputs.len() as f64;
            for (piece, stream) in step.streams.clone().enumerate() {
                let fed = &fed[piece * inputs..][step.inputs.clone()];
                let added = fed.iter().map(mean_square).sum::<f64>() / vectors;
                variances[stream] = self.sources[stream].variance + added;
            }
            for input in step.inputs.clone() {
                for (piece, stream) in step.streams.clone().enumerate() {
                    let noise = self.noise[usize::from(rates[stream])];
                    let deviation = self.sources[stream].variance.sqrt() as f32;
                    let own = (noise * (1.0 - noise) * variances[stream]).sqrt() as f32;
                    let noise = noise as f32;
                    let fed = &mut fed[piece * inputs..][..inputs];
                    // Within a step, targets are made as if those before had been hit.
                    let within = fed[input].map(|fed| -fed);
                    let error = fed[input].map(|fed| {
                        let target = signs.of(deviation) + fed;
                        noise * target + signs.of(own) - fed
                    });
                    let (same, after) = fed.split_at_mut(step.inputs.end);
                    self.feed(input, input + 1, &within, &mut same[input + 1..]);
                    self.feed(input, step.inputs.end, &error, after);
                }
            }
        }
        Ok(variances)
    }

    /// Add the feedback of an input's errors to what inputs from `first` on are fed.
    fn feed(&self, input: usize, first: usize, errors: &Probes, fed: &mut [Probes]) {
        self.simd.run(
            #[inline(always)]
            || {
                for (later, fed) in (first..).zip(fed) {
                    let feedback = self.factor.feedback(input, later) as f32;
                    for (fed, error) in fed.iter_mut().zip(errors) {
                        *fed += feedback * error;
                    }
                }
            },
        );
    }

    /// λ of each stream.
    fn costs(&self, rates: &[u8], pieces: usize, control: &Control) -> Result<Vec<f64>> {
        let inputs = self.factor.inputs();
        let mut signs = Signs::new(2);
        let mut costs = vec![0.0; self.sources.len()];
        // For each piece and input, B times the signs, from it on.
        let mut probes = vec![[0.0; PROBES]; pieces * inputs];
        for step in self.steps.iter().rev() {
            control.check()?;
            for input in step.inputs.clone().rev() {
                for (piece, stream) in step.streams.clone().enumerate() {
                    let probes = &mut probes[piece * inputs..][..inputs];
                    let sums = self.sums(input, step.inputs.end, &probes[step.inputs.end..]);
                    let cost = self.sources[stream].weight + mean_square(&sums);
                    costs[stream] += cost / step.inputs.len() as f64;
                    let noise = self.noise[usize::from(rates[stream])];
                    let own = (noise * cost).sqrt() as f32;
                    probes[input] = sums.map(|sum| signs.of(own) - sum);
                }
            }
        }
        Ok(costs)
    }

    /// The sum of what inputs from `first` on have, times the feedback of an input to them.
    fn sums(&self, input: usize, first: usize, probes: &[Probes]) -> Probes {
        let mut sums = [0.0; PROBES];
        self.simd.run(
            #[inline(always)]
            || {
                for (later, probes) in (first..).zip(probes) {
                    let feedback = self.factor.feedback(input, later) as f32;
                    for (sum, probe) in sums.iter_mut().zip(probes) {
                        *sum += feedback * probe;
                    }
                }
            },
        );
        sums
    }
}

fn mean_square(values: &Probes) -> f64 {
    let squares = values.iter().map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>() / PROBES as f64
}
