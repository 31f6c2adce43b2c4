//! Integers that say so when they overflow.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use super::divisor::common_divisor;
use super::words::integer;

/// An integer of one machine word, of two, or of any size. Every operation is exact or `None`.
pub trait Exact: Clone + Ord {
    /// The same integer in this type.
    fn of(value: &BigInt) -> Option<Self>;
    /// The integer in these 64-bit words, in two's complement with the least word first.
    fn of_words(words: &[u64]) -> Option<Self>;
    /// The same integer as a big one.
    fn to_big(&self) -> BigInt;
    /// The same integer in one machine word, if it fits.
    fn to_word(&self) -> Option<i64>;
    /// The nearest float, about.
    fn to_float(&self) -> f64;
    /// 0.
    fn zero() -> Self;
    /// 1.
    fn one() -> Self;
    /// −1, 0 or 1.
    fn sign(&self) -> i8;
    /// self + other.
    fn plus(&self, other: &Self) -> Option<Self>;
    /// self − other.
    fn minus(&self, other: &Self) -> Option<Self>;
    /// self · other.
    fn times(&self, other: &Self) -> Option<Self>;
    /// self / other, which is an integer.
    fn divided(&self, other: &Self) -> Option<Self>;
    /// ⌊self / other⌋.
    fn floor_divided(&self, other: &Self) -> Option<Self>;
    /// The greatest common divisor, not negative.
    fn gcd(&self, other: &Self) -> Self;

    /// |self|.
    fn absolute(&self) -> Option<Self> {
        if self.sign() < 0 {
            Self::zero().minus(self)
        } else {
            Some(self.clone())
        }
    }
}

/// Σ a·b.
pub fn dot<N: Exact>(a: &[N], b: &[N]) -> Option<N> {
    let mut sum = N::zero();
    for (x, y) in a.iter().zip(b) {
        sum = sum.plus(&x.times(y)?)?;
    }
    Some(sum)
}

/// Divide by the greatest common divisor of all.
pub fn reduce<N: Exact>(numbers: &mut [N]) {
    let one = N::one();
    let mut divisor = N::zero();
    for x in numbers.iter() {
        divisor = divisor.gcd(x);
        if divisor == one {
            return;
        }
    }
    if divisor.sign() != 0 {
        for x in numbers {
            if let Some(quotient) = x.divided(&divisor) {
                *x = quotient;
            }
        }
    }
}

macro_rules! machine {
    ($word:ty, $convert:ident) => {
        impl Exact for $word {
            fn of(value: &BigInt) -> Option<Self> {
                value.$convert()
            }
            #[inline]
            fn of_words(words: &[u64]) -> Option<Self> {
                let low = *words.first()? as i64;
                let (value, used) = match words.get(1) {
                    Some(high) => (i128::from(*high as i64) << 64 | i128::from(low as u64), 2),
                    None => (i128::from(low), 1),
                };
                let sign = (value >> 127) as u64;
                let rest = words.get(used..).unwrap_or_default();
                rest.iter()
                    .all(|word| *word == sign)
                    .then(|| Self::try_from(value).ok())?
            }
            fn to_big(&self) -> BigInt {
                BigInt::from(*self)
            }
            #[inline]
            fn to_word(&self) -> Option<i64> {
                i64::try_from(*self).ok()
            }
            #[inline]
            fn to_float(&self) -> f64 {
                *self as f64
            }
            #[inline]
            fn zero() -> Self {
                0
            }
            #[inline]
            fn one() -> Self {
                1
            }
            #[inline]
            fn sign(&self) -> i8 {
                self.signum() as i8
            }
            #[inline]
            fn plus(&self, other: &Self) -> Option<Self> {
                self.checked_add(*other)
            }
            #[inline]
            fn minus(&self, other: &Self) -> Option<Self> {
                self.checked_sub(*other)
            }
            #[inline]
            fn times(&self, other: &Self) -> Option<Self> {
                self.checked_mul(*other)
            }
            #[inline]
            fn divided(&self, other: &Self) -> Option<Self> {
                self.checked_div(*other)
            }
            #[inline]
            fn floor_divided(&self, other: &Self) -> Option<Self> {
                // The only quotient that overflows is that of the least number and −1.
                (*self != Self::MIN).then(|| Integer::div_floor(self, other))
            }
            #[inline]
            fn gcd(&self, other: &Self) -> Self {
                // The least number has no absolute value: no common divisor is taken out of it.
                if *self == Self::MIN || *other == Self::MIN {
                    return 1;
                }
                // Stein's binary algorithm: divisions take longer.
                let (mut a, mut b) = (self.unsigned_abs(), other.unsigned_abs());
                if a == 0 || b == 0 {
                    return (a | b) as Self;
                }
                let common = (a | b).trailing_zeros();
                a >>= a.trailing_zeros();
                while b != 0 {
                    b >>= b.trailing_zeros();
                    (a, b) = (a.min(b), a.abs_diff(b));
                }
                (a << common) as Self
            }
        }
    };
}

machine!(i64, to_i64);
machine!(i128, to_i128);

impl Exact for BigInt {
    fn of(value: &BigInt) -> Option<Self> {
        Some(value.clone())
    }
    fn of_words(words: &[u64]) -> Option<Self> {
        Some(integer(words))
    }
    fn to_big(&self) -> BigInt {
        self.clone()
    }
    fn to_word(&self) -> Option<i64> {
        self.to_i64()
    }
    fn to_float(&self) -> f64 {
        self.to_f64().unwrap_or(f64::INFINITY)
    }
    fn zero() -> Self {
        Zero::zero()
    }
    fn one() -> Self {
        num_traits::One::one()
    }
    fn sign(&self) -> i8 {
        self.signum().to_i8().unwrap_or_default()
    }
    fn plus(&self, other: &Self) -> Option<Self> {
        Some(self + other)
    }
    fn minus(&self, other: &Self) -> Option<Self> {
        Some(self - other)
    }
    fn times(&self, other: &Self) -> Option<Self> {
        Some(self * other)
    }
    fn divided(&self, other: &Self) -> Option<Self> {
        Some(self / other)
    }
    fn floor_divided(&self, other: &Self) -> Option<Self> {
        Some(Integer::div_floor(self, other))
    }
    fn gcd(&self, other: &Self) -> Self {
        common_divisor(self, other)
    }
}
