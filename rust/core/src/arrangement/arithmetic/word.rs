//! Machine integers in which the rows of a flat are kept.
//!
//! Two rows that cut a flat in the same place are proportional. To find such rows, each row gets a *key*,
//! and proportional rows have equal keys. Rows with equal keys are then compared exactly. If rows that
//! are not proportional have equal keys by chance, this costs one comparison and changes no result.

use std::fmt::Debug;

use super::field::{Field, invert_all};
use super::limbs::product;
use super::mersenne::Mersenne61;

/// A machine integer whose values stay within ±[`Word::LIMIT`].
pub trait Word: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// Keys and comparisons are exact for values below this in magnitude.
    const LIMIT: f64;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The value as a double, rounded.
    fn to_f64(self) -> f64;
    /// The integer that a double holds, or one near it if the double is not an integer.
    fn from_f64(value: f64) -> Self;
    /// The value in 128 bits.
    fn to_i128(self) -> i128;
    /// self + a·b, wrapping.
    fn plus_product(self, a: Self, b: Self) -> Self;
    /// The key of each row of `width` numbers. No row is all 0. `None` if a row has no key.
    fn keys(rows: &[Self], width: usize, out: &mut Vec<Option<u64>>);
    /// Whether a·d = b·c. The test is exact.
    fn same_ratio(a: Self, b: Self, c: Self, d: Self) -> bool;

    /// Whether it is 0.
    #[inline]
    fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// Whether two rows are proportional. Neither is all 0.
pub fn proportional<W: Word>(a: &[W], b: &[W]) -> bool {
    let Some(lead) = a.iter().position(|x| !x.is_zero()) else {
        return false;
    };
    b[..lead].iter().all(|x| x.is_zero())
        && !b[lead].is_zero()
        && (lead + 1..a.len()).all(|k| W::same_ratio(a[k], a[lead], b[k], b[lead]))
}

/// A hash step.
#[inline]
pub fn mix(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value) * 0x9E37_79B9_7F4A_7C15;
    (product >> 64) as u64 ^ product as u64
}

impl Word for i64 {
    /// Doubles hold integers of this size exactly. So the quotient of two of them is the rounded ratio,
    /// and equal ratios have equal quotients.
    const LIMIT: f64 = (1u64 << 52) as f64;
    const ZERO: Self = 0;
    const ONE: Self = 1;

    #[inline]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    #[inline]
    fn to_i128(self) -> i128 {
        self.into()
    }
    #[inline]
    fn plus_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
    fn keys(rows: &[Self], width: usize, out: &mut Vec<Option<u64>>) {
        out.clear();
        out.extend(rows.chunks_exact(width).map(|row| {
            let lead = row.iter().position(|x| *x != 0)?;
            let divisor = row[lead] as f64;
            let rest = row[lead + 1..].iter();
            // Adding 0 turns −0 into 0.
            Some(rest.fold(lead as u64, |hash, x| {
                mix(hash, (*x as f64 / divisor + 0.0).to_bits())
            }))
        }));
    }
    #[inline]
    fn same_ratio(a: Self, b: Self, c: Self, d: Self) -> bool {
        i128::from(a) * i128::from(d) == i128::from(b) * i128::from(c)
    }
}

impl Word for i128 {
    /// With numbers of this size, 2 × 2 minors fit four words and 3 × 3 minors fit six, including the sign.
    const LIMIT: f64 = (1u128 << 126) as f64;
    const ZERO: Self = 0;
    const ONE: Self = 1;

    /// The error is at most one unit in the last place. The plain conversion would call the compiler's
    /// support library.
    #[inline]
    fn to_f64(self) -> f64 {
        // There is an instruction that converts a signed word, but none for an unsigned word.
        const HALF: f64 = (1u64 << 32) as f64;
        let size = self.unsigned_abs();
        let part = |shift: u32, mask: u64| ((size >> shift) as u64 & mask) as i64 as f64;
        let low = part(0, u64::from(u32::MAX)) + part(32, u64::from(u32::MAX)) * HALF;
        let size = part(64, i64::MAX as u64) * (HALF * HALF) + low;
        if self < 0 { -size } else { size }
    }
    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    #[inline]
    fn to_i128(self) -> i128 {
        self
    }
    #[inline]
    fn plus_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
    /// A hash of the row modulo 2⁶¹ − 1, scaled so that its first number is 1. A row that is all 0 modulo
    /// this prime has no key.
    fn keys(rows: &[Self], width: usize, out: &mut Vec<Option<u64>>) {
        let residues: Vec<Mersenne61> = rows.iter().map(|x| Mersenne61::of(*x)).collect();
        let lead = |row: &[Mersenne61]| row.iter().position(|x| !x.is_zero());
        let mut leads: Vec<Mersenne61> = residues
            .chunks_exact(width)
            .map(|row| lead(row).map_or(Mersenne61::one(), |at| row[at]))
            .collect();
        let mut products = Vec::with_capacity(leads.len());
        invert_all(&mut leads, &mut products);
        out.clear();
        out.extend(
            residues
                .chunks_exact(width)
                .zip(&leads)
                .map(|(row, inverse)| {
                    let lead = lead(row)?;
                    let rest = row[lead + 1..].iter();
                    Some(rest.fold(lead as u64, |hash, x| mix(hash, x.times(inverse).value())))
                }),
        );
    }
    #[inline]
    fn same_ratio(a: Self, b: Self, c: Self, d: Self) -> bool {
        product(a, d) == product(b, c)
    }
}
