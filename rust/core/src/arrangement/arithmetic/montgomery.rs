//! Residues modulo any odd prime below 2⁶², by Montgomery's multiplication (P. L. Montgomery, *Modular
//! Multiplication Without Trial Division*, Math. Comp. 44, 1985).
//!
//! A residue x is represented by x·2⁶⁴ mod p. Zero is represented by 0. The test of rank needs no more
//! than that, so no number is converted back.

/// The field of residues modulo one prime.
#[derive(Clone, Copy, Debug)]
pub struct Montgomery {
    prime: u64,
    /// −1/p modulo 2⁶⁴.
    inverse: u64,
    /// 2¹²⁸ mod p.
    square: u64,
}

impl Montgomery {
    /// A lower bound on log₂ p for the primes just below 2⁶² that are used.
    pub const LEAST_BITS: f64 = 61.9;

    /// The field of this prime, which is odd and below 2⁶².
    pub fn new(prime: u64) -> Self {
        // Newton's iteration doubles the number of correct bits. It starts with three, because an odd
        // number is its own inverse modulo 8.
        let mut inverse = prime;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(prime.wrapping_mul(inverse)));
        }
        let once = (u128::MAX % u128::from(prime) + 1) % u128::from(prime);
        Self {
            prime,
            inverse: inverse.wrapping_neg(),
            square: once as u64,
        }
    }

    /// x/2⁶⁴ mod p for x < p·2⁶⁴.
    #[inline]
    fn reduced(&self, x: u128) -> u64 {
        let by = (x as u64).wrapping_mul(self.inverse);
        let sum = x + u128::from(by) * u128::from(self.prime);
        let high = (sum >> 64) as u64;
        high.min(high.wrapping_sub(self.prime))
    }

    /// Product.
    #[inline]
    pub fn times(&self, a: u64, b: u64) -> u64 {
        self.reduced(u128::from(a) * u128::from(b))
    }

    /// Difference.
    #[inline]
    pub fn minus(&self, a: u64, b: u64) -> u64 {
        let difference = a.wrapping_sub(b);
        difference.min(difference.wrapping_add(self.prime))
    }

    /// The residue of a machine integer.
    pub fn residue(&self, value: i128) -> u64 {
        let size = (value.unsigned_abs() % u128::from(self.prime)) as u64;
        let residue = self.times(size, self.square);
        if value < 0 {
            self.minus(0, residue)
        } else {
            residue
        }
    }

    /// Whether an odd number between 2⁶¹ and 2⁶² is prime. This is Miller's test with the first twelve
    /// primes as bases, which is correct below 3·10²³ (J. Sorenson and J. Webster, Math. Comp. 86, 2017).
    pub fn is_prime(number: u64) -> bool {
        const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
        if BASES.iter().any(|p| number.is_multiple_of(*p)) {
            return false;
        }
        let field = Self::new(number);
        let one = field.residue(1);
        let minus_one = field.minus(0, one);
        let twos = (number - 1).trailing_zeros();
        let odd = (number - 1) >> twos;
        BASES.iter().all(|base| {
            let base = field.residue((*base).into());
            let mut power = one;
            for bit in (0..64 - odd.leading_zeros()).rev() {
                power = field.times(power, power);
                if odd >> bit & 1 == 1 {
                    power = field.times(power, base);
                }
            }
            if power == one || power == minus_one {
                return true;
            }
            (1..twos).any(|_| {
                power = field.times(power, power);
                power == minus_one
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_those_of_residues(a: i128, b: i128, c: i128) {
            let prime = (1u64 << 62) - 57;
            let field = Montgomery::new(prime);
            let p = i128::from(prime);
            let [x, y, z] = [a, b, c].map(|value| value.rem_euclid(p));
            let product = (num_bigint::BigInt::from(x) * y - z) % p;
            let expected = field.residue(i128::try_from(product).unwrap());
            let found = field.minus(field.times(field.residue(a), field.residue(b)), field.residue(c));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn composites_are_told() {
        assert!(Montgomery::is_prime((1 << 62) - 57));
        assert!(Montgomery::is_prime((1 << 61) - 1));
        // 2^61 + 1 is a multiple of 3; a product of two primes of 31 bits.
        assert!(!Montgomery::is_prime((1 << 61) + 1));
        assert!(!Montgomery::is_prime(2_147_483_647 * 2_147_483_629));
    }
}
