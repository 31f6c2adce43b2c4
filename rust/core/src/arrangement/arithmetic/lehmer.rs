//! Steps of Euclid's algorithm on long numbers, many at once.
//!
//! The leading bits of two long numbers determine most quotients of Euclid's algorithm. So many steps are
//! made on machine integers, and their product, a matrix, is applied to the long numbers at once.
//!
//! Source: D. E. Knuth, *The Art of Computer Programming* 2, section 4.5.2, algorithm L.

use num_bigint::{BigInt, BigUint};
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
    steps_of_leading(leading(a), leading(b))
}

fn steps_of_leading(mut x: i64, mut y: i64) -> [i64; 4] {
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

/// Two numbers a ≥ b ≥ 0 that become later remainders of Euclid's algorithm in their place.
#[derive(Debug)]
pub(super) struct Remainders {
    /// Words, the least first, none of the last ones 0.
    a: Vec<u64>,
    b: Vec<u64>,
}

impl Remainders {
    /// Begins with the magnitudes of two numbers.
    pub(super) fn of(a: &BigInt, b: &BigInt) -> Self {
        let (long, short) = if a.magnitude() < b.magnitude() {
            (b, a)
        } else {
            (a, b)
        };
        let words = |x: &BigInt| x.magnitude().to_u64_digits();
        Self {
            a: words(long),
            b: words(short),
        }
    }

    /// The greatest common divisor of both.
    pub(super) fn divisor(mut self) -> BigUint {
        while self.b.len() > 1 {
            let [w, x, y, z] = self.steps();
            if x == 0 {
                let rest = number(&self.a) % number(&self.b);
                self.a = std::mem::replace(&mut self.b, rest.to_u64_digits());
            } else {
                self.combine([w, x, y, z]);
            }
        }
        let Some(&short) = self.b.first() else {
            return number(&self.a);
        };
        let rest = (number(&self.a) % short).to_u64().unwrap_or_default();
        num_integer::gcd(short, rest).into()
    }

    fn steps(&self) -> [i64; 4] {
        let top = self.a.last().map_or(0, |word| word.leading_zeros());
        let bits = self.a.len() as u64 * 64 - u64::from(top);
        let shift = bits.saturating_sub(LEADING);
        let (first, by) = ((shift / 64) as usize, shift % 64);
        let leading = |words: &[u64]| {
            let word = |at: usize| u128::from(words.get(at).copied().unwrap_or_default());
            ((word(first) | word(first + 1) << 64) >> by) as i64
        };
        steps_of_leading(leading(&self.a), leading(&self.b))
    }

    /// Replaces both by the rows of a matrix of [steps] times both, in one pass and without memory.
    fn combine(&mut self, matrix: [i64; 4]) {
        // In each row one entry is positive at most, and the other negative or 0: in the first row the
        // first one after an even number of steps.
        let even = matrix[0] > 0;
        let [p, q, r, s] = matrix.map(|entry| u128::from(entry.unsigned_abs()));
        self.b.resize(self.a.len(), 0);
        let (mut carry, mut other) = (0i128, 0i128);
        for (a, b) in self.a.iter_mut().zip(&mut self.b) {
            let (x, y) = (u128::from(*a), u128::from(*b));
            // Products have less than 96 bits.
            let (first, second) = (
                (p * x) as i128 - (q * y) as i128,
                (s * y) as i128 - (r * x) as i128,
            );
            carry += if even { first } else { -first };
            other += if even { second } else { -second };
            (*a, *b) = (carry as u64, other as u64);
            (carry, other) = (carry >> 64, other >> 64);
        }
        debug_assert!((carry, other) == (0, 0), "remainders are not negative");
        for words in [&mut self.a, &mut self.b] {
            words.truncate(
                words
                    .iter()
                    .rposition(|word| *word != 0)
                    .map_or(0, |at| at + 1),
            );
        }
    }
}

fn number(words: &[u64]) -> BigUint {
    let halves = words
        .iter()
        .flat_map(|word| [*word as u32, (word >> 32) as u32]);
    BigUint::new(halves.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
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

        /// In place, both are what the matrix makes of them.
        #[test]
        fn remainders_are_combined_in_their_place(
            words in proptest::collection::vec(any::<(u32, u32)>(), 3..40),
        ) {
            // Of the same length, so that most quotients are short.
            let (a, b): (Vec<u32>, Vec<u32>) = words.into_iter().unzip();
            let [a, b] = [a, b].map(|words| BigInt::from(BigUint::new(words)));
            let (a, b) = if a < b { (b, a) } else { (a, b) };
            let mut found = Remainders::of(&b, &a);
            let matrix = found.steps();
            prop_assert_eq!(matrix, steps(&a, &b));
            prop_assume!(matrix[1] != 0);
            found.combine(matrix);
            let [w, x, y, z] = matrix;
            prop_assert_eq!(BigInt::from(number(&found.a)), &a * w + &b * x);
            prop_assert_eq!(BigInt::from(number(&found.b)), &a * y + &b * z);
        }
    }
}
