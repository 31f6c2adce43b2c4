//! Products of levels that are bytes with activations of 16 bits.
//!
//! Bytes become words by a mask and by a shift, which costs less than conversions across the halves of
//! a vector: with 128 added, so that bytes have no sign, the even bytes of a vector are its words
//! without their upper halves, and the odd bytes are the upper halves. The activations of 32 lanes lie
//! in the same order, those of even lanes first.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::HALF;
use super::levels::{Vectors, each_step};
use super::masks::in_memory;
use crate::codec::kernels::activations::even_parts;
use crate::codec::kernels::tiles::order::{LANES, TILE, TileOrder};
use crate::codec::kernels::tiles::plan::TilePlan;

/// Tiles whose products are summed in 32 bits.
const TOGETHER: usize = 4;

const _: () = {
    // A sum has four products for each step of each half of a tile.
    let most = 4 * 255 * 32_512 * (TILE / HALF) * TOGETHER;
    assert!(most <= i32::MAX as usize, "sums fit in 32 bits");
};

/// The sum of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: __m256i) -> i64 {
    let mut lanes = [0i32; 8];
    // SAFETY: eight words are a vector.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes.iter().map(|lane| i64::from(*lane)).sum()
}

/// What turns levels into words.
struct Widening {
    /// 128 in each byte.
    middle: __m256i,
    /// The lower byte of each word.
    lower: __m256i,
}

impl Widening {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new() -> Self {
        Self {
            middle: in_memory(0x80),
            lower: black_box(_mm256_set1_epi16(255)),
        }
    }

    /// Bytes plus 128.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn moved(&self, levels: __m256i) -> __m256i {
        _mm256_xor_si256(levels, self.middle)
    }

    /// 32 levels plus 128 as words: those of even lanes, and of odd lanes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn words(&self, moved: __m256i) -> [__m256i; 2] {
        let even = _mm256_and_si256(moved, self.lower);
        [even, _mm256_srli_epi16::<8>(moved)]
    }
}

/// Products of words and their activations, added by four.
///
/// # Safety
/// The machine has AVX2, and 32 activations are at `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn products_of(words: [__m256i; 2], x: *const i16) -> __m256i {
    // SAFETY: the contract.
    let [even, odd] = unsafe { [0, 16].map(|at| _mm256_loadu_si256(x.add(at).cast())) };
    _mm256_add_epi32(
        _mm256_madd_epi16(words[0], even),
        _mm256_madd_epi16(words[1], odd),
    )
}

/// See [`dot`](super::super::dot): Σ (level + 128)·x. `last` are the lanes of the last tile, which is in
/// the places of a whole one at `rest`.
///
/// # Safety
/// The machine has AVX2. `whole` tiles are at `tiles`, and if `last` is not 0 one more at `rest`; for
/// each step `x` has the activations of all lanes. The code has levels in bytes, and the window and the
/// rate are its own.
#[target_feature(enable = "avx2")]
pub unsafe fn dot<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tiles: *const u8,
    whole: usize,
    rest: *const u8,
    last: usize,
    x: *const i16,
) -> i64 {
    let (constants, widening) = (Vectors::new(plan), Widening::new());
    let size = TileOrder { half_bits: RATE }.bytes(LANES);
    let mut sum = 0;
    for first in (0..whole).step_by(TOGETHER) {
        let mut sums = _mm256_setzero_si256();
        for tile in first..(first + TOGETHER).min(whole) {
            // SAFETY: the contract.
            unsafe {
                let (at, x) = (tiles.add(size * tile), x.add(TILE * tile));
                sums = add_tile::<WINDOW, RATE>(&constants, &widening, at, x, sums);
            }
        }
        sum += total(sums);
    }
    if last > 0 {
        let mut levels = [0; TILE];
        let mut one = [0];
        // SAFETY: the contract.
        unsafe {
            steps::<WINDOW, RATE>(plan, rest, last, &mut levels);
            let x = std::slice::from_raw_parts(x.add(TILE * whole), TILE);
            add_products::<1>(&levels, x, TILE, &mut one);
        }
        sum += one[0];
    }
    sum
}

/// Add Σ (level + 128)·x of a whole tile.
///
/// # Safety
/// As [`dot`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_tile<const WINDOW: u32, const RATE: u32>(
    constants: &Vectors,
    widening: &Widening,
    tile: *const u8,
    x: *const i16,
    mut sums: __m256i,
) -> __m256i {
    // SAFETY: the contract is this function's own.
    unsafe {
        each_step::<WINDOW, RATE, true>(constants, tile, LANES, |step, half, level| {
            let products = products_of(
                widening.words(widening.moved(level)),
                x.add(LANES * step + half),
            );
            sums = _mm256_add_epi32(sums, products);
        });
    }
    sums
}

/// Decode a tile in the places of a whole one to bytes plus 128, weight s of all lanes for each s in
/// turn.
///
/// # Safety
/// As [`levels`](super::levels).
#[target_feature(enable = "avx2")]
pub unsafe fn steps<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [u8; TILE],
) {
    let (constants, widening) = (Vectors::new(plan), Widening::new());
    let place = out.as_mut_ptr();
    let f = |step: usize, half: usize, level| {
        // SAFETY: eight times two vectors are a tile.
        unsafe {
            _mm256_storeu_si256(place.add(LANES * step + half).cast(), widening.moved(level))
        };
    };
    // SAFETY: the contract.
    unsafe {
        match lanes {
            LANES => each_step::<WINDOW, RATE, true>(&constants, tile, lanes, f),
            _ => each_step::<WINDOW, RATE, false>(&constants, tile, lanes, f),
        }
    }
}

/// Vectors that are multiplied at a time, so that the levels are widened once for all of them.
const VECTORS: usize = 4;

/// Σ (level + 128)·x of each row and each vector: `rows` have bytes by steps, `len` each, and `x` has as
/// many activations for each vector.
///
/// # Safety
/// The machine has AVX2. `len` is a multiple of [`TILE`], and the rows, the vectors and the sums are
/// there.
#[target_feature(enable = "avx2")]
pub unsafe fn products(rows: &[u8], len: usize, x: &[i16], sums: &mut [i64]) {
    let batch = x.len() / len;
    sums.fill(0);
    // A stretch of a few vectors stays in the first-level cache while all rows are multiplied.
    for from in (0..len).step_by(TOGETHER * TILE) {
        let stretch = from..(from + TOGETHER * TILE).min(len);
        for part in even_parts(batch, VECTORS) {
            let x = &x[part.start * len + from..];
            for (row, sums) in rows.chunks_exact(len).zip(sums.chunks_exact_mut(batch)) {
                let (row, sums) = (&row[stretch.clone()], &mut sums[part.clone()]);
                // SAFETY: the contract is this function's own.
                unsafe {
                    match part.len() {
                        1 => add_products::<1>(row, x, len, sums),
                        2 => add_products::<2>(row, x, len, sums),
                        3 => add_products::<3>(row, x, len, sums),
                        _ => add_products::<VECTORS>(row, x, len, sums),
                    }
                }
            }
        }
    }
}

/// Add the products of a stretch of a row, of at most [`TOGETHER`] tiles, and `V` vectors, each of which
/// begins `len` activations after the one before.
///
/// # Safety
/// The machine has AVX2. The stretch is a multiple of [`HALF`] long, and as many activations of each
/// vector are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_products<const V: usize>(row: &[u8], x: &[i16], len: usize, sums: &mut [i64]) {
    let widening = Widening::new();
    let mut all = [_mm256_setzero_si256(); V];
    for at in (0..row.len()).step_by(HALF) {
        // SAFETY: 32 bytes of the row are there, and 32 activations of each vector.
        unsafe {
            let words = widening.words(_mm256_loadu_si256(row.as_ptr().add(at).cast()));
            for (v, all) in all.iter_mut().enumerate() {
                let products = products_of(words, x.as_ptr().add(v * len + at));
                *all = _mm256_add_epi32(*all, products);
            }
        }
    }
    for (sum, all) in sums.iter_mut().zip(all) {
        *sum += total(all);
    }
}
