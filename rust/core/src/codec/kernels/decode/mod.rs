//! Decoding in vectors: sixteen consecutive weights at a time, from their codes to levels. This is for
//! codes of set 1; those of set 2 are in [`tiles`].
//!
//! Any weight needs W path bits and its own cell, so sixteen are decoded without a serial chain:
//! 1. *Register.* Sixteen weights take one or two whole bytes of path bits. One 64-bit big-endian load,
//!    shifted down, holds their registers one bit (or half a bit) apart; each lane shifts it by its own
//!    distance. The upper and the lower part of the register are separated in the same step.
//! 2. *Offset.* Two multiplications, as `trellis` has them. Two weights of a step differ only in the
//!    factors of their lanes, so one loop serves whole and half rates.
//! 3. *Cell.* Sixteen cells of c bits take 2c whole bytes, so the bytes and the shift that a lane needs
//!    are the same throughout a stream: one byte shuffle, one shift up that removes the cells before,
//!    one shift down to the place above the offset.
//! 4. *Level.* t = (2·phase + 1)/2^L − 1 in one exact fused multiply-add. The rest has the same
//!    operations as [`Code::level`](crate::codec::trellis::code::Code::level), so every lane has the
//!    same bits.
//!
//! That is some 25 instructions for sixteen weights in 512-bit vectors. The constants of the lanes are
//! the same for all streams of a code whose cells begin at the same bit of a byte. They are kept as a
//! [`DecodePlan`].
//!
//! On AVX2, which looks up bytes only, phases come from `bytes`, 256 at a time.
//!
//! [`ChainCodes`] are a stream's codes with readable bytes on both sides; they are copied where the plane
//! has no such bytes. That costs under 2 % of decoding. In return no load is out of bounds, and the
//! bits before a chain are zeros without a test.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod bytes;
mod codes;
pub mod integer;
mod plan;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vbmi;

pub use codes::{ChainCodes, Codes, Memory, StreamCodes};
pub use plan::{BLOCK, DecodePlan, DecodePlans};

use super::tiles;
use crate::SimdLevel;

/// Decode `out.len()` levels from weight `from` of `codes` on. Both numbers are multiples of [`BLOCK`].
/// The levels after the last weight have no meaning.
///
/// Every [`SimdLevel`] gives the same bits.
pub fn levels(simd: SimdLevel, codes: &Codes<'_>, from: usize, out: &mut [f32]) {
    let codes = match codes {
        Codes::Chain(codes) => codes,
        Codes::Tiles(codes) => return tiles::levels(simd, codes, from, out),
    };
    codes.check(from, out.len());
    match simd {
        SimdLevel::Portable => portable::levels(codes, from, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and `check` held.
        SimdLevel::Avx2(_) => unsafe { avx2::levels(codes, from, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) => unsafe { avx512::levels(codes, from, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { vbmi::levels(codes, from, out) },
    }
}

/// Σ level·x over the weights of `codes`, in sixteen partial sums that [`lane_sum`] adds up. Lane i
/// sums the weights ≡ i mod 16 in order. `x` has a multiple of [`BLOCK`] values, with zeros after the
/// last weight.
///
/// Every [`SimdLevel`] gives the same bits.
pub fn dot(simd: SimdLevel, codes: &Codes<'_>, x: &[f32]) -> f32 {
    let codes = match codes {
        Codes::Chain(codes) => codes,
        Codes::Tiles(codes) => return lane_sum(&tiles::float_dot(simd, codes, x)),
    };
    codes.check(0, x.len());
    let sums = match simd {
        SimdLevel::Portable => portable::dot(codes, x),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and `check` held.
        SimdLevel::Avx2(_) => unsafe { avx2::dot(codes, x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) => unsafe {
            avx512::dot(codes, 0, x, std::arch::x86_64::_mm512_setzero_ps())
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { vbmi::dot(codes, x) },
    };
    lane_sum(&sums)
}

/// The sum of sixteen lanes in the one order that all products use: halves are added, four times.
#[inline(always)]
pub fn lane_sum(lanes: &[f32; BLOCK]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
