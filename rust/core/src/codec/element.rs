//! The float types a tensor may have, and their passage through a common normalised `f32`.
//!
//! A tensor is divided by the power of two above its largest magnitude, so that every type, from
//! subnormal `f16` to `f64` beyond the range of `f32`, is searched in the same range and nothing
//! under- or overflows on the way.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::{Control, Error, ErrorKind, Result};

/// The element type of a tensor, as it is stored in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dtype {
    /// IEEE binary32.
    F32 = 0,
    /// IEEE binary64.
    F64 = 1,
    /// IEEE binary16.
    F16 = 2,
    /// The upper half of a binary32.
    Bf16 = 3,
}

impl Dtype {
    /// The type with this stored number.
    pub fn from_code(code: u8) -> Result<Self> {
        [Self::F32, Self::F64, Self::F16, Self::Bf16]
            .into_iter()
            .find(|d| *d as u8 == code)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Format,
                    format!("dtype number {code}: known are 0 to 3"),
                )
            })
    }

    /// The type that numpy and torch call so.
    pub fn from_name(name: &str) -> Result<Self> {
        [Self::F32, Self::F64, Self::F16, Self::Bf16]
            .into_iter()
            .find(|d| d.name() == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Dtype,
                    format!("dtype {name}: float32, float64, float16 and bfloat16 are accepted"),
                )
            })
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The name numpy and torch use.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// 2^`exponent` as `f64`; below the subnormals 0, above the range infinity.
pub(crate) fn exp2i(exponent: i32) -> f64 {
    match exponent {
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        i32::MIN..=-1075 => 0.0,
        _ => f64::INFINITY,
    }
}

/// Multiplication by 2^`exponent` for any exponent that a finite `f64` can need, in two factors so
/// that neither overflows.
#[derive(Clone, Copy, Debug)]
pub struct PowerOfTwo(f64, f64);

impl PowerOfTwo {
    /// 2^`exponent`.
    pub fn new(exponent: i32) -> Self {
        let half = exponent / 2;
        Self(exp2i(half), exp2i(exponent - half))
    }

    /// `value`·2^exponent; exact unless the result is subnormal or too large.
    #[inline]
    pub fn times(self, value: f64) -> f64 {
        value * self.0 * self.1
    }
}

/// A float type that weights come in.
pub trait Element: Copy + Send + Sync + Default + 'static {
    /// Its stored name.
    const DTYPE: Dtype;
    /// Exact widening.
    fn to_f64(self) -> f64;
    /// Nearest value; what is too large becomes the largest finite one, as decoding a finite weight
    /// must not make an infinity.
    fn from_f64(value: f64) -> Self;
    /// Append its little-endian bytes.
    fn push_le(self, bytes: &mut Vec<u8>);
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        (value as f32).clamp(f32::MIN, f32::MAX)
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(value: f64) -> Self {
        value.clamp(f64::MIN, f64::MAX)
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        f16::from_f64(value.clamp(f16::MIN.to_f64(), f16::MAX.to_f64()))
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        bf16::from_f64(value.clamp(bf16::MIN.to_f64(), bf16::MAX.to_f64()))
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
}

/// Elements scanned between two looks at the stop flag.
const SCAN: usize = 1 << 16;

/// The exponent e for which every |weight|·2^−e is below 1, or `None` when all weights are zero.
///
/// A NaN or an infinity is an error that gives the first one's flat index.
pub fn exponent<T: Element>(weights: &[T], control: &Control) -> Result<Option<i32>> {
    let largest = weights
        .par_chunks(SCAN)
        .enumerate()
        .map(|(chunk, values)| {
            control.check()?;
            // An integer maximum over the bits would order NaN last; a float `max` drops it.
            let mut largest = 0.0f64;
            let mut finite = true;
            for value in values {
                let magnitude = value.to_f64().abs();
                finite &= magnitude < f64::INFINITY;
                largest = largest.max(magnitude);
            }
            if !finite {
                let at = values.iter().position(|v| !v.to_f64().is_finite());
                return Err(chunk * SCAN + at.unwrap_or(0)).or_else(|i| non_finite(weights, i));
            }
            Ok(largest)
        })
        .collect::<Vec<Result<f64>>>()
        .into_iter()
        .try_fold(0.0f64, |largest, chunk| Ok(largest.max(chunk?)))?;
    Ok((largest > 0.0).then(|| exponent_above(largest)))
}

fn non_finite<T: Element>(weights: &[T], index: usize) -> Result<f64> {
    Err(Error::new(
        ErrorKind::NonFinite,
        format!(
            "weight {} at flat index {index} (C order): every weight must be finite",
            weights[index].to_f64()
        ),
    ))
}

/// The least e with `value` < 2^e, for a finite positive `value`.
fn exponent_above(value: f64) -> i32 {
    let bits = value.to_bits();
    match (bits >> 52) as i32 {
        0 => 64 - bits.leading_zeros() as i32 - 1074,
        biased => biased - 1022,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_bound_their_value_tightly() {
        for value in [
            1.0,
            0.75,
            3.9,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            1e-310,
            f64::from(f32::MAX),
        ] {
            let e = exponent_above(value);
            let normalised = PowerOfTwo::new(-e).times(value);
            assert!((0.5..1.0).contains(&normalised), "{value}: {normalised}");
            assert_eq!(PowerOfTwo::new(e).times(normalised), value);
        }
    }

    #[test]
    fn the_first_bad_weight_is_named() {
        let mut weights = vec![1.0f32; 200_000];
        weights[150_001] = f32::NAN;
        weights[150_007] = f32::INFINITY;
        let error = exponent(&weights, &Control::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NonFinite);
        assert!(error.message().contains("index 150001"), "{error}");
    }

    #[test]
    fn decoding_never_makes_an_infinity() {
        assert_eq!(<f16 as Element>::from_f64(1e9), f16::MAX);
        assert_eq!(<f32 as Element>::from_f64(-1e300), f32::MIN);
    }
}
