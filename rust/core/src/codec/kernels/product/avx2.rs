//! Tiles of four rows and three vectors in 256-bit vectors: twelve accumulators of sixteen
//! registers. The lower and the upper eight lanes of the sums are taken one after the other.

use std::arch::x86_64::*;

use super::Sums;
use crate::codec::kernels::activations::even_parts;

/// Rows of a tile.
const ROWS: usize = 4;
/// Vectors of a tile.
const VECTORS: usize = 3;

/// See [`accumulate`](super::accumulate).
///
/// # Safety
/// The machine has AVX2 and FMA; the lengths are those that the caller asserts.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn accumulate(len: usize, rows: &[f32], vectors: &[f32], sums: &mut [Sums]) {
    let (count, batch) = (rows.len() / len, vectors.len() / len);
    for part in even_parts(batch, VECTORS) {
        let vectors = vectors[part.start * len..].as_ptr();
        let mut row = 0;
        while row < count {
            let height = if row + ROWS <= count { ROWS } else { 1 };
            let tile = Tile {
                len,
                rows: rows[row * len..].as_ptr(),
                vectors,
                sums: sums[row * batch + part.start..].as_mut_ptr(),
                batch,
            };
            // SAFETY: `height` rows, the vectors of `part` and their sums are within the slices.
            unsafe { tile.accumulate(height, part.len()) };
            row += height;
        }
    }
}

/// Pointers to rows, to vectors and to their sums. The sums of consecutive rows are `batch` apart.
#[derive(Clone, Copy)]
struct Tile {
    len: usize,
    rows: *const f32,
    vectors: *const f32,
    sums: *mut Sums,
    batch: usize,
}

impl Tile {
    /// # Safety
    /// The machine has AVX2 and FMA; as many rows and vectors, and their sums, are there.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn accumulate(self, rows: usize, vectors: usize) {
        // SAFETY: the contract is this function's own.
        unsafe {
            match (rows, vectors) {
                (ROWS, 1) => self.add::<ROWS, 1>(),
                (ROWS, 2) => self.add::<ROWS, 2>(),
                (ROWS, 3) => self.add::<ROWS, 3>(),
                (1, 1) => self.add::<1, 1>(),
                (1, 2) => self.add::<1, 2>(),
                _ => self.add::<1, 3>(),
            }
        }
    }

    /// # Safety
    /// The machine has AVX2 and FMA; `R` rows and `V` vectors, and their sums, are there.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add<const R: usize, const V: usize>(self) {
        // SAFETY: the contract; a row and a vector have `len` values, a multiple of sixteen.
        unsafe {
            for half in [0, 8] {
                let mut sums = [[_mm256_setzero_ps(); V]; R];
                let place = |r: usize, v: usize| {
                    let sums: *mut f32 = self.sums.add(r * self.batch + v).cast();
                    sums.add(half)
                };
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm256_loadu_ps(place(r, v));
                    }
                }
                for at in (half..self.len).step_by(16) {
                    let mut x = [_mm256_setzero_ps(); V];
                    for (v, x) in x.iter_mut().enumerate() {
                        *x = _mm256_loadu_ps(self.vectors.add(v * self.len + at));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let level = _mm256_loadu_ps(self.rows.add(r * self.len + at));
                        for (sum, x) in sums.iter_mut().zip(x) {
                            *sum = _mm256_fmadd_ps(level, x, *sum);
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        _mm256_storeu_ps(place(r, v), *sum);
                    }
                }
            }
        }
    }
}

/// Vector registers of sums; they are kept while the kernel passes over all rows.
const WIDE: usize = 8;

/// See [`add_rows`](super::add_rows).
///
/// # Safety
/// The machine has AVX2 and FMA; the lengths are those that the caller asserts.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn add_rows(rows: &[f32], factors: &[f32], sums: &mut [f32]) {
    let mut from = 0;
    // SAFETY: all the vectors are within a row, whose length is a multiple of sixteen.
    unsafe {
        while from + 8 * WIDE <= sums.len() {
            add_strip::<WIDE>(rows, factors, sums, from);
            from += 8 * WIDE;
        }
        while from < sums.len() {
            add_strip::<1>(rows, factors, sums, from);
            from += 8;
        }
    }
}

/// # Safety
/// The machine has AVX2 and FMA; `N` vectors from `from` on are within a row, and the lengths are those that the
/// caller asserts.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_strip<const N: usize>(rows: &[f32], factors: &[f32], sums: &mut [f32], from: usize) {
    let len = sums.len();
    let places = sums[from..].as_mut_ptr();
    let mut row = rows.as_ptr().wrapping_add(from);
    let mut totals = [_mm256_setzero_ps(); N];
    // SAFETY: the contract.
    unsafe {
        for (i, total) in totals.iter_mut().enumerate() {
            *total = _mm256_loadu_ps(places.add(8 * i));
        }
        for factor in factors {
            let factor = _mm256_set1_ps(*factor);
            for (i, total) in totals.iter_mut().enumerate() {
                *total = _mm256_fmadd_ps(_mm256_loadu_ps(row.add(8 * i)), factor, *total);
            }
            row = row.wrapping_add(len);
        }
        for (i, total) in totals.iter().enumerate() {
            _mm256_storeu_ps(places.add(8 * i), *total);
        }
    }
}
