//! Levels as 16-bit integers (see [`integer_levels`](crate::codec::trellis::integer_levels)), and their
//! products with activations of 16 bits: the twins of [`levels`](super::levels) and
//! [`dot`](super::dot).
//!
//! Weights j and 16 + j of a *pair* of blocks lie beside each other. One multiply-add of neighbouring
//! 16-bit numbers then adds the columns ≡ j mod 16 to lane j of sixteen sums, as in the float product.
//! Vectors are stored in that order ([`Activations`]). Sums in integers are exact in any order. After
//! every [`STRETCH`] columns they are converted to floats and multiplied by the stretch's unit, in the
//! order of the stretches.
//!
//! Where codes are decoded in chunks (`bytes.rs`), the vector of a single product is rearranged into
//! the order in which the weights come out, so that the weights need no rearrangement.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vbmi;

use super::codes::CHUNK;
use super::{BLOCK, Codes, DecodePlans, lane_sum};
use crate::SimdLevel;
use crate::codec::kernels::activations::TILE;
pub use crate::codec::kernels::activations::{ActivationOrder, Activations, PAIR, STRETCH};
use crate::codec::kernels::tiles;
use crate::codec::trellis::integer_levels::PER_SIGMA;

/// The largest sum of the magnitudes of a lane's activations in a stretch. Times the largest level,
/// 2^15 − 1, it is below 2^31, so no sum of products can overflow, in any order.
pub const LANE: i32 = (1 << 16) - 1;

/// The largest activation that is two signed bytes, with room for rounding.
const MOST_OF_BYTES: f32 = 127.0 * 256.0;

impl ActivationOrder {
    /// The order that [`dot`] needs.
    pub fn of_dot(simd: SimdLevel, plans: &DecodePlans) -> Self {
        if plans.is_tiled() {
            return tiles::activation_order(simd);
        }
        match plans.reads_stored_order(simd) {
            true => Self::Chunks,
            false => Self::Pairs,
        }
    }

    /// Rearrange the pairs of a stretch, from `start` on, into this order.
    pub fn arrange(self, values: &mut Vec<i16>, start: usize) {
        values.resize(
            start + (values.len() - start).next_multiple_of(self.group()),
            0,
        );
        match self {
            Self::Pairs => return,
            Self::Chunks => {}
            Self::Tiles | Self::TilesByParity | Self::TilesOfBytes => {
                for tile in values[start..].as_chunks_mut::<TILE>().0 {
                    for pair in tile.as_chunks_mut::<PAIR>().0 {
                        let pairs = *pair;
                        for (i, value) in pair.iter_mut().enumerate() {
                            *value = pairs[2 * (i % BLOCK) + i / BLOCK];
                        }
                    }
                    tiles::arrange(self, tile);
                }
                return;
            }
        }
        for chunk in values[start..].as_chunks_mut::<CHUNK>().0 {
            let pairs = *chunk;
            let places = chunk.as_chunks_mut::<2>().0;
            for (pair, lanes) in pairs.as_chunks::<PAIR>().0.iter().enumerate() {
                for (j, lane) in lanes.as_chunks::<2>().0.iter().enumerate() {
                    // Vectors of eight values, ordered by s, by half of the pairs, by half of the
                    // block, then by pair.
                    let vector = 4 * (j % 8) + 2 * (pair / 4) + j / 8;
                    places[4 * vector + pair % 4] = *lane;
                }
            }
        }
    }
}

/// Decode `out.len()` levels from weight `from` of `codes` on. Both numbers are multiples of [`PAIR`],
/// and the code has integer levels.
///
/// Every [`SimdLevel`] gives the same.
pub fn levels(simd: SimdLevel, codes: &Codes<'_>, from: usize, out: &mut [i16]) {
    let codes = match codes {
        Codes::Chain(codes) => codes,
        Codes::Tiles(codes) => return tiles::integer_levels(simd, codes, from, out),
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

/// Σ level·x over the weights of `codes`, in standard deviations, summed in sixteen lanes as in
/// [`dot`](super::dot). The code has integer levels, and `x` is in the order of
/// [`ActivationOrder::of_dot`].
///
/// Every [`SimdLevel`] gives the same bits.
pub fn dot(simd: SimdLevel, codes: &Codes<'_>, x: Activations<'_>) -> f32 {
    let codes = match codes {
        Codes::Chain(codes) => codes,
        Codes::Tiles(codes) => return tiles::dot(simd, codes, x),
    };
    codes.check(0, x.values.len());
    assert!((x.order == ActivationOrder::Chunks) == codes.plan.reads_stored_order(simd));
    assert!(x.values.len().is_multiple_of(x.order.group()));
    assert!(x.values.len().div_ceil(STRETCH) == x.units.len());
    let sums = match simd {
        SimdLevel::Portable => portable::dot(codes, x),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and `check` held.
        SimdLevel::Avx2(_) => unsafe { avx2::dot(codes, x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Avx512(_) => unsafe { avx512::dot(codes, x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { vbmi::dot(codes, x) },
    };
    lane_sum(&sums)
}

/// The scale between values and integers, and the unit of these integers in [`Activations`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    /// Integers are the values times this, rounded to nearest, ties to even.
    pub factor: f32,
    /// Its inverse, divided by [`PER_SIGMA`].
    pub unit: f32,
}

impl Scale {
    /// The scale of the values of a stream in tiles, for integers that are two signed bytes; `None` as
    /// in [`Scale::within`].
    pub fn of_bytes(simd: SimdLevel, values: &[f32]) -> Option<Self> {
        // As bits, magnitudes have the order of the numbers, with infinity and NaN above all others.
        let bits = |value: &f32| value.abs().to_bits();
        let largest = simd.run(
            #[inline(always)]
            || values.iter().map(bits).max().unwrap_or(0),
        );
        match f32::from_bits(largest) {
            0.0 => Some(Self::default()),
            largest if largest.is_finite() => Self::of_factor(MOST_OF_BYTES / largest),
            _ => None,
        }
    }

    /// The scale of a stretch's values, [`STRETCH`] at most; `None` as in [`Scale::within`].
    pub fn of(simd: SimdLevel, values: &[f32]) -> Option<Self> {
        debug_assert!(values.len() <= STRETCH);
        let (sums, largest) = simd.run(
            #[inline(always)]
            || {
                let mut sums = [0.0f32; BLOCK];
                let mut largest = [0.0f32; BLOCK];
                let (blocks, rest) = values.as_chunks::<BLOCK>();
                let mut last = [0.0; BLOCK];
                last[..rest.len()].copy_from_slice(rest);
                for block in blocks.iter().chain([&last]) {
                    for ((sum, most), value) in sums.iter_mut().zip(&mut largest).zip(block) {
                        *sum += value.abs();
                        *most = if value.abs() > *most {
                            value.abs()
                        } else {
                            *most
                        };
                    }
                }
                (sums, largest)
            },
        );
        let sum = sums
            .iter()
            .copied()
            .fold(0.0, |most, sum| match sum > most || sum.is_nan() {
                true => sum,
                false => most,
            });
        Self::within(sum, largest.into_iter().fold(0.0, f32::max))
    }

    /// The largest scale at which values of magnitude up to `largest` fit in 16 bits, and the
    /// magnitudes of at most [`STRETCH`]/16 of them, which add up to `sum`, add up to at most [`LANE`]
    /// after rounding. `None` if `sum` is not finite or the scale is near the ends of the float range.
    pub fn within(sum: f32, largest: f32) -> Option<Self> {
        if sum == 0.0 {
            return Some(Self::default());
        }
        // `LANE` less room for rounding each value up by one half, and for the rounding of the sum.
        const ROOM: f32 = (LANE - (STRETCH / BLOCK) as i32 - 16) as f32;
        let factor = (ROOM / sum).min(f32::from(i16::MAX - 1) / largest);
        if sum.is_finite() {
            Self::of_factor(factor)
        } else {
            None
        }
    }

    /// The scale with this factor; `None` if it is near the ends of the float range.
    fn of_factor(factor: f32) -> Option<Self> {
        let inverse = 1.0 / factor;
        let range = f32::MIN_POSITIVE * PER_SIGMA..=f32::MAX / PER_SIGMA;
        (range.contains(&factor) && range.contains(&inverse)).then_some(Self {
            factor,
            unit: inverse / PER_SIGMA,
        })
    }

    /// The integer of a value: the sum with 3·2^22 has no bits for a fraction, so it is rounded to
    /// nearest even, and its lowest bits are the integer.
    #[inline(always)]
    pub fn integer(self, value: f32) -> i16 {
        const WHOLE: f32 = (3 << 22) as f32;
        (value * self.factor + WHOLE).to_bits() as i16
    }

    /// Append the integers of a stretch's values, in pairs; the last pair is padded with zeros.
    pub fn append_pairs(self, simd: SimdLevel, values: &[f32], out: &mut Vec<i16>) {
        let start = out.len();
        out.resize(start + values.len().next_multiple_of(PAIR), 0);
        let places = out[start..].as_chunks_mut::<PAIR>().0;
        simd.run(
            #[inline(always)]
            move || {
                let (pairs, rest) = values.as_chunks::<PAIR>();
                let mut last = [0.0; PAIR];
                last[..rest.len()].copy_from_slice(rest);
                for (place, pair) in places.iter_mut().zip(pairs.iter().chain([&last])) {
                    let (first, second) = pair.split_at(BLOCK);
                    // 32-bit words, because all vector units have instructions for them.
                    let mut lanes = [0u32; BLOCK];
                    for ((lane, first), second) in lanes.iter_mut().zip(first).zip(second) {
                        let [first, second] = [first, second].map(|v| self.integer(*v) as u16);
                        *lane = u32::from(first) | u32::from(second) << 16;
                    }
                    for (words, lane) in place.as_chunks_mut::<2>().0.iter_mut().zip(lanes) {
                        *words = [lane as i16, (lane >> 16) as i16];
                    }
                }
            },
        );
    }
}
