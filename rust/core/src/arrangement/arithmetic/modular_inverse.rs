//! Inverses modulo a long prime, by Lehmer's variant of Euclid's algorithm.
//!
//! The leading words of two long numbers determine most quotients of Euclid's algorithm. So many steps are
//! made on machine integers, and their product, a matrix, is applied to the long numbers at once.
//!
//! Source: D. E. Knuth, *The Art of Computer Programming* 2, section 4.5.2, algorithm L.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Leading bits that steps are made on. Quotients and entries of the matrix fit 64 bits, and products 128.
const LEADING: u64 = 62;

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

/// Steps of Euclid's algorithm that follow from the leading bits, as the rows of a matrix. The second entry is
/// 0 if there are none.
fn steps(a: &BigInt, b: &BigInt) -> [i64; 4] {
    let shift = a.bits().saturating_sub(LEADING);
    let leading = |x: &BigInt| (x >> shift).to_i128().unwrap_or_default();
    let (mut x, mut y) = (leading(a), leading(b));
    let mut matrix = [1i128, 0, 0, 1];
    loop {
        let [p, q, r, s] = matrix;
        // The quotient is the same for all numbers with these leading bits.
        if y + r == 0 || y + s == 0 {
            break;
        }
        let quotient = (x + p) / (y + r);
        if quotient != (x + q) / (y + s) {
            break;
        }
        let next = [r, s, p - quotient * r, q - quotient * s];
        if next.iter().any(|entry| i64::try_from(*entry).is_err()) {
            break;
        }
        matrix = next;
        (x, y) = (y, x - quotient * y);
    }
    matrix.map(|entry| entry as i64)
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
