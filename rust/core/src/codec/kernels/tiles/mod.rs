//! Streams in tiles: decoding, and products with one vector (code set 2; see [`order`]).
//!
//! Levels are integers. A level that is a byte is twice that byte plus the parity of its code, in half
//! units. Products of these levels with 16-bit activations are summed exactly, so in any order and by
//! any instructions. After every [`STRETCH`] columns the sum becomes a float, and is multiplied by the
//! stretch's unit.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod order;
mod plan;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vbmi;

pub use plan::TilePlan;

use order::{LANES, MOST_BYTES, STEPS, TILE};

use super::decode::BLOCK;
use super::decode::integer::{ActivationOrder, Activations, PAIR, STRETCH};
use crate::SimdLevel;

/// Tiles of a stretch.
const TILES_A_STRETCH: usize = STRETCH / TILE;

/// Call a kernel with the window and the rate of a code as constants.
#[cfg(target_arch = "x86_64")]
macro_rules! with_constants {
    ($plan:expr, $unit:ident :: $kernel:ident, $($argument:expr),*) => {{
        macro_rules! of_rate {
            ($window:literal) => {
                match $plan.order.half_bits {
                    1 => $unit::$kernel::<$window, 1>($($argument),*),
                    2 => $unit::$kernel::<$window, 2>($($argument),*),
                    3 => $unit::$kernel::<$window, 3>($($argument),*),
                    4 => $unit::$kernel::<$window, 4>($($argument),*),
                    5 => $unit::$kernel::<$window, 5>($($argument),*),
                    6 => $unit::$kernel::<$window, 6>($($argument),*),
                    7 => $unit::$kernel::<$window, 7>($($argument),*),
                    _ => $unit::$kernel::<$window, 8>($($argument),*),
                }
            };
        }
        match $plan.window {
            8 => of_rate!(8),
            10 => of_rate!(10),
            12 => of_rate!(12),
            _ => of_rate!(16),
        }
    }};
}

/// The codes of a stream in tiles.
#[derive(Clone, Copy, Debug)]
pub struct TileCodes<'m> {
    plan: &'static TilePlan,
    /// The bytes of all tiles of the stream.
    bytes: &'m [u8],
    /// Coded weights of the stream.
    weights: usize,
    /// The weight that is number 0 here.
    from: usize,
}

impl<'m> TileCodes<'m> {
    /// The codes of a stream of `weights` weights that begins at byte `start` of the plane of tiles.
    /// Weight `from` becomes number 0; it is a multiple of [`BLOCK`].
    pub fn new(
        plan: &'static TilePlan,
        plane: &'m [u8],
        start: usize,
        weights: usize,
        from: usize,
    ) -> Self {
        debug_assert!(from.is_multiple_of(BLOCK));
        Self {
            plan,
            bytes: &plane[start..start + plan.order.stream_bytes(weights)],
            weights,
            from,
        }
    }

    /// The constants of the code.
    pub fn plan(&self) -> &'static TilePlan {
        self.plan
    }

    /// The bytes and the lanes of a tile.
    fn tile(&self, number: usize) -> (&'m [u8], usize) {
        let left = self.weights - TILE * number;
        let lanes = left.min(TILE).div_ceil(STEPS);
        let start = number * self.plan.order.bytes(LANES);
        (&self.bytes[start..start + self.plan.order.bytes(lanes)], lanes)
    }

    /// Decode the tiles that have weights `from..from + len`. Call `f` for each with the number of its
    /// first weight, relative to `from`, and with the levels of its weights.
    fn each_tile(
        &self,
        simd: SimdLevel,
        from: usize,
        len: usize,
        mut f: impl FnMut(usize, Levels<'_>),
    ) {
        let wanted = self.from + from..(self.from + from + len).min(self.weights);
        let (mut bytes, mut words) = ([0; TILE], [0; TILE]);
        if wanted.is_empty() {
            return;
        }
        for number in wanted.start / TILE..wanted.end.div_ceil(TILE) {
            let first = (TILE * number).max(wanted.start);
            let end = (TILE * (number + 1)).min(wanted.end);
            let part = first - TILE * number..end - TILE * number;
            let levels = match self.plan.bytes.is_some() && simd != SimdLevel::Portable {
                true => {
                    self.decode(simd, number, &mut bytes);
                    // Whole blocks: the weights after the last one have no meaning.
                    Levels::Bytes(&bytes[part.start..part.end.next_multiple_of(BLOCK)])
                }
                false => {
                    let (tile, lanes) = self.tile(number);
                    portable::levels(self.plan, tile, lanes, &mut words);
                    Levels::Words(&words[part])
                }
            };
            f(first - wanted.start, levels);
        }
    }

    /// Decode a tile to bytes, in the order of its weights.
    fn decode(&self, simd: SimdLevel, number: usize, out: &mut [i8; TILE]) {
        let (tile, lanes) = self.tile(number);
        let mut wide = [0; MOST_BYTES];
        let tile = match lanes {
            LANES => tile.as_ptr(),
            _ => {
                self.plan.order.widen(tile, lanes, &mut wide);
                wide.as_ptr()
            }
        };
        let plan = self.plan;
        match simd {
            SimdLevel::Portable => unreachable!("levels in plain Rust are words"),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions; the bytes of a whole
            // tile are there, and the window and the rate are the code's.
            SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
                with_constants!(plan, avx2::levels, plan, tile, lanes, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Vbmi(_) => unsafe {
                with_constants!(plan, vbmi::levels, plan, tile, lanes, out)
            },
        }
    }

    /// The levels of words, and what is the same for all of them: the unit, and the parity of bytes.
    fn unit_and_parity(&self) -> (f32, i32) {
        let parity = self.plan.bytes.as_ref().map_or(0, |bytes| bytes.parity);
        (self.plan.unit, parity)
    }
}

/// Levels of consecutive weights of a tile.
enum Levels<'a> {
    /// A level is twice the byte plus the parity. Whole blocks.
    Bytes(&'a [i8]),
    /// Integer levels.
    Words(&'a [i16]),
}

/// Call a kernel of the vector unit.
macro_rules! on_unit {
    ($simd:expr, $kernel:ident($($argument:expr),*)) => {
        match $simd {
            SimdLevel::Portable => unreachable!("levels in plain Rust are words"),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions.
            SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe { avx2::$kernel($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Vbmi(_) => unsafe { vbmi::$kernel($($argument),*) },
        }
    };
}

/// See [`decode::levels`](super::decode::levels).
pub fn levels(simd: SimdLevel, codes: &TileCodes<'_>, from: usize, out: &mut [f32]) {
    let (unit, parity) = codes.unit_and_parity();
    codes.each_tile(simd, from, out.len(), |at, levels| match levels {
        Levels::Bytes(bytes) => {
            let out = &mut out[at..at + bytes.len()];
            on_unit!(simd, floats(bytes, parity, unit, out));
        }
        Levels::Words(words) => {
            for (out, level) in out[at..].iter_mut().zip(words) {
                *out = f32::from(*level) * unit;
            }
        }
    });
}

/// See [`decode::dot`](super::decode::dot).
pub fn float_dot(simd: SimdLevel, codes: &TileCodes<'_>, x: &[f32]) -> [f32; BLOCK] {
    let mut sums = [0.0f32; BLOCK];
    let (unit, parity) = codes.unit_and_parity();
    codes.each_tile(simd, 0, x.len(), |at, levels| match levels {
        Levels::Bytes(bytes) => {
            let x = &x[at..at + bytes.len()];
            on_unit!(simd, add_products(bytes, parity, unit, x, &mut sums));
        }
        // The activations after the last weight are zeros, which change no sum.
        Levels::Words(words) => {
            for (i, (level, x)) in words.iter().zip(&x[at..]).enumerate() {
                let sum = &mut sums[i % BLOCK];
                *sum = (f32::from(*level) * unit).mul_add(*x, *sum);
            }
        }
    });
    sums
}

/// See [`integer::levels`](super::decode::integer::levels): integer levels, in pairs of blocks.
pub fn integer_levels(simd: SimdLevel, codes: &TileCodes<'_>, from: usize, out: &mut [i16]) {
    let (_, parity) = codes.unit_and_parity();
    codes.each_tile(simd, from, out.len(), |at, levels| {
        // Tiles and streams begin with a whole pair.
        let out = &mut out[at..];
        match levels {
            Levels::Bytes(bytes) => {
                let whole = bytes.len() / PAIR * PAIR;
                on_unit!(simd, pairs(&bytes[..whole], parity, out));
                for (i, byte) in bytes[whole..].iter().enumerate() {
                    out[whole + 2 * i] = 2 * i16::from(*byte) + parity as i16;
                }
            }
            Levels::Words(words) => {
                for (i, level) in words.iter().enumerate() {
                    out[i / PAIR * PAIR + 2 * (i % BLOCK) + i % PAIR / BLOCK] = *level;
                }
            }
        }
    });
}

/// The order of activations that [`dot`] reads.
pub fn activation_order(simd: SimdLevel) -> ActivationOrder {
    match simd {
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Vbmi(_) => ActivationOrder::TilesOfBytes,
        _ => ActivationOrder::Tiles,
    }
}

/// Bring the activations of a tile from the order of the weights to the order of the kernels.
pub fn arrange(order: ActivationOrder, tile: &mut [i16; TILE]) {
    let given = *tile;
    for (step, out) in tile.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            *out = given[STEPS * lane + step];
        }
        if order == ActivationOrder::TilesOfBytes {
            // The lower byte is signed, so the upper one is rounded.
            let mut bytes = [0; 2 * LANES];
            let (upper, lower) = bytes.split_at_mut(LANES);
            for ((value, upper), lower) in out.iter().zip(upper).zip(lower) {
                *upper = (value.wrapping_add(128) >> 8) as u8;
                *lower = *value as u8;
            }
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = i16::from_le_bytes(*bytes);
            }
        }
    }
}

/// Σ level·x over the weights of `codes`, in integer levels. The code has levels in bytes, and `x` is in
/// the order of [`activation_order`].
///
/// Every [`SimdLevel`] gives the same bits.
pub fn dot(simd: SimdLevel, codes: &TileCodes<'_>, x: Activations<'_>) -> f32 {
    let plan = codes.plan;
    let bytes = plan.bytes.as_ref().expect("levels are bytes");
    let count = codes.weights.div_ceil(TILE);
    assert!(codes.from == 0 && x.order == activation_order(simd));
    assert!(x.values.len() == count * TILE && x.units.len() == count.div_ceil(TILES_A_STRETCH));
    assert!(x.sums.len() == x.units.len());
    let mut stretches = x.units.iter().zip(x.sums);
    let mut total = 0.0f32;
    // `moved` is how far the bytes were moved up.
    let mut add = |sum: i32, moved: i32| {
        if let Some((unit, ones)) = stretches.next() {
            // The sums of magnitudes are below 2^28, so twice a sum fits.
            let exact = 2 * (sum - moved * ones) + bytes.parity * ones;
            total = (exact as f32).mul_add(*unit, total);
        }
    };
    let whole = codes.weights / TILE;
    let mut wide = [0; MOST_BYTES];
    let last = (codes.weights % TILE).div_ceil(STEPS);
    if last > 0 && simd != SimdLevel::Portable {
        plan.order.widen(codes.tile(whole).0, last, &mut wide);
    }
    let (tiles, rest) = (codes.bytes.as_ptr(), wide.as_ptr());
    match simd {
        SimdLevel::Portable => {
            let mut levels = [0; TILE];
            for (stretch, x) in x.values.chunks(STRETCH).enumerate() {
                let mut sum = 0;
                for (i, x) in x.as_chunks::<TILE>().0.iter().enumerate() {
                    let (tile, lanes) = codes.tile(stretch * TILES_A_STRETCH + i);
                    levels.fill(0);
                    portable::levels(plan, tile, lanes, &mut levels);
                    for (at, x) in x.iter().enumerate() {
                        let level = levels[STEPS * (at % LANES) + at / LANES];
                        sum += (i32::from(level) - bytes.parity) / 2 * i32::from(*x);
                    }
                }
                add(sum, 0);
            }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions; the bytes of all tiles and
        // the activations are there, and the window and the rate are the code's.
        SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
            let x = x.values.as_ptr();
            with_constants!(plan, avx2::dot, plan, tiles, whole, rest, last, x, |sum| add(sum, 0))
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe {
            let x = x.values.as_ptr().cast();
            with_constants!(plan, vbmi::dot, plan, tiles, whole, rest, last, x, |sum| add(sum, 128))
        },
    }
    total
}
