//! Levels as 16-bit integers (see [`integer_levels`](crate::codec::trellis::integer_levels)), and their
//! products with activations of 16 bits: the twins of [`levels`](super::levels) and
//! [`dot`](super::dot).
//!
//! Weights j and 16 + j of a *pair* of blocks lie beside each other, so that one multiply-add of
//! neighbouring 16-bit numbers gives lane j of sixteen sums the columns ≡ j mod 16: those that it has
//! in floats. Vectors are kept in that order ([`Activations`]). Sums in integers are exact, whatever
//! their order; every [`STRETCH`] columns they are turned to floats, times the stretch's unit, in the
//! order of the stretches.
//!
//! Where codes are decoded in chunks (`bytes.rs`), the vector of a single product is put
//! in the order in which their weights come out, so that those need not be put in theirs.

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
use crate::codec::trellis::integer_levels::PER_SIGMA;

/// Weights whose levels are made at a time.
pub const PAIR: usize = 2 * BLOCK;
/// Columns whose products are added up in integers, at most: a whole number of pairs.
pub const STRETCH: usize = 1024;
/// The most that the magnitudes of a lane's activations in a stretch add up to. Times the largest
/// level, 2^15 − 1, that is less than 2^31: no sum of products can overflow, whatever its order.
pub const LANE: i32 = (1 << 16) - 1;

/// The order of the values of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationOrder {
    /// [`PAIR`] after [`PAIR`].
    Pairs,
    /// [`CHUNK`] after [`CHUNK`], in each of them by the weight of a lane.
    Chunks,
}

impl ActivationOrder {
    /// What [`dot`] asks for.
    pub fn of_dot(simd: SimdLevel, plans: &DecodePlans) -> Self {
        match plans.reads_stored_order(simd) {
            true => Self::Chunks,
            false => Self::Pairs,
        }
    }

    /// So many columns are kept together: the last of them filled up with zeros.
    pub fn group(self) -> usize {
        match self {
            Self::Pairs => PAIR,
            Self::Chunks => CHUNK,
        }
    }

    /// Bring the pairs of a stretch, from `start` on, to this order.
    pub fn arrange(self, values: &mut Vec<i16>, start: usize) {
        if self == Self::Pairs {
            return;
        }
        values.resize(start + (values.len() - start).next_multiple_of(CHUNK), 0);
        for chunk in values[start..].as_chunks_mut::<CHUNK>().0 {
            let pairs = *chunk;
            let places = chunk.as_chunks_mut::<2>().0;
            for (pair, lanes) in pairs.as_chunks::<PAIR>().0.iter().enumerate() {
                for (j, lane) in lanes.as_chunks::<2>().0.iter().enumerate() {
                    // Vectors of eight: by s, half of the pairs, half of the block; then by pair.
                    let vector = 4 * (j % 8) + 2 * (pair / 4) + j / 8;
                    places[4 * vector + pair % 4] = *lane;
                }
            }
        }
    }
}

/// A vector as integers: of each stretch its columns' values, and what one of them means.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    /// A whole number of groups; zeros after the last weight.
    pub values: &'a [i16],
    /// The unit of each stretch (see [`Scale`]).
    pub units: &'a [f32],
    /// What the values of a stretch are in.
    pub order: ActivationOrder,
}

impl<'a> Activations<'a> {
    /// Those of the first `len` columns, which end a stretch; the others are left.
    pub fn take(&mut self, len: usize) -> Self {
        self.take_batch(len, 1)
    }

    /// The same of `batch` vectors, which take turns from stretch to stretch.
    pub fn take_batch(&mut self, len: usize, batch: usize) -> Self {
        let (values, units);
        (values, self.values) = self
            .values
            .split_at(len.next_multiple_of(self.order.group()) * batch);
        (units, self.units) = self.units.split_at(len.div_ceil(STRETCH) * batch);
        Self {
            values,
            units,
            order: self.order,
        }
    }
}

/// Decode `out.len()` levels, a multiple of [`PAIR`], from weight `from` of `codes` on, which is one
/// too. `codes` are of a code with integer levels.
///
/// Every [`SimdLevel`] gives the same.
pub fn levels(simd: SimdLevel, codes: &Codes<'_>, from: usize, out: &mut [i16]) {
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

/// Σ level·x over the weights of `codes`, in standard deviations and sixteen lanes, as
/// [`dot`](super::dot) has it. `codes` are of a code with integer levels, and `x` is in
/// [`ActivationOrder::of_dot`].
///
/// Every [`SimdLevel`] gives the same bits.
pub fn dot(simd: SimdLevel, codes: &Codes<'_>, x: Activations<'_>) -> f32 {
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

/// What makes integers of some values, and the unit that they then have in [`Activations`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    /// Integers are the values times this, to the nearest, ties to even.
    pub factor: f32,
    /// Its inverse, divided by [`PER_SIGMA`].
    pub unit: f32,
}

impl Scale {
    /// The scale of a stretch's values, [`STRETCH`] at most; `None` as in [`Scale::within`].
    pub fn of(simd: SimdLevel, values: &[f32]) -> Option<Self> {
        debug_assert!(values.len() <= STRETCH);
        let (sums, largest) = simd.run(|| {
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
        });
        let sum = sums
            .iter()
            .copied()
            .fold(0.0, |most, sum| match sum > most || sum.is_nan() {
                true => sum,
                false => most,
            });
        Self::within(sum, largest.into_iter().fold(0.0, f32::max))
    }

    /// The largest scale at which values up to `largest`, [`STRETCH`]/16 of them at most, are 16 bits
    /// each, and come to [`LANE`] if their magnitudes come to `sum` and each is rounded up; `None`
    /// where that is no number, or near the ends of the floats' range.
    pub fn within(sum: f32, largest: f32) -> Option<Self> {
        if sum == 0.0 {
            return Some(Self::default());
        }
        // What is left of `LANE` is for a half in each of the values, and for the rounding of the sum.
        const ROOM: f32 = (LANE - (STRETCH / BLOCK) as i32 - 16) as f32;
        let factor = (ROOM / sum).min(f32::from(i16::MAX - 1) / largest);
        let inverse = 1.0 / factor;
        let range = f32::MIN_POSITIVE * PER_SIGMA..=f32::MAX / PER_SIGMA;
        (sum.is_finite() && range.contains(&factor) && range.contains(&inverse)).then_some(Self {
            factor,
            unit: inverse / PER_SIGMA,
        })
    }

    /// The integer of a value: the sum with 3·2^22 has no room for a fraction, so that it is rounded
    /// to even, and has the integer in its lowest bits.
    #[inline(always)]
    pub fn integer(self, value: f32) -> i16 {
        const WHOLE: f32 = (3 << 22) as f32;
        (value * self.factor + WHOLE).to_bits() as i16
    }

    /// Append the integers of a stretch's values, in pairs, the last filled up with zeros.
    pub fn append_pairs(self, simd: SimdLevel, values: &[f32], out: &mut Vec<i16>) {
        let start = out.len();
        out.resize(start + values.len().next_multiple_of(PAIR), 0);
        let places = out[start..].as_chunks_mut::<PAIR>().0;
        simd.run(move || {
            let (pairs, rest) = values.as_chunks::<PAIR>();
            let mut last = [0.0; PAIR];
            last[..rest.len()].copy_from_slice(rest);
            for (place, pair) in places.iter_mut().zip(pairs.iter().chain([&last])) {
                let (first, second) = pair.split_at(BLOCK);
                // As words of 32 bits, which all vectors have instructions for.
                let mut lanes = [0u32; BLOCK];
                for ((lane, first), second) in lanes.iter_mut().zip(first).zip(second) {
                    let [first, second] = [first, second].map(|v| self.integer(*v) as u16);
                    *lane = u32::from(first) | u32::from(second) << 16;
                }
                for (words, lane) in place.as_chunks_mut::<2>().0.iter_mut().zip(lanes) {
                    *words = [lane as i16, (lane >> 16) as i16];
                }
            }
        });
    }
}
