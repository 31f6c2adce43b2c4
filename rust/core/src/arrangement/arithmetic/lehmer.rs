//! Steps of Euclid's algorithm on long numbers, many at once.
//!
//! The leading bits of two long numbers determine most quotients of Euclid's algorithm. So many steps are
//! made on machine integers, and their product, a matrix, is applied to the long numbers at once.
//!
//! Source: D. E. Knuth, *The Art of Computer Programming* 2, section 4.5.2, algorithm L.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// Leading bits that steps are made on, so that sums with entries of the matrix fit 64 bits.
const LEADING: u64 = 62;
/// Entries of the matrix are below this, so that their products fit 64 bits.
const MOST: i64 = 1 << 31;

/// Steps of Euclid's algorithm that follow from the leading bits of a ≥ b ≥ 0, as the rows of a matrix. The second
/// entry is 0 if there are none.
pub(super) fn steps(a: &BigInt, b: &BigInt) -> [i64; 4] {
    let shift = a.bits().saturating_sub(LEADING);
    let leading = |x: &BigInt| (x >> shift).to_i64().unwrap_or_default();
    let (mut x, mut y) = (leading(a), leading(b));
    let mut matrix = [1i64, 0, 0, 1];
    loop {
        let [p, q, r, s] = matrix;
        // The quotient is the same for all numbers with these leading bits.
        if y + r == 0 || y + s == 0 {
            break;
        }
        let quotient = (x + p) / (y + r);
        if quotient != (x + q) / (y + s) || quotient >= MOST {
            break;
        }
        let next = [r, s, p - quotient * r, q - quotient * s];
        if next.iter().any(|entry| entry.abs() >= MOST) {
            break;
        }
        matrix = next;
        (x, y) = (y, x - quotient * y);
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;
    use num_traits::Zero;
    use proptest::prelude::*;

    proptest! {
        /// The matrix leads to two later remainders of Euclid's algorithm.
        #[test]
        fn steps_are_those_of_euclid(
            a in proptest::collection::vec(any::<u32>(), 3..40),
            b in proptest::collection::vec(any::<u32>(), 3..40),
        ) {
            let [a, b] = [a, b].map(|words| BigInt::from(BigUint::new(words)));
            let (mut a, mut b) = if a < b { (b, a) } else { (a, b) };
            prop_assume!(!b.is_zero());
            let [w, x, y, z] = steps(&a, &b);
            let (one, other) = (&a * w + &b * x, &a * y + &b * z);
            while a != one {
                prop_assert!(!b.is_zero(), "the first row is a remainder");
                (a, b) = (b.clone(), a % b);
            }
            prop_assert_eq!(b, other);
        }
    }
}
