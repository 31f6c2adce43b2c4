//! Residues modulo larger Mersenne primes, from 2⁵²¹ − 1 to 2¹⁹⁹³⁷ − 1, for rows of floats and for
//! integers with many digits.
//!
//! The time of a product grows with the square of the number of words. An operation on fractions of big
//! integers takes much longer, because it needs a greatest common divisor.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_traits::{One, Signed};

use super::divisor::common_divisor;
use super::field::Field;
use super::modular_inverse::modular_inverse;

/// A residue modulo the prime p = 2^`BITS` − 1: an integer in 0..p of `WORDS` = ⌊BITS/64⌋ + 1 words, the
/// least word first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wide<const WORDS: usize, const BITS: u32>([u64; WORDS]);

/// Residues modulo 2⁵²¹ − 1.
pub type Mersenne521 = Wide<9, 521>;
/// Residues modulo 2¹²⁷⁹ − 1.
pub type Mersenne1279 = Wide<20, 1279>;
/// Residues modulo 2³²¹⁷ − 1.
pub type Mersenne3217 = Wide<51, 3217>;
/// Residues modulo 2⁹⁶⁸⁹ − 1.
pub type Mersenne9689 = Wide<152, 9689>;
/// Residues modulo 2¹⁹⁹³⁷ − 1.
pub type Mersenne19937 = Wide<312, 19937>;

/// a + b·c + carry as (low, high) words.
#[inline]
fn multiply_add(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let sum = u128::from(a) + u128::from(b) * u128::from(c) + u128::from(carry);
    (sum as u64, (sum >> 64) as u64)
}

impl<const WORDS: usize, const BITS: u32> Wide<WORDS, BITS> {
    /// Bits of the highest word.
    const TOP: u32 = BITS - 64 * (WORDS as u32 - 1);
    const TOP_MASK: u64 = (1 << Self::TOP) - 1;

    /// 2^BITS − 1.
    pub fn prime() -> BigInt {
        (BigInt::one() << BITS) - 1
    }

    const fn largest() -> [u64; WORDS] {
        let mut words = [u64::MAX; WORDS];
        words[WORDS - 1] = Self::TOP_MASK;
        words
    }

    /// Reduce a number below 2^(BITS + 1). Modulo the prime, 2^BITS is 1, so the bit above is added to
    /// the rest.
    fn folded(mut words: [u64; WORDS]) -> Self {
        let mut carry = words[WORDS - 1] >> Self::TOP;
        words[WORDS - 1] &= Self::TOP_MASK;
        for word in &mut words {
            let (sum, over) = word.overflowing_add(carry);
            *word = sum;
            carry = over.into();
        }
        // The sum is at most 2^BITS. Two values still have to be reduced: the prime, which is 0, and
        // 2^BITS, which is 1.
        if words == Self::largest() {
            return Self([0; WORDS]);
        }
        if words[WORDS - 1] >> Self::TOP != 0 {
            words[WORDS - 1] &= Self::TOP_MASK;
            words[0] += 1;
        }
        Self(words)
    }

    fn to_integer(self) -> BigInt {
        let digits: Vec<u32> = self
            .0
            .iter()
            .flat_map(|word| [*word as u32, (word >> 32) as u32])
            .collect();
        BigInt::from_biguint(Sign::Plus, BigUint::new(digits))
    }

    /// The integer in ±p/2 with this residue.
    pub(super) fn symmetric(self) -> BigInt {
        let value = self.to_integer();
        let prime = Self::prime();
        if &value + &value > prime {
            value - prime
        } else {
            value
        }
    }

    fn from_reduced(value: &BigInt) -> Self {
        let mut words = [0; WORDS];
        let digits = value.iter_u64_digits();
        words
            .iter_mut()
            .zip(digits)
            .for_each(|(word, digit)| *word = digit);
        Self(words)
    }
}

impl<const WORDS: usize, const BITS: u32> Field for Wide<WORDS, BITS> {
    type Coordinate = BigInt;

    fn from_integer(value: &BigInt) -> Self {
        Self::from_reduced(&value.mod_floor(&Self::prime()))
    }
    fn zero() -> Self {
        Self([0; WORDS])
    }
    fn one() -> Self {
        let mut words = [0; WORDS];
        words[0] = 1;
        Self(words)
    }
    fn is_zero(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
    fn plus(&self, other: &Self) -> Self {
        let mut words = [0; WORDS];
        let mut carry = 0;
        for (word, (a, b)) in words.iter_mut().zip(self.0.iter().zip(&other.0)) {
            (*word, carry) = multiply_add(*a, 1, *b, carry);
        }
        // Both are below 2^BITS, and the highest word has room for the carry.
        Self::folded(words)
    }
    fn negated(&self) -> Self {
        // All bits of the prime are set, so the subtraction needs no borrow.
        let largest = Self::largest();
        let words = std::array::from_fn(|i| largest[i] - self.0[i]);
        Self::folded(words)
    }
    fn times(&self, other: &Self) -> Self {
        let mut low = [0; WORDS];
        let mut high = [0; WORDS];
        for (i, a) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, b) in other.0.iter().enumerate() {
                let place = if i + j < WORDS {
                    &mut low[i + j]
                } else {
                    &mut high[i + j - WORDS]
                };
                (*place, carry) = multiply_add(*place, *a, *b, carry);
            }
            high[i] = carry;
        }
        // Modulo the prime, 2^BITS is 1. So the residue is the low BITS bits plus the bits above them.
        let mut above = [0; WORDS];
        for (i, word) in above.iter_mut().enumerate() {
            let at = if i == 0 { low[WORDS - 1] } else { high[i - 1] };
            *word = at >> Self::TOP | high[i] << (64 - Self::TOP);
        }
        low[WORDS - 1] &= Self::TOP_MASK;
        Self(low).plus(&Self::folded(above))
    }
    fn inverse(&self) -> Self {
        // Euclid's algorithm takes far fewer steps than there are products in a power.
        Self::from_reduced(&modular_inverse(&self.to_integer(), &Self::prime()))
    }
    fn push_vertex(point: &[Self], determinant: &Self, out: &mut Vec<BigInt>) {
        let at = out.len();
        out.extend(point.iter().map(|x| x.times(determinant).symmetric()));
        out.push(determinant.symmetric());
        lowest_terms(&mut out[at..]);
    }
}

/// As [`field::lowest_terms`](super::field::lowest_terms), for integers that cannot be copied cheaply.
fn lowest_terms(minors: &mut [BigInt]) {
    let mut divisor = BigInt::default();
    for x in minors.iter().rev() {
        if divisor.is_one() {
            break;
        }
        divisor = common_divisor(&divisor, x);
    }
    if minors.last().is_some_and(Signed::is_negative) {
        divisor = -divisor;
    }
    if !divisor.is_one() {
        minors.iter_mut().for_each(|x| *x /= &divisor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees<F: Field>(prime: &BigInt, a: &BigInt, b: &BigInt) {
        let [x, y] = [a, b].map(F::from_integer);
        assert_eq!(x.plus(&y), F::from_integer(&(a + b)));
        assert_eq!(x.times(&y), F::from_integer(&(a * b)));
        assert_eq!(x.negated(), F::from_integer(&-a));
        assert_eq!(x.is_zero(), a.is_multiple_of(prime));
        if !x.is_zero() {
            assert_eq!(x.times(&x.inverse()), F::one());
        }
    }

    proptest! {
        #[test]
        fn residues_are_integers_modulo_the_prime(
            a in proptest::collection::vec(any::<u32>(), 40),
            b in proptest::collection::vec(any::<u32>(), 40),
            near in -2i32..3,
        ) {
            let [a, b] = [a, b].map(|digits| BigInt::from(BigUint::new(digits)));
            for (a, b) in [
                (a.clone(), b.clone()),
                (Mersenne521::prime() + near, -b.clone()),
                (Mersenne1279::prime() - near, Mersenne1279::prime() - 1),
                (Mersenne521::prime() - 1, Mersenne521::prime() - 1),
                ((BigInt::one() << 520) + near, (BigInt::one() << 520) - near),
                (BigInt::from(near), a),
            ] {
                agrees::<Mersenne521>(&Mersenne521::prime(), &a, &b);
                agrees::<Mersenne1279>(&Mersenne1279::prime(), &a, &b);
                agrees::<Mersenne3217>(&Mersenne3217::prime(), &a, &b);
                agrees::<Mersenne19937>(&Mersenne19937::prime(), &a, &b);
            }
        }
    }

    #[test]
    fn a_residue_lifts_to_the_nearest_integer() {
        let half: BigInt = Mersenne521::prime() / 2;
        for value in [
            BigInt::default(),
            1.into(),
            (-1).into(),
            half.clone(),
            -half,
        ] {
            assert_eq!(Mersenne521::from_integer(&value).symmetric(), value);
            assert_eq!(Mersenne1279::from_integer(&value).symmetric(), value);
        }
    }
}
