//! Greatest common divisors of long integers of different lengths.

use num_bigint::BigInt;
use num_rational::Ratio;
use num_traits::{One, Signed, Zero};

use super::lehmer::Remainders;

/// The greatest common divisor, not negative, by Lehmer's variant of Euclid's algorithm.
///
/// The binary algorithm of [`num_integer::Integer::gcd`] takes a pass over the numbers for every bit.
pub fn common_divisor(a: &BigInt, b: &BigInt) -> BigInt {
    if a.is_one() || b.is_one() {
        return BigInt::one();
    }
    Remainders::of(a, b).divisor().into()
}

/// A fraction in lowest terms. The denominator is not 0.
pub fn fraction(numerator: &BigInt, denominator: &BigInt) -> Ratio<BigInt> {
    let mut divisor = common_divisor(numerator, denominator);
    if denominator.is_negative() {
        divisor = -divisor;
    }
    Ratio::new_raw(numerator / &divisor, denominator / divisor)
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
    use num_integer::Integer;
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
            for pair in numbers.windows(2).filter(|pair| !pair[1].is_zero()) {
                let expected = Ratio::new(pair[0].clone(), pair[1].clone());
                prop_assert_eq!(fraction(&pair[0], &pair[1]), expected);
            }
        }
    }
}
