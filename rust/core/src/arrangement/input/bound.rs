//! How large a minor of \[A|b\] can be, and so which field a search may run in.
//!
//! **What is tested for zero.** On a flat of dimension r, where d − r hyperplanes have been
//! eliminated, a coefficient is a (d−r+1)-minor over a (d−r)-minor, and two rows are proportional
//! iff all (d−r+2)-minors of the d − r + 2 hyperplanes involved vanish; r ≥ 1, so no minor has more
//! than d + 1 rows. A dictionary's entries are d-minors over a d-minor, its constants are
//! (d+1)-minors over one. Numerators and determinants of vertices are d-minors.
//!
//! **The bound.** A minor's rows are parts of rows of \[A|b\], so by Hadamard's inequality its
//! magnitude is at most the product of their norms, and the product B of the d + 1 largest norms
//! bounds them all: integer rows that are not zero have norms of at least 1. If 2B < p, a residue
//! modulo p determines the minor.
//!
//! (With the d largest norms alone, as often written, the zero tests of constants and of
//! proportional rows on a line would not be covered.)

use num_bigint::BigInt;
use num_traits::Signed;

use crate::arrangement::arithmetic::{
    Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937,
};

/// The least field, in order of cost, in which every test of a search is exact.
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
    /// Whether its numbers have so many words that integers which are only as long as they have to be cost
    /// less.
    pub fn is_wide(self) -> bool {
        !matches!(self, Self::Mersenne61 | Self::Mersenne127)
    }
}

/// A bound B on the magnitude of every minor, by its square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    squared: BigInt,
    /// The same for minors of d rows, which coordinates are.
    coordinates: BigInt,
}

impl Bound {
    /// For the hyperplanes \[a|b\] in R^`dimension`, none of them zero.
    pub fn of(rows: &[Vec<BigInt>], dimension: usize) -> Self {
        let mut norms: Vec<BigInt> = rows
            .iter()
            .map(|row| row.iter().map(|x| x * x).sum::<BigInt>())
            .collect();
        debug_assert!(norms.iter().all(Signed::is_positive));
        norms.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            squared: norms.iter().take(dimension + 1).product(),
            coordinates: norms.iter().take(dimension).product(),
        }
    }

    /// 64-bit words that hold every minor in two's complement.
    pub fn limbs(&self) -> usize {
        limbs(&self.squared)
    }

    /// 64-bit words that hold every coordinate of a vertex.
    pub fn coordinate_limbs(&self) -> usize {
        limbs(&self.coordinates)
    }

    /// Bits of B².
    pub fn bits(&self) -> u64 {
        self.squared.bits()
    }

    /// Whether a residue modulo this prime is zero only if the minor is.
    pub fn is_below(&self, prime: u64) -> bool {
        &self.squared * 4 < BigInt::from(prime).pow(2)
    }

    /// The cheapest field in which every zero test of a search is proved.
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

/// Words for numbers up to the root of this one.
fn limbs(squared: &BigInt) -> usize {
    // B² < 2^bits, so |minor| < 2^⌈bits/2⌉, and a sign.
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
        Bound::of(rows, dimension).arithmetic()
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

    /// At d = 1 the bound is the product of two norms: (2m² + …) < (p/2)² decides, to the unit.
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
