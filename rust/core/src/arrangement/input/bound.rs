//! A bound on the minors of \[A|b\], and the choice of a field that it allows.
//!
//! **The numbers that are tested for zero.** On a flat of dimension r ≥ 1, d − r hyperplanes have been
//! eliminated. A coefficient of a row is a minor of d − r + 1 rows, divided by a minor of d − r rows. Two
//! rows are proportional if and only if all minors of the d − r + 2 hyperplanes involved vanish. So no minor
//! has more than d + 1 rows. The entries of a dictionary are minors of d rows, and its constants minors of
//! d + 1 rows, divided by a minor of d rows. The numerators and the determinant of a vertex are minors of d
//! rows.
//!
//! **The bound.** By Hadamard's inequality, the magnitude of a minor is at most the product of the norms
//! of its rows, which are parts of rows of \[A|b\]. The norm of an integer row ≠ 0 is at least 1. So the
//! product B of the d + 1 largest norms bounds every minor. If 2B < p, a residue modulo p determines the
//! minor.
//!
//! (The bound is often written with the d largest norms. That would not cover the zero tests of constants,
//! and of proportional rows on a line.)

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use crate::arrangement::arithmetic::{
    Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937,
};
use crate::{Control, Result};

/// The fields in which a search can run, in order of cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Residues modulo 2⁶¹ − 1.
    Mersenne61,
    /// Residues modulo 2¹²⁷ − 1.
    Mersenne127,
    /// Residues modulo 2⁵²¹ − 1.
    Mersenne521,
    /// Residues modulo 2¹²⁷⁹ − 1.
    Mersenne1279,
    /// Residues modulo 2³²¹⁷ − 1.
    Mersenne3217,
    /// Residues modulo 2⁹⁶⁸⁹ − 1.
    Mersenne9689,
    /// Residues modulo 2¹⁹⁹³⁷ − 1.
    Mersenne19937,
    /// Fractions of big integers.
    Rational,
}

impl Arithmetic {
    /// Whether integers of any size are faster than this field. Its numbers have so many words that they are
    /// usually longer than the minors.
    pub fn is_wide(self) -> bool {
        !matches!(self, Self::Mersenne61 | Self::Mersenne127)
    }
}

/// Up to so many bits of B² the bound is Hadamard's to the last bit. Longer ones are beyond every prime, and
/// need not be sharp: the product of two hundred norms of 10⁴ digits would take seconds.
const SHARP_BITS: u64 = 1 << 16;

/// A bound B on the magnitude of every minor. It is stored as B².
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    squared: BigInt,
    /// The square of the bound on minors of d rows. Coordinates are such minors.
    coordinates: BigInt,
    /// The bits of the same product of norms, for rows of mean length.
    typical_bits: u64,
}

impl Bound {
    /// The bound for hyperplanes \[a|b\] in R^`dimension`. No row is zero.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn of(rows: &[Vec<BigInt>], dimension: usize, control: &Control) -> Result<Self> {
        let mut norms = Vec::with_capacity(rows.len());
        for row in rows {
            control.check()?;
            norms.push(row.iter().map(|x| x * x).sum::<BigInt>());
        }
        debug_assert!(norms.iter().all(Signed::is_positive));
        let bits: f64 = norms.iter().map(bits_of_root).sum();
        let typical_bits = bits * (dimension + 1) as f64 / norms.len().max(1) as f64;
        norms.sort_unstable_by(|a, b| b.cmp(a));
        norms.truncate(dimension + 1);
        Ok(Self {
            squared: product(&norms),
            coordinates: product(&norms[..dimension.min(norms.len())]),
            typical_bits: typical_bits as u64,
        })
    }

    /// The number of 64-bit words that hold every minor in two's complement.
    pub fn limbs(&self) -> usize {
        limbs(&self.squared)
    }

    /// The number of 64-bit words that hold every coordinate of a vertex.
    pub fn coordinate_limbs(&self) -> usize {
        limbs(&self.coordinates)
    }

    /// The number of bits of B².
    pub fn bits(&self) -> u64 {
        self.squared.bits()
    }

    /// About how many bits the minors of d + 1 rows of mean length have. This proves nothing, but a few long rows
    /// do not count for all.
    pub fn typical_bits(&self) -> u64 {
        self.typical_bits
    }

    /// Whether the prime is larger than 2B. Then a minor is zero if its residue is.
    pub fn is_below(&self, prime: u64) -> bool {
        &self.squared * 4 < BigInt::from(prime).pow(2)
    }

    /// The cheapest field in which every zero test of a search is exact.
    pub fn arithmetic(&self) -> Arithmetic {
        let limit = &self.squared * 4;
        [
            (Mersenne61::PRIME.into(), Arithmetic::Mersenne61),
            (Mersenne127::PRIME.into(), Arithmetic::Mersenne127),
            (Mersenne521::prime(), Arithmetic::Mersenne521),
            (Mersenne1279::prime(), Arithmetic::Mersenne1279),
            (Mersenne3217::prime(), Arithmetic::Mersenne3217),
            (Mersenne9689::prime(), Arithmetic::Mersenne9689),
            (Mersenne19937::prime(), Arithmetic::Mersenne19937),
        ]
        .into_iter()
        .find(|(prime, _)| limit < prime.pow(2))
        .map_or(Arithmetic::Rational, |(_, arithmetic)| arithmetic)
    }
}

/// The product of positive numbers, or the power of two above it if it has more than [`SHARP_BITS`].
fn product(numbers: &[BigInt]) -> BigInt {
    let bits: u64 = numbers.iter().map(BigInt::bits).sum();
    if bits > SHARP_BITS {
        return BigInt::from(1) << bits;
    }
    numbers.iter().product()
}

/// About the binary logarithm of the root of a positive number.
fn bits_of_root(squared: &BigInt) -> f64 {
    match squared.to_f64() {
        Some(value) if value.is_finite() => value.log2() / 2.0,
        _ => squared.bits() as f64 / 2.0,
    }
}

/// The number of words for numbers whose square is at most this one.
fn limbs(squared: &BigInt) -> usize {
    // B² < 2^bits, so |minor| < 2^⌈bits/2⌉. One more bit is the sign.
    (squared.bits().div_ceil(2) as usize + 1).div_ceil(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(value: i64, dimension: usize) -> Vec<Vec<BigInt>> {
        let row = |i: usize| {
            (0..=dimension)
                .map(|c| (value + (i * c) as i64).into())
                .collect()
        };
        (0..dimension + 3).map(row).collect()
    }

    fn covering(rows: &[Vec<BigInt>], dimension: usize) -> Arithmetic {
        let bound = Bound::of(rows, dimension, &Control::new()).unwrap();
        bound.arithmetic()
    }

    #[test]
    fn the_smallest_sufficient_field_is_chosen() {
        assert_eq!(covering(&rows(9, 4), 4), Arithmetic::Mersenne61);
        assert_eq!(covering(&rows(1 << 20, 4), 4), Arithmetic::Mersenne127);
        assert_eq!(covering(&rows(1 << 40, 4), 4), Arithmetic::Mersenne521);
        let of = |dimension| covering(&rows(1 << 60, dimension), dimension);
        assert_eq!(
            [of(7), of(9), of(30), of(100), of(200), of(400)],
            [
                Arithmetic::Mersenne521,
                Arithmetic::Mersenne1279,
                Arithmetic::Mersenne3217,
                Arithmetic::Mersenne9689,
                Arithmetic::Mersenne19937,
                Arithmetic::Rational,
            ]
        );
        assert_eq!(covering(&[], 4), Arithmetic::Mersenne61);
    }

    #[test]
    fn typical_minors_are_those_of_most_rows() {
        let row = |x: u64| vec![BigInt::from(x), 0.into(), 0.into()];
        let mut rows = vec![row(1 << 10); 99];
        rows.push(row(1 << 60));
        let bound = Bound::of(&rows, 2, &Control::new()).unwrap();
        assert_eq!(bound.typical_bits(), 31);
        assert_eq!(bound.bits(), 2 * 80 + 1);
        assert_eq!(
            Bound::of(&[], 2, &Control::new()).unwrap().typical_bits(),
            0
        );
    }

    /// At d = 1 the bound is the product of two norms. The choice changes at the exact threshold.
    #[test]
    fn the_threshold_is_sharp() {
        let arithmetic = |m: u64| {
            let row = vec![BigInt::from(m), BigInt::from(0)];
            covering(&[row.clone(), row], 1)
        };
        // 2·m² < 2⁶¹ − 1.
        let last = ((Mersenne61::PRIME - 1) / 2).isqrt();
        assert_eq!(arithmetic(last), Arithmetic::Mersenne61);
        assert_eq!(arithmetic(last + 1), Arithmetic::Mersenne127);
    }
}
