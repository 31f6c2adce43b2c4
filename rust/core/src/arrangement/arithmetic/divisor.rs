//! Greatest common divisors of long integers of different lengths.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

/// The greatest common divisor, not negative.
///
/// The binary algorithm of [`Integer::gcd`] takes a pass over the longer number for every bit by which it is
/// longer. One division first makes both equally long.
pub fn common_divisor(a: &BigInt, b: &BigInt) -> BigInt {
    let (long, short) = if a.bits() < b.bits() { (b, a) } else { (a, b) };
    if short.is_zero() || short.is_one() {
        return if short.is_zero() {
            long.abs()
        } else {
            BigInt::one()
        };
    }
    if long.bits() - short.bits() > 64 {
        return (long % short).gcd(short);
    }
    long.gcd(short)
}

/// The greatest common divisor of all numbers; 0 if all are 0.
pub fn content<'a>(numbers: impl Iterator<Item = &'a BigInt>) -> BigInt {
    let mut divisor = BigInt::zero();
    for x in numbers {
        divisor = common_divisor(&divisor, x);
        if divisor.is_one() {
            break;
        }
    }
    divisor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_that_of_euclid(
            numbers in proptest::collection::vec((any::<i128>(), 0u32..200), 0..6),
            factor in any::<i64>(),
        ) {
            let numbers: Vec<BigInt> = numbers
                .into_iter()
                .map(|(x, bits)| (BigInt::from(x >> (bits % 120)) << bits) * factor)
                .collect();
            let plain = numbers.iter().fold(BigInt::zero(), |a, b| a.gcd(b));
            prop_assert_eq!(content(numbers.iter()), plain);
        }
    }
}
