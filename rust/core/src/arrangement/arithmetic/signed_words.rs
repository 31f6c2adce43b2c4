//! Integers of many words as a sign and a magnitude, and their products modulo a power of two.
//!
//! Modulo 2^(64·n) every odd number has an inverse, so a division by an odd number that leaves no remainder
//! is a product. A number that fits n words in two's complement is determined by its residue.

use num_bigint::{BigInt, BigUint};
use num_traits::Signed as _;

/// Factors of at least so many words are multiplied as big integers, in less than quadratic time.
const LONG: usize = 64;

/// An integer. The highest word of its magnitude is not 0.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Whether it is below 0.
    pub negative: bool,
    /// Its magnitude, the least word first. Empty for 0.
    pub magnitude: &'a [u64],
}

impl Signed<'_> {
    /// −self.
    pub fn negated(self) -> Self {
        Self {
            negative: !self.negative,
            ..self
        }
    }
}

/// A list of integers of at most `most` words.
#[derive(Clone, Debug, Default)]
pub struct SignedWords {
    most: usize,
    words: Vec<u64>,
    lengths: Vec<u32>,
    negative: Vec<bool>,
}

impl SignedWords {
    /// No integers yet.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Remove all integers, and allow for `most` words.
    pub fn clear(&mut self, most: usize) {
        self.most = most;
        self.words.clear();
        self.lengths.clear();
        self.negative.clear();
    }

    /// Append an integer, which has to fit.
    pub fn push(&mut self, value: &BigInt) {
        let end = self.words.len() + self.most;
        self.words.extend(value.iter_u64_digits());
        debug_assert!(self.words.len() <= end);
        let start = end - self.most;
        self.lengths.push((self.words.len() - start) as u32);
        self.words.resize(end, 0);
        self.negative.push(value.is_negative());
    }

    /// Append the integer with this residue, of `most` words in two's complement.
    pub fn push_residue(&mut self, residue: &[u64]) {
        let start = self.words.len();
        self.words.extend_from_slice(residue);
        let negative = is_negative(residue);
        if negative {
            negate(&mut self.words[start..]);
        }
        let top = self.words[start..].iter().rposition(|word| *word != 0);
        self.lengths.push(top.map_or(0, |top| top as u32 + 1));
        self.negative.push(negative);
    }

    /// The integer at this place.
    #[inline]
    pub fn get(&self, at: usize) -> Signed<'_> {
        Signed {
            negative: self.negative[at],
            magnitude: &self.words[at * self.most..][..self.lengths[at] as usize],
        }
    }
}

/// Add a·b to `to`, modulo 2^(64·words of `to`).
#[inline]
pub fn add_product(to: &mut [u64], a: Signed<'_>, b: Signed<'_>) {
    let (long, short) = if a.magnitude.len() < b.magnitude.len() {
        (b.magnitude, a.magnitude)
    } else {
        (a.magnitude, b.magnitude)
    };
    let negative = a.negative != b.negative;
    if short.len() >= LONG {
        let product = big(long) * big(short);
        let mut words: Vec<u64> = product.iter_u64_digits().take(to.len()).collect();
        words.resize(to.len(), 0);
        if negative {
            negate(&mut words);
        }
        add(to, &words);
    } else if negative {
        for (at, &by) in short.iter().enumerate().take(to.len()) {
            subtract_multiple(&mut to[at..], by, long);
        }
    } else {
        for (at, &by) in short.iter().enumerate().take(to.len()) {
            add_multiple(&mut to[at..], by, long);
        }
    }
}

fn big(words: &[u64]) -> BigUint {
    let digits = words.iter().flat_map(|x| [*x as u32, (x >> 32) as u32]);
    BigUint::new(digits.collect())
}

#[inline(always)]
fn add_multiple(to: &mut [u64], by: u64, of: &[u64]) {
    let mut carry = 0;
    let mut words = to.iter_mut();
    for (of, to) in of.iter().zip(&mut words) {
        let sum = u128::from(*to) + u128::from(by) * u128::from(*of) + carry;
        *to = sum as u64;
        carry = sum >> 64;
    }
    let mut carry = carry as u64;
    for to in words {
        if carry == 0 {
            return;
        }
        let (sum, over) = to.overflowing_add(carry);
        (*to, carry) = (sum, over.into());
    }
}

#[inline(always)]
fn subtract_multiple(to: &mut [u64], by: u64, of: &[u64]) {
    let mut borrow = 0u64;
    let mut words = to.iter_mut();
    for (of, to) in of.iter().zip(&mut words) {
        let product = u128::from(by) * u128::from(*of) + u128::from(borrow);
        let (rest, below) = to.overflowing_sub(product as u64);
        *to = rest;
        borrow = (product >> 64) as u64 + u64::from(below);
    }
    for to in words {
        if borrow == 0 {
            return;
        }
        let (rest, below) = to.overflowing_sub(borrow);
        (*to, borrow) = (rest, below.into());
    }
}

fn add(to: &mut [u64], other: &[u64]) {
    let mut carry = false;
    for (to, other) in to.iter_mut().zip(other) {
        let (sum, first) = to.overflowing_add(*other);
        let (sum, second) = sum.overflowing_add(carry.into());
        (*to, carry) = (sum, first || second);
    }
}

/// Whether a number in two's complement is below 0.
#[inline]
pub fn is_negative(words: &[u64]) -> bool {
    words.last().is_some_and(|top| top >> 63 == 1)
}

/// Change the sign of a number in two's complement.
#[inline]
pub fn negate(words: &mut [u64]) {
    let mut carry = true;
    for word in words {
        (*word, carry) = (!*word).overflowing_add(carry.into());
    }
}

/// The residue of an integer, which then counts as one that is not negative.
pub fn as_signed(residue: &[u64]) -> Signed<'_> {
    let top = residue.iter().rposition(|word| *word != 0);
    Signed {
        negative: false,
        magnitude: &residue[..top.map_or(0, |top| top + 1)],
    }
}

/// The number of factors of two. The number of bits for 0.
pub fn twos(words: &[u64]) -> usize {
    match words.iter().position(|word| *word != 0) {
        Some(at) => 64 * at + words[at].trailing_zeros() as usize,
        None => 64 * words.len(),
    }
}

/// Divide a number in two's complement by a power of two that divides it.
pub fn divide_by_power(words: &mut [u64], bits: usize) {
    if bits == 0 {
        return;
    }
    let sign = if is_negative(words) { u64::MAX } else { 0 };
    let (skipped, shift) = (bits / 64, bits % 64);
    let word = |words: &[u64], at: usize| words.get(at).copied().unwrap_or(sign);
    for at in 0..words.len() {
        let low = word(words, at + skipped);
        words[at] = if shift == 0 {
            low
        } else {
            low >> shift | word(words, at + skipped + 1) << (64 - shift)
        };
    }
}

/// The inverse of an odd number modulo 2^(64·its words), by Newton's iteration: if x inverts a modulo m, then
/// x·(2 − a·x) inverts it modulo m².
pub fn inverse_of_odd(odd: &[u64]) -> Vec<u64> {
    let mut inverse = vec![inverse_of_word(odd[0])];
    while inverse.len() < odd.len() {
        let length = (2 * inverse.len()).min(odd.len());
        let mut rest = vec![0; length];
        rest[0] = 2;
        let known = as_signed(&inverse);
        add_product(&mut rest, as_signed(&odd[..length]), known.negated());
        let mut next = vec![0; length];
        add_product(&mut next, as_signed(&rest), known);
        inverse = next;
    }
    inverse
}

fn inverse_of_word(odd: u64) -> u64 {
    // The odd number is its own inverse modulo 8, and each step doubles the number of right bits.
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::{integer, push_integer};
    use num_bigint::Sign;
    use num_integer::Integer;
    use num_traits::One;
    use proptest::prelude::*;

    fn long(digits: &[u32], negative: bool) -> BigInt {
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        BigInt::from_biguint(sign, BigUint::new(digits.to_vec()))
    }

    fn words(value: &BigInt, limbs: usize) -> Vec<u64> {
        let mut words = Vec::new();
        push_integer(value, limbs, &mut words);
        words
    }

    proptest! {
        /// Compared with big integers, for lengths on both sides of [`LONG`].
        #[test]
        fn sums_of_products_are_residues(
            a in proptest::collection::vec(any::<u32>(), 0..200),
            b in proptest::collection::vec(any::<u32>(), 0..200),
            signs: [bool; 2],
            limbs in 1usize..150,
            start in proptest::collection::vec(any::<u64>(), 150),
        ) {
            let (a, b) = (long(&a, signs[0]), long(&b, signs[1]));
            let mut list = SignedWords::new(100);
            list.push(&a);
            list.push(&b);
            let mut to = start[..limbs].to_vec();
            add_product(&mut to, list.get(0), list.get(1));
            let modulus = BigInt::one() << (64 * limbs);
            let expected = integer(&start[..limbs]) + a * b;
            prop_assert_eq!(integer(&to).mod_floor(&modulus), expected.mod_floor(&modulus));
        }

        #[test]
        fn residues_are_integers(
            value in proptest::collection::vec(any::<u32>(), 0..9),
            negative: bool,
            bits in 0usize..200,
        ) {
            let value = long(&value, negative);
            let residue = words(&value, 5);
            let mut list = SignedWords::new(5);
            list.push_residue(&residue);
            let mut back = vec![0; 5];
            add_product(&mut back, list.get(0), as_signed(&[1]));
            prop_assert_eq!(&back, &residue);
            prop_assert_eq!(is_negative(&residue), value.is_negative());
            let mut shifted = words(&(&value << bits.min(31)), 5);
            prop_assert!(twos(&shifted) >= bits.min(31));
            divide_by_power(&mut shifted, bits.min(31));
            prop_assert_eq!(integer(&shifted), value.clone());
            let mut far = words(&(BigInt::from(3) << bits), 5);
            prop_assert_eq!(twos(&far), bits);
            divide_by_power(&mut far, bits);
            prop_assert_eq!(integer(&far), BigInt::from(3));
            negate(&mut shifted);
            prop_assert_eq!(integer(&shifted), -value);
        }

        #[test]
        fn odd_numbers_have_inverses(
            mut odd in proptest::collection::vec(any::<u64>(), 1..150),
        ) {
            odd[0] |= 1;
            let inverse = inverse_of_odd(&odd);
            let mut product = vec![0; odd.len()];
            add_product(&mut product, as_signed(&odd), as_signed(&inverse));
            prop_assert_eq!(product[0], 1);
            prop_assert!(product[1..].iter().all(|word| *word == 0));
        }
    }
}
