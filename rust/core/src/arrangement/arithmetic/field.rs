//! Fields in which a search can run.
//!
//! A search asks one thing of its numbers: whether they are zero. Every number that it tests is a ratio
//! of minors of the integer matrix \[A|b\]. So a search may run in the rationals, or modulo a prime p
//! that divides no minor except 0. [`Bound`](crate::arrangement::input::Bound) bounds all minors by
//! Hadamard's inequality. If p is larger, a residue is zero if and only if the minor is: zero tests are
//! proved, not probable.
//!
//! The coordinates of a vertex have to be integers. Determinant times coordinate is a minor, and the
//! integer in ±p/2 with its residue is that minor.

use std::fmt::Debug;
use std::hash::Hash;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{One, Signed, Zero};

/// A field in which every zero test that a search makes is exact.
///
/// The order is total and arbitrary: it serves to bring equal numbers together.
pub trait Field: Clone + Debug + Ord + Hash + Send + Sync {
    /// What the coordinates of a vertex are made of.
    type Coordinate: Clone + Debug + Send + Sync + Into<BigInt>;

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
    /// 1/self, for a number that is not 0.
    fn inverse(&self) -> Self;

    /// self − factor·other, the step of every elimination.
    #[inline]
    fn minus_product(&self, factor: &Self, other: &Self) -> Self {
        self.plus(&factor.times(other).negated())
    }

    /// Append the point's numerators and their least common denominator, which is positive.
    /// `determinant` is the minor of the hyperplanes that meet there, of either sign.
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<Self::Coordinate>);
}

/// Replace every number, none of them 0, by its inverse, at the cost of three products each and
/// one inversion in all (Montgomery's trick).
pub fn invert_all<F: Field>(values: &mut [F], products: &mut Vec<F>) {
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
    fn plus(&self, other: &Self) -> Self {
        self + other
    }
    fn negated(&self) -> Self {
        -self
    }
    fn times(&self, other: &Self) -> Self {
        self * other
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

/// Bring a vertex's minors, the numerators and then the denominator, to lowest terms with a positive
/// last.
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
