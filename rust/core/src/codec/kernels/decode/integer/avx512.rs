//! Integer levels in 512-bit vectors: lines and tails are 64 words each, which two registers hold.

use std::arch::x86_64::*;

use super::{Activations, PAIR, STRETCH};
use crate::codec::kernels::decode::avx512::each_block;
use crate::codec::kernels::decode::codes::ChainCodes;
use crate::codec::kernels::decode::plan::{BLOCK, DecodePlan, PerLane};
use crate::codec::trellis::integer_levels::{SEGMENTS, TAIL};

/// The integer levels of a code, in registers.
pub struct IntegerLines {
    base: [__m512i; 2],
    slope: [__m512i; 2],
    tail: [__m512i; 2],
    segment_down: __m128i,
    /// Number of phases that have lines; they are consecutive.
    inner: __m512i,
}

impl IntegerLines {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn new(plan: &DecodePlan) -> Self {
        let levels = plan.integer_levels();
        // SAFETY: 64 words are two vectors.
        let load = |words: &[i16; SEGMENTS]| unsafe {
            [
                _mm512_loadu_si512(words.as_ptr().cast()),
                _mm512_loadu_si512(words.as_ptr().add(SEGMENTS / 2).cast()),
            ]
        };
        let phase_bits = plan.code().phase_bits();
        let inner = (1u32 << phase_bits) - 2 * TAIL as u32;
        Self {
            base: load(&levels.base),
            slope: load(&levels.slope),
            tail: load(&levels.tail),
            segment_down: _mm_cvtsi32_si128((phase_bits - SEGMENTS.ilog2()) as i32),
            inner: _mm512_set1_epi16(inner as i16),
        }
    }

    /// The levels of 32 phases. Table lookups use the low six bits of an index only.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn levels(&self, phases: __m512i) -> __m512i {
        let segment = _mm512_srl_epi16(phases, self.segment_down);
        let look_up =
            |index, [low, high]: [__m512i; 2]| _mm512_permutex2var_epi16(low, index, high);
        let rise = _mm512_mullo_epi16(look_up(segment, self.slope), phases);
        // As unsigned numbers, phases of the first tail come out above all others.
        let from_tail = _mm512_sub_epi16(phases, _mm512_set1_epi16(TAIL as i16));
        let inner = _mm512_cmplt_epu16_mask(from_tail, self.inner);
        let tail = look_up(phases, self.tail);
        _mm512_mask_add_epi16(tail, inner, rise, look_up(segment, self.base))
    }
}

/// Call `take` with the levels of `count` pairs from weight `from` on.
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn each_pair(
    codes: &ChainCodes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, __m512i),
) {
    let lines = IntegerLines::new(codes.plan);
    let mut first = _mm512_setzero_si512();
    // SAFETY: the contract is this function's own.
    unsafe {
        each_block(codes, from, 2 * count, |i, phases| {
            if i % 2 == 0 {
                first = phases;
                return;
            }
            let both = _mm512_or_si512(first, _mm512_slli_epi32::<16>(phases));
            take(i / 2, lines.levels(both));
        });
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [i16]) {
    let start = out.as_mut_ptr();
    // SAFETY: the contract is this function's own; pair i is within `out`.
    unsafe {
        each_pair(codes, from, out.len() / PAIR, |i, levels| {
            _mm512_storeu_si512(start.add(i * PAIR).cast(), levels);
        });
    }
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn dot(codes: &ChainCodes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let mut sums = _mm512_setzero_ps();
    for (i, (values, unit)) in x.values.chunks(STRETCH).zip(x.units).enumerate() {
        let mut whole = _mm512_setzero_si512();
        // SAFETY: the contract is this function's own; pair k is within `values`.
        unsafe {
            each_pair(codes, i * STRETCH, values.len() / PAIR, |k, levels| {
                let x = _mm512_loadu_si512(values.as_ptr().add(k * PAIR).cast());
                whole = _mm512_add_epi32(whole, _mm512_madd_epi16(levels, x));
            });
        }
        sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(*unit), sums);
    }
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are a vector.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
    lanes
}
