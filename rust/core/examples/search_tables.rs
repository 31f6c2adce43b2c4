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
//! 1. TRIES state maps are drawn at random and scored with the pinned levels, and the best [`POOL`]
//!    again on more samples.
//! 2. The levels of the best [`FINALISTS`] are fitted by descent: along the unit, then along each
//!    integer of the tables in turn.
//!
//! The pinned levels, from which this starts, were fitted by least squares: in turns, samples were coded
//! with the levels, and each entry of the tables moved to where the sum of squared errors of the samples
//! that chose it was least. All windows of a rate began with the levels of an older form of the code.

use hypercomp_core::codec::encode::scoring::{gap_db, held_apart, noise};
use hypercomp_core::codec::numbers::gaussian::gaussian;
use hypercomp_core::codec::trellis::{
    ByteLevels, Code, CodeSet, LevelCurve, PinnedCode, StateMap, TableAxis, Trellis,
};
use rayon::prelude::*;

/// State maps that are scored a second time.
const POOL: usize = 48;
/// State maps whose levels are fitted.
const FINALISTS: usize = 4;

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

/// Every code that differs from this one by a step of one number of its levels.
fn neighbours(code: Code) -> Vec<Code> {
    let LevelCurve::Bytes(levels) = code.curve else {
        return Vec::new();
    };
    let mut all: Vec<ByteLevels> = Vec::new();
    let mut add = |change: &dyn Fn(&mut ByteLevels)| {
        let mut changed = levels;
        change(&mut changed);
        all.push(changed);
    };
    for factor in [1.02, 1.005, 1.0 / 1.005, 1.0 / 1.02] {
        add(&|l| l.units = (l.units * factor * 1000.0).round() / 1000.0);
    }
    for step in [-1, 1] {
        for i in 0..8 {
            add(&|l| l.starts[i] += step);
        }
        for i in 0..16 {
            add(&|l| l.lines[i] += step);
            // Entry 0 of the tail is 0. What lies farther moves with the entry, or stays.
            if i > 0 {
                add(&|l| l.tail[i] += step);
                add(&|l| l.tail[i..].iter_mut().for_each(|far| *far += step));
            }
        }
    }
    all.into_iter()
        .map(|levels| Code {
            curve: LevelCurve::Bytes(levels),
            ..code
        })
        .collect()
}

/// The code from which no step of one number leads to less error.
fn descended(mut code: Code, samples: &[f32]) -> Code {
    let mut least = score(code, samples);
    loop {
        let scored: Vec<(f64, Code)> = neighbours(code)
            .into_par_iter()
            .map(|code| (score(code, samples), code))
            .collect();
        let Some(better) = scored.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)) else {
            return code;
        };
        if better.0 >= least * (1.0 - 5e-5) {
            return code;
        }
        (least, code) = better;
    }
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
            l.classes.iter().for_each(|class| print!(" {class}"));
            for table in [&l.starts[..], &l.lines, &l.tail] {
                print!(" ");
                table.iter().for_each(|number| print!(" {number}"));
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
    let many = gaussian(4, scale << 14);
    let pinned = CodeSet::SECOND
        .code(half_bits, window)
        .expect("a pinned code");
    let pinned = *pinned.code();
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
    let descend = |code| {
        if window > 12 {
            code
        } else {
            descended(code, &many)
        }
    };
    let finalists = pool.into_iter().map(descend).collect();
    let code = best(finalists, &many, 1)[0];
    print(code, noise(code, &held_apart(window)));
}
