//! Tiles in 32 byte lanes: AVX2, whose byte shuffles look up sixteen bytes.
//!
//! As with AVX-512, a vector holds one weight of each lane. [`path`] has the bits of the registers and
//! [`cells`] the cells, [`levels`] leads from both to levels in bytes, [`words`] to those in words, and
//! [`products`] sums. Here a tile is decoded.
//!
//! On a Zen 3, four instructions of vectors begin in a cycle, but only two of them can be shifts or
//! lookups, and no more than some 64 wait for their turn. Beside fewer lookups, and words that are made
//! by a mask and a shift, what gained most there for 32 weights of 4 bits at W = 8:
//!
//! | | ns |
//! |---|---|
//! | lanes are turned in registers: a load across two recent stores waits for both | 4.0 to 3.5 |
//! | one sum in place of two, so that the compiler does not spill them | 3.5 to 3.4 |
//! | masks in memory, which the compiler else broadcasts anew for each use; two steps at a time | to 3.3 |
//! | cells without a mask for each step | to 3.2 |

use std::arch::x86_64::*;

mod cells;
mod levels;
mod masks;
mod path;
mod products;
mod words;

pub use levels::Tables;
pub use products::{dot, products, steps};
pub use words::word_levels;

use super::order::{LANES, STEPS, TILE};
use super::plan::TilePlan;
use crate::codec::kernels::activations::{BLOCK, PAIR};
use levels::{Vectors, each_step};

/// Bytes of a vector.
const HALF: usize = 32;

/// Decode a tile in the places of a whole one to bytes, in the order of the weights.
///
/// Three rounds of interleaving bring the steps of a lane together.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there. The code has levels in bytes, and the
/// window and the rate are its own.
#[target_feature(enable = "avx2")]
pub unsafe fn levels<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [i8; TILE],
) {
    let constants = Vectors::new(plan);
    let mut steps = [_mm256_setzero_si256(); STEPS];
    let f = |step: usize, half: usize, level| {
        steps[step] = level;
        if step + 1 == STEPS {
            in_weight_order(&steps, &mut out[half * STEPS..]);
        }
    };
    // SAFETY: the contract is this function's own.
    unsafe {
        match lanes {
            LANES => each_step::<WINDOW, RATE, true>(&constants, tile, lanes, f),
            _ => each_step::<WINDOW, RATE, false>(&constants, tile, lanes, f),
        }
    }
}

/// Store the levels of half of the lanes in the order of the weights.
#[inline]
#[target_feature(enable = "avx2")]
fn in_weight_order(steps: &[__m256i; STEPS], out: &mut [i8]) {
    let out = &mut out[..TILE / 2];
    let [a, b, c, d, e, f, g, h] = *steps;
    let pairs = |a, b| [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)];
    let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
    for half in 0..2 {
        let fours = |a, b| [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
        let (first, second) = (fours(ab[half], cd[half]), fours(ef[half], gh[half]));
        for quarter in 0..2 {
            let (a, b) = (first[quarter], second[quarter]);
            let eights = [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)];
            for (eighth, lanes) in eights.into_iter().enumerate() {
                // Each half of the vector has two neighbouring lanes, of every sixteen.
                let place = out[BLOCK * (4 * half + 2 * quarter + eighth)..].as_mut_ptr();
                // SAFETY: the second half ends where half of the tile does.
                unsafe {
                    _mm_storeu_si128(place.cast(), _mm256_castsi256_si128(lanes));
                    let second = _mm256_extracti128_si256::<1>(lanes);
                    _mm_storeu_si128(place.add(TILE / 4).cast(), second);
                }
            }
        }
    }
}

/// Eight levels as floats.
///
/// # Safety
/// The machine has AVX2, and eight bytes are at `bytes`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn wide(bytes: *const i8) -> __m256 {
    // SAFETY: the contract.
    let bytes = unsafe { _mm_loadl_epi64(bytes.cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
}

/// Bytes as levels in floats. Whole blocks.
#[target_feature(enable = "avx2")]
pub fn floats(bytes: &[i8], unit: f32, out: &mut [f32]) {
    let unit = _mm256_set1_ps(unit);
    let eights = out.as_chunks_mut::<8>().0;
    for (bytes, out) in bytes.as_chunks::<8>().0.iter().zip(eights) {
        // SAFETY: eight bytes and eight floats are there.
        unsafe {
            let level = _mm256_mul_ps(wide(bytes.as_ptr()), unit);
            _mm256_storeu_ps(out.as_mut_ptr(), level);
        }
    }
}

/// Bytes as integer levels, in pairs of blocks.
#[target_feature(enable = "avx2")]
pub fn pairs(bytes: &[i8], out: &mut [i16]) {
    let pairs = out.as_chunks_mut::<PAIR>().0;
    for (bytes, out) in bytes.as_chunks::<PAIR>().0.iter().zip(pairs) {
        let level = |at: usize| {
            // SAFETY: a pair has two blocks of sixteen bytes.
            _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().add(at).cast()) })
        };
        let (a, b) = (level(0), level(BLOCK));
        let (low, high) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
        // SAFETY: 32 words are there.
        unsafe {
            let place: *mut __m256i = out.as_mut_ptr().cast();
            _mm256_storeu_si256(place, _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(place.add(1), _mm256_permute2x128_si256::<0x31>(low, high));
        }
    }
}

/// Add level·x to sixteen sums. Whole blocks.
#[target_feature(enable = "avx2,fma")]
pub fn add_products(bytes: &[i8], unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    let unit = _mm256_set1_ps(unit);
    // SAFETY: sixteen floats are two vectors.
    let mut sum = unsafe { [0, 8].map(|at| _mm256_loadu_ps(sums.as_ptr().add(at))) };
    for (bytes, x) in bytes
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .zip(x.as_chunks::<BLOCK>().0)
    {
        for (i, sum) in sum.iter_mut().enumerate() {
            // SAFETY: sixteen bytes and sixteen floats are there.
            let (level, x) = unsafe {
                (
                    _mm256_mul_ps(wide(bytes.as_ptr().add(8 * i)), unit),
                    _mm256_loadu_ps(x.as_ptr().add(8 * i)),
                )
            };
            *sum = _mm256_fmadd_ps(level, x, *sum);
        }
    }
    for (i, sum) in sum.into_iter().enumerate() {
        // SAFETY: sixteen floats are two vectors.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr().add(8 * i), sum) };
    }
}

/// The same for levels that are words; the activations after the last weight are zeros.
#[target_feature(enable = "avx2,fma")]
pub fn add_products_of_words(words: &[i16], unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    super::add_products_of_words(words, unit, x, sums);
}
