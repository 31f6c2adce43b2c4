//! Sixteen lanes as two 256-bit vectors. ChainCodes with short registers take their phases from `bytes.rs`.

use std::arch::x86_64::*;

use super::bytes::{FOUND, NOTHING, in_weight_order};
use super::codes::{CHUNK, ChainCodes};
use super::plan::{BLOCK, DecodePlan, PerLane};

/// The constants of a [`DecodePlan`] that differ from lane to lane, for one half of the lanes.
struct HalfOfPhaseVectors {
    cell_bytes: __m256i,
    cell_up: __m256i,
    upper_down: __m256i,
    lower_down: __m256i,
    skew: __m256i,
    turn: __m256i,
}

/// The constants of a [`DecodePlan`] that phases need, in vector registers.
struct PhaseVectors {
    halves: [HalfOfPhaseVectors; 2],
    upper_mask: __m256i,
    lower_mask: __m256i,
    offset_mask: __m256i,
    spread_down: __m128i,
    cell_down: __m128i,
}

/// The levels of a code, in registers.
struct LevelCurve {
    t_line: [__m256; 2],
    shape: [__m256; 3],
}

impl LevelCurve {
    #[target_feature(enable = "avx2")]
    fn new(plan: &DecodePlan) -> Self {
        Self {
            t_line: plan.t_line.map(|x| _mm256_set1_ps(x)),
            shape: plan.shape.map(|x| _mm256_set1_ps(x)),
        }
    }

    /// The curve with doubled phases as its argument.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn of_twice(plan: &DecodePlan) -> Self {
        let mut curve = Self::new(plan);
        curve.t_line[0] = _mm256_set1_ps(plan.t_line[0] / 2.0);
        curve
    }

    /// The levels of eight phases.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn levels(&self, phase: __m256i) -> __m256 {
        let t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(phase), self.t_line[0], self.t_line[1]);
        let one = _mm256_set1_ps(1.0);
        let u = _mm256_fnmadd_ps(t, t, one);
        let log = _mm256_sub_epi32(_mm256_castps_si256(one), _mm256_castps_si256(u));
        let v = _mm256_cvtepi32_ps(log);
        let [a, b, c] = self.shape;
        _mm256_mul_ps(t, _mm256_fmadd_ps(_mm256_fmadd_ps(c, v, b), v, a))
    }
}

impl PhaseVectors {
    #[target_feature(enable = "avx2")]
    fn new(plan: &DecodePlan) -> Self {
        let broadcast = |value: u32| _mm256_set1_epi32(value as i32);
        // SAFETY: each half of an array has 32 bytes.
        let load = |lanes: &PerLane<u32>, half: usize| unsafe {
            _mm256_loadu_si256(lanes[8 * half..].as_ptr().cast())
        };
        let half = |i| HalfOfPhaseVectors {
            // SAFETY: as above.
            cell_bytes: unsafe { _mm256_loadu_si256(plan.cell_bytes[8 * i..].as_ptr().cast()) },
            cell_up: load(&plan.cell_up, i),
            upper_down: load(&plan.upper_down, i),
            lower_down: load(&plan.lower_down, i),
            skew: load(&plan.skew, i),
            turn: load(&plan.turn, i),
        };
        Self {
            halves: [half(0), half(1)],
            upper_mask: broadcast(plan.upper_mask),
            lower_mask: broadcast(plan.lower_mask),
            offset_mask: broadcast(plan.offset_mask),
            spread_down: _mm_cvtsi32_si128(plan.spread_down as i32),
            cell_down: _mm_cvtsi32_si128(plan.cell_down as i32),
        }
    }

    /// The phases of half a block, from the word that ends with its window and the bytes of its
    /// cells.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn half_block(&self, half: &HalfOfPhaseVectors, window: __m256i, cells: __m256i) -> __m256i {
        let upper = _mm256_and_si256(_mm256_srlv_epi32(window, half.upper_down), self.upper_mask);
        let lower = _mm256_and_si256(_mm256_srlv_epi32(window, half.lower_down), self.lower_mask);
        let spread = _mm256_srl_epi32(_mm256_mullo_epi32(upper, half.skew), self.spread_down);
        let offset = _mm256_mullo_epi32(_mm256_add_epi32(spread, lower), half.turn);
        let bytes = _mm256_shuffle_epi8(cells, half.cell_bytes);
        let cell = _mm256_srl_epi32(_mm256_sllv_epi32(bytes, half.cell_up), self.cell_down);
        _mm256_or_si256(
            _mm256_and_si256(self.offset_mask, offset),
            _mm256_andnot_si256(self.offset_mask, cell),
        )
    }
}

/// Call `take` with the phases of `count` blocks from weight `from` on.
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub unsafe fn each_block(
    codes: &ChainCodes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, [__m256i; 2]),
) {
    if count == 0 {
        return;
    }
    let lanes = PhaseVectors::new(codes.plan);
    let mut path = codes.path_to(from).as_ptr_range().end.wrapping_sub(8);
    let mut cells = codes.cells_from(from).as_ptr();
    for i in 0..count {
        // SAFETY: `check` held: 8 and at least 16 bytes are readable for each of the blocks.
        let (window, bytes) = unsafe {
            (
                path.cast::<u64>().read_unaligned(),
                _mm_loadu_si128(cells.cast()),
            )
        };
        let window = _mm256_set1_epi32((u64::from_le(window) >> codes.window_down) as i32);
        let bytes = _mm256_broadcastsi128_si256(bytes);
        let [low, high] = &lanes.halves;
        take(
            i,
            [
                lanes.half_block(low, window, bytes),
                lanes.half_block(high, window, bytes),
            ],
        );
        path = path.wrapping_sub(codes.plan.path_step);
        cells = cells.wrapping_add(codes.plan.cell_step);
    }
}

/// Call `take` with the levels of `count` blocks from weight `from` on.
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn each_levels(
    codes: &ChainCodes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, [__m256; 2]),
) {
    let Some(table) = &codes.plan.bytes else {
        let curve = LevelCurve::new(codes.plan);
        // SAFETY: the contract is this function's own.
        return unsafe {
            each_block(codes, from, count, |i, phases| {
                take(i, phases.map(|phases| curve.levels(phases)));
            })
        };
    };
    const BLOCKS: usize = CHUNK / BLOCK;
    let curve = LevelCurve::of_twice(codes.plan);
    let mut found = NOTHING;
    let mut ordered = [[0; BLOCK]; BLOCKS];
    for first in (0..count).step_by(FOUND * BLOCKS) {
        let chunks = (count - first).div_ceil(BLOCKS).min(FOUND);
        // SAFETY: the contract is this function's own.
        let found = unsafe { table.find_phases(codes, from + first * BLOCK, chunks, &mut found) };
        for (i, chunk) in found.iter().enumerate() {
            in_weight_order(table, chunk, &mut ordered);
            let first = first + i * BLOCKS;
            for (i, phases) in ordered.iter().enumerate().take(count - first) {
                // SAFETY: a block has two times eight words.
                let eight = |half: usize| unsafe {
                    _mm256_cvtepu16_epi32(_mm_loadu_si128(phases[8 * half..].as_ptr().cast()))
                };
                take(first + i, [curve.levels(eight(0)), curve.levels(eight(1))]);
            }
        }
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [f32]) {
    let start = out.as_mut_ptr();
    // SAFETY: the contract is this function's own; block i is within `out`.
    unsafe {
        each_levels(codes, from, out.len() / BLOCK, |i, [low, high]| {
            _mm256_storeu_ps(start.add(i * BLOCK), low);
            _mm256_storeu_ps(start.add(i * BLOCK + 8), high);
        });
    }
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dot(codes: &ChainCodes<'_>, x: &[f32]) -> PerLane<f32> {
    let mut sums = [_mm256_setzero_ps(); 2];
    // SAFETY: the contract is this function's own; block i is within `x`.
    unsafe {
        each_levels(codes, 0, x.len() / BLOCK, |i, [low, high]| {
            let x = x.as_ptr().add(i * BLOCK);
            sums[0] = _mm256_fmadd_ps(low, _mm256_loadu_ps(x), sums[0]);
            sums[1] = _mm256_fmadd_ps(high, _mm256_loadu_ps(x.add(8)), sums[1]);
        });
    }
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are two vectors.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
    }
    lanes
}
