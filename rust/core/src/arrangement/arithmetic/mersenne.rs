//! Residues modulo the Mersenne primes 2⁶¹ − 1 and 2¹²⁷ − 1. Their reduction is a shift and an
//! addition.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::ToPrimitive;

use super::field::{Field, lowest_terms};

/// base^(p − 2), which is 1/base modulo p, for p = 2^bits − 1. In p − 2 all bits except the second lowest
/// are set.
fn inverse_by_power<F: Field>(base: &F, bits: u32) -> F {
    let mut power = base.clone();
    for bit in (0..bits - 1).rev() {
        power = power.times(&power);
        if bit != 1 {
            power = power.times(base);
        }
    }
    power
}

/// A residue modulo 2⁶¹ − 1, kept in 0..2⁶¹ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mersenne61(u64);

impl Mersenne61 {
    /// 2⁶¹ − 1.
    pub const PRIME: u64 = (1 << 61) - 1;

    /// The residue of a machine integer.
    #[inline]
    pub fn of(value: i128) -> Self {
        let size = value.unsigned_abs();
        let folded = (size as u64 & Self::PRIME)
            + ((size >> 61) as u64 & Self::PRIME)
            + (size >> 122) as u64;
        let residue = Self::reduced((folded & Self::PRIME) + (folded >> 61));
        if value < 0 {
            residue.negated()
        } else {
            residue
        }
    }

    /// The residue as an integer in 0..p.
    #[inline]
    pub fn value(self) -> u64 {
        self.0
    }

    /// The integer in ±p/2 with this residue.
    pub(super) fn symmetric(self) -> i64 {
        if self.0 > Self::PRIME / 2 {
            self.0 as i64 - Self::PRIME as i64
        } else {
            self.0 as i64
        }
    }

    /// The residue of a number below 2p.
    #[inline]
    fn reduced(value: u64) -> Self {
        Self(value.min(value.wrapping_sub(Self::PRIME)))
    }
}

impl Field for Mersenne61 {
    type Coordinate = i64;

    fn from_integer(value: &BigInt) -> Self {
        let residue = value.mod_floor(&BigInt::from(Self::PRIME));
        Self(residue.to_u64().unwrap_or_default())
    }
    #[inline]
    fn zero() -> Self {
        Self(0)
    }
    #[inline]
    fn one() -> Self {
        Self(1)
    }
    #[inline]
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    #[inline]
    fn plus(&self, other: &Self) -> Self {
        Self::reduced(self.0 + other.0)
    }
    #[inline]
    fn negated(&self) -> Self {
        Self::reduced(Self::PRIME - self.0)
    }
    #[inline]
    fn times(&self, other: &Self) -> Self {
        let product = u128::from(self.0) * u128::from(other.0);
        Self::reduced((product as u64 & Self::PRIME) + (product >> 61) as u64)
    }
    fn inverse(&self) -> Self {
        inverse_by_power(self, 61)
    }
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<i64>) {
        let at = out.len();
        out.extend(point.iter().map(|x| x.times(determinant).symmetric()));
        out.push(determinant.symmetric());
        lowest_terms(&mut out[at..]);
    }
}

/// A residue modulo 2¹²⁷ − 1, kept in 0..2¹²⁷ − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mersenne127(u128);

impl Mersenne127 {
    /// 2¹²⁷ − 1.
    pub const PRIME: u128 = (1 << 127) - 1;

    /// The integer in ±p/2 with this residue.
    pub(super) fn symmetric(self) -> i128 {
        if self.0 > Self::PRIME / 2 {
            self.0 as i128 - Self::PRIME as i128
        } else {
            self.0 as i128
        }
    }

    /// The residue of a number below 2p.
    #[inline]
    fn reduced(value: u128) -> Self {
        Self(value.min(value.wrapping_sub(Self::PRIME)))
    }
}

impl Field for Mersenne127 {
    type Coordinate = i128;

    fn from_integer(value: &BigInt) -> Self {
        let residue = value.mod_floor(&BigInt::from(Self::PRIME));
        Self(residue.to_u128().unwrap_or_default())
    }
    #[inline]
    fn zero() -> Self {
        Self(0)
    }
    #[inline]
    fn one() -> Self {
        Self(1)
    }
    #[inline]
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    #[inline]
    fn plus(&self, other: &Self) -> Self {
        Self::reduced(self.0 + other.0)
    }
    #[inline]
    fn negated(&self) -> Self {
        Self::reduced(Self::PRIME - self.0)
    }
    #[inline]
    fn times(&self, other: &Self) -> Self {
        let low = u128::from(u64::MAX);
        let (a1, a0) = (self.0 >> 64, self.0 & low);
        let (b1, b0) = (other.0 >> 64, other.0 & low);
        // a1 and b1 are below 2⁶³, so the sum of the two cross products fits 128 bits.
        let cross = a1 * b0 + a0 * b1;
        let bottom = a0 * b0;
        // The product is bottom + cross·2⁶⁴ + a1·b1·2¹²⁸, and 2¹²⁷ = 1 modulo p. So the bits of `cross`
        // from bit 63 on are added once, because 2⁶⁴·2⁶³ = 2¹²⁷, and a1·b1 is added twice.
        let middle = (cross & (low >> 1)) << 64;
        let sum = Self::reduced((bottom & Self::PRIME) + (bottom >> 127));
        let sum = sum.plus(&Self::reduced(middle));
        let sum = sum.plus(&Self(cross >> 63));
        let top = Self(a1 * b1);
        sum.plus(&top).plus(&top)
    }
    fn inverse(&self) -> Self {
        inverse_by_power(self, 127)
    }
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<i128>) {
        let at = out.len();
        out.extend(point.iter().map(|x| x.times(determinant).symmetric()));
        out.push(determinant.symmetric());
        lowest_terms(&mut out[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every operation against big integers.
    fn agrees<F: Field>(prime: &BigInt, a: &BigInt, b: &BigInt) {
        let [x, y] = [a, b].map(F::from_integer);
        assert_eq!(x.plus(&y), F::from_integer(&(a + b)));
        assert_eq!(x.times(&y), F::from_integer(&(a * b)));
        assert_eq!(x.negated(), F::from_integer(&-a));
        assert_eq!(x.minus_product(&y, &x), F::from_integer(&(a - b * a)));
        assert_eq!(x.is_zero(), a.is_multiple_of(prime));
        if !x.is_zero() {
            assert_eq!(x.times(&x.inverse()), F::one());
        }
    }

    proptest! {
        #[test]
        fn residues_are_integers_modulo_the_prime(a: i128, b: i128, near in -2i32..3) {
            let p61 = BigInt::from(Mersenne61::PRIME);
            let p127 = BigInt::from(Mersenne127::PRIME);
            for (a, b) in [
                (BigInt::from(a), BigInt::from(b)),
                (&p61 + near, BigInt::from(b)),
                (&p127 - near, &p127 - 1),
                (BigInt::from(near), BigInt::from(a) * b),
            ] {
                agrees::<Mersenne61>(&p61, &a, &b);
                agrees::<Mersenne127>(&p127, &a, &b);
            }
        }
    }

    proptest! {
        #[test]
        fn machine_integers_have_the_residues_of_big_ones(a: i128, near in -2i128..3) {
            let p = i128::from(Mersenne61::PRIME);
            for value in [a, i128::MIN, i128::MAX, p + near, near * p, (1 << 122) + near, near] {
                prop_assert_eq!(Mersenne61::of(value), Mersenne61::from_integer(&value.into()));
            }
        }
    }

    #[test]
    fn a_residue_lifts_to_the_nearest_integer() {
        for value in [0, 1, -1, (1i64 << 60) - 1, 1 - (1i64 << 60)] {
            let residue = Mersenne61::from_integer(&value.into());
            assert_eq!(residue.symmetric(), value);
            let residue = Mersenne127::from_integer(&value.into());
            assert_eq!(residue.symmetric(), i128::from(value));
        }
    }
}
