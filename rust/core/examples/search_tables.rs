//! Finds the constants in `codec/trellis/code_set_2.txt`: for a window and a rate, the tables of the
//! state map and the levels that leave the least error on a Gaussian source.
//!
//! ```text
//! cargo run --release --example search_tables -- WINDOW HALF_BITS TRIES [SEED]
//! cargo run --release --example search_tables -- measure
//! ```
//!
//! It prints the line of the code, with the distance to the rate–distortion bound D(R) = 2^(−2R) on
//! samples that took no part. Deterministic: the same arguments give the same line. The second form
//! prints all pinned lines with their error measured anew.
//!
//! 1. The pinned levels are fitted to the pinned state map.
//! 2. TRIES state maps are drawn at random and scored with these levels, and the best [`POOL`] again on
//!    more samples.
//! 3. The levels of the best [`FINALISTS`] are fitted by least squares: in turns, samples are coded, and
//!    each step moves to the mean of the samples that chose it, rounded to units of several sizes.
//! 4. The levels of the best of these descend along each integer of the tables in turn.

use hypercomp_core::codec::encode::scoring::{census, gap_db, held_apart, noise};
use hypercomp_core::codec::numbers::gaussian::gaussian;
use hypercomp_core::codec::trellis::byte_levels::{FAR, line_count, tail_step};
use hypercomp_core::codec::trellis::{
    ByteLevels, Code, CodeSet, LevelCurve, PinnedCode, StateMap, TableAxis, Trellis,
};
use rayon::prelude::*;

/// State maps that are scored a second time.
const POOL: usize = 48;
/// State maps whose levels are fitted.
const FINALISTS: usize = 4;
/// Units in a standard deviation that are tried, as factors of the pinned number.
const UNITS: [f32; 7] = [0.9, 0.95, 0.98, 1.0, 1.03, 1.06, 1.1];
/// Rounds of the fit by least squares.
const ROUNDS: usize = 6;
/// Sweeps of the descent along all integers, at most.
const SWEEPS: usize = 8;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn axis(&mut self, window: u32) -> TableAxis {
        let mut axis = TableAxis {
            turn: (self.next() % 128) | 1,
            skews: [0; 3],
        };
        let tables = (window as usize - 4).div_ceil(4);
        for skew in &mut axis.skews[..tables] {
            *skew = self.next() | 1;
        }
        axis
    }
}

/// A code whose levels do not rise, or do not fit, is as bad as none.
fn score(code: Code, samples: &[f32]) -> f64 {
    let fits = match &code.curve {
        LevelCurve::Bytes(_) => (0..1 << code.phase_bits())
            .all(|phase| (-127..128).contains(&code.integer_level(phase))),
        _ => true,
    };
    let sound = fits && Trellis::new(code).levels.is_sorted();
    if sound {
        noise(code, samples)
    } else {
        f64::INFINITY
    }
}

/// The best `keep` of these codes.
fn best(codes: Vec<Code>, samples: &[f32], keep: usize) -> Vec<Code> {
    let mut scored: Vec<(f64, Code)> = codes
        .into_par_iter()
        .map(|code| (score(code, samples), code))
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    scored
        .into_iter()
        .take(keep)
        .map(|(_, code)| code)
        .collect()
}

/// The levels of these units that are nearest to the means of the samples that choose them.
fn refitted(code: Code, units: f32, samples: &[f32]) -> Code {
    let LevelCurve::Bytes(mut levels) = code.curve else {
        return code;
    };
    let cell_bits = code.cell_bits();
    let counted = census(code, samples);
    // Number and sum of the samples, mirrored to c > 0, by line, and by entry of the tail.
    let (mut by_line, mut by_tail) = ([[0.0; 2]; 64], [[0.0; 2]; 16]);
    for phase in 0..1u32 << code.phase_bits() {
        let offset = phase & code.offset_mask();
        let cell = code.stored_cell(phase >> code.offset_bits, offset);
        let c = 2 * ((offset + 64) % 128) as i32 - 127;
        let a = c.unsigned_abs();
        let place = match cell == 0 && a < FAR {
            true => &mut by_tail[tail_step(a)],
            false => &mut by_line[ByteLevels::line(cell_bits, cell, a)],
        };
        place[0] += counted.count[phase as usize];
        place[1] += f64::from(c.signum()) * counted.sum[phase as usize];
    }
    let units_of = |[count, sum]: [f64; 2]| (sum / count * f64::from(units)).round();
    let scale = units / levels.units;
    levels.units = units;
    // Levels rise with a in a cell, and fall with the entry of the tail.
    for cell in 0..1u32 << cell_bits {
        let mut last = f64::NEG_INFINITY;
        for a in (1..128).step_by(8) {
            if cell == 0 && a < FAR {
                continue;
            }
            let line = ByteLevels::line(cell_bits, cell, a);
            let level = match by_line[line][0] {
                0.0 => f64::from((f32::from(levels.lines[line]) * scale).round()),
                _ => units_of(by_line[line]),
            };
            last = last.max(level).clamp(-127.0, 127.0);
            levels.lines[line] = last as i8;
        }
    }
    let base = units_of(by_tail[0]);
    let mut last = base.min(f64::from(levels.lines[ByteLevels::line(cell_bits, 0, FAR)]));
    for a in (1..FAR).step_by(8) {
        levels.lines[ByteLevels::line(cell_bits, 0, a)] = last as i8;
    }
    let base = last;
    for (entry, counted) in levels.tail.iter_mut().zip(by_tail) {
        // A level that few samples choose is uncertain; the one before it is not far away.
        if counted[0] > 8.0 {
            last = last.min(units_of(counted)).max(-127.0);
        }
        *entry = (last - base).max(-128.0) as i8;
    }
    Code {
        curve: LevelCurve::Bytes(levels),
        ..code
    }
}

/// The best fit of the levels by least squares.
fn fitted(code: Code, samples: &[f32]) -> Code {
    let LevelCurve::Bytes(levels) = code.curve else {
        return code;
    };
    let fit = |factor: f32| {
        let units = (levels.units * factor * 1000.0).round() / 1000.0;
        let mut code = code;
        (0..ROUNDS).for_each(|_| code = refitted(code, units, samples));
        code
    };
    let mut all: Vec<Code> = UNITS.into_par_iter().map(fit).collect();
    all.push(code);
    best(all, samples, 1)[0]
}

type Change = Box<dyn Fn(&mut ByteLevels)>;

/// Every change of the levels by a step of one number.
fn changes(cell_bits: u32) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for factor in [1.005, 1.0 / 1.005] {
        all.push(Box::new(move |l| {
            l.units = (l.units * factor * 1000.0).round() / 1000.0
        }));
    }
    for step in [-1, 1] {
        for i in 0..line_count(cell_bits) {
            all.push(Box::new(move |l| {
                l.lines[i] = l.lines[i].saturating_add(step)
            }));
        }
        // Entry 0 of the tail is 0. What lies farther moves with the entry, or stays.
        for i in 1..16 {
            all.push(Box::new(move |l| {
                l.tail[i] = l.tail[i].saturating_add(step)
            }));
            all.push(Box::new(move |l| {
                l.tail[i..]
                    .iter_mut()
                    .for_each(|far| *far = far.saturating_add(step))
            }));
        }
    }
    all
}

/// The code after sweeps over all changes, each of which stays if it lessens the error.
fn descended(mut code: Code, samples: &[f32]) -> Code {
    let mut least = score(code, samples);
    for _ in 0..SWEEPS {
        let before = least;
        for change in changes(code.cell_bits()) {
            let LevelCurve::Bytes(mut levels) = code.curve else {
                return code;
            };
            change(&mut levels);
            let changed = Code {
                curve: LevelCurve::Bytes(levels),
                ..code
            };
            let scored = score(changed, samples);
            if scored < least * (1.0 - 2e-5) {
                (least, code) = (scored, changed);
            }
        }
        if least > before * (1.0 - 1e-4) {
            break;
        }
    }
    code
}

/// A line of the table.
fn print(code: Code, noise: f64) {
    let StateMap::Tables(axes) = code.map else {
        unreachable!("a code of set 2");
    };
    print!("{:>2} {:>2}", code.window, code.half_bits);
    for axis in axes {
        let [a, b, c] = axis.skews;
        print!("  {:>3} {a:>10} {b:>10} {c:>10}", axis.turn);
    }
    match code.curve {
        LevelCurve::Bytes(l) => {
            print!("  b {:>6} ", l.units);
            let lines = &l.lines[..line_count(code.cell_bits())];
            for table in [lines, &l.tail] {
                table.iter().for_each(|number| print!(" {number}"));
                print!(" ");
            }
        }
        LevelCurve::Words([a, b, c]) => print!("  w {a} {b} {c}"),
        LevelCurve::Quantile(_) => unreachable!("a code of set 2"),
    }
    println!("  {noise:.4e} # {:.3} dB", gap_db(code.half_bits, noise));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "measure") {
        for code in PinnedCode::all().map(|code| *code.code()) {
            if code.is_tiled() {
                print(code, noise(code, &held_apart(code.window)));
            }
        }
        return;
    }
    let numbers: Vec<u32> = arguments
        .iter()
        .map(|a| a.parse().expect("numbers"))
        .collect();
    let (&[window, half_bits, tries], seed) = match &numbers[..] {
        [head @ .., seed] if head.len() == 3 => (head.first_chunk().unwrap(), *seed),
        [_, _, _] => (numbers.first_chunk().unwrap(), 1),
        _ => panic!("usage: search_tables WINDOW HALF_BITS TRIES [SEED]"),
    };
    let scale = if window > 12 { 1 } else { 4 };
    let few = gaussian(1, scale << 11);
    let more = gaussian(2, scale << 14);
    let many = gaussian(4, scale << 16);
    let pinned = CodeSet::SECOND
        .code(half_bits, window)
        .expect("a pinned code");
    let pinned = fitted(*pinned.code(), &many);
    let mut random = Random(u64::from(seed * 10_000 + window * 100 + half_bits));
    let none = TableAxis::default();
    let mut drawn = vec![pinned];
    drawn.extend((0..tries).map(|_| {
        let first = random.axis(window);
        let second = if half_bits % 2 == 1 {
            random.axis(window)
        } else {
            none
        };
        Code {
            map: StateMap::Tables([first, second]),
            ..pinned
        }
    }));
    let pool = best(best(drawn, &few, POOL), &more, FINALISTS);
    let finalists = pool.into_iter().map(|code| fitted(code, &many)).collect();
    let mut code = best(finalists, &many, 1)[0];
    if window <= 12 {
        code = descended(code, &many[..scale << if window > 10 { 14 } else { 15 }]);
    }
    print(code, noise(code, &held_apart(window)));
}
