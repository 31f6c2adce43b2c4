//! Keys for the points in which the rows of a plane meet a line, modulo a prime in vector lanes.
//!
//! Modulo the prime of [`Residue50`], rows are scaled to (1, y, z). Let (1, y, z) be the row of a line ℓ,
//! and (1, y′, z′) another row. Their difference (0, y − y′, z − z′) meets ℓ in the same point. So the
//! slope (z − z′)/(y − y′) determines the point. Rows that meet the line in the same point have equal
//! slopes. Rows with equal slopes still have to be compared as integers, because slopes are residues.
//!
//! The first number x of a row may be 0. So it is replaced by x + t·y + t²·z for some t, which is 0 for at
//! most two values of t, unless the row is 0 modulo the prime.

use crate::SimdLevel;
use crate::arrangement::arithmetic::{LANES, P, PRIME_50, canonical, fused, invert_lanes};

/// The number of lines whose slopes are computed together, with one inversion.
const LINES: usize = 16;

/// The values of t that are tried.
const FACTORS: [f64; 3] = [388_562_313_507.0, 714_025_088_467.0, 999_999_000_001.0];

/// The rows of a plane, and the slopes of some lines.
#[derive(Debug)]
pub struct Slopes {
    simd: SimdLevel,
    /// The first numbers of the rows, padded to a multiple of [`LANES`].
    x: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    count: usize,
    /// The first of the lines whose slopes are in `keys`, a multiple of [`LINES`].
    first: Option<usize>,
    /// For each line and each row y − y′, and later its inverse.
    runs: Vec<f64>,
    products: Vec<f64>,
    keys: Vec<u64>,
    /// For each line, whether another row is equal to its row modulo the prime.
    agrees: [bool; LINES],
}

impl Slopes {
    /// No rows yet.
    pub fn new(simd: SimdLevel) -> Self {
        Self {
            simd,
            x: Vec::new(),
            y: Vec::new(),
            z: Vec::new(),
            count: 0,
            first: None,
            runs: Vec::new(),
            products: Vec::new(),
            keys: Vec::new(),
            agrees: [false; LINES],
        }
    }

    /// Begin with the rows of a plane, of three numbers each. False if one of them cannot be scaled.
    pub fn load(&mut self, rows: &[i128]) -> bool {
        self.first = None;
        self.count = rows.len() / 3;
        let padded = self.count.next_multiple_of(LANES);
        for (c, column) in [&mut self.x, &mut self.y, &mut self.z]
            .into_iter()
            .enumerate()
        {
            column.clear();
            column.extend(rows.chunks_exact(3).map(|row| residue(row[c])));
            column.resize(padded, 1.0);
        }
        self.scale()
    }

    /// As [`load`](Self::load), for `count` rows that are given as residues, column by column.
    pub fn load_residues(&mut self, columns: [&[f64]; 3], count: usize) -> bool {
        self.first = None;
        self.count = count;
        let padded = count.next_multiple_of(LANES);
        for (to, from) in [&mut self.x, &mut self.y, &mut self.z]
            .into_iter()
            .zip(columns)
        {
            to.clear();
            to.extend_from_slice(&from[..count]);
            to.resize(padded, 1.0);
        }
        self.scale()
    }

    fn scale(&mut self) -> bool {
        match self.simd {
            SimdLevel::Portable => scale(self),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            SimdLevel::Avx2(_) => unsafe { scale_avx2(self) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe { scale_avx512(self) },
        }
    }

    /// For each row, a key for the point in which it meets the line of row `at`. `None` if another row is
    /// equal to that row modulo the prime. Several lines are computed together, so calls should be in the
    /// order of the rows.
    pub fn on_line(&mut self, at: usize) -> Option<&[u64]> {
        let first = at / LINES * LINES;
        if self.first != Some(first) {
            self.first = Some(first);
            self.fill(first);
        }
        let padded = self.y.len();
        (!self.agrees[at - first]).then_some(&self.keys[(at - first) * padded..][..self.count])
    }

    fn fill(&mut self, first: usize) {
        match self.simd {
            SimdLevel::Portable => fill(self, first),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            SimdLevel::Avx2(_) => unsafe { fill_avx2(self, first) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe { fill_avx512(self, first) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn scale_avx512(slopes: &mut Slopes) -> bool {
    scale(slopes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn scale_avx2(slopes: &mut Slopes) -> bool {
    scale(slopes)
}

/// Scale rows to (1, y, z). False if for every t some row has the first number 0.
#[inline(always)]
fn scale(slopes: &mut Slopes) -> bool {
    let Slopes { x, y, z, runs, .. } = slopes;
    for t in FACTORS {
        runs.resize(x.len(), 1.0);
        for (run, ((x, y), z)) in runs.iter_mut().zip(x.iter().zip(&*y).zip(&*z)) {
            // x + t·(y + t·z)
            *run = fused(*x, t, fused(*y, t, *z));
        }
        runs[slopes.count..].fill(1.0);
        if runs.iter().all(|x| *x != 0.0) {
            invert_lanes(runs, &mut slopes.products);
            for column in [y, z] {
                for (x, by) in column.iter_mut().zip(&*runs) {
                    *x = canonical(fused(0.0, *x, *by));
                }
            }
            return true;
        }
    }
    false
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fill_avx512(slopes: &mut Slopes, first: usize) {
    fill(slopes, first);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fill_avx2(slopes: &mut Slopes, first: usize) {
    fill(slopes, first);
}

/// Compute the slopes for the lines from `first` on.
#[inline(always)]
fn fill(slopes: &mut Slopes, first: usize) {
    let padded = slopes.y.len();
    let lines = LINES.min(slopes.count - first);
    slopes.runs.resize(lines * padded, 1.0);
    slopes.keys.resize(lines * padded, 0);
    for (line, runs) in slopes.runs.chunks_exact_mut(padded).enumerate() {
        let at = first + line;
        let (y, z) = (slopes.y[at], slopes.z[at]);
        for (run, theirs) in runs.iter_mut().zip(&slopes.y) {
            *run = if *theirs == y {
                1.0
            } else {
                reduced(theirs - y)
            };
        }
        let rows = slopes.y.iter().zip(&slopes.z).take(slopes.count);
        let same: u64 = rows
            .map(|(theirs, other)| u64::from((*theirs == y) & (*other == z)))
            .sum();
        slopes.agrees[line] = same > 1;
    }
    invert_lanes(&mut slopes.runs, &mut slopes.products);
    let lines = slopes
        .runs
        .chunks_exact(padded)
        .zip(slopes.keys.chunks_exact_mut(padded));
    for (line, (inverses, keys)) in lines.enumerate() {
        let at = first + line;
        let (y, z) = (slopes.y[at], slopes.z[at]);
        let rows = inverses.iter().zip(&slopes.y).zip(&slopes.z);
        for (key, ((inverse, theirs), other)) in keys.iter_mut().zip(rows) {
            let slope = fused(0.0, *inverse, reduced(other - z));
            // Use one representative, so that equal residues are equal doubles.
            let slope = if slope < 0.0 { slope + P } else { slope + 0.0 };
            *key = if *theirs == y { f64::INFINITY } else { slope }.to_bits();
        }
    }
}

/// The symmetric residue of a difference of two residues.
#[inline(always)]
fn reduced(difference: f64) -> f64 {
    let quotient = (difference * (1.0 / P)).round_ties_even();
    quotient.mul_add(-P, difference)
}

/// The symmetric residue of an integer. Modulo the prime, 2⁵⁰ = 27.
fn residue(value: i128) -> f64 {
    const LOW: u128 = (1 << 50) - 1;
    let size = value.unsigned_abs();
    let part = |k: u32| (size >> (50 * k) & LOW) as u64;
    let folded = (part(0) + 27 * part(1) + 27 * 27 * part(2)) % PRIME_50;
    let residue = folded as f64 - if folded > PRIME_50 / 2 { P } else { 0.0 };
    if value < 0 { -residue } else { residue }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULUS: i128 = PRIME_50 as i128;

    /// Whether three rows have a common point modulo the prime.
    fn concurrent(rows: [&[i128]; 3]) -> bool {
        let [a, b, c] = rows.map(|row| {
            <[i128; 3]>::try_from(row)
                .unwrap()
                .map(|x| x.rem_euclid(MODULUS))
        });
        let minor = |i: usize, j: usize| (a[i] * b[j] - a[j] * b[i]).rem_euclid(MODULUS);
        let terms = [minor(1, 2) * c[0], minor(2, 0) * c[1], minor(0, 1) * c[2]];
        terms.iter().map(|x| x.rem_euclid(MODULUS)).sum::<i128>() % MODULUS == 0
    }

    fn agree(a: &[i128], b: &[i128]) -> bool {
        let [a, b] = [a, b].map(|row| {
            <[i128; 3]>::try_from(row)
                .unwrap()
                .map(|x| x.rem_euclid(MODULUS))
        });
        [(1, 2), (2, 0), (0, 1)]
            .iter()
            .all(|&(i, j)| (a[i] * b[j] - a[j] * b[i]) % MODULUS == 0)
    }

    proptest! {
        /// On every level, rows have equal slopes on a line if and only if they share a point with it.
        #[test]
        fn slopes_tell_points_apart(
            small in proptest::collection::vec(proptest::array::uniform3(-2i128..3), 3..40),
            large in proptest::collection::vec(proptest::array::uniform3(-1i128 << 125..1 << 125), 0..9),
            multiples in proptest::collection::vec(proptest::array::uniform3(-3i128..4), 0..3),
        ) {
            let multiples = multiples.into_iter().map(|row| row.map(|x| x * MODULUS + x % 2));
            let vanishes = |row: &[i128; 3]| row.iter().all(|x| x % MODULUS == 0);
            let rows: Vec<[i128; 3]> =
                small.into_iter().chain(large).chain(multiples).filter(|row| !vanishes(row)).collect();
            let mut levels: Vec<Slopes> =
                SimdLevel::available().into_iter().map(Slopes::new).collect();
            for slopes in &mut levels {
                prop_assert!(slopes.load(rows.as_flattened()));
            }
            for (at, line) in rows.iter().enumerate() {
                let twin = rows.iter().enumerate().any(|(k, row)| k != at && agree(line, row));
                let keys = levels[0].on_line(at).map(<[u64]>::to_vec);
                prop_assert_eq!(keys.is_none(), twin);
                for slopes in &mut levels[1..] {
                    prop_assert_eq!(slopes.on_line(at), keys.as_deref());
                }
                let Some(keys) = keys else { continue };
                for (i, one) in rows.iter().enumerate().filter(|(i, _)| *i != at) {
                    for (j, other) in rows.iter().enumerate().filter(|(j, _)| *j != at) {
                        prop_assert_eq!(keys[i] == keys[j], concurrent([line, one, other]));
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_of_multiples_of_the_prime_has_no_slope() {
        for simd in SimdLevel::available() {
            assert!(!Slopes::new(simd).load(&[1, 2, 3, MODULUS, 0, -5 * MODULUS]));
        }
    }

    #[test]
    fn residues_are_those_of_integers() {
        for value in [
            0,
            1,
            -1,
            MODULUS,
            -MODULUS / 2,
            i128::MAX,
            i128::MIN + 1,
            1 << 100,
            -(1 << 77),
        ] {
            let found = residue(value);
            assert!(found.abs() <= P / 2.0);
            assert_eq!(
                (found as i128).rem_euclid(MODULUS),
                value.rem_euclid(MODULUS)
            );
        }
    }
}
