//! Finds the constants in `codec/constants.rs`: for a window and a rate, a winding of the register
//! and the shape of the levels that leave the least error on a Gaussian source.
//!
//! ```text
//! cargo run --release --example search_constants -- WINDOW BITS OFFSET_BITS TRIES
//! ```
//!
//! It prints the line for the table, with its distance to the rate–distortion bound
//! D(R) = 2^(−2R) on samples that took no part in the search. Deterministic: the same arguments
//! give the same line. Windings are drawn at random and scored on few samples, the best
//! [`FINALISTS`] again on more; then the shape is polished by coordinate descent.

use hypercomp_core::Control;
use hypercomp_core::codec::trellis::{Code, Trellis};
use hypercomp_core::codec::viterbi::{Lanes, Search, SearchTables};
use rayon::prelude::*;

/// Windings that are scored a second time.
const FINALISTS: usize = 12;
/// Weights a row: the start, where the register is not free, counts as it does in real rows.
const ROW: usize = 4096;
/// The sum of the shape's coefficients; only their ratios matter, as every row has its own scale.
const AMPLITUDE: f64 = 30_400.0;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn gaussian(&mut self) -> f32 {
        let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (radius, angle) = (unit(self.next()), unit(self.next()));
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    }
}

fn samples(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..count).map(|_| random.gaussian()).collect()
}

/// Distance to the bound in dB, each row at its best scale.
fn gap(code: Code, samples: &[f32]) -> f64 {
    let trellis = Trellis::new(code);
    let tables = SearchTables::new(&trellis, Lanes::detect());
    let control = Control::new();
    let error: f64 = samples
        .par_chunks(ROW)
        .map(|row| {
            let mut search = Search::new(&tables);
            let targets: Vec<i16> = row
                .iter()
                .map(|x| tables.target(x * code.deviation))
                .collect();
            search.run(&targets, &control).expect("nobody cancels");
            let (mut xx, mut xq, mut qq) = (0.0, 0.0, 0.0);
            for (x, level) in row.iter().zip(&search.levels) {
                let (x, q) = (f64::from(*x), f64::from(*level));
                (xx, xq, qq) = (xx + x * x, xq + x * q, qq + q * q);
            }
            xx - xq * xq / qq
        })
        .collect::<Vec<_>>()
        .iter()
        .sum();
    10.0 * (error / samples.len() as f64).log10() + 20.0 * f64::from(code.bits) * 2f64.log10()
}

fn shaped(code: Code, fifth: f64, thirty_third: f64) -> Code {
    let first = AMPLITUDE / (1.0 + fifth + thirty_third);
    let shape = [first, first * fifth, first * thirty_third].map(|c| c.round() as i32);
    Code { shape, ..code }
}

/// Coordinate descent on the two ratios of the shape and the deviation.
fn polish(start: Code, samples: &[f32]) -> Code {
    let mut at = [0.54, 1.09, f64::from(start.deviation)];
    let build = |at: [f64; 3]| Code {
        deviation: at[2] as f32,
        ..shaped(start, at[0], at[1])
    };
    let mut best = gap(build(at), samples);
    let mut steps = [0.08, 0.16, 400.0];
    for _ in 0..4 {
        for axis in 0..3 {
            for direction in [1.0, -1.0] {
                loop {
                    let mut trial = at;
                    trial[axis] += direction * steps[axis];
                    if trial[axis] < 0.0 {
                        break;
                    }
                    let score = gap(build(trial), samples);
                    if score >= best {
                        break;
                    }
                    (at, best) = (trial, score);
                }
            }
        }
        steps = steps.map(|s| s / 2.0);
    }
    build(at)
}

fn main() {
    let arguments: Vec<u32> = std::env::args()
        .skip(1)
        .map(|a| {
            a.parse()
                .expect("WINDOW BITS OFFSET_BITS TRIES, all numbers")
        })
        .collect();
    let &[window, bits, offset_bits, tries] = &arguments[..] else {
        panic!("usage: search_constants WINDOW BITS OFFSET_BITS TRIES");
    };
    let draft = Code {
        bits,
        window,
        offset_bits,
        turn: 1,
        skew: 1,
        shape: [0; 3],
        deviation: 8000.0,
    };
    let draft = shaped(draft, 0.54, 1.09);
    let scale = if window > 12 { 1 } else { 4 };
    let (few, more, held_apart) = (
        samples(1, scale << 13),
        samples(2, scale << 15),
        samples(3, scale << 16),
    );
    let mut random = Random(u64::from(window * 100 + bits));
    let mut scored: Vec<(f64, Code)> = (0..tries)
        .map(|_| {
            let turn = (random.next() as u32 & ((1 << offset_bits) - 1)) | 1;
            let skew = (random.next() as u32 & 0xFFFF) | 1;
            let code = Code {
                turn,
                skew,
                ..draft
            };
            (gap(code, &few), code)
        })
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    scored.truncate(FINALISTS);
    let code = scored
        .iter()
        .map(|(_, code)| (gap(*code, &more), *code))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .expect("TRIES is positive")
        .1;
    let polished = polish(code, &more);
    let Code {
        turn,
        skew,
        shape,
        deviation,
        ..
    } = polished;
    println!(
        "    code({window}, {bits}, {offset_bits}, {turn}, {skew}, {shape:?}, {deviation:.1}), // {:.3} dB",
        gap(polished, &held_apart)
    );
}
