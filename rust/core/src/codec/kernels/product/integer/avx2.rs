//! Integer products in 256-bit vectors.

use std::arch::x86_64::*;

use super::both;
use crate::codec::kernels::activations::even_parts;
use crate::codec::kernels::decode::BLOCK;
use crate::codec::kernels::decode::integer::PAIR;
use crate::codec::kernels::product::Sums;

/// Vectors of a tile: two accumulators each.
const VECTORS: usize = 4;

/// See [`accumulate`](super::accumulate).
///
/// # Safety
/// The machine has AVX2 and FMA; the lengths are those that the caller asserts.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn accumulate(
    len: usize,
    rows: &[i16],
    vectors: &[i16],
    units: &[f32],
    sums: &mut [Sums],
) {
    let batch = units.len();
    for part in even_parts(batch, VECTORS) {
        let vectors = &vectors[part.start * len..part.end * len];
        let units = &units[part.clone()];
        for (row, sums) in rows.chunks_exact(len).zip(sums.chunks_exact_mut(batch)) {
            let sums = &mut sums[part.clone()];
            // SAFETY: as many vectors, units and sums are there.
            unsafe {
                match part.len() {
                    1 => add::<1>(row, vectors, units, sums),
                    2 => add::<2>(row, vectors, units, sums),
                    3 => add::<3>(row, vectors, units, sums),
                    _ => add::<4>(row, vectors, units, sums),
                }
            }
        }
    }
}

/// # Safety
/// The machine has AVX2 and FMA; `V` vectors, as long as the row, their units and sums are there.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add<const V: usize>(row: &[i16], vectors: &[i16], units: &[f32], sums: &mut [Sums]) {
    let len = row.len();
    let mut whole = [[_mm256_setzero_si256(); 2]; V];
    // SAFETY: the contract; a row and a vector have `len` values, a multiple of 32.
    unsafe {
        for at in (0..len).step_by(PAIR) {
            for half in 0..2 {
                let at = at + half * BLOCK;
                let levels = _mm256_loadu_si256(row.as_ptr().add(at).cast());
                for (v, whole) in whole.iter_mut().enumerate() {
                    let x = _mm256_loadu_si256(vectors.as_ptr().add(v * len + at).cast());
                    whole[half] = _mm256_add_epi32(whole[half], _mm256_madd_epi16(levels, x));
                }
            }
        }
        for (v, whole) in whole.iter().enumerate() {
            let unit = _mm256_set1_ps(units[v]);
            for (half, whole) in whole.iter().enumerate() {
                let place = sums[v].as_mut_ptr().add(half * 8);
                let floats = _mm256_cvtepi32_ps(*whole);
                let sum = _mm256_fmadd_ps(floats, unit, _mm256_loadu_ps(place));
                _mm256_storeu_ps(place, sum);
            }
        }
    }
}

/// See [`add_rows`](super::add_rows).
///
/// # Safety
/// The machine has AVX2 and FMA; the lengths are those that the caller asserts.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn add_rows(rows: &[i16], factors: &[i16], one: f32, sums: &mut [f32]) {
    let len = sums.len();
    let one = _mm256_set1_ps(one);
    for (i, sums) in sums.as_chunks_mut::<PAIR>().0.iter_mut().enumerate() {
        let mut whole = [_mm256_setzero_si256(); 4];
        for (pair, factors) in rows.chunks_exact(2 * len).zip(factors.as_chunks::<2>().0) {
            let factors = _mm256_set1_epi32(both(factors));
            let row = pair[i * PAIR..].as_ptr();
            for half in 0..2 {
                // SAFETY: both rows are there.
                let (a, b) = unsafe {
                    let row = row.add(half * BLOCK);
                    (
                        _mm256_loadu_si256(row.cast()),
                        _mm256_loadu_si256(row.add(len).cast()),
                    )
                };
                for (part, levels) in [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)]
                    .into_iter()
                    .enumerate()
                {
                    let whole = &mut whole[2 * part + half];
                    *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(levels, factors));
                }
            }
        }
        for (part, whole) in whole.iter().enumerate() {
            // SAFETY: 32 sums are four vectors.
            unsafe {
                let place = sums.as_mut_ptr().add(8 * part);
                let floats = _mm256_cvtepi32_ps(*whole);
                let sum = _mm256_fmadd_ps(floats, one, _mm256_loadu_ps(place));
                _mm256_storeu_ps(place, sum);
            }
        }
    }
}
