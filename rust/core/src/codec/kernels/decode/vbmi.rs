//! Thirty-two weights at a time, with byte permutes (AVX-512 VBMI), for codes with short registers.
//!
//! The lower and the upper part of a register of at most ten bits have at most 32 values each, so the
//! contribution of each part to the offset is looked up. One 64-bit word of path bits holds the
//! registers of 32 weights. One `multishift` extracts both parts of all registers, one permute of a
//! 128-byte table looks up the 64 contributions, and one multiply-add of bytes adds them in pairs. One
//! more permute extracts the cells. That is half of the instructions of `avx512`. The levels are
//! computed as there.
//!
//! Weights j and 16 + j share the two halves of 32-bit lane j. A shift and a mask turn a phase into the
//! mantissa of the float 2 + 2·phase/2^L, and one exact subtraction gives t. Multiply-adds are the
//! bottleneck (measured: one a cycle), and a conversion from integers would need one more.

use std::arch::x86_64::*;

use super::avx512::{self, LevelCurve};
use super::codes::ChainCodes;
use super::plan::{BLOCK, DecodePlan, PerLane};
use crate::codec::trellis::code::Code;

/// The weight of each 16-bit lane.
const fn weight(lane: usize) -> usize {
    lane / 2 + lane % 2 * BLOCK
}

/// The constants of a code whose cells begin at a given bit of a byte, for 32 lanes of two bytes: the
/// lower part of the register first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct WordLookup {
    /// The bit of the path's word at which each part begins.
    begin: [[u8; 2]; 32],
    /// Mask of each part.
    mask: [[u8; 2]; 32],
    /// The index of each part's first entry in the table.
    base: [[u8; 2]; 32],
    /// The contributions of each part to the offset.
    adds: [[u8; 64]; 2],
    /// The indices of the two bytes of the lane's cell, the second byte first.
    cell_bytes: [[u8; 2]; 32],
    /// The bit of the 64-bit word at which a 16-bit field begins that has the cell above as many bits
    /// as an offset has.
    cell_begin: [[u8; 2]; 32],
    /// Mask of the bits of a 16-bit phase that are not the cell's.
    not_cell: u16,
}

impl WordLookup {
    /// The tables of a code; `None` if its register is too long for them.
    pub fn new(code: &Code, skipped: u32) -> Option<Self> {
        let (run, upper) = (code.run_bits(), code.window - code.run_bits());
        let group = code.weights_a_step();
        let entries = (1 << run) + (1 << upper);
        if group * entries > 128 {
            return None;
        }
        let mut adds = [0; 128];
        for axis in 0..group {
            for part in 0..1u32 << run {
                adds[axis * entries + part as usize] =
                    code.offset_at(axis, code.position(axis, part)) as u8;
            }
            for part in 0..1u32 << upper {
                adds[axis * entries + (1 << run) + part as usize] =
                    code.offset_at(axis, code.position(axis, part << run)) as u8;
            }
        }
        let lanes = |of: &dyn Fn(usize) -> [u8; 2]| std::array::from_fn(|i| of(weight(i)));
        let down = |weight: usize| (32 / group - 1 - weight / group) as u8;
        let cell_bit = |weight: usize| skipped + weight as u32 * code.cell_bits();
        Some(Self {
            begin: lanes(&|w| [down(w), down(w) + run as u8]),
            mask: lanes(&|_| [(1 << run) - 1, (1 << upper) - 1]),
            base: lanes(&|w| {
                let first = w % group * entries;
                [first as u8, (first + (1 << run)) as u8]
            }),
            adds: [
                std::array::from_fn(|i| adds[i]),
                std::array::from_fn(|i| adds[64 + i]),
            ],
            cell_bytes: lanes(&|w| [(cell_bit(w) / 8 + 1) as u8, (cell_bit(w) / 8) as u8]),
            cell_begin: std::array::from_fn(|i| {
                let below = 16 - cell_bit(weight(i)) % 8 - code.cell_bits();
                // A negative distance wraps around in the 64 bits. The bits that then come from the
                // lane below are replaced by the offset.
                let begin = (16 * (i as u32 % 4) + below).wrapping_sub(code.offset_bits);
                [begin, begin.wrapping_add(8)].map(|begin| (begin % 64) as u8)
            }),
            not_cell: match code.cell_bits() {
                // Without cells, the carry of an offset must be masked off; `ChainCodes` has zeros as cells.
                0 => (1 << code.offset_bits) - 1,
                bits => !(((1 << bits) - 1) << code.offset_bits),
            },
        })
    }
}

/// A [`WordLookup`] in registers.
struct LookupVectors {
    begin: __m512i,
    mask: __m512i,
    base: __m512i,
    adds: [__m512i; 2],
    cell_bytes: __m512i,
    cell_begin: __m512i,
    not_cell: __m512i,
}

impl LookupVectors {
    /// Load the constants for path words that have `window_down` bits after the window.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(table: &WordLookup, window_down: u32) -> Self {
        // SAFETY: every array of the table has 64 bytes.
        let load = |array: *const u8| unsafe { _mm512_loadu_si512(array.cast()) };
        Self {
            begin: _mm512_add_epi8(
                load(table.begin.as_ptr().cast()),
                _mm512_set1_epi8(window_down as i8),
            ),
            mask: load(table.mask.as_ptr().cast()),
            base: load(table.base.as_ptr().cast()),
            adds: [load(table.adds[0].as_ptr()), load(table.adds[1].as_ptr())],
            cell_bytes: load(table.cell_bytes.as_ptr().cast()),
            cell_begin: load(table.cell_begin.as_ptr().cast()),
            not_cell: _mm512_set1_epi16(table.not_cell as i16),
        }
    }

    /// The phases of two blocks, from the word of their window and 32 bytes from their first cell on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn phases(&self, window: i64, cells: __m256i) -> __m512i {
        let parts = _mm512_multishift_epi64_epi8(self.begin, _mm512_set1_epi64(window));
        // (parts & mask) | base
        let parts = _mm512_ternarylogic_epi32(parts, self.mask, self.base, 0xEA);
        let added = _mm512_permutex2var_epi8(self.adds[0], parts, self.adds[1]);
        let offset = _mm512_maddubs_epi16(added, _mm512_set1_epi8(1));
        let bytes = _mm512_permutexvar_epi8(self.cell_bytes, _mm512_castsi256_si512(cells));
        let cell = _mm512_multishift_epi64_epi8(self.cell_begin, bytes);
        // Bits of the offset where `not_cell` is set, of the cell where it is not.
        _mm512_ternarylogic_epi32(self.not_cell, offset, cell, 0xCA)
    }
}

/// The constants that turn the phases in both halves of 32-bit lanes into levels.
struct LevelCurves {
    /// The shifts that bring the phases of the lower and of the upper half to the top of a mantissa.
    mantissa: [__m128i; 2],
    mantissa_mask: __m512i,
    /// 3 − 2^−L.
    centre: __m512,
    curve: LevelCurve,
}

impl LevelCurves {
    #[target_feature(enable = "avx512f")]
    fn new(plan: &DecodePlan) -> Self {
        let phase_bits = plan.code().phase_bits() as i32;
        let shift = |by| _mm_cvtsi32_si128(by);
        Self {
            // Phases have 7 to 15 bits, so neither shift is negative and the halves do not overlap.
            mantissa: [shift(23 - phase_bits), shift(phase_bits - 7)],
            mantissa_mask: _mm512_set1_epi32(((1 << phase_bits) - 1) << (23 - phase_bits)),
            centre: _mm512_set1_ps(2.0 - plan.t_line[1]),
            curve: LevelCurve::new(plan),
        }
    }

    /// The levels of two blocks.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn levels(&self, phases: __m512i) -> [__m512; 2] {
        let [low, high] = self.mantissa;
        let level = |shifted| {
            let two = _mm512_set1_epi32(2f32.to_bits() as i32);
            let float = _mm512_ternarylogic_epi32(shifted, self.mantissa_mask, two, 0xEA);
            let t = _mm512_sub_ps(_mm512_castsi512_ps(float), self.centre);
            self.curve.levels_at(t)
        };
        [
            level(_mm512_sll_epi32(phases, low)),
            level(_mm512_srl_epi32(phases, high)),
        ]
    }
}

/// Call `take` with the phases of `pairs` pairs of blocks from weight `from` on.
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn each_pair(
    codes: &ChainCodes<'_>,
    table: &WordLookup,
    from: usize,
    pairs: usize,
    mut take: impl FnMut(usize, __m512i),
) {
    if pairs == 0 {
        return;
    }
    let plan = codes.plan;
    let lanes = LookupVectors::new(table, codes.window_down);
    // The window of a pair ends with the window of its second block.
    let path = codes.path_to(from + BLOCK).as_ptr_range().end;
    let mut path = path.wrapping_sub(8);
    let mut cells = codes.cells_from(from).as_ptr();
    for i in 0..pairs {
        // SAFETY: `check` held: 8 and 32 bytes are readable for each of the blocks.
        let (window, bytes) = unsafe {
            (
                path.cast::<i64>().read_unaligned(),
                _mm256_loadu_si256(cells.cast()),
            )
        };
        take(i, lanes.phases(window, bytes));
        path = path.wrapping_sub(2 * plan.path_step);
        cells = cells.wrapping_add(2 * plan.cell_step);
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [f32]) {
    let mut done = 0;
    if let Some(table) = &codes.plan.table {
        let (start, pairs) = (out.as_mut_ptr(), out.len() / (2 * BLOCK));
        let curves = LevelCurves::new(codes.plan);
        // SAFETY: the contract is this function's own; pair i is within `out`.
        unsafe {
            each_pair(codes, table, from, pairs, |i, phases| {
                let [low, high] = curves.levels(phases);
                _mm512_storeu_ps(start.add(i * 2 * BLOCK), low);
                _mm512_storeu_ps(start.add(i * 2 * BLOCK + BLOCK), high);
            });
        }
        done = pairs * 2 * BLOCK;
    }
    // SAFETY: as above, for what is left.
    unsafe { avx512::levels(codes, from + done, &mut out[done..]) };
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn dot(codes: &ChainCodes<'_>, x: &[f32]) -> PerLane<f32> {
    let mut sum = _mm512_setzero_ps();
    let mut done = 0;
    if let Some(table) = &codes.plan.table {
        let (start, pairs) = (x.as_ptr(), x.len() / (2 * BLOCK));
        let curves = LevelCurves::new(codes.plan);
        // SAFETY: the contract is this function's own; pair i is within `x`.
        unsafe {
            each_pair(codes, table, 0, pairs, |i, phases| {
                let [low, high] = curves.levels(phases);
                sum = _mm512_fmadd_ps(low, _mm512_loadu_ps(start.add(i * 2 * BLOCK)), sum);
                let x = _mm512_loadu_ps(start.add(i * 2 * BLOCK + BLOCK));
                sum = _mm512_fmadd_ps(high, x, sum);
            });
        }
        done = pairs * 2 * BLOCK;
    }
    // SAFETY: as above, for what is left.
    unsafe { avx512::dot(codes, done, &x[done..], sum) }
}
