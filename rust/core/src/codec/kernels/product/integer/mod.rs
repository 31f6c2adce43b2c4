//! Rows of integer levels times a batch of integer vectors: the integer form of
//! [`accumulate`](super::accumulate), and [`add_rows`] for transposed products.
//!
//! Both use the order of [`decode::integer`](crate::codec::kernels::decode::integer): weights j and
//! 16 + j of a pair lie beside each other. Integer sums are exact, because the magnitudes of a lane's
//! activations add up to at most [`LANE`](crate::codec::kernels::decode::integer::LANE).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

use super::Sums;
use crate::SimdLevel;
use crate::codec::kernels::decode::BLOCK;
use crate::codec::kernels::decode::integer::{PAIR, STRETCH};

/// The most rows in a call of [`add_rows`].
pub const GROUP: usize = 16;

/// Add the products of all `rows` (`len` levels each) and all `vectors` (as many activations), times
/// the vector's unit, to `sums`, which has those of the first row first. `len` is a multiple of
/// [`PAIR`] and at most [`STRETCH`]; lane i of sixteen has the columns ≡ i mod 16.
///
/// Every [`SimdLevel`] gives the same bits. O(rows·vectors·len).
pub fn accumulate(
    simd: SimdLevel,
    len: usize,
    rows: &[i16],
    vectors: &[i16],
    units: &[f32],
    sums: &mut [Sums],
) {
    if len == 0 {
        return;
    }
    assert!(len.is_multiple_of(PAIR) && len <= STRETCH && rows.len().is_multiple_of(len));
    assert!(units.len() * len == vectors.len() && rows.len() / len * units.len() == sums.len());
    match simd {
        SimdLevel::Portable => portable::accumulate(len, rows, vectors, units, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and the lengths fit.
        SimdLevel::Avx2(_) => unsafe { avx2::accumulate(len, rows, vectors, units, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) => unsafe {
            avx512::words::accumulate(len, rows, vectors, units, sums)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { avx512::vnni::accumulate(len, rows, vectors, units, sums) },
    }
}

/// Add an even number of `rows` of levels, each times its factor and all times `one`, to `sums`, which
/// has as many values as a row, a multiple of [`PAIR`], in the order of [`column`]. The magnitudes of
/// the factors add up to at most [`LANE`](crate::codec::kernels::decode::integer::LANE).
///
/// Every [`SimdLevel`] gives the same bits. O(rows·len).
pub fn add_rows(simd: SimdLevel, rows: &[i16], factors: &[i16], one: f32, sums: &mut [f32]) {
    assert!(sums.len().is_multiple_of(PAIR) && factors.len().is_multiple_of(2));
    assert!(factors.len() <= GROUP && factors.len() * sums.len() == rows.len());
    match simd {
        SimdLevel::Portable => portable::add_rows(rows, factors, one, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and the lengths fit.
        SimdLevel::Avx2(_) => unsafe { avx2::add_rows(rows, factors, one, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) => unsafe { avx512::words::add_rows(rows, factors, one, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { avx512::vnni::add_rows(rows, factors, one, sums) },
    }
}

/// The column whose sum is at place `i` of the sums of [`add_rows`].
///
/// The instructions that interleave two rows work within 128 bits, four 32-bit lanes each. The lanes
/// are left in the order that results.
pub fn column(i: usize) -> usize {
    let place = i % PAIR;
    let word = place % BLOCK / 4 * 8 + place / BLOCK * 4 + place % 4;
    i / PAIR * PAIR + word / 2 + word % 2 * BLOCK
}

/// Two factors as one 32-bit lane.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "kernels for x86-64 alone")
)]
fn both(factors: &[i16; 2]) -> i32 {
    (factors[0] as u16 as u32 | (factors[1] as u16 as u32) << 16) as i32
}
