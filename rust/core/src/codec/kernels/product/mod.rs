//! Rows of levels times a batch of vectors.
//!
//! A product y = Σ level·x is kept as sixteen partial sums: lane i sums the columns ≡ i mod 16 in
//! order. Both factors are read in the order in which they lie in memory, so nothing has to be packed
//! for any batch size. One vector is multiplied in the same order as a batch, so the results have the
//! same bits. [`lane_sum`](super::decode::lane_sum) adds up the sixteen sums once a stream.
//!
//! A tile of four rows and six vectors has 24 accumulators and two and a half multiply-adds for each
//! load, so loads from the first-level cache are not the bottleneck. [`PANEL`] columns of sixteen rows
//! and of a tile's vectors fit in that cache together: 44 KiB of 48.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod integer;

use super::decode::BLOCK;
use crate::SimdLevel;

/// The most columns of a call to [`accumulate`].
pub const PANEL: usize = 512;
/// Rows that share the loads of the vectors.
pub const ROWS: usize = 16;
/// The most vectors that are multiplied at a time: their panel stays in a second-level cache.
pub const BATCH: usize = 64;

/// Sixteen sums of a row and a vector.
pub type Sums = [f32; BLOCK];

/// Add the products of all `rows` (`len` values each) and all `vectors` (as many) to `sums`, which
/// has those of the first row first. `len` is a multiple of [`BLOCK`].
///
/// Every [`SimdLevel`] gives the same bits. O(rows·vectors·len).
pub fn accumulate(simd: SimdLevel, len: usize, rows: &[f32], vectors: &[f32], sums: &mut [Sums]) {
    if len == 0 {
        return;
    }
    let batch = vectors.len() / len;
    assert!(len.is_multiple_of(BLOCK) && rows.len().is_multiple_of(len));
    assert!(batch * len == vectors.len() && rows.len() / len * batch == sums.len());
    match simd {
        SimdLevel::Portable => portable(len, rows, vectors, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and the lengths fit.
        SimdLevel::Avx2(_) => unsafe { avx2::accumulate(len, rows, vectors, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
            avx512::accumulate(len, rows, vectors, sums)
        },
    }
}

/// Add some rows, each times its factor, to `sums`, which has as many values as a row, a multiple of
/// [`BLOCK`]; each sum has the rows in order.
///
/// Every [`SimdLevel`] gives the same bits. O(rows·len).
pub fn add_rows(simd: SimdLevel, rows: &[f32], factors: &[f32], sums: &mut [f32]) {
    assert!(sums.len().is_multiple_of(BLOCK) && factors.len() * sums.len() == rows.len());
    match simd {
        SimdLevel::Portable => add_rows_portable(rows, factors, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and the lengths fit.
        SimdLevel::Avx2(_) => unsafe { avx2::add_rows(rows, factors, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) => unsafe {
            avx512::add_rows(rows, factors, sums)
        },
    }
}

fn add_rows_portable(rows: &[f32], factors: &[f32], sums: &mut [f32]) {
    for (row, factor) in rows.chunks_exact(sums.len().max(1)).zip(factors) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = value.mul_add(*factor, *sum);
        }
    }
}

fn portable(len: usize, rows: &[f32], vectors: &[f32], sums: &mut [Sums]) {
    let mut sums = sums.iter_mut();
    for row in rows.chunks_exact(len) {
        for (vector, sums) in vectors.chunks_exact(len).zip(&mut sums) {
            let blocks = row.as_chunks::<BLOCK>().0.iter();
            for (row, vector) in blocks.zip(vector.as_chunks::<BLOCK>().0) {
                for ((sum, a), b) in sums.iter_mut().zip(row).zip(vector) {
                    *sum = a.mul_add(*b, *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::kernels::decode::lane_sum;

    proptest! {
        #[test]
        fn every_unit_gives_the_same_bits(
            rows in 0usize..19, batch in 0usize..20, blocks in 1usize..5, seed: u32,
        ) {
            let len = blocks * BLOCK;
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) ^ seed) as f32 / 4e9 - 0.5;
            let levels: Vec<f32> = (0..rows * len).map(value).collect();
            let vectors: Vec<f32> = (0..batch * len).map(|i| value(i + 77_777)).collect();
            let on = |simd| {
                let mut sums = vec![[0.25f32; BLOCK]; rows * batch];
                accumulate(simd, len, &levels, &vectors, &mut sums);
                sums
            };
            let plain = on(SimdLevel::Portable);
            for simd in SimdLevel::available() {
                prop_assert!(on(simd) == plain, "{:?}", simd);
            }
            for (i, sums) in plain.iter().enumerate() {
                let (row, vector) = (&levels[i / batch * len..][..len], &vectors[i % batch * len..][..len]);
                let exact: f64 = row.iter().zip(vector).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                prop_assert!((f64::from(lane_sum(sums)) - 4.0 - exact).abs() < 1e-5);
            }
        }
    }

    proptest! {
        #[test]
        fn every_unit_adds_rows_alike(rows in 0usize..9, blocks in 0usize..9, seed: u32) {
            let len = blocks * BLOCK;
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) ^ seed) as f32 / 4e9 - 0.5;
            let levels: Vec<f32> = (0..rows * len).map(value).collect();
            let factors: Vec<f32> = (0..rows).map(|i| value(i + 77_777)).collect();
            for simd in SimdLevel::available() {
                let mut sums = vec![0.25f32; len];
                add_rows(simd, &levels, &factors, &mut sums);
                for (i, sum) in sums.iter().enumerate() {
                    let expected = factors
                        .iter()
                        .enumerate()
                        .fold(0.25f32, |sum, (r, f)| levels[r * len + i].mul_add(*f, sum));
                    prop_assert_eq!(sum.to_bits(), expected.to_bits(), "{:?}", simd);
                }
            }
        }
    }
}
