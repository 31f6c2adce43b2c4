//! Linear combinations of a few points, in coordinates of several words.
//!
//! The arithmetic is modulo 2^(64·limbs). The final results fit `limbs` words, so overflow on the way does
//! not change them. The negative of each point is stored too, so that coefficients are multiplied by
//! magnitude. At [`SimdLevel::Vbmi`] each lane has one coordinate, in limbs of 52 bits.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::SimdLevel;

/// The number of lanes, which is the largest number of coordinates for this form.
const LANES: usize = 8;

/// Bits of a limb in lanes.
#[cfg(target_arch = "x86_64")]
const BITS: usize = 52;
#[cfg(target_arch = "x86_64")]
const MASK: u64 = (1 << BITS) - 1;

/// Points of `width` coordinates of `limbs` words each.
#[derive(Clone, Debug)]
pub struct PointBasis {
    simd: SimdLevel,
    width: usize,
    limbs: usize,
    /// Whether the points are kept in lanes: only where `simd` is [`SimdLevel::Vbmi`].
    in_lanes: bool,
    /// Each point and its negative.
    words: Vec<u64>,
    /// The same points in lanes, limb by limb.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "kernels for x86-64 alone")
    )]
    lanes: Vec<[u64; LANES]>,
}

/// Call a function with the number of 52-bit limbs that hold `limbs` words, and with the number of words, as
/// constants.
#[cfg(target_arch = "x86_64")]
macro_rules! with_limbs {
    ($limbs:expr, $call:ident $arguments:tt) => {
        match $limbs {
            2 => with_limbs!($call, 3, 2, $arguments),
            3 => with_limbs!($call, 4, 3, $arguments),
            4 => with_limbs!($call, 5, 4, $arguments),
            5 => with_limbs!($call, 7, 5, $arguments),
            _ => with_limbs!($call, 8, 6, $arguments),
        }
    };
    (spread, $n:literal, $l:literal, $arguments:tt) => { spread::<$n, $l>$arguments };
    (derive, $n:literal, $l:literal, $arguments:tt) => { derive::<$n>$arguments };
    (push, $n:literal, $l:literal, $arguments:tt) => { push::<$n, $l, T>$arguments };
}

impl PointBasis {
    /// No points yet.
    pub fn new(simd: SimdLevel) -> Self {
        Self {
            simd,
            width: 0,
            limbs: 0,
            in_lanes: false,
            words: Vec::new(),
            lanes: Vec::new(),
        }
    }

    /// Replace the points by these.
    pub fn load(&mut self, points: &[u64], width: usize, limbs: usize) {
        (self.width, self.limbs) = (width, limbs);
        self.in_lanes = width <= LANES && (2..=6).contains(&limbs) && multiplies_limbs(self.simd);
        if self.in_lanes {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the basis is in lanes only where the token proves that the machine has IFMA.
            unsafe {
                with_limbs!(limbs, spread(points, width, &mut self.lanes))
            };
            return;
        }
        self.words.clear();
        for point in points.chunks_exact(width * limbs) {
            self.words.extend_from_slice(point);
            for coordinate in point.chunks_exact(limbs) {
                let mut carry = true;
                self.words.extend(coordinate.iter().map(|word| {
                    let (word, more) = (!word).overflowing_add(carry.into());
                    carry = more;
                    word
                }));
            }
        }
    }

    /// Replace the points of `other` by linear combinations of these points. `coefficients` has one number
    /// for each of these points, for each new point.
    pub fn derive(&self, coefficients: &[i128], other: &mut Self) {
        (other.width, other.limbs, other.simd) = (self.width, self.limbs, self.simd);
        other.in_lanes = self.in_lanes;
        if self.in_lanes {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the basis is in lanes only where the token proves that the machine has IFMA.
            unsafe {
                with_limbs!(self.limbs, derive(self, coefficients, &mut other.lanes))
            };
            return;
        }
        let stride = self.width * self.limbs;
        let terms = self.words.len() / (2 * stride);
        let mut points = vec![0; coefficients.len() / terms * stride];
        let sums = coefficients.chunks_exact(terms);
        for (point, coefficients) in points.chunks_exact_mut(stride).zip(sums) {
            self.sum(coefficients, point);
        }
        other.load(&points, self.width, self.limbs);
    }

    /// Append linear combinations of these points. The sign of each is chosen so that its last coordinate
    /// is positive.
    pub fn push<const T: usize>(&self, coefficients: &[[i128; T]], out: &mut Vec<u64>) {
        let stride = self.width * self.limbs;
        let start = out.len();
        out.resize(start + coefficients.len() * stride, 0);
        let points = &mut out[start..];
        if self.in_lanes {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the basis is in lanes only where the token proves that the machine has IFMA.
            unsafe {
                with_limbs!(self.limbs, push(self, coefficients, points))
            };
            return;
        }
        for (point, coefficients) in points.chunks_exact_mut(stride).zip(coefficients) {
            self.sum(coefficients, point);
            if point.last().is_some_and(|word| word >> 63 == 1) {
                self.sum(&coefficients.map(|x| -x), point);
            }
        }
    }

    /// One linear combination.
    fn sum(&self, coefficients: &[i128], point: &mut [u64]) {
        let stride = self.width * self.limbs;
        point.fill(0);
        for (of, &by) in self.words.chunks_exact(2 * stride).zip(coefficients) {
            let of = &of[if by < 0 { stride } else { 0 }..][..stride];
            let size = by.unsigned_abs();
            for (to, of) in point
                .chunks_exact_mut(self.limbs)
                .zip(of.chunks_exact(self.limbs))
            {
                add_multiple(to, size as u64, of);
                add_multiple(&mut to[1..], (size >> 64) as u64, of);
            }
        }
    }
}

/// Add by·of to `to`, modulo 2^(64·words of `to`).
#[inline(always)]
fn add_multiple(to: &mut [u64], by: u64, of: &[u64]) {
    let mut carry = 0;
    for (to, of) in to.iter_mut().zip(of) {
        let sum = u128::from(*to) + u128::from(by) * u128::from(*of) + carry;
        *to = sum as u64;
        carry = sum >> 64;
    }
}

/// Whether this level has an instruction that multiplies 52-bit limbs in lanes.
fn multiplies_limbs(simd: SimdLevel) -> bool {
    match simd {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Vbmi(_) => true,
        _ => false,
    }
}

/// From words to lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn spread<const N: usize, const L: usize>(
    points: &[u64],
    width: usize,
    out: &mut Vec<[u64; LANES]>,
) {
    out.clear();
    for point in points.chunks_exact(width * L) {
        let mut limbs = [[0; LANES]; N];
        for (lane, words) in point.chunks_exact(L).enumerate() {
            for (j, limb) in limbs.iter_mut().enumerate() {
                let (at, shift) = (j * BITS / 64, j * BITS % 64);
                let word = |at: usize| u128::from(words.get(at).copied().unwrap_or_default());
                limb[lane] = ((word(at) | word(at + 1) << 64) >> shift) as u64 & MASK;
            }
        }
        keep(limbs.map(|x| load(x)), out);
    }
}

/// A point and its negative.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn keep<const N: usize>(point: [__m512i; N], out: &mut Vec<[u64; LANES]>) {
    for limb in point.into_iter().chain(negated(point)) {
        out.push(store(limb));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn derive<const N: usize>(basis: &PointBasis, coefficients: &[i128], out: &mut Vec<[u64; LANES]>) {
    out.clear();
    let narrow = are_narrow(coefficients);
    for coefficients in coefficients.chunks_exact(basis.lanes.len() / (2 * N)) {
        let sum = if narrow {
            sum::<N, 2>(&basis.lanes, coefficients)
        } else {
            sum::<N, 3>(&basis.lanes, coefficients)
        };
        keep(sum, out);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn push<const N: usize, const L: usize, const T: usize>(
    basis: &PointBasis,
    coefficients: &[[i128; T]],
    points: &mut [u64],
) {
    if are_narrow(coefficients.as_flattened()) {
        push_sized::<N, L, T, 2>(basis, coefficients, points);
    } else {
        push_sized::<N, L, T, 3>(basis, coefficients, points);
    }
}

/// Whether two limbs hold the magnitudes of these numbers. Three hold any.
#[cfg(target_arch = "x86_64")]
fn are_narrow(coefficients: &[i128]) -> bool {
    let all = coefficients.iter().fold(0, |all, x| all | x.unsigned_abs());
    all >> (2 * BITS) == 0
}

/// [`push`] for coefficients of `C` limbs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn push_sized<const N: usize, const L: usize, const T: usize, const C: usize>(
    basis: &PointBasis,
    coefficients: &[[i128; T]],
    points: &mut [u64],
) {
    let last = basis.width - 1;
    // The limb and the bit that have the sign of a number of L words.
    let (top, bit) = ((64 * L - 1) / BITS, (64 * L - 1) % BITS);
    for (point, coefficients) in points.chunks_exact_mut(basis.width * L).zip(coefficients) {
        let mut sum = sum::<N, C>(&basis.lanes, coefficients);
        let signs = _mm512_test_epi64_mask(sum[top], _mm512_set1_epi64(1 << bit));
        if signs >> last & 1 == 1 {
            sum = negated(sum);
        }
        let words: [[u64; LANES]; L] = std::array::from_fn(|w| store(word(&sum, 64 * w)));
        for (lane, to) in point.chunks_exact_mut(L).enumerate() {
            for (to, words) in to.iter_mut().zip(&words) {
                *to = words[lane];
            }
        }
    }
}

/// The word that begins at this bit.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn word<const N: usize>(limbs: &[__m512i; N], bit: usize) -> __m512i {
    let (at, shift) = (bit / BITS, bit % BITS);
    let limb = |k: usize| limbs.get(k).copied().unwrap_or(_mm512_setzero_si512());
    let left = |x, by: usize| _mm512_sllv_epi64(x, _mm512_set1_epi64(by as i64));
    let first = _mm512_srlv_epi64(limb(at), _mm512_set1_epi64(shift as i64));
    // Shifts by 64 or more give 0.
    let second = left(limb(at + 1), BITS - shift);
    let third = left(limb(at + 2), 2 * BITS - shift);
    _mm512_or_si512(_mm512_or_si512(first, second), third)
}

/// Σ coefficient·point for coefficients of `C` limbs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn sum<const N: usize, const C: usize>(
    points: &[[u64; LANES]],
    coefficients: &[i128],
) -> [__m512i; N] {
    let mut sum = [_mm512_setzero_si512(); N];
    for (of, &by) in points.chunks_exact(2 * N).zip(coefficients) {
        let of = &of[if by < 0 { N } else { 0 }..][..N];
        let size = by.unsigned_abs();
        for i in 0..C {
            let by = _mm512_set1_epi64((size >> (BITS * i)) as i64 & MASK as i64);
            for j in 0..N - i {
                let of = load(of[j]);
                sum[i + j] = _mm512_madd52lo_epu64(sum[i + j], by, of);
                if i + j + 1 < N {
                    sum[i + j + 1] = _mm512_madd52hi_epu64(sum[i + j + 1], by, of);
                }
            }
        }
    }
    carried(sum)
}

/// Carry the excess of each limb to the next, so that every limb has 52 bits again.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn carried<const N: usize>(mut limbs: [__m512i; N]) -> [__m512i; N] {
    let mut carry = _mm512_setzero_si512();
    for limb in &mut limbs {
        let value = _mm512_add_epi64(*limb, carry);
        carry = _mm512_srai_epi64::<{ BITS as u32 }>(value);
        *limb = _mm512_and_si512(value, _mm512_set1_epi64(MASK as i64));
    }
    limbs
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn negated<const N: usize>(limbs: [__m512i; N]) -> [__m512i; N] {
    carried(limbs.map(|x| _mm512_sub_epi64(_mm512_setzero_si512(), x)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn load(lanes: [u64; LANES]) -> __m512i {
    // SAFETY: the array has eight words, and eight are read.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn store(vector: __m512i) -> [u64; LANES] {
    let mut lanes = [0; LANES];
    // SAFETY: the array has eight words, and eight are written.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::arithmetic::{integer, push_integer};
    use num_bigint::BigInt;
    use num_traits::Signed;
    use proptest::prelude::*;

    fn words(points: &[Vec<BigInt>], limbs: usize) -> Vec<u64> {
        let mut words = Vec::new();
        points
            .iter()
            .flatten()
            .for_each(|x| push_integer(x, limbs, &mut words));
        words
    }

    fn sum(points: &[Vec<BigInt>], by: &[i128], c: usize) -> BigInt {
        points
            .iter()
            .zip(by)
            .map(|(point, by)| &point[c] * by)
            .sum()
    }

    proptest! {
        /// On every level that the machine has, compared with big integers: points with fewer and with more
        /// coordinates than lanes, and of every number of words.
        #[test]
        fn sums_are_those_of_integers(
            width in 1usize..11,
            limbs in 3usize..9,
            numbers in proptest::collection::vec(any::<i64>(), 33),
            lines in proptest::array::uniform2(proptest::array::uniform3(-1i128 << 60..1 << 60)),
            sizes in proptest::array::uniform3(0u32..120),
            by in proptest::collection::vec(proptest::array::uniform3(any::<i64>()), 1..5),
        ) {
            let room = 64 * limbs as u32 - 2;
            let points: Vec<Vec<BigInt>> = numbers
                .chunks_exact(11)
                .zip(sizes)
                // All sums have to fit.
                .map(|(row, size)| row[..width]
                    .iter()
                    .map(|x| BigInt::from(*x) << size.min(room.saturating_sub(64 + 126 + 63)))
                    .collect())
                .collect();
            let shift = (room - 64).min(120).saturating_sub(63).min(62);
            let by: Vec<[i128; 3]> =
                by.iter().map(|by| by.map(|x| i128::from(x) << shift.min(room.saturating_sub(130)))).collect();
            let mut expected = vec![7];
            for by in &by {
                let sums: Vec<BigInt> = (0..width).map(|c| sum(&points, by, c)).collect();
                let sign = if sums[width - 1].is_negative() { -1 } else { 1 };
                sums.iter().for_each(|x| {
                    let bytes: Vec<u64> = {
                        let modulus = BigInt::from(1) << (64 * limbs);
                        let x: BigInt = (x * sign % &modulus + &modulus) % &modulus;
                        let mut digits: Vec<u64> = x.iter_u64_digits().collect();
                        digits.resize(limbs, 0);
                        digits
                    };
                    expected.extend(bytes);
                });
            }
            let spanned: Vec<Vec<BigInt>> = lines
                .iter()
                .map(|by| (0..width).map(|c| sum(&points, by, c)).collect())
                .collect();
            let last = sum(&spanned, &[3, -5], width - 1);
            let modulus = BigInt::from(1) << (64 * limbs);
            for simd in SimdLevel::available() {
                let mut basis = PointBasis::new(simd);
                basis.load(&words(&points, limbs), width, limbs);
                let mut found = vec![7];
                basis.push(&by, &mut found);
                prop_assert_eq!(&found, &expected, "{}", simd);

                // The derived points are a basis as well.
                let mut derived = PointBasis::new(simd);
                basis.derive(lines.as_flattened(), &mut derived);
                let mut found = Vec::new();
                derived.push(&[[3i128, -5]], &mut found);
                for (c, found) in found.chunks_exact(limbs).enumerate() {
                    let sign = if last.is_negative() { -1 } else { 1 };
                    let difference = integer(found) - sum(&spanned, &[3, -5], c) * sign;
                    prop_assert_eq!(difference % &modulus, BigInt::from(0), "{}", simd);
                }
            }
        }
    }
}
