//! Integer levels gathered from their table into 256-bit vectors.

use std::arch::x86_64::*;

use super::{Activations, PAIR, STRETCH};
use crate::codec::decode::avx2::each_block;
use crate::codec::decode::codes::Codes;
use crate::codec::decode::plan::{BLOCK, PerLane};

/// The levels at eight phases, each with the next phase's in the upper half of its lane.
///
/// Measured: 7 cycles, where loads and insertions one by one take 10.
///
/// # Safety
/// The machine has AVX2, and all phases have an entry and one after it.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather(table: &[i16], phases: __m256i) -> __m256i {
    // SAFETY: as the caller promised.
    unsafe { _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), phases) }
}

/// Call `take` with the levels of `count` pairs from weight `from` on: those of lanes 0 to 7, and of
/// 8 to 15.
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn each_pair(
    codes: &Codes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, [__m256i; 2]),
) {
    let table = &codes.plan.integer_levels().table[..];
    let mut first = [_mm256_setzero_si256(); 2];
    // SAFETY: the contract is this function's own; a table has an entry more than there are phases.
    unsafe {
        each_block(codes, from, 2 * count, |i, phases| {
            let levels = phases.map(|phases| gather(table, phases));
            if i % 2 == 0 {
                first = levels;
                return;
            }
            let both = |half: usize| {
                let second = _mm256_slli_epi32::<16>(levels[half]);
                _mm256_blend_epi16::<0xAA>(first[half], second)
            };
            take(i / 2, [both(0), both(1)]);
        });
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn levels(codes: &Codes<'_>, from: usize, out: &mut [i16]) {
    let start = out.as_mut_ptr();
    // SAFETY: the contract is this function's own; pair i is within `out`.
    unsafe {
        each_pair(codes, from, out.len() / PAIR, |i, [low, high]| {
            _mm256_storeu_si256(start.add(i * PAIR).cast(), low);
            _mm256_storeu_si256(start.add(i * PAIR + BLOCK).cast(), high);
        });
    }
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dot(codes: &Codes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let mut sums = [_mm256_setzero_ps(); 2];
    for (i, (values, unit)) in x.values.chunks(STRETCH).zip(x.units).enumerate() {
        let mut whole = [_mm256_setzero_si256(); 2];
        // SAFETY: the contract is this function's own; pair k is within `values`.
        unsafe {
            each_pair(codes, i * STRETCH, values.len() / PAIR, |k, levels| {
                let x = values.as_ptr().add(k * PAIR);
                for (half, (whole, levels)) in whole.iter_mut().zip(levels).enumerate() {
                    let x = _mm256_loadu_si256(x.add(half * BLOCK).cast());
                    *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(levels, x));
                }
            });
        }
        for (sum, whole) in sums.iter_mut().zip(whole) {
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(*unit), *sum);
        }
    }
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are two vectors.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
    }
    lanes
}
