//! Finds the constants in `codec/trellis/code_set_1.txt`: for a window and each rate, the state map
//! and the shape of the levels that leave the least error on a Gaussian source.
//!
//! ```text
//! cargo run --release --example search_constants -- WINDOW WEIGHTS_A_STEP TRIES
//! cargo run --release --example search_constants -- polish WINDOW
//! ```
//!
//! It prints the lines of the table for all rates with as many weights to a path bit (1: whole
//! rates, 2: halves), with the distance to the rate–distortion bound D(R) = 2^(−2R) on samples that
//! took no part. Deterministic: the same arguments give the same lines.
//!
//! 1. TRIES state maps are drawn at random, the first turn near the golden section of a cell, where
//!    all good ones lie. They are scored at four rates on few samples, the best [`POOL`] of each
//!    again on more, and a third of those stay.
//! 2. For each rate the pool is scored with levels fitted to the rate, and the best [`FINALISTS`]
//!    once more on many samples.
//! 3. The levels of each finalist are fitted to its own state map: search, least squares of the shape
//!    over the weights that chose each phase (Lloyd's algorithm, with three parameters), and again.
//!
//! Fitting ends where neither levels nor paths alone can be better. The second form moves both: it
//! takes the pinned lines of a window and descends along each parameter, on four times as many
//! samples, and prints a line anew if it is better on those held apart too: 0.00 to 0.08 dB, the more
//! the higher the rate and the narrower the window, and mostly by wider levels.

use hypercomp_core::codec::encode::scoring::{census, gap_db, held_apart, noise};
use hypercomp_core::codec::numbers::gaussian::gaussian;
use hypercomp_core::codec::trellis::{
    Axis, Code, CodeSet, HALF_BITS, LevelCurve, StateMap, Trellis, Winding,
};
use rayon::prelude::*;

/// State maps of each of four rates that are scored a second time.
const POOL: usize = 192;
/// State maps whose levels are fitted.
const FINALISTS: usize = 8;
/// Rounds of search and fit.
const ROUNDS: usize = 6;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// An odd factor whose share of a cell is within these bounds.
    fn turn(&mut self, offset_bits: u32, low: f64, high: f64) -> u32 {
        let share = low + (high - low) * f64::from(self.next()) / 4_294_967_296.0;
        (share * f64::from(1 << offset_bits)) as u32 | 1
    }
}

/// Sizes that all codes of a window share: (offset bits, run bits).
fn sizes(window: u32) -> (u32, u32) {
    let codes = CodeSet::FIRST.window(window).expect("a window of the set");
    let code = codes.iter().next().expect("a window has codes");
    (code.offset_bits, code.run_bits())
}

/// A code without a state map of its own.
fn draft(window: u32, half_bits: u32) -> Code {
    let (offset_bits, run_bits) = sizes(window);
    let rate = f64::from(half_bits) / 2.0;
    Code {
        half_bits,
        window,
        offset_bits,
        map: StateMap::Winding(Winding {
            run_bits,
            axes: [Axis { turn: 1, skew: 1 }; 2],
        }),
        curve: LevelCurve::Quantile([1.35, 0.23, 0.006]),
        noise: (1.12 * 0.25f64.powf(rate)) as f32,
    }
}

/// The same code with another state map.
fn with_axes(code: Code, axes: [Axis; 2]) -> Code {
    let (winding, _) = code.quantile();
    Code {
        map: StateMap::Winding(Winding { axes, ..winding }),
        ..code
    }
}

/// A state map with as many axes as a step has weights.
fn state_map(random: &mut Random, window: u32, weights_a_step: u32) -> [Axis; 2] {
    let (offset_bits, _) = sizes(window);
    let mut axis = |low, high| Axis {
        turn: random.turn(offset_bits, low, high),
        skew: random.next() | 1,
    };
    let first = axis(0.36, 0.5);
    let none = Axis { turn: 0, skew: 0 };
    [
        first,
        if weights_a_step == 1 {
            none
        } else {
            axis(0.0, 1.0)
        },
    ]
}

/// The shape of the levels that suits the weights best that chose them.
fn fitted(code: Code, samples: &[f32]) -> Code {
    let census = census(code, samples);
    let points = census.count.len() as f64;
    let mut normal = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for (phase, (count, sum)) in census.count.iter().zip(&census.sum).enumerate() {
        let t = (2.0 * phase as f64 + 1.0) / points - 1.0;
        let v = f64::from(1f32.to_bits() - ((1.0 - t * t) as f32).to_bits()) / f64::from(1 << 23);
        let basis = [t, t * v, t * v * v];
        // A hint of the level as it is, so that phases nobody chose pull nowhere.
        let hint = 1e-3 * samples.len() as f64 / points;
        let (count, sum) = (
            count + hint,
            sum + hint * f64::from(code.level(phase as u32)),
        );
        for i in 0..3 {
            right[i] += sum * basis[i];
            for j in 0..3 {
                normal[i][j] += count * basis[i] * basis[j];
            }
        }
    }
    let noise = census.error / samples.len() as f64;
    Code {
        curve: LevelCurve::Quantile(solve(normal, right).map(|x| (x * 1e4).round() as f32 / 1e4)),
        noise: noise as f32,
        ..code
    }
}

/// The shape from which no step along one parameter leads to less error.
fn polished(mut code: Code, samples: &[f32]) -> Code {
    let mut least = noise(code, samples);
    for step in [0.02, 0.01, 0.005, 0.0025] {
        for axis in 0..3 {
            // The powers of v are about 3 and 9 where they matter.
            let step = step / [1.0f32, 3.0, 9.0][axis];
            for step in [step, -step] {
                loop {
                    let (_, mut shape) = code.quantile();
                    shape[axis] = ((shape[axis] + step) * 1e4).round() / 1e4;
                    let trial = Code {
                        curve: LevelCurve::Quantile(shape),
                        ..code
                    };
                    let rises = Trellis::new(trial).levels.is_sorted_by(|a, b| a < b);
                    let error = if rises { noise(trial, samples) } else { least };
                    if error >= least {
                        break;
                    }
                    (code, least) = (trial, error);
                }
            }
        }
    }
    code
}

/// Print the pinned lines of a window that a descent makes better.
fn polish(window: u32) {
    let many = gaussian(4, if window > 12 { 1 << 17 } else { 1 << 20 });
    let held_apart = held_apart(window);
    let codes = CodeSet::FIRST.window(window).expect("a window of the set");
    for &code in codes.iter() {
        let better = polished(code, &many);
        let error = noise(better, &held_apart);
        if error < noise(code, &held_apart) {
            print(better, error);
        }
    }
}

/// A line of the table.
fn print(code: Code, noise: f64) {
    let (winding, [a, b, c]) = code.quantile();
    let [first, second] = winding.axes;
    println!(
        "{:>3} {:>2} {} {:>3} {:>4} {:>10} {:>4} {:>10} {a:>7} {b:>7} {c:>7} {:>10} # {:.3} dB",
        code.window,
        code.half_bits,
        code.offset_bits,
        code.run_bits(),
        first.turn,
        first.skew,
        second.turn,
        second.skew,
        format!("{noise:.4e}"),
        gap_db(code.half_bits, noise)
    );
}

/// The solution of three equations, by elimination; the matrix is positive definite.
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> [f64; 3] {
    for i in 0..3 {
        for row in i + 1..3 {
            let factor = a[row][i] / a[i][i];
            let pivot = a[i];
            for (x, by) in a[row].iter_mut().zip(pivot).skip(i) {
                *x -= factor * by;
            }
            b[row] -= factor * b[i];
        }
    }
    for i in (0..3).rev() {
        for column in i + 1..3 {
            b[i] -= a[i][column] * b[column];
        }
        b[i] /= a[i][i];
    }
    b
}

/// The best `keep` of these codes on `samples`.
fn best(codes: Vec<Code>, samples: &[f32], keep: usize) -> Vec<Code> {
    let mut scored: Vec<(f64, Code)> = codes
        .into_par_iter()
        .map(|code| (noise(code, samples), code))
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    scored
        .into_iter()
        .take(keep)
        .map(|(_, code)| code)
        .collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "polish").is_some() {
        let window = arguments.next().and_then(|window| window.parse().ok());
        return polish(window.expect("the window to polish"));
    }
    let arguments: Vec<u32> = arguments
        .map(|a| a.parse().expect("three numbers"))
        .collect();
    let &[window, weights_a_step, tries] = &arguments[..] else {
        panic!("usage: search_constants WINDOW WEIGHTS_A_STEP TRIES");
    };
    let scale = if window > 12 { 1 } else { 4 };
    let few = gaussian(1, scale << 12);
    let more = gaussian(2, scale << 14);
    let many = gaussian(4, scale << 16);
    let held_apart = held_apart(window);
    let rates: Vec<u32> = HALF_BITS.filter(|h| 1 + h % 2 == weights_a_step).collect();

    let mut random = Random(u64::from(window * 10 + weights_a_step));
    let drawn: Vec<[Axis; 2]> = (0..tries)
        .map(|_| state_map(&mut random, window, weights_a_step))
        .collect();
    let level = |half_bits| with_axes(draft(window, half_bits), drawn[0]);
    let mut pool: Vec<[Axis; 2]> = Vec::new();
    for half_bits in if weights_a_step == 1 {
        [2, 4, 8]
    } else {
        [1, 3, 7]
    } {
        let level = (0..ROUNDS).fold(level(half_bits), |code, _| fitted(code, &more));
        let codes = drawn.iter().map(|&axes| with_axes(level, axes)).collect();
        let codes = best(best(codes, &few, POOL), &more, POOL / 3);
        pool.extend(codes.iter().map(|code| code.quantile().0.axes));
    }
    for half_bits in rates {
        // Levels for the rate, with any good state map.
        let level = with_axes(draft(window, half_bits), pool[0]);
        let level = (0..ROUNDS).fold(level, |code, _| fitted(code, &more));
        let codes = pool.iter().map(|&axes| with_axes(level, axes)).collect();
        let finalists = best(best(codes, &more, FINALISTS * 3), &many, FINALISTS);
        let finalists = finalists
            .into_iter()
            .map(|code| (0..ROUNDS).fold(code, |code, _| fitted(code, &many)))
            .collect();
        let code = best(finalists, &many, 1)[0];
        let noise = noise(code, &held_apart);
        print(code, noise);
    }
}
