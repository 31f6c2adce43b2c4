//! Fields in which a search can run.
//!
//! A search only tests whether numbers are zero. Every number that it tests is a ratio of minors of the
//! integer matrix \[A|b\]. So a search may run in the rationals, or modulo a prime p that divides no
//! minor except 0. [`Bound`](crate::arrangement::input::Bound) bounds all minors by Hadamard's
//! inequality. If p is larger than the bound, a residue is zero if and only if the minor is zero. So the
//! zero tests are proved, not probable.
//!
//! A vertex is reported in integers. Each coordinate times the determinant of the cobasis is a minor. If
//! p is larger than twice the bound, this minor is the only integer between −p/2 and p/2 with its residue.

use std::fmt::Debug;
use std::hash::Hash;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{One, Signed, Zero};

use super::divisor::common_divisor;

/// A field in which every zero test that a search makes is exact.
///
/// The order of numbers is total but has no meaning: sorting by it brings equal numbers together.
pub trait Field: Clone + Debug + Ord + Hash + Send + Sync {
    /// The integers in which the coordinates of a vertex are given.
    type Coordinate: Clone + Debug + Send + Sync + Into<BigInt>;

    /// Whether an inverse takes no longer than a product.
    const INVERTS_AT_ONCE: bool = false;

    /// The image of an integer.
    fn from_integer(value: &BigInt) -> Self;
    /// 0.
    fn zero() -> Self;
    /// 1.
    fn one() -> Self;
    /// Whether it is 0.
    fn is_zero(&self) -> bool;
    /// Sum.
    fn plus(&self, other: &Self) -> Self;
    /// −self.
    fn negated(&self) -> Self;
    /// Product.
    fn times(&self, other: &Self) -> Self;
    /// 1/self, where self is not 0.
    fn inverse(&self) -> Self;

    /// self − factor·other, the step of every elimination.
    #[inline]
    fn minus_product(&self, factor: &Self, other: &Self) -> Self {
        self.plus(&factor.times(other).negated())
    }

    /// Append the numerators of a vertex and their least common denominator, which is positive.
    /// `determinant` is the determinant of the normals of d hyperplanes that meet in the vertex; its sign
    /// does not matter.
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<Self::Coordinate>);
}

/// How many numbers to invert at a time: enough to make an inversion cheap, and so few that long numbers take
/// milliseconds.
pub const fn inverted_together<F>() -> usize {
    if size_of::<F>() > 256 { 16 } else { 256 }
}

/// Replace every number by its inverse. No number is 0. This takes three products for each number and
/// one inversion in all (Montgomery's trick), unless inverses are cheap.
pub fn invert_all<F: Field>(values: &mut [F], products: &mut Vec<F>) {
    if F::INVERTS_AT_ONCE {
        values.iter_mut().for_each(|x| *x = x.inverse());
        return;
    }
    products.clear();
    let mut product = F::one();
    for value in values.iter() {
        products.push(product.clone());
        product = product.times(value);
    }
    let mut inverse = product.inverse();
    for (value, before) in values.iter_mut().zip(products.iter()).rev() {
        let next = inverse.times(value);
        *value = inverse.times(before);
        inverse = next;
    }
}

/// An exact fraction.
pub type Rational = Ratio<BigInt>;

impl Field for Rational {
    type Coordinate = BigInt;
    const INVERTS_AT_ONCE: bool = true;

    fn from_integer(value: &BigInt) -> Self {
        Self::from(value.clone())
    }
    fn zero() -> Self {
        Zero::zero()
    }
    fn one() -> Self {
        One::one()
    }
    fn is_zero(&self) -> bool {
        Zero::is_zero(self)
    }
    // Common divisors are taken of the given numbers, and not of the longer results (D. E. Knuth, *The Art of
    // Computer Programming* 2, section 4.5.1).
    fn plus(&self, other: &Self) -> Self {
        let common = common_divisor(self.denom(), other.denom());
        let (mine, theirs) = (self.denom() / &common, other.denom() / &common);
        let numerator = self.numer() * &theirs + other.numer() * &mine;
        let left = common_divisor(&numerator, &common);
        Self::new_raw(numerator / &left, mine * (other.denom() / left))
    }
    fn negated(&self) -> Self {
        -self
    }
    fn times(&self, other: &Self) -> Self {
        if self.numer().is_zero() || other.numer().is_zero() {
            return Zero::zero();
        }
        let first = common_divisor(self.numer(), other.denom());
        let second = common_divisor(other.numer(), self.denom());
        Self::new_raw(
            (self.numer() / &first) * (other.numer() / &second),
            (self.denom() / second) * (other.denom() / first),
        )
    }
    fn inverse(&self) -> Self {
        self.recip()
    }
    fn push_vertex(point: &[Self], _determinant: &Self, out: &mut Vec<BigInt>) {
        let denominator = point
            .iter()
            .fold(BigInt::one(), |lcm, x| lcm.lcm(x.denom()));
        out.extend(point.iter().map(|x| x.numer() * (&denominator / x.denom())));
        out.push(denominator);
    }
}

/// Bring the minors of a vertex, its numerators and then the denominator, to lowest terms with a positive
/// denominator.
pub fn lowest_terms<I>(minors: &mut [I])
where
    I: Integer + Signed + Copy,
{
    let Some(&denominator) = minors.last() else {
        return;
    };
    let mut divisor = denominator.abs();
    for minor in minors.iter() {
        if divisor.is_one() {
            break;
        }
        divisor = divisor.gcd(minor);
    }
    if denominator.is_negative() {
        divisor = -divisor;
    }
    if !divisor.is_one() {
        minors.iter_mut().for_each(|x| *x = *x / divisor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fractions_are_those_of_the_library(
            (a, b) in (any::<i64>(), 1i64..1 << 40),
            (c, d) in (any::<i64>(), 1i64..1 << 40),
            near in -3i64..4,
        ) {
            let ratio = |n: i64, d: i64| Rational::new(n.into(), d.into());
            for (x, y) in [
                (ratio(a, b), ratio(c, d)),
                (ratio(a, b), ratio(-a, b)),
                (ratio(a, b), ratio(near, b)),
                (ratio(near, b), ratio(b, d)),
            ] {
                prop_assert_eq!(x.plus(&y), &x + &y);
                prop_assert_eq!(x.times(&y), &x * &y);
            }
        }
    }
}
