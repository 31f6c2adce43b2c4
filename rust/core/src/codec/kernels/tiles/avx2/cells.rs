//! The cells of 32 lanes, where lookups of sixteen bytes find them.

use std::arch::x86_64::*;

use super::masks::Masks;
use crate::codec::kernels::byte_vectors::{down, up};
use crate::codec::kernels::tiles::order::{LANES, TileOrder};

/// The masked bytes that hold the cells of 32 lanes.
pub struct Cells<const RATE: u32>([__m256i; 4]);

impl<const RATE: u32> Cells<RATE> {
    /// Read the cells of lanes whose first byte in the first vector of cells is at `place`.
    ///
    /// # Safety
    /// The machine has AVX2. The vectors of a whole tile that have cells are there.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn read(place: *const u8, masks: &Masks) -> Self {
        // SAFETY: the contract; there are at most four vectors.
        let vector = |i: usize| unsafe { _mm256_loadu_si256(place.add(LANES * i).cast()) };
        let [first, second, third] = masks.cells;
        let masked = |bytes: __m256i| _mm256_and_si256(bytes, first);
        let none = _mm256_setzero_si256();
        let order = TileOrder { half_bits: RATE };
        Self(match (RATE, order.cell_bits()) {
            (8, _) => [0, 1, 2, 3].map(|i| masked(vector(i))),
            (9, _) => [0, 1, 2, 3].map(vector),
            (_, 0) => [none; 4],
            // The cells of even steps, and of odd ones.
            (_, 1) => [
                masked(vector(0)),
                _mm256_and_si256(vector(0), second),
                none,
                none,
            ],
            // Steps i and i + 4.
            (_, 2) => {
                let (even, odd) = (vector(0), vector(1));
                [down(even, 2), down(odd, 2), even, odd].map(masked)
            }
            // The same: two bits of a cell above one.
            _ => {
                let (even, odd, low) = (vector(0), vector(1), vector(2));
                let upper = [down(even, 1), down(odd, 1), up(even, 1), up(odd, 1)];
                let lower = [down(low, 3), down(low, 2), down(low, 1), low];
                [0, 1, 2, 3].map(|i| {
                    _mm256_or_si256(
                        _mm256_and_si256(upper[i], second),
                        _mm256_and_si256(lower[i], third),
                    )
                })
            }
        })
    }

    /// The cells of a step in the lowest bits of bytes whose highest bit is 0.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn at(&self, step: usize, masks: &Masks) -> __m256i {
        match (TileOrder { half_bits: RATE }).cell_bits() {
            // All bits of the bytes are bits of cells.
            4 if step < 4 => _mm256_and_si256(down(self.0[step], 4), masks.four),
            4 => _mm256_and_si256(self.0[step - 4], masks.four),
            1 => down(self.0[step % 2], 7 - step as u32),
            _ => down(self.0[step % 4], if step < 4 { 4 } else { 0 }),
        }
    }
}
