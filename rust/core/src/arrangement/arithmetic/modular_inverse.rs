//! Inverses modulo a long prime, by Lehmer's variant of Euclid's algorithm.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, Zero};

use super::lehmer::steps;

/// The inverse of `value` modulo `prime`, from 1 to `prime` − 1. `value` is not a multiple of the prime.
pub(super) fn modular_inverse(value: &BigInt, prime: &BigInt) -> BigInt {
    let (mut a, mut b) = (prime.clone(), value.mod_floor(prime));
    // a = u·value and b = v·value, modulo the prime.
    let (mut u, mut v) = (BigInt::zero(), BigInt::one());
    while !b.is_zero() {
        let [w, x, y, z] = steps(&a, &b);
        if x == 0 {
            let (quotient, rest) = a.div_rem(&b);
            let next = &u - quotient * &v;
            (a, b) = (b, rest);
            (u, v) = (v, next);
        } else {
            (a, b) = (&a * w + &b * x, &a * y + &b * z);
            (u, v) = (&u * w + &v * x, &u * y + &v * z);
        }
    }
    if u.is_negative() { u + prime } else { u }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_that_of_the_library(
            words in proptest::collection::vec(any::<u32>(), 0..120),
            exponent in prop_oneof![Just(61u32), Just(127), Just(521), Just(1279), Just(3217)],
        ) {
            let prime: BigInt = (BigInt::one() << exponent) - 1;
            let value = BigInt::from(BigUint::new(words));
            prop_assume!(!value.is_multiple_of(&prime));
            let inverse = modular_inverse(&value, &prime);
            prop_assert_eq!(Some(inverse.clone()), value.modinv(&prime));
            prop_assert!((inverse * value).mod_floor(&prime).is_one());
        }
    }

    #[test]
    fn small_and_near_numbers() {
        let prime: BigInt = (BigInt::one() << 127u32) - 1;
        for near in 1..50 {
            for value in [BigInt::from(near), &prime - near, &prime + near] {
                assert_eq!(Some(modular_inverse(&value, &prime)), value.modinv(&prime));
            }
        }
    }
}
