//! Thirty-two weights at a time where vectors have byte permutes (AVX-512 VBMI) and the register is
//! short.
//!
//! The lower and the upper part of a register of at most ten bits have 32 values each, so what each
//! of them adds to the offset is looked up. One 64-bit word of path bits holds the registers of 32
//! weights; one `multishift` takes both parts of all of them from it, one permute of a 128-byte table
//! turns all 64 into what they add, one multiply-add of bytes adds the two. Cells are taken by one
//! permute, too. That is half of the instructions of `avx512`, and the levels are computed as there.
//!
//! Weights j and 16 + j share the two halves of 32-bit lane j. A shift and a mask make either phase
//! the mantissa of a float 2 + 2·phase/2^L, from which t is one exact subtraction. The vector units
//! are busiest with multiply-adds (measured: one a cycle), and a conversion would need one more.

use std::arch::x86_64::*;

use super::avx512::{self, Curve};
use super::codes::Codes;
use super::plan::{BLOCK, PerLane, Plan};
use crate::codec::trellis::Code;

/// The weight of each 16-bit lane.
const fn weight(lane: usize) -> usize {
    lane / 2 + lane % 2 * BLOCK
}

/// The constants of a code and of the bit at which its cells begin, for 32 lanes of two bytes: the
/// lower part of the register first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Table {
    /// Where in the path's word each part begins.
    begin: [[u8; 2]; 32],
    /// Ones as long as each part.
    mask: [[u8; 2]; 32],
    /// Where its entries are in the table.
    base: [[u8; 2]; 32],
    /// What each part adds to the offset.
    adds: [[u8; 64]; 2],
    /// The bytes of the lane's cell, second first.
    cell_bytes: [[u8; 2]; 32],
    /// Shifts that bring the cell to the top.
    cell_up: [u16; 32],
}

impl Table {
    /// The table of a code whose register is short enough for one.
    pub fn new(code: &Code, skipped: u32) -> Option<Self> {
        let (run, upper) = (code.run_bits, code.window - code.run_bits);
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
            cell_up: std::array::from_fn(|i| (cell_bit(weight(i)) % 8) as u16),
        })
    }
}

/// A [`Table`] and what else is needed of a [`Plan`], in registers.
struct Lanes {
    begin: __m512i,
    mask: __m512i,
    base: __m512i,
    adds: [__m512i; 2],
    cell_bytes: __m512i,
    cell_up: __m512i,
    cell_down: __m128i,
    offset_mask: __m512i,
    /// Shift that brings the phase in the lower half of a 32-bit lane to the top of a mantissa, and
    /// the one that brings the other there.
    mantissa: [__m128i; 2],
    mantissa_mask: __m512i,
    /// 3 − 2^−L.
    centre: __m512,
    curve: Curve,
}

impl Lanes {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(plan: &Plan, table: &Table) -> Self {
        let phase_bits = plan.code().phase_bits() as i32;
        let shift = |by| _mm_cvtsi32_si128(by);
        // SAFETY: every array of the table has 64 bytes.
        unsafe {
            Self {
                begin: _mm512_loadu_si512(table.begin.as_ptr().cast()),
                mask: _mm512_loadu_si512(table.mask.as_ptr().cast()),
                base: _mm512_loadu_si512(table.base.as_ptr().cast()),
                adds: [
                    _mm512_loadu_si512(table.adds[0].as_ptr().cast()),
                    _mm512_loadu_si512(table.adds[1].as_ptr().cast()),
                ],
                cell_bytes: _mm512_loadu_si512(table.cell_bytes.as_ptr().cast()),
                cell_up: _mm512_loadu_si512(table.cell_up.as_ptr().cast()),
                cell_down: _mm_cvtsi32_si128(plan.cell_down as i32 - 16),
                offset_mask: _mm512_set1_epi16(plan.offset_mask as i16),
                // From 7 to 15 bits, so that neither shift is negative and the halves stay apart.
                mantissa: [shift(23 - phase_bits), shift(phase_bits - 7)],
                mantissa_mask: _mm512_set1_epi32(((1 << phase_bits) - 1) << (23 - phase_bits)),
                centre: _mm512_set1_ps(2.0 - plan.t_line[1]),
                curve: Curve::new(plan),
            }
        }
    }

    /// The levels of two blocks, from the word that ends with their window and 64 bytes from their
    /// first cell on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn blocks(&self, window: u64, cells: __m512i) -> [__m512; 2] {
        let parts = _mm512_multishift_epi64_epi8(self.begin, _mm512_set1_epi64(window as i64));
        // (parts & mask) | base
        let parts = _mm512_ternarylogic_epi32(parts, self.mask, self.base, 0xEA);
        let added = _mm512_permutex2var_epi8(self.adds[0], parts, self.adds[1]);
        let offset = _mm512_maddubs_epi16(added, _mm512_set1_epi8(1));
        let bytes = _mm512_permutexvar_epi8(self.cell_bytes, cells);
        let cell = _mm512_srl_epi16(_mm512_sllv_epi16(bytes, self.cell_up), self.cell_down);
        let phases = _mm512_ternarylogic_epi32(self.offset_mask, offset, cell, 0xCA);
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

/// Call `take` with the levels of `pairs` pairs of blocks from weight `from` on.
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`Codes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn each_pair(
    codes: &Codes<'_>,
    table: &Table,
    from: usize,
    pairs: usize,
    mut take: impl FnMut(usize, [__m512; 2]),
) {
    if pairs == 0 {
        return;
    }
    let plan = codes.plan;
    let lanes = Lanes::new(plan, table);
    // The window of a pair ends where that of its second block does.
    let mut path = codes.path_from(from + BLOCK).as_ptr();
    let mut cells = codes.cells_from(from).as_ptr();
    for i in 0..pairs {
        // SAFETY: `check` says that 8 and 64 bytes are here for each of the blocks.
        let (window, bytes) = unsafe {
            (
                path.cast::<u64>().read_unaligned(),
                _mm512_loadu_si512(cells.cast()),
            )
        };
        take(
            i,
            lanes.blocks(u64::from_be(window) >> codes.window_down, bytes),
        );
        path = path.wrapping_add(2 * plan.path_step);
        cells = cells.wrapping_add(2 * plan.cell_step);
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`Codes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn levels(codes: &Codes<'_>, from: usize, out: &mut [f32]) {
    let mut done = 0;
    if let Some(table) = &codes.plan.table {
        let (start, pairs) = (out.as_mut_ptr(), out.len() / (2 * BLOCK));
        // SAFETY: the contract is this function's own; pair i is within `out`.
        unsafe {
            each_pair(codes, table, from, pairs, |i, [low, high]| {
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
/// The machine has AVX-512 F, BW and VBMI, and [`Codes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn dot(codes: &Codes<'_>, x: &[f32]) -> PerLane<f32> {
    let mut sum = _mm512_setzero_ps();
    let mut done = 0;
    if let Some(table) = &codes.plan.table {
        let (start, pairs) = (x.as_ptr(), x.len() / (2 * BLOCK));
        // SAFETY: the contract is this function's own; pair i is within `x`.
        unsafe {
            each_pair(codes, table, 0, pairs, |i, [low, high]| {
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
