//! Integer products in 512-bit vectors, with and without the instruction that multiplies words and adds
//! them (AVX-512 VNNI): one macro defines both modules.
//!
//! Tiles are those of the float product, four rows and six vectors. The sums of [`add_rows`] stay in
//! registers while the kernel passes over all rows of a group.

use std::arch::x86_64::*;

use super::both;
use crate::codec::kernels::activations::even_parts;
use crate::codec::kernels::decode::integer::PAIR;
use crate::codec::kernels::product::Sums;

/// Rows of a tile.
const ROWS: usize = 4;
/// Vectors of a tile.
const VECTORS: usize = 6;
/// Pairs of blocks whose sums are added up at a time.
const WIDE: usize = 4;

macro_rules! kernels {
    ($module:ident, $features:literal, $add_products:expr) => {
        pub mod $module {
            use super::*;

            /// See [`accumulate`](crate::codec::kernels::product::accumulate).
            ///
            /// # Safety
            /// The machine has the module's features; the lengths are those that the caller asserts.
            #[target_feature(enable = $features)]
            pub unsafe fn accumulate(
                len: usize,
                rows: &[i16],
                vectors: &[i16],
                units: &[f32],
                sums: &mut [Sums],
            ) {
                let (count, batch) = (rows.len() / len, units.len());
                for part in even_parts(batch, VECTORS) {
                    let mut row = 0;
                    while row < count {
                        let height = if row + ROWS <= count { ROWS } else { 1 };
                        let tile = Tile {
                            len,
                            rows: rows[row * len..].as_ptr(),
                            vectors: vectors[part.start * len..].as_ptr(),
                            units: units[part.start..].as_ptr(),
                            sums: sums[row * batch + part.start..].as_mut_ptr(),
                            batch,
                        };
                        // SAFETY: `height` rows, the vectors of `part` and their sums are within the
                        // slices.
                        unsafe {
                            match (height, part.len()) {
                                (ROWS, 1) => add::<ROWS, 1>(tile),
                                (ROWS, 2) => add::<ROWS, 2>(tile),
                                (ROWS, 3) => add::<ROWS, 3>(tile),
                                (ROWS, 4) => add::<ROWS, 4>(tile),
                                (ROWS, 5) => add::<ROWS, 5>(tile),
                                (ROWS, 6) => add::<ROWS, 6>(tile),
                                (1, 1) => add::<1, 1>(tile),
                                (1, 2) => add::<1, 2>(tile),
                                (1, 3) => add::<1, 3>(tile),
                                (1, 4) => add::<1, 4>(tile),
                                (1, 5) => add::<1, 5>(tile),
                                _ => add::<1, 6>(tile),
                            }
                        }
                        row += height;
                    }
                }
            }

            /// # Safety
            /// The machine has the module's features; `R` rows and `V` vectors, their units and sums
            /// are there.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add<const R: usize, const V: usize>(tile: Tile) {
                let mut whole = [[_mm512_setzero_si512(); V]; R];
                // SAFETY: the contract; a row and a vector have `len` values, a multiple of 32.
                unsafe {
                    for at in (0..tile.len).step_by(PAIR) {
                        let mut x = [_mm512_setzero_si512(); V];
                        for (v, x) in x.iter_mut().enumerate() {
                            *x = _mm512_loadu_si512(tile.vectors.add(v * tile.len + at).cast());
                        }
                        for (r, whole) in whole.iter_mut().enumerate() {
                            let row = tile.rows.add(r * tile.len + at);
                            let levels = _mm512_loadu_si512(row.cast());
                            for (whole, x) in whole.iter_mut().zip(x) {
                                *whole = $add_products(*whole, levels, x);
                            }
                        }
                    }
                    for (r, whole) in whole.iter().enumerate() {
                        for (v, whole) in whole.iter().enumerate() {
                            let place: *mut f32 = tile.sums.add(r * tile.batch + v).cast();
                            let unit = _mm512_set1_ps(*tile.units.add(v));
                            let floats = _mm512_cvtepi32_ps(*whole);
                            let sum = _mm512_fmadd_ps(floats, unit, _mm512_loadu_ps(place));
                            _mm512_storeu_ps(place, sum);
                        }
                    }
                }
            }

            /// See [`add_rows`](crate::codec::kernels::product::add_rows).
            ///
            /// # Safety
            /// The machine has the module's features; the lengths are those that the caller asserts.
            #[target_feature(enable = $features)]
            pub unsafe fn add_rows(rows: &[i16], factors: &[i16], one: f32, sums: &mut [f32]) {
                let len = sums.len();
                let mut from = 0;
                // SAFETY: all of `WIDE` or one pair are within a row.
                unsafe {
                    while from + WIDE * PAIR <= len {
                        add_strip::<WIDE>(rows, factors, one, sums, from);
                        from += WIDE * PAIR;
                    }
                    while from < len {
                        add_strip::<1>(rows, factors, one, sums, from);
                        from += PAIR;
                    }
                }
            }

            /// # Safety
            /// The machine has the module's features; `N` pairs from `from` on are within a row, and
            /// the lengths are those that the caller asserts.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add_strip<const N: usize>(
                rows: &[i16],
                factors: &[i16],
                one: f32,
                sums: &mut [f32],
                from: usize,
            ) {
                let len = sums.len();
                let mut whole = [[_mm512_setzero_si512(); 2]; N];
                let mut row = rows.as_ptr().wrapping_add(from);
                for factors in factors.as_chunks::<2>().0 {
                    let factors = _mm512_set1_epi32(both(factors));
                    for (i, [low, high]) in whole.iter_mut().enumerate() {
                        // SAFETY: both rows are there.
                        let (a, b) = unsafe {
                            (
                                _mm512_loadu_si512(row.add(i * PAIR).cast()),
                                _mm512_loadu_si512(row.add(len + i * PAIR).cast()),
                            )
                        };
                        *low = $add_products(*low, _mm512_unpacklo_epi16(a, b), factors);
                        *high = $add_products(*high, _mm512_unpackhi_epi16(a, b), factors);
                    }
                    row = row.wrapping_add(2 * len);
                }
                let one = _mm512_set1_ps(one);
                let sums = sums[from..].as_mut_ptr();
                for (i, whole) in whole.as_flattened().iter().enumerate() {
                    // SAFETY: the sums of all pairs are there.
                    unsafe {
                        let place = sums.add(i * PAIR / 2);
                        let floats = _mm512_cvtepi32_ps(*whole);
                        let sum = _mm512_fmadd_ps(floats, one, _mm512_loadu_ps(place));
                        _mm512_storeu_ps(place, sum);
                    }
                }
            }
        }
    };
}

/// Pointers to rows, to vectors with their units, and to their sums. The sums of consecutive rows are
/// `batch` apart.
#[derive(Clone, Copy)]
struct Tile {
    len: usize,
    rows: *const i16,
    vectors: *const i16,
    units: *const f32,
    sums: *mut Sums,
    batch: usize,
}

kernels!(words, "avx512f,avx512bw", |sum, a, b| _mm512_add_epi32(
    sum,
    _mm512_madd_epi16(a, b)
));
kernels!(vnni, "avx512f,avx512bw,avx512vnni", |sum, a, b| {
    _mm512_dpwssd_epi32(sum, a, b)
});
