//! The steps of the search in 256-bit vectors of sixteen metrics.
//!
//! States n..n + 32 come from the metrics n/2..n/2 + 16 (oldest bit 0) and those half the states
//! further (oldest bit 1). Each old metric serves two neighbours, so eight of them are loaded into
//! both halves of a vector and doubled by one byte shuffle; that takes nothing from the shuffle
//! port but the shuffle itself, where unpacking sixteen would need a cross-lane permute as well.

use std::arch::x86_64::*;

use super::{SearchTables, Step};

/// Byte numbers that double the words 0–3 in the lower half and 4–7 in the upper.
const DOUBLE: [u8; 32] = [
    0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14,
    15, 14, 15,
];

/// See [`fill_distances`](super::fill_distances).
///
/// # Safety
/// The machine has AVX2; `out.len()` is a multiple of 16 and divides `levels.len()`.
#[target_feature(enable = "avx2")]
pub unsafe fn distances(tables: &SearchTables<'_>, levels: &[i16], x: i16, out: &mut [u16]) {
    let target = _mm256_set1_epi16(x);
    let cap = _mm256_set1_epi16(tables.cap as i16);
    let shift = _mm_cvtsi32_si128(tables.shift as i32);
    let mut least = _mm256_set1_epi16(-1);
    for at in (0..out.len()).step_by(16) {
        let mut nearest = _mm256_set1_epi16(-1);
        for cell in levels.chunks_exact(out.len()) {
            // SAFETY: `at + 16` is at most `out.len()`, the length of `cell`.
            let level = unsafe { _mm256_loadu_si256(cell.as_ptr().add(at).cast()) };
            let difference = _mm256_abs_epi16(_mm256_subs_epi16(target, level));
            let scaled = _mm256_sll_epi16(_mm256_min_epu16(difference, cap), shift);
            nearest = _mm256_min_epu16(nearest, _mm256_mulhrs_epi16(scaled, scaled));
        }
        least = _mm256_min_epu16(least, nearest);
        // SAFETY: as above, for `out`.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(at).cast(), nearest) };
    }
    let halves = _mm_min_epu16(
        _mm256_castsi256_si128(least),
        _mm256_extracti128_si256(least, 1),
    );
    let least = _mm256_broadcastw_epi16(_mm_minpos_epu16(halves));
    for at in (0..out.len()).step_by(16) {
        // SAFETY: as above.
        unsafe {
            let place = out.as_mut_ptr().add(at).cast();
            _mm256_storeu_si256(place, _mm256_sub_epi16(_mm256_loadu_si256(place), least));
        }
    }
}

/// See [`add_compare_select`](super::add_compare_select).
///
/// # Safety
/// The machine has AVX2. With S = `metrics.len()`, a multiple of 64: `next` has S places,
/// `decisions` S/32, each axis' spread 2S/2^run, and each axis has `stride` distances of which every
/// spread plus 32 is within.
#[target_feature(enable = "avx2")]
pub unsafe fn add_compare_select(
    step: &Step<'_>,
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    // One loop for each shape of a step: the compiler then knows what it need not look at.
    // SAFETY: the contract is this function's own.
    unsafe {
        match (step.axes.len(), step.run_bits) {
            (1, 5..) => select::<1, 5>(step, metrics, next, decisions),
            (1, _) => select::<1, 4>(step, metrics, next, decisions),
            (_, 5..) => select::<2, 5>(step, metrics, next, decisions),
            (_, _) => select::<2, 4>(step, metrics, next, decisions),
        }
    }
}

/// # Safety
/// As [`add_compare_select`], for steps of `AXES` weights and runs of 2^`RUN` registers.
#[target_feature(enable = "avx2")]
unsafe fn select<const AXES: usize, const RUN: u32>(
    step: &Step<'_>,
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    let states = metrics.len();
    debug_assert!(next.len() == states && decisions.len() * 32 == states);
    debug_assert!(step.axes.len() == AXES && step.run_bits == RUN);
    debug_assert!(
        step.axes
            .iter()
            .all(|a| a.spread.len() << RUN == 2 * states)
    );
    // SAFETY: the constant has 32 bytes.
    let double = unsafe { _mm256_loadu_si256(DOUBLE.as_ptr().cast()) };
    // SAFETY: `register` is below 2S, and the contract above does the rest.
    let branch = |register: usize| unsafe {
        let eight = _mm_loadu_si128(metrics.as_ptr().add(register / 2).cast());
        let mut cost = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(eight), double);
        for axis in 0..AXES {
            let spread = &step.axes.get_unchecked(axis).spread;
            let run = usize::from(*spread.get_unchecked(register >> RUN));
            let position = axis * step.stride + run + register % (1 << RUN);
            let distance = _mm256_loadu_si256(step.distances.as_ptr().add(position).cast());
            cost = _mm256_adds_epu16(cost, distance);
        }
        cost
    };
    for (word, decision) in decisions.iter_mut().enumerate() {
        let at = word * 32;
        let low = [branch(at), branch(at + 16)];
        let high = [branch(at + states), branch(at + 16 + states)];
        let least = [
            _mm256_min_epu16(low[0], high[0]),
            _mm256_min_epu16(low[1], high[1]),
        ];
        // SAFETY: at + 32 ≤ S.
        unsafe {
            let place: *mut __m256i = next.as_mut_ptr().add(at).cast();
            _mm256_storeu_si256(place, least[0]);
            _mm256_storeu_si256(place.add(1), least[1]);
        }
        let chosen = _mm256_packs_epi16(
            _mm256_cmpeq_epi16(least[0], low[0]),
            _mm256_cmpeq_epi16(least[1], low[1]),
        );
        let in_order = _mm256_permute4x64_epi64(chosen, 0b11_01_10_00);
        *decision = _mm256_movemask_epi8(in_order) as u32;
    }
}
