//! The float types of tensors, and their conversion to and from a common normalised `f32`.
//!
//! A tensor is divided by the power of two above its largest magnitude. So every type, from subnormal
//! `f16` to `f64` beyond the range of `f32`, is coded in the same range, without under- or overflow.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// The element type of a tensor, as it is stored in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Dtype {
    /// IEEE binary32.
    #[default]
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

    /// The type with this name in numpy and torch.
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

    /// The name in numpy and torch.
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

/// Multiplication by 2^`exponent`, for any exponent of a finite `f64`, by two factors so that neither
/// overflows.
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

    /// The two factors by which [`times`](Self::times) multiplies, one after the other.
    pub fn factors(self) -> [f64; 2] {
        [self.0, self.1]
    }

    /// The two factors as `f32`, for multiplying an `f32` by one after the other. The result is rounded
    /// as if once: if the first product is rounded, the second is 0. `None` if the factors are too far
    /// from 1 for that.
    pub fn narrow(self) -> Option<(f32, f32)> {
        let product = self.0 * self.1;
        let (first, second) = if (f64::from(f32::MIN_POSITIVE)..=exp2i(127)).contains(&product) {
            (product, 1.0)
        } else {
            (self.0, self.1)
        };
        let within = exp2i(-120)..=exp2i(120);
        let fits = second == 1.0 || within.contains(&first) && within.contains(&second);
        fits.then_some((first as f32, second as f32))
    }
}

/// Elements that are restored at a time through an array.
const RESTORED: usize = 64;

/// A float type of weights.
pub trait Element: Copy + Send + Sync + Default + 'static {
    /// Its [`Dtype`].
    const DTYPE: Dtype;
    /// Exact widening.
    fn to_f64(self) -> f64;
    /// The nearest value. A value that is too large becomes the largest finite one, because decoding a
    /// finite weight must not give an infinity.
    fn from_f64(value: f64) -> Self;
    /// The nearest value, ties to even. A value that is too large becomes an infinity, as in a sum.
    fn nearest(value: f32) -> Self;
    /// Append the values as `f32`, rounded where they are wider.
    fn widen(values: &[Self], simd: SimdLevel, out: &mut Vec<f32>);
    /// Append its little-endian bytes.
    fn push_le(self, bytes: &mut Vec<u8>);
    /// `from_f64(power.times(value))` of every value, in the vectors of `simd`.
    fn restore(values: &[f32], power: PowerOfTwo, simd: SimdLevel, out: &mut [Self]);
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        (value as f32).clamp(f32::MIN, f32::MAX)
    }
    fn nearest(value: f32) -> Self {
        value
    }
    fn widen(values: &[Self], _: SimdLevel, out: &mut Vec<f32>) {
        out.extend_from_slice(values);
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
    fn restore(values: &[f32], power: PowerOfTwo, simd: SimdLevel, out: &mut [Self]) {
        let Some((first, second)) = power.narrow() else {
            return restore_slowly(values, power, out);
        };
        simd.run(
            #[inline(always)]
            move || {
                for (place, value) in out.iter_mut().zip(values) {
                    *place = (value * first * second).clamp(f32::MIN, f32::MAX);
                }
            },
        );
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
    fn nearest(value: f32) -> Self {
        value.into()
    }
    fn widen(values: &[Self], simd: SimdLevel, out: &mut Vec<f32>) {
        simd.run(
            #[inline(always)]
            || out.extend(values.iter().map(|value| *value as f32)),
        );
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
    fn restore(values: &[f32], power: PowerOfTwo, simd: SimdLevel, out: &mut [Self]) {
        simd.run(
            #[inline(always)]
            || restore_slowly(values, power, out),
        );
    }
}

impl Element for f16 {
    const DTYPE: Dtype = Dtype::F16;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        f16::from_f32(to_odd(value.clamp(f16::MIN.to_f64(), f16::MAX.to_f64())))
    }
    fn nearest(value: f32) -> Self {
        f16::from_f32(value)
    }
    fn widen(values: &[Self], _: SimdLevel, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + values.len(), 0.0);
        values.convert_to_f32_slice(&mut out[start..]);
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
    fn restore(values: &[f32], power: PowerOfTwo, simd: SimdLevel, out: &mut [Self]) {
        let Some((first, second)) = power.narrow() else {
            return restore_slowly(values, power, out);
        };
        // Only subnormals are rounded in `f32`, and these are 0 in `f16`.
        simd.run(
            #[inline(always)]
            move || {
                for (place, value) in out.iter_mut().zip(values) {
                    let product = (value * first * second).clamp(-F16_MAX, F16_MAX);
                    *place = f16::from_bits(f16_bits(product));
                }
            },
        );
    }
}

impl Element for bf16 {
    const DTYPE: Dtype = Dtype::Bf16;
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn from_f64(value: f64) -> Self {
        bf16::from_f32(to_odd(value.clamp(bf16::MIN.to_f64(), bf16::MAX.to_f64())))
    }
    fn nearest(value: f32) -> Self {
        bf16::from_f32(value)
    }
    fn widen(values: &[Self], simd: SimdLevel, out: &mut Vec<f32>) {
        // A `bf16` is the upper half of an `f32`. Without a special case for NaN, the loop is
        // vectorised.
        let widened = |value: &Self| f32::from_bits(u32::from(value.to_bits()) << 16);
        simd.run(
            #[inline(always)]
            || out.extend(values.iter().map(widened)),
        );
    }
    fn push_le(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
    fn restore(values: &[f32], power: PowerOfTwo, simd: SimdLevel, out: &mut [Self]) {
        let Some((first, second)) = power.narrow() else {
            return restore_slowly(values, power, out);
        };
        for (out, values) in out.chunks_mut(RESTORED).zip(values.chunks(RESTORED)) {
            let subnormal = simd.run(
                #[inline(always)]
                || {
                    let mut subnormal = false;
                    for (place, value) in out.iter_mut().zip(values) {
                        let product = (value * first * second).clamp(-BF16_MAX, BF16_MAX);
                        subnormal |= product.abs() < f32::MIN_POSITIVE && *value != 0.0;
                        // To the nearest, ties to even; no product is so large that this overflows.
                        let bits = product.to_bits();
                        *place = bf16::from_bits(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) as u16);
                    }
                    subnormal
                },
            );
            // Subnormals would be rounded twice, because the subnormals of both types lie in the same
            // range.
            if subnormal {
                restore_slowly(values, power, out);
            }
        }
    }
}

/// A float that rounds to the same 16-bit float as `value`: where it is not exact, the neighbour with
/// an odd last bit. (`half` has conversions from `f64`, but they round twice or drop what is below
/// the upper word, and which of the two depends on the machine.)
fn to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    let bits = nearest.to_bits();
    f32::from_bits(if back == value || bits & 1 == 1 {
        bits
    } else if back.abs() > value.abs() {
        bits - 1
    } else {
        bits + 1
    })
}

/// The largest values of the 16-bit types. They are constants, because with a limit that it does not
/// know the compiler does not vectorise the loop.
const F16_MAX: f32 = 65504.0;
const BF16_MAX: f32 = f32::from_bits(0x7F7F_0000);

/// The bits of the `f16` nearest to a float within its range, ties to even, without a branch, so that a
/// loop over it is vectorised.
#[inline(always)]
fn f16_bits(value: f32) -> u16 {
    let magnitude = value.abs().to_bits();
    // The exponent is counted from 15 instead of 127, and 13 bits of the mantissa are rounded away.
    let odd = magnitude >> 13 & 1;
    let normal = magnitude
        .wrapping_sub((127 - 15) << 23)
        .wrapping_add(0xFFF + odd)
        >> 13;
    // A subnormal counts steps of 2^-24, which is the last bit of a float from 0.5 on.
    let subnormal = (value.abs() + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    // The smallest normal `f16`, 2^-14.
    const SMALLEST: u32 = (127 - 14) << 23;
    let bits = if magnitude < SMALLEST {
        subnormal
    } else {
        normal
    };
    bits as u16 | (value.to_bits() >> 16) as u16 & 0x8000
}

/// [`Element::restore`] by its definition.
#[inline(always)]
fn restore_slowly<T: Element>(values: &[f32], power: PowerOfTwo, out: &mut [T]) {
    for (place, value) in out.iter_mut().zip(values) {
        *place = T::from_f64(power.times(f64::from(*value)));
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

/// Read weights of this type from their little-endian bytes, as many as `out` has elements.
pub(in crate::codec) fn copy_raw<T: Element>(bytes: &[u8], dtype: Dtype, out: &mut [T]) {
    fn read<const N: usize, T: Element>(bytes: &[u8], out: &mut [T], value: fn([u8; N]) -> f64) {
        for (place, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *place = T::from_f64(value(*chunk));
        }
    }
    match dtype {
        Dtype::F32 => read(bytes, out, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => read(bytes, out, f64::from_le_bytes),
        Dtype::F16 => read(bytes, out, |b| f16::from_le_bytes(b).into()),
        Dtype::Bf16 => read(bytes, out, |b| bf16::from_le_bytes(b).into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn restored_as_defined<T: Element + PartialEq + std::fmt::Debug>(
        values: &[f32],
        exponent: i32,
    ) {
        let power = PowerOfTwo::new(exponent);
        let mut expected = vec![T::default(); values.len()];
        restore_slowly(values, power, &mut expected);
        for simd in SimdLevel::available() {
            let mut out = vec![T::default(); values.len()];
            T::restore(values, power, simd, &mut out);
            assert_eq!(out, expected, "{simd:?} 2^{exponent}");
        }
    }

    proptest! {
        #[test]
        fn restored_values_are_rounded_once(
            bits in proptest::collection::vec(any::<u32>(), 0..200),
            small in proptest::collection::vec(-4.0f32..4.0, 0..200),
            exponent in prop_oneof![-160i32..160, -1100i32..1100],
        ) {
            let any = bits.into_iter().map(f32::from_bits).filter(|v| v.is_finite());
            let values: Vec<f32> = any.chain(small).collect();
            restored_as_defined::<f32>(&values, exponent);
            restored_as_defined::<f64>(&values, exponent);
            restored_as_defined::<f16>(&values, exponent);
            restored_as_defined::<bf16>(&values, exponent);
        }
    }

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
    fn sixteen_bits_are_rounded_once() {
        // Values just above, at and just below the middle of two neighbours.
        for (value, f16_bits, bf16_bits) in [
            (1.0 + 2f64.powi(-11) + 2f64.powi(-40), 0x3C01, 0x3F80),
            (1.0 + 2f64.powi(-11), 0x3C00, 0x3F80),
            (1.0 + 2f64.powi(-8) + 2f64.powi(-40), 0x3C04, 0x3F81),
            (1.0 + 2f64.powi(-8) - 2f64.powi(-40), 0x3C04, 0x3F80),
            (-1.0 - 3.0 * 2f64.powi(-11) + 2f64.powi(-40), 0xBC01, 0xBF80),
            (1e-300, 0, 0),
        ] {
            assert_eq!(
                <f16 as Element>::from_f64(value).to_bits(),
                f16_bits,
                "{value}"
            );
            assert_eq!(
                <bf16 as Element>::from_f64(value).to_bits(),
                bf16_bits,
                "{value}"
            );
        }
    }

    #[test]
    fn decoding_never_makes_an_infinity() {
        assert_eq!(<f16 as Element>::from_f64(1e9), f16::MAX);
        assert_eq!(<f32 as Element>::from_f64(-1e300), f32::MIN);
    }
}
