//! Codes with feedback are never worse than plain codes by their own objective, whatever the inputs.

use hypercomp_core::Control;
use hypercomp_core::codec::numbers::gaussian::gaussian;
use hypercomp_core::codec::{Codec, CompressedTensor, SecondMoment, TrellisParams};
use proptest::prelude::*;

/// Inputs x = A·z of a layer, a column of A for each independent z.
struct Inputs {
    inputs: usize,
    columns: Vec<Vec<f32>>,
}

impl Inputs {
    /// Independent inputs, and one direction that is `above` times as large, most of it in `few` inputs.
    fn spike(inputs: usize, above: f32, few: usize, seed: u64) -> Self {
        let mut columns: Vec<Vec<f32>> = (0..inputs)
            .map(|i| {
                let mut column: Vec<f32> = gaussian(seed + i as u64, inputs)
                    .iter()
                    .map(|x| 0.05 * x)
                    .collect();
                column[i] += 1.0;
                column
            })
            .collect();
        let mut spike = gaussian(seed, inputs);
        for (i, x) in spike.iter_mut().enumerate() {
            let large = i % (inputs / few) == inputs / few / 2;
            *x *= above.sqrt() * if large { 1.0 } else { 0.01 };
        }
        columns.push(spike);
        Self { inputs, columns }
    }

    /// `rank` random directions, the sizes of which fall as a power.
    fn falling(inputs: usize, rank: usize, power: f32, seed: u64) -> Self {
        let columns = (0..rank)
            .map(|i| {
                let size = ((i + 1) as f32).powf(-power / 2.0);
                let column = gaussian(seed + i as u64, inputs);
                column.iter().map(|x| size * x).collect()
            })
            .collect();
        Self { inputs, columns }
    }

    fn second_moment(&self) -> Vec<f64> {
        let n = self.inputs;
        let mut h = vec![0.0; n * n];
        for column in &self.columns {
            for i in 0..n {
                for j in 0..n {
                    h[i * n + j] += f64::from(column[i]) * f64::from(column[j]);
                }
            }
        }
        h
    }

    /// tr(E·H·Eᵀ), for rows E of inputs.
    fn squared(&self, e: &[f64]) -> f64 {
        let mut sum = 0.0;
        for e in e.chunks_exact(self.inputs) {
            for column in &self.columns {
                let dot = e.iter().zip(column).map(|(e, x)| e * f64::from(*x));
                sum += dot.sum::<f64>().powi(2);
            }
        }
        sum
    }
}

/// Signal to noise of the outputs of plain codes and of codes for the inputs, in dB.
fn decibels(inputs: &Inputs, outputs: usize, bits: f64, damping: f64) -> [f64; 2] {
    let n = inputs.inputs;
    let w = gaussian(77, n * outputs);
    let params = TrellisParams::new(bits, 8, Some(0));
    let shape = [outputs, n];
    let control = Control::new();
    let plain = CompressedTensor::compress(&w, &shape, &Codec::Trellis(params), &control).unwrap();
    let moment = SecondMoment {
        matrix: &inputs.second_moment(),
        damping,
        input_axis: 1,
    };
    let fed = CompressedTensor::compress_for(&w, &shape, &params, moment, &control).unwrap();
    let signal: Vec<f64> = w.iter().map(|w| f64::from(*w)).collect();
    [plain, fed].map(|tensor| {
        let mut decoded = vec![0f32; w.len()];
        tensor.decompress(&mut decoded, &control).unwrap();
        let e: Vec<f64> = w
            .iter()
            .zip(&decoded)
            .map(|(w, q)| f64::from(*w) - f64::from(*q))
            .collect();
        10.0 * (inputs.squared(&signal) / inputs.squared(&e)).log10()
    })
}

/// Bits, a second moment and its damping, at which codes were worse than plain ones before scales and rates
/// were chosen for targets and not for weights.
#[test]
fn a_few_directions_that_hold_most_of_the_inputs_do_no_harm() {
    for (bits, above, few) in [(2.0, 1e3, 4), (3.0, 1e5, 1), (4.0, 1e5, 80), (6.0, 1e5, 4)] {
        let inputs = Inputs::spike(160, above, few, 5);
        let [plain, fed] = decibels(&inputs, 128, bits, 0.01);
        // More than a bit's worth.
        assert!(
            fed > plain + 6.0,
            "{bits} bits, {above} in {few}: {fed} dB, plain {plain}"
        );
    }
}

/// More bits are of use however large the targets become.
#[test]
fn every_bit_takes_away_noise() {
    let inputs = Inputs::spike(160, 1e5, 4, 9);
    let [_, low] = decibels(&inputs, 128, 3.0, 0.01);
    let [_, high] = decibels(&inputs, 128, 6.0, 0.01);
    assert!(high > low + 15.0, "{low} dB at 3 bits, {high} at 6");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn feedback_is_never_worse_than_plain_codes(
        rank in 1usize..200,
        power in 0f32..4.0,
        spike in prop_oneof![Just(0f32), 1f32..1e6],
        few in 1usize..80,
        bits in 1.0f64..6.0,
        damping in prop_oneof![Just(0.01), 1e-4f64..1.0],
        seed: u32,
    ) {
        let mut inputs = Inputs::falling(160, rank, power, seed.into());
        if spike > 0.0 {
            inputs.columns.extend(Inputs::spike(160, spike, few, seed.into()).columns);
        }
        let [plain, fed] = decibels(&inputs, 128, bits, damping);
        prop_assert!(fed >= plain - 1e-6, "{} dB, plain {}", fed, plain);
    }
}
