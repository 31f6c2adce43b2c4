//! Integer levels in 256-bit vectors: lines looked up in bytes where the register is short enough for
//! the phases to come in bytes, else gathered from their table.
//!
//! The curve is odd, so the line is that of the phase's distance from the middle, and the sign goes on
//! in the end. 32 weights are a hundred instructions, a third of them for the phases; on a Zen 3 they
//! take 8 to 10 ns, where the gather takes 31.

use std::arch::x86_64::*;

use super::{Activations, PAIR, STRETCH};
use crate::codec::decode::avx2::each_block;
use crate::codec::decode::bytes::{FOUND, Index, NOTHING, Phases, find_phases, twice};
use crate::codec::decode::codes::Codes;
use crate::codec::decode::plan::{BLOCK, PerLane, Plan};
use crate::codec::integer_levels::{Plane, SEGMENTS, TAIL};

/// The levels at eight phases, each with the next phase's in the upper half of its lane.
///
/// Measured on a Zen 5: 7 cycles, where loads and insertions one by one take 10.
///
/// # Safety
/// The machine has AVX2, and all phases have an entry and one after it.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather(table: &[i16], phases: __m256i) -> __m256i {
    // SAFETY: as the caller promised.
    unsafe { _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), phases) }
}

/// The integer levels of a code, in registers.
struct Lines {
    slope: [__m256i; 2],
    base: [[__m256i; 2]; 2],
    tail: [[__m256i; 2]; 2],
    /// Ones where a phase has bits of how far it is along its line.
    along: __m256i,
    /// The upper eight bits of the tail's first phase, as a signed number.
    before_tail: __m256i,
}

impl Lines {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(plan: &Plan) -> Self {
        let planes = &plan.integer_levels().planes;
        let load = |plane: &Plane| [twice(&plane[0]), twice(&plane[1])];
        let swap = |[a, b]: [__m256i; 2]| [b, a];
        let phases = 1usize << plan.code().phase_bits();
        // A tail is so many of the 128 values that the upper bits have above the middle.
        let tail = TAIL * 256 / phases;
        Self {
            slope: swap(load(&planes.slope)),
            base: [swap(load(&planes.base[0])), swap(load(&planes.base[1]))],
            tail: [load(&planes.tail[0]), load(&planes.tail[1])],
            along: _mm256_set1_epi8((phases / SEGMENTS - 1) as i8),
            before_tail: _mm256_set1_epi8((-1 - tail as i32) as i8),
        }
    }

    /// The levels of 32 phases: weights 0 to 7 and 16 to 23 in turns, and the others.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn levels(&self, phases: &Phases) -> [__m256i; 2] {
        // SAFETY: both arrays have 32 bytes.
        let (upper, twice_offset) = unsafe {
            (
                _mm256_load_si256(phases.upper.as_ptr().cast()),
                _mm256_load_si256(phases.twice_offset.as_ptr().cast()),
            )
        };
        let five_bits = _mm256_set1_epi8(31);
        // Below the middle phases are counted from there down.
        let below = _mm256_cmpgt_epi8(upper, _mm256_set1_epi8(-1));
        let upper = _mm256_xor_si256(upper, below);
        let lower = _mm256_xor_si256(_mm256_srli_epi16::<1>(twice_offset), below);
        let line = Index {
            place: _mm256_and_si256(_mm256_srli_epi16::<2>(upper), five_bits),
            // The top bit is one: together with the next one it goes over.
            which: _mm256_add_epi8(upper, _mm256_set1_epi8(0x40)),
        };
        let in_tail = Index {
            place: _mm256_and_si256(lower, five_bits),
            which: _mm256_slli_epi16::<3>(lower),
        };
        let is_tail = _mm256_cmpgt_epi8(upper, self.before_tail);
        let low = _mm256_blendv_epi8(line.of(self.base[0]), in_tail.of(self.tail[0]), is_tail);
        let high = _mm256_blendv_epi8(line.of(self.base[1]), in_tail.of(self.tail[1]), is_tail);
        let slope = line.of(self.slope);
        let sign = _mm256_or_si256(below, _mm256_set1_epi8(1));
        let along = _mm256_sign_epi8(_mm256_and_si256(lower, self.along), sign);
        let high = _mm256_sign_epi8(high, sign);
        let zero = _mm256_setzero_si256();
        macro_rules! words {
            ($unpack:ident) => {{
                // slope·along + low·sign
                let rise = _mm256_maddubs_epi16($unpack(slope, low), $unpack(along, sign));
                _mm256_add_epi16($unpack(zero, high), rise)
            }};
        }
        [words!(_mm256_unpacklo_epi8), words!(_mm256_unpackhi_epi8)]
    }
}

/// Call `take` with the levels of `count` pairs from weight `from` on: those of lanes 0 to 7, and of
/// 8 to 15.
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn gather_each_pair(
    codes: &Codes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, [__m256i; 2]),
) {
    let table = &codes.plan.integer_levels().table[..];
    let mut first = [_mm256_setzero_si256(); 2];
    // SAFETY: the contract is this function's own; a table has an entry more than there are phases.
    unsafe {
        each_block(codes, from, 2 * count, |i, phases| {
            let levels = phases.map(|phases| gather(table, phases));
            if i % 2 == 0 {
                first = levels;
                return;
            }
            let both = |half: usize| {
                let second = _mm256_slli_epi32::<16>(levels[half]);
                _mm256_blend_epi16::<0xAA>(first[half], second)
            };
            take(i / 2, [both(0), both(1)]);
        });
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn levels(codes: &Codes<'_>, from: usize, out: &mut [i16]) {
    let store = |out: &mut [i16; PAIR], [low, high]: [__m256i; 2]| {
        let start = out.as_mut_ptr();
        // SAFETY: a pair has 32 levels.
        unsafe {
            _mm256_storeu_si256(start.cast(), low);
            _mm256_storeu_si256(start.add(BLOCK).cast(), high);
        }
    };
    let out = out.as_chunks_mut::<PAIR>().0;
    let Some(table) = &codes.plan.bytes else {
        // SAFETY: the contract is this function's own.
        unsafe {
            gather_each_pair(codes, from, out.len(), |i, levels| {
                store(&mut out[i], levels)
            });
        }
        return;
    };
    let lines = Lines::new(codes.plan);
    let mut found = NOTHING;
    for (i, out) in out.chunks_mut(FOUND).enumerate() {
        let from = from + i * FOUND * PAIR;
        // SAFETY: the contract is this function's own.
        let phases = unsafe { find_phases(codes, table, from, out.len(), &mut found) };
        for (out, phases) in out.iter_mut().zip(phases) {
            store(out, lines.levels(phases));
        }
    }
}

const _: () = assert!(
    FOUND >= STRETCH / PAIR,
    "a stretch's phases are found at once"
);

/// The sums of a stretch, in integers.
#[derive(Clone, Copy)]
struct Whole([__m256i; 2]);

impl Whole {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        Self([_mm256_setzero_si256(); 2])
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, levels: [__m256i; 2], x: &[i16; PAIR]) {
        for (half, (whole, levels)) in self.0.iter_mut().zip(levels).enumerate() {
            // SAFETY: a pair has 32 values.
            let x = unsafe { _mm256_loadu_si256(x.as_ptr().add(half * BLOCK).cast()) };
            *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(levels, x));
        }
    }

    /// Times what one of them means.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_to(self, sums: &mut [__m256; 2], unit: f32) {
        for (sum, whole) in sums.iter_mut().zip(self.0) {
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(unit), *sum);
        }
    }
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`Codes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dot(codes: &Codes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let mut sums = [_mm256_setzero_ps(); 2];
    let stretches = x.values.as_chunks::<PAIR>().0.chunks(STRETCH / PAIR);
    let stretches = stretches.zip(x.units).enumerate();
    if let Some(table) = &codes.plan.bytes {
        let lines = Lines::new(codes.plan);
        let mut found = NOTHING;
        for (i, (x, unit)) in stretches {
            // SAFETY: the contract is this function's own.
            let phases = unsafe { find_phases(codes, table, i * STRETCH, x.len(), &mut found) };
            let mut whole = Whole::zero();
            for (x, phases) in x.iter().zip(phases) {
                whole.add(lines.levels(phases), x);
            }
            whole.add_to(&mut sums, *unit);
        }
    } else {
        for (i, (x, unit)) in stretches {
            let mut whole = Whole::zero();
            // SAFETY: the contract is this function's own.
            unsafe {
                gather_each_pair(codes, i * STRETCH, x.len(), |k, levels| {
                    whole.add(levels, &x[k]);
                });
            }
            whole.add_to(&mut sums, *unit);
        }
    }
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are two vectors.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
    }
    lanes
}
