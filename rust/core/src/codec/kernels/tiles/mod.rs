//! Streams in tiles: decoding, and products with one vector (code set 2; see [`order`]).
//!
//! Levels are integers. Products of these levels with 16-bit activations are summed exactly over a whole
//! stream, so in any order and by any instructions. Then the sum becomes a float, and is multiplied by
//! the unit of the activations.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod order;
mod plan;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vbmi;

pub use plan::TilePlan;

use order::{LANES, MOST_BYTES, STEPS, TILE};

use super::activations::{ActivationOrder, Activations, BLOCK, PAIR};
use crate::SimdLevel;

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
                    8 => $unit::$kernel::<$window, 8>($($argument),*),
                    _ => $unit::$kernel::<$window, 9>($($argument),*),
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
        (
            &self.bytes[start..start + self.plan.order.bytes(lanes)],
            lanes,
        )
    }

    /// A tile in the places of a whole one, and its lanes. `memory` holds a tile that has fewer.
    #[cfg(target_arch = "x86_64")]
    fn whole_tile<'a>(
        &'a self,
        number: usize,
        memory: &'a mut [u8; MOST_BYTES],
    ) -> (&'a [u8], usize) {
        let (tile, lanes) = self.tile(number);
        if lanes == LANES {
            return (tile, lanes);
        }
        self.plan.order.widen(tile, lanes, memory);
        (memory, lanes)
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
                    self.decode_words(simd, number, &mut words);
                    Levels::Words(&words[part])
                }
            };
            f(first - wanted.start, levels);
        }
    }

    /// Decode a tile to integer levels, in the order of its weights.
    fn decode_words(&self, simd: SimdLevel, number: usize, out: &mut [i16; TILE]) {
        match simd {
            SimdLevel::Portable => {
                let (tile, lanes) = self.tile(number);
                portable::levels(self.plan, tile, lanes, out);
            }
            #[cfg(target_arch = "x86_64")]
            _ => {
                let mut memory = [0; MOST_BYTES];
                let (tile, lanes) = self.whole_tile(number, &mut memory);
                // SAFETY: every level but the portable one has AVX2 and FMA. Levels are words where
                // vectors do not decode to bytes.
                unsafe { words_on_avx2(self.plan, tile, lanes, out) };
            }
        }
    }

    /// Decode a tile to bytes, in the order of its weights.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, unused_mut, reason = "kernels for x86-64 alone")
    )]
    fn decode(&self, simd: SimdLevel, number: usize, out: &mut [i8; TILE]) {
        let plan = self.plan;
        let mut memory = [0; MOST_BYTES];
        match simd {
            SimdLevel::Portable => unreachable!("levels in plain Rust are words"),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions; the bytes of a whole
            // tile are there, and the window and the rate are the code's.
            SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
                let (tile, lanes) = self.whole_tile(number, &mut memory);
                with_constants!(plan, avx2::levels, plan, tile.as_ptr(), lanes, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Vbmi(_) => unsafe {
                let (tile, lanes) = self.whole_tile(number, &mut memory);
                with_constants!(plan, vbmi::levels, plan, tile.as_ptr(), lanes, out)
            },
        }
    }

    /// Decode a tile to bytes, weight s of all lanes for each s in turn. With vectors, bytes are moved
    /// up by 128. Lanes that do not exist have any levels.
    fn steps(&self, simd: SimdLevel, number: usize, out: &mut [u8; TILE]) {
        let plan = self.plan;
        let mut memory = [0; MOST_BYTES];
        match simd {
            SimdLevel::Portable => {
                let (tile, lanes) = self.tile(number);
                let mut levels = [0; TILE];
                portable::levels(plan, tile, lanes, &mut levels);
                for (at, out) in out.iter_mut().enumerate() {
                    *out = levels[STEPS * (at % LANES) + at / LANES] as u8;
                }
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions; the bytes of a whole
            // tile are there, and the window and the rate are the code's.
            SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
                let (tile, lanes) = self.whole_tile(number, &mut memory);
                with_constants!(plan, avx2::steps, plan, tile.as_ptr(), lanes, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Vbmi(_) => unsafe {
                let (tile, lanes) = self.whole_tile(number, &mut memory);
                with_constants!(plan, vbmi::steps, plan, tile.as_ptr(), lanes, out)
            },
        }
    }

    /// The product that a kernel's sum stands for, where the activations add up to `ones`.
    fn in_floats(&self, simd: SimdLevel, sum: i64, ones: i32, unit: f32) -> f32 {
        let moved = match simd {
            SimdLevel::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            _ => 128,
        };
        (sum - moved * i64::from(ones)) as f32 * unit
    }
}

/// See [`avx2::word_levels`].
///
/// # Safety
/// The machine has AVX2 and FMA. The code has levels in words.
#[cfg(target_arch = "x86_64")]
unsafe fn words_on_avx2(plan: &TilePlan, tile: &[u8], lanes: usize, out: &mut [i16; TILE]) {
    // SAFETY: the contract is this function's own.
    unsafe {
        match plan.order.half_bits {
            10 => avx2::word_levels::<10>(plan, tile, lanes, out),
            11 => avx2::word_levels::<11>(plan, tile, lanes, out),
            12 => avx2::word_levels::<12>(plan, tile, lanes, out),
            13 => avx2::word_levels::<13>(plan, tile, lanes, out),
            14 => avx2::word_levels::<14>(plan, tile, lanes, out),
            15 => avx2::word_levels::<15>(plan, tile, lanes, out),
            _ => avx2::word_levels::<16>(plan, tile, lanes, out),
        }
    }
}

/// Levels of consecutive weights of a tile.
enum Levels<'a> {
    /// Levels of one byte. Whole blocks.
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

/// See [`decode::levels`](crate::codec::kernels::decode::levels).
pub fn levels(simd: SimdLevel, codes: &TileCodes<'_>, from: usize, out: &mut [f32]) {
    let unit = codes.plan.unit;
    codes.each_tile(simd, from, out.len(), |at, levels| match levels {
        Levels::Bytes(bytes) => {
            let out = &mut out[at..at + bytes.len()];
            on_unit!(simd, floats(bytes, unit, out));
        }
        Levels::Words(words) => {
            for (out, level) in out[at..].iter_mut().zip(words) {
                *out = f32::from(*level) * unit;
            }
        }
    });
}

/// See [`decode::dot`](crate::codec::kernels::decode::dot).
pub fn float_dot(simd: SimdLevel, codes: &TileCodes<'_>, x: &[f32]) -> [f32; BLOCK] {
    let mut sums = [0.0f32; BLOCK];
    let unit = codes.plan.unit;
    codes.each_tile(simd, 0, x.len(), |at, levels| match levels {
        Levels::Bytes(bytes) => {
            let x = &x[at..at + bytes.len()];
            on_unit!(simd, add_products(bytes, unit, x, &mut sums));
        }
        Levels::Words(words) => match simd {
            SimdLevel::Portable => add_products_of_words(words, unit, &x[at..], &mut sums),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every level but the portable one has these instructions.
            _ => unsafe { avx2::add_products_of_words(words, unit, &x[at..], &mut sums) },
        },
    });
    sums
}

/// Add level·x to sixteen sums. The activations after the last weight are zeros, which change no sum.
/// It is compiled for a vector unit where it is inlined.
#[inline(always)]
fn add_products_of_words(words: &[i16], unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    let (blocks, rest) = words.as_chunks::<BLOCK>();
    let (x, last) = x.as_chunks::<BLOCK>();
    let mut own = *sums;
    for (words, x) in blocks.iter().zip(x) {
        for i in 0..BLOCK {
            own[i] = (f32::from(words[i]) * unit).mul_add(x[i], own[i]);
        }
    }
    if !rest.is_empty() {
        // A whole block of activations, or what is left of them.
        let x = x.get(blocks.len()).map_or(last, |x| &x[..]);
        for (i, (word, x)) in rest.iter().zip(x).enumerate() {
            own[i] = (f32::from(*word) * unit).mul_add(*x, own[i]);
        }
    }
    *sums = own;
}

/// See [`integer::levels`](crate::codec::kernels::decode::integer::levels): integer levels, in pairs of blocks.
pub fn integer_levels(simd: SimdLevel, codes: &TileCodes<'_>, from: usize, out: &mut [i16]) {
    codes.each_tile(simd, from, out.len(), |at, levels| {
        // Tiles and streams begin with a whole pair.
        let out = &mut out[at..];
        match levels {
            Levels::Bytes(bytes) => {
                let whole = bytes.len() / PAIR * PAIR;
                on_unit!(simd, pairs(&bytes[..whole], out));
                for (i, byte) in bytes[whole..].iter().enumerate() {
                    out[whole + 2 * i] = i16::from(*byte);
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
        SimdLevel::Portable => ActivationOrder::Tiles,
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => ActivationOrder::TilesByParity,
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Vbmi(_) => ActivationOrder::TilesOfBytes,
    }
}

/// Bring the activations of a tile from the order of the weights to the order of the kernels.
pub fn arrange(order: ActivationOrder, tile: &mut [i16; TILE]) {
    let given = *tile;
    for (step, out) in tile.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            *out = given[STEPS * lane + step];
        }
        match order {
            ActivationOrder::TilesByParity => even_lanes_first(out),
            ActivationOrder::TilesOfBytes => in_two_bytes(out),
            _ => {}
        }
    }
}

/// In each half of the lanes, put the even lanes before the odd ones.
fn even_lanes_first(lanes: &mut [i16; LANES]) {
    for half in lanes.as_chunks_mut::<{ LANES / 2 }>().0 {
        let given = *half;
        for (pair, given) in given.as_chunks::<2>().0.iter().enumerate() {
            [half[pair], half[LANES / 4 + pair]] = *given;
        }
    }
}

/// Put the upper bytes before the lower ones. The lower byte is signed, so the upper one is rounded.
fn in_two_bytes(lanes: &mut [i16; LANES]) {
    let mut bytes = [0; 2 * LANES];
    let (upper, lower) = bytes.split_at_mut(LANES);
    for ((value, upper), lower) in lanes.iter().zip(upper).zip(lower) {
        *upper = (value.wrapping_add(128) >> 8) as u8;
        *lower = *value as u8;
    }
    for (out, bytes) in lanes.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = i16::from_le_bytes(*bytes);
    }
}

/// The most tiles of a stream: sums of the products of this many fit in 32 bits.
const MOST_TILES: usize = 64;

/// Σ level·x over the weights of `codes`, in integer levels. The code has levels in bytes, and `x` is in
/// the order of [`activation_order`].
///
/// Every [`SimdLevel`] gives the same bits.
pub fn dot(simd: SimdLevel, codes: &TileCodes<'_>, x: Activations<'_>) -> f32 {
    let plan = codes.plan;
    let count = codes.weights.div_ceil(TILE);
    assert!(codes.from == 0 && x.order == activation_order(simd) && count <= MOST_TILES);
    assert!(x.values.len() == count * TILE && x.units.len() == 1 && x.sums.len() == 1);
    let whole = codes.weights / TILE;
    let last = (codes.weights % TILE).div_ceil(STEPS);
    let mut wide = [0; MOST_BYTES];
    if last > 0 && simd != SimdLevel::Portable {
        plan.order.widen(codes.tile(whole).0, last, &mut wide);
    }
    let (tiles, rest) = (codes.bytes.as_ptr(), wide.as_ptr());
    let sum = match simd {
        SimdLevel::Portable => {
            let mut levels = [0; TILE];
            let mut sum = 0;
            for (number, x) in x.values.as_chunks::<TILE>().0.iter().enumerate() {
                codes.steps(simd, number, &mut levels);
                let products = levels.iter().zip(x);
                let products = products.map(|(level, x)| i32::from(*level as i8) * i32::from(*x));
                sum += products.map(i64::from).sum::<i64>();
            }
            sum
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions; the bytes of all tiles and
        // the activations are there, and the window and the rate are the code's.
        SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
            let x = x.values.as_ptr();
            with_constants!(plan, avx2::dot, plan, tiles, whole, rest, last, x)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe {
            let x = x.values.as_ptr().cast();
            with_constants!(plan, vbmi::dot, plan, tiles, whole, rest, last, x)
        },
    };
    codes.in_floats(simd, sum, x.sums[0], x.units[0])
}

/// [`dot`] of several streams of one length with a batch of vectors: `out` has the results of the first
/// stream first. `memory` is reused.
///
/// Every [`SimdLevel`] gives the same bits as [`dot`].
pub fn products(
    simd: SimdLevel,
    rows: &[TileCodes<'_>],
    x: Activations<'_>,
    memory: &mut TileMemory,
    out: &mut [f32],
) {
    let Some(first) = rows.first() else {
        return;
    };
    let (count, batch) = (first.weights.div_ceil(TILE), x.units.len());
    let len = count * TILE;
    assert!(x.order == activation_order(simd) && count <= MOST_TILES);
    assert!(x.values.len() == batch * len && x.sums.len() == batch);
    assert!(out.len() == rows.len() * batch);
    assert!(
        rows.iter()
            .all(|row| row.weights == first.weights && row.from == 0)
    );
    let TileMemory { levels, sums } = memory;
    levels.resize(rows.len() * len, 0);
    sums.resize(out.len(), 0);
    for (row, levels) in rows.iter().zip(levels.chunks_exact_mut(len)) {
        for (number, levels) in levels.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            row.steps(simd, number, levels);
        }
    }
    match simd {
        SimdLevel::Portable => {
            let rows = levels.chunks_exact(len);
            for (row, sums) in rows.zip(sums.chunks_exact_mut(batch)) {
                for (x, sum) in x.values.chunks_exact(len).zip(sums) {
                    let products = row.iter().zip(x);
                    let products =
                        products.map(|(level, x)| i32::from(*level as i8) * i32::from(*x));
                    *sum = products.map(i64::from).sum();
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the token proves that the machine has these instructions, and the lengths fit.
        SimdLevel::Avx2(_) | SimdLevel::Avx512(_) => unsafe {
            avx2::products(levels, len, x.values, sums)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        SimdLevel::Vbmi(_) => unsafe { vbmi::products(levels, len, x.values, sums) },
    }
    let results = out.chunks_exact_mut(batch).zip(sums.chunks_exact(batch));
    for (row, (out, sums)) in rows.iter().zip(results) {
        for (v, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
            *out = row.in_floats(simd, *sum, x.sums[v], x.units[v]);
        }
    }
}

/// Memory of [`products`]: the levels of rows, and sums.
#[derive(Debug, Default)]
pub struct TileMemory {
    levels: Vec<u8>,
    sums: Vec<i64>,
}
