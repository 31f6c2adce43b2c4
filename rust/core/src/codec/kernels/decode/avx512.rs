//! Sixteen lanes as one 512-bit vector.

use std::arch::x86_64::*;

use super::codes::ChainCodes;
use super::plan::{BLOCK, DecodePlan, PerLane};

/// The constants of a [`DecodePlan`] that phases need, in vector registers.
struct PhaseVectors {
    cell_bytes: __m512i,
    cell_up: __m512i,
    upper_down: __m512i,
    lower_down: __m512i,
    skew: __m512i,
    turn: __m512i,
    upper_mask: __m512i,
    lower_mask: __m512i,
    offset_mask: __m512i,
    spread_down: __m128i,
    cell_down: __m128i,
}

/// The levels of a code, in registers.
pub struct LevelCurve {
    t_line: [__m512; 2],
    shape: [__m512; 3],
}

impl LevelCurve {
    #[target_feature(enable = "avx512f")]
    pub fn new(plan: &DecodePlan) -> Self {
        Self {
            t_line: plan.t_line.map(|x| _mm512_set1_ps(x)),
            shape: plan.shape.map(|x| _mm512_set1_ps(x)),
        }
    }

    /// The levels of sixteen phases.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn levels(&self, phase: __m512i) -> __m512 {
        let [scale, start] = self.t_line;
        self.levels_at(_mm512_fmadd_ps(_mm512_cvtepi32_ps(phase), scale, start))
    }

    /// The levels at sixteen t.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn levels_at(&self, t: __m512) -> __m512 {
        let one = _mm512_set1_ps(1.0);
        let u = _mm512_fnmadd_ps(t, t, one);
        let log = _mm512_sub_epi32(_mm512_castps_si512(one), _mm512_castps_si512(u));
        let v = _mm512_cvtepi32_ps(log);
        let [a, b, c] = self.shape;
        _mm512_mul_ps(t, _mm512_fmadd_ps(_mm512_fmadd_ps(c, v, b), v, a))
    }
}

impl PhaseVectors {
    #[target_feature(enable = "avx512f")]
    fn new(plan: &DecodePlan) -> Self {
        let broadcast = |value: u32| _mm512_set1_epi32(value as i32);
        // SAFETY: each array has 64 bytes.
        let load = |lanes: &PerLane<u32>| unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
        Self {
            // SAFETY: as above.
            cell_bytes: unsafe { _mm512_loadu_si512(plan.cell_bytes.as_ptr().cast()) },
            cell_up: load(&plan.cell_up),
            upper_down: load(&plan.upper_down),
            lower_down: load(&plan.lower_down),
            skew: load(&plan.skew),
            turn: load(&plan.turn),
            upper_mask: broadcast(plan.upper_mask),
            lower_mask: broadcast(plan.lower_mask),
            offset_mask: broadcast(plan.offset_mask),
            spread_down: _mm_cvtsi32_si128(plan.spread_down as i32),
            cell_down: _mm_cvtsi32_si128(plan.cell_down as i32),
        }
    }

    /// The phases of a block, from the word that ends with its window and the bytes of its cells.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn block(&self, window: u32, cells: __m128i) -> __m512i {
        let window = _mm512_set1_epi32(window as i32);
        let upper = _mm512_and_si512(_mm512_srlv_epi32(window, self.upper_down), self.upper_mask);
        let lower = _mm512_and_si512(_mm512_srlv_epi32(window, self.lower_down), self.lower_mask);
        let spread = _mm512_srl_epi32(_mm512_mullo_epi32(upper, self.skew), self.spread_down);
        let offset = _mm512_mullo_epi32(_mm512_add_epi32(spread, lower), self.turn);
        let bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(cells), self.cell_bytes);
        let cell = _mm512_srl_epi32(_mm512_sllv_epi32(bytes, self.cell_up), self.cell_down);
        // Bits of the offset where the mask is set, of the cell where it is not.
        _mm512_ternarylogic_epi32(self.offset_mask, offset, cell, 0xCA)
    }
}

/// Call `take` with the phases of `count` blocks from weight `from` on.
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn each_block(
    codes: &ChainCodes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, __m512i),
) {
    if count == 0 {
        return;
    }
    let lanes = PhaseVectors::new(codes.plan);
    let (path_step, cell_step) = (codes.plan.path_step, codes.plan.cell_step);
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
        let window = (u64::from_le(window) >> codes.window_down) as u32;
        take(i, lanes.block(window, bytes));
        path = path.wrapping_sub(path_step);
        cells = cells.wrapping_add(cell_step);
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [f32]) {
    let (start, blocks) = (out.as_mut_ptr(), out.len() / BLOCK);
    let curve = LevelCurve::new(codes.plan);
    // SAFETY: the contract is this function's own; block i is within `out`.
    unsafe {
        each_block(codes, from, blocks, |i, phases| {
            _mm512_storeu_ps(start.add(i * BLOCK), curve.levels(phases));
        });
    }
}

/// See [`dot`](super::dot): adds to `sum`, from weight `from` on, which belongs to the first value of
/// `x`.
///
/// # Safety
/// The machine has AVX-512 F and BW, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn dot(codes: &ChainCodes<'_>, from: usize, x: &[f32], mut sum: __m512) -> PerLane<f32> {
    let curve = LevelCurve::new(codes.plan);
    // SAFETY: the contract is this function's own; block i is within `x`.
    unsafe {
        each_block(codes, from, x.len() / BLOCK, |i, phases| {
            let levels = curve.levels(phases);
            sum = _mm512_fmadd_ps(levels, _mm512_loadu_ps(x.as_ptr().add(i * BLOCK)), sum);
        });
    }
    let mut sums = [0.0; BLOCK];
    // SAFETY: sixteen floats are a vector.
    unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), sum) };
    sums
}
