//! Residues modulo the prime 2⁵⁰ − 27, as integers and in doubles.
//!
//! A product of two 64-bit words needs 128 bits, which vector lanes do not have. Here a residue is a
//! double instead. Two fused multiply-adds give the product of two doubles exactly, as its rounded value
//! and the rounding error, and [`fused`] reduces it in every lane. The residue in a double is an integer
//! x with |x| < p. So it is zero if and only if the double is zero.
//!
//! Source: J. van der Hoeven, G. Lecerf, G. Quintin, *Modular SIMD arithmetic in Mathemagix*, ACM
//! Trans. Math. Softw. 43, 2016, section 3.3.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::ToPrimitive;

use super::field::{Field, lowest_terms};

/// 2⁵⁰ − 27, a prime.
pub const PRIME_50: u64 = (1 << 50) - 27;

/// The same prime as a double.
pub const P: f64 = PRIME_50 as f64;

/// A single residue modulo 2⁵⁰ − 27, as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Residue50(u64);

impl Residue50 {
    pub(super) fn of(value: i128) -> Self {
        Self(value.rem_euclid(PRIME_50.into()) as u64)
    }

    /// The integer in ±p/2 with this residue.
    pub fn symmetric(self) -> i64 {
        let value = self.0 as i64;
        if self.0 > PRIME_50 / 2 {
            value - PRIME_50 as i64
        } else {
            value
        }
    }

    /// The residue of an integer in a double.
    pub fn from_double(value: f64) -> Self {
        Self::of(value as i128)
    }
}

impl Field for Residue50 {
    type Coordinate = i64;

    fn from_integer(value: &BigInt) -> Self {
        let residue = value.mod_floor(&PRIME_50.into());
        Self(residue.to_u64().unwrap_or_default())
    }
    fn zero() -> Self {
        Self(0)
    }
    fn one() -> Self {
        Self(1)
    }
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    fn plus(&self, other: &Self) -> Self {
        Self((self.0 + other.0) % PRIME_50)
    }
    fn negated(&self) -> Self {
        Self((PRIME_50 - self.0) % PRIME_50)
    }
    fn times(&self, other: &Self) -> Self {
        Self::of(i128::from(self.0) * i128::from(other.0))
    }
    /// By Euclid's algorithm.
    fn inverse(&self) -> Self {
        let (mut a, mut b) = (PRIME_50 as i64, self.0 as i64);
        let (mut u, mut v) = (0i64, 1i64);
        while b != 0 {
            let quotient = a / b;
            (a, b) = (b, a - quotient * b);
            (u, v) = (v, u - quotient * v);
        }
        Self::of(u.into())
    }
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<i64>) {
        let at = out.len();
        out.extend(point.iter().map(|x| x.times(determinant).symmetric()));
        out.push(determinant.symmetric());
        lowest_terms(&mut out[at..]);
    }
}

/// v + f·s modulo p, for |v|, |f|, |s| ≤ 0.51·p. The result is within ±0.51·p as well.
///
/// The rounded quotient f·s/p differs from the exact one by less than 1/2 + 1/8. So the remainder of f·s
/// is an integer below 0.63·p, which a double holds. Its sum with v is below 1.14·p, and the second
/// reduction is exact.
#[inline(always)]
pub fn fused(v: f64, f: f64, s: f64) -> f64 {
    let high = f * s;
    let low = f.mul_add(s, -high);
    let quotient = (high * (1.0 / P)).round_ties_even();
    let rest = quotient.mul_add(-P, high) + low + v;
    let once = (rest * (1.0 / P)).round_ties_even();
    once.mul_add(-P, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_are_residues(v: i64, f: i64, s: i64, near in 0i64..3) {
            let p = PRIME_50 as i64;
            let edge = p / 2 - near;
            for (v, f, s) in [(v, f, s), (edge, edge, edge), (-edge, edge, -edge), (edge, -edge, edge)] {
                let [v, f, s] = [v, f, s].map(|x| Residue50::of(x.into()));
                let double = |x: Residue50| x.symmetric() as f64;
                let found = fused(double(v), double(f), double(s));
                prop_assert!(found.abs() <= 0.51 * P);
                prop_assert_eq!(Residue50::from_double(found), v.plus(&f.times(&s)));
            }
        }

        #[test]
        fn residues_are_integers_modulo_the_prime(a: i64, b: i64) {
            let [x, y] = [a, b].map(|x| Residue50::from_integer(&x.into()));
            prop_assert_eq!(x.times(&y), Residue50::of(i128::from(a) * i128::from(b)));
            prop_assert_eq!(x.plus(&y), Residue50::of(i128::from(a) + i128::from(b)));
            prop_assert_eq!(x.negated(), Residue50::of(-i128::from(a)));
            if !x.is_zero() {
                prop_assert_eq!(x.times(&x.inverse()), Residue50::one());
            }
        }
    }
}
