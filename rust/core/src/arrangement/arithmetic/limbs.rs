//! Integers of a fixed number of 64-bit words, in two's complement, least word first.
//!
//! Sums and products wrap around. Callers choose `N` by a bound on the values, so no result overflows.

/// An integer of `N` words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limbs<const N: usize>(pub [u64; N]);

impl<const N: usize> Limbs<N> {
    /// 0.
    pub const ZERO: Self = Self([0; N]);

    /// A number of two words; `N` is at least 2.
    #[inline]
    pub fn from_i128(value: i128) -> Self {
        let mut words = [(value >> 127) as u64; N];
        words[0] = value as u64;
        words[1] = (value >> 64) as u64;
        Self(words)
    }

    /// Whether it is below 0.
    #[inline]
    pub fn is_negative(&self) -> bool {
        self.0[N - 1] >> 63 == 1
    }

    /// The same number in `M` words, which have to be enough for it.
    #[inline]
    pub fn resized<const M: usize>(&self) -> Limbs<M> {
        let sign = if self.is_negative() { u64::MAX } else { 0 };
        Limbs(std::array::from_fn(
            |i| if i < N { self.0[i] } else { sign },
        ))
    }

    /// self + other.
    #[inline]
    pub fn plus(&self, other: &Self) -> Self {
        let mut words = [0; N];
        let mut carry = 0;
        for (word, (a, b)) in words.iter_mut().zip(self.0.iter().zip(&other.0)) {
            let sum = u128::from(*a) + u128::from(*b) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        Self(words)
    }

    /// −self.
    #[inline]
    pub fn negated(&self) -> Self {
        let mut words = [0; N];
        let mut carry = 1;
        for (word, a) in words.iter_mut().zip(&self.0) {
            let sum = u128::from(!a) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        Self(words)
    }

    /// self − other.
    #[inline]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&other.negated())
    }

    /// self·other.
    #[inline]
    pub fn times(&self, other: &Self) -> Self {
        let mut words = [0u64; N];
        for i in 0..N {
            let mut carry = 0u128;
            for j in 0..N - i {
                let sum = u128::from(words[i + j])
                    + u128::from(self.0[i]) * u128::from(other.0[j])
                    + carry;
                words[i + j] = sum as u64;
                carry = sum >> 64;
            }
        }
        Self(words)
    }
}

/// The exact product of two 128-bit numbers.
#[inline]
pub fn product(a: i128, b: i128) -> Limbs<4> {
    Limbs::<4>::from_i128(a).times(&Limbs::from_i128(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn big<const N: usize>(value: &Limbs<N>) -> BigInt {
        let bytes: Vec<u8> = value.0.iter().flat_map(|w| w.to_le_bytes()).collect();
        BigInt::from_signed_bytes_le(&bytes)
    }

    proptest! {
        #[test]
        fn they_are_integers(a: i128, b: i128, c: i128) {
            let [x, y, z] = [a, b, c].map(BigInt::from);
            let product = product(a, b);
            prop_assert_eq!(big(&product), &x * &y);
            let wide: Limbs<6> = product.resized();
            let third = Limbs::<6>::from_i128(c);
            prop_assert_eq!(big(&wide.times(&third)), &x * &y * &z);
            prop_assert_eq!(big(&third.minus(&wide)), &z - &x * &y);
            prop_assert_eq!(big(&wide.plus(&third)), &x * &y + &z);
            prop_assert_eq!(third.is_negative(), c < 0);
            prop_assert_eq!(big(&third.resized::<2>()), z);
        }
    }
}
