//! The steps of the search in 256-bit vectors of sixteen metrics.
//!
//! States n..n + 32 come from the metrics n/2..n/2 + 16 (oldest bit 0) and those half the states
//! further (oldest bit 1). Each old metric is used by two neighbouring states. So eight metrics are
//! loaded into both halves of a vector, and one byte shuffle doubles them. Unpacking sixteen metrics
//! instead would need a cross-lane permute as well, on the same execution port.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::{SearchTables, Steps, WRAP};

/// Byte numbers that double the words 0–3 in the lower half and 4–7 in the upper.
const DOUBLE: [u8; 32] = [
    0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14,
    15, 14, 15,
];

/// See [`fill_distances`](super::fill_distances).
///
/// # Safety
/// The machine has AVX2; the code has 128 or 256 positions.
#[target_feature(enable = "avx2")]
pub unsafe fn distances(tables: &SearchTables<'_>, weights: &[i16], out: &mut [u16]) {
    // SAFETY: the contract is this function's own.
    unsafe {
        match (tables.positions(), tables.trellis.code.is_tiled()) {
            (128, _) => distances_in::<8, 8>(tables, weights, out),
            (_, false) => distances_in::<16, 16>(tables, weights, out),
            (_, true) => distances_in::<16, 8>(tables, weights, out),
        }
    }
}

/// # Safety
/// As [`distances`], for a code of 16·`VECTORS` positions. `COMPUTED` vectors have all distances: where
/// they are half of all, the code is tiled, and the other half repeats them with neighbours exchanged.
#[target_feature(enable = "avx2")]
unsafe fn distances_in<const VECTORS: usize, const COMPUTED: usize>(
    tables: &SearchTables<'_>,
    weights: &[i16],
    out: &mut [u16],
) {
    let positions = 16 * VECTORS;
    debug_assert_eq!(positions, tables.positions());
    let cap = _mm256_set1_epi16(tables.cap as i16);
    let shift = _mm_cvtsi32_si128(tables.shift as i32);
    let places = out.chunks_exact_mut(positions + WRAP);
    for (i, (x, places)) in weights.iter().zip(places).enumerate() {
        let near = tables.near(i % tables.axes.len(), *x);
        // SAFETY: each of the cells has 16·`VECTORS` levels.
        let mut nearest = unsafe {
            match near.len() / positions {
                1 => differences::<VECTORS, COMPUTED, 1>(near, *x),
                2 => differences::<VECTORS, COMPUTED, 2>(near, *x),
                _ => differences::<VECTORS, COMPUTED, 3>(near, *x),
            }
        };
        let mut least = _mm256_set1_epi16(-1);
        for nearest in &mut nearest[..COMPUTED] {
            let scaled = _mm256_sll_epi16(_mm256_min_epu16(*nearest, cap), shift);
            *nearest = _mm256_mulhrs_epi16(scaled, scaled);
            least = _mm256_min_epu16(least, *nearest);
        }
        for at in COMPUTED..VECTORS {
            nearest[at] = swapped(nearest[at - COMPUTED]);
        }
        let least = lowest(least);
        for (at, nearest) in nearest.iter().enumerate() {
            let lessened = _mm256_sub_epi16(*nearest, least);
            // SAFETY: `places` are 16·`VECTORS` and [`WRAP`] more.
            unsafe {
                _mm256_storeu_si256(places.as_mut_ptr().add(16 * at).cast(), lessened);
                if 16 * at < WRAP {
                    _mm256_storeu_si256(
                        places.as_mut_ptr().add(positions + 16 * at).cast(),
                        lessened,
                    );
                }
            }
        }
    }
}

/// The least difference of `x` to the levels of `CELLS` cells, by position. A distance rises with the
/// difference, so only the least one is squared.
///
/// # Safety
/// The machine has AVX2. Each cell has 16·`VECTORS` levels.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn differences<const VECTORS: usize, const COMPUTED: usize, const CELLS: usize>(
    cells: &[i16],
    x: i16,
) -> [__m256i; VECTORS] {
    let target = _mm256_set1_epi16(x);
    let mut nearest = [_mm256_setzero_si256(); VECTORS];
    for (at, nearest) in nearest[..COMPUTED].iter_mut().enumerate() {
        let difference = |cell: usize| {
            let place = 16 * (cell * VECTORS + at);
            // SAFETY: the contract.
            let level = unsafe { _mm256_loadu_si256(cells.as_ptr().add(place).cast()) };
            _mm256_abs_epi16(_mm256_subs_epi16(target, level))
        };
        *nearest = difference(0);
        for cell in 1..CELLS {
            *nearest = _mm256_min_epu16(*nearest, difference(cell));
        }
    }
    nearest
}

/// Neighbouring words exchanged.
#[inline]
#[target_feature(enable = "avx2")]
fn swapped(words: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_slli_epi32::<16>(words),
        _mm256_srli_epi32::<16>(words),
    )
}

/// Subtract the minimum from all metrics.
///
/// # Safety
/// The machine has AVX2; the length is a multiple of 16.
#[target_feature(enable = "avx2")]
unsafe fn rebase(metrics: &mut [u16]) {
    let mut least = _mm256_set1_epi16(-1);
    for lanes in metrics.chunks_exact(16) {
        // SAFETY: `lanes` are 16 metrics.
        least = _mm256_min_epu16(least, unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) });
    }
    let least = lowest(least);
    for lanes in metrics.chunks_exact_mut(16) {
        // SAFETY: as above.
        unsafe {
            let lessened = _mm256_sub_epi16(_mm256_loadu_si256(lanes.as_ptr().cast()), least);
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), lessened);
        }
    }
}

/// The minimum of all lanes, in every lane.
#[target_feature(enable = "avx2")]
fn lowest(least: __m256i) -> __m256i {
    let halves = _mm_min_epu16(
        _mm256_castsi256_si128(least),
        _mm256_extracti128_si256(least, 1),
    );
    _mm256_broadcastw_epi16(_mm_minpos_epu16(halves))
}

/// See [`add_compare_select`](super::add_compare_select).
///
/// # Safety
/// The machine has AVX2. With S = `metrics.len()`, a multiple of 64: `next` has S places,
/// each step S/32 words of `decisions`, each axis' spread 2S/2^run places, and each step and axis
/// `stride` distances of which every spread plus 32 is within.
#[target_feature(enable = "avx2")]
pub unsafe fn add_compare_select(
    steps: &Steps<'_>,
    metrics: &mut [u16],
    next: &mut [u16],
    decisions: &mut [u32],
) -> bool {
    // One loop for each shape of a step, so that the compiler leaves out the branches on the shape.
    // SAFETY: the contract is this function's own.
    unsafe {
        match (steps.axes.len(), steps.run_bits) {
            (1, 5..) => select_all::<1, 5>(steps, metrics, next, decisions),
            (1, _) => select_all::<1, 4>(steps, metrics, next, decisions),
            (_, 5..) => select_all::<2, 5>(steps, metrics, next, decisions),
            (_, _) => select_all::<2, 4>(steps, metrics, next, decisions),
        }
    }
}

/// # Safety
/// As [`add_compare_select`], for steps of `AXES` weights and runs of 2^`RUN` registers.
#[target_feature(enable = "avx2")]
unsafe fn select_all<'m, const AXES: usize, const RUN: u32>(
    steps: &Steps<'_>,
    mut metrics: &'m mut [u16],
    mut next: &'m mut [u16],
    decisions: &mut [u32],
) -> bool {
    let words = metrics.len() / 32;
    let mut swapped = false;
    for (distances, decisions) in steps.iter().zip(decisions.chunks_exact_mut(words)) {
        // SAFETY: the contract is this function's own.
        unsafe { select::<AXES, RUN>(steps, distances, metrics, next, decisions) };
        std::mem::swap(&mut metrics, &mut next);
        swapped = !swapped;
    }
    // SAFETY: the states are a multiple of 64.
    unsafe { rebase(metrics) };
    swapped
}

/// One step.
///
/// # Safety
/// As [`select_all`], for the distances and decisions of a step.
#[target_feature(enable = "avx2")]
unsafe fn select<const AXES: usize, const RUN: u32>(
    step: &Steps<'_>,
    distances: &[u16],
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
    // The compiler does not see the constant: it would replace the shuffle by a permute across lanes and an
    // unpacking, which take twice as long.
    // SAFETY: the constant has 32 bytes.
    let double = black_box(unsafe { _mm256_loadu_si256(DOUBLE.as_ptr().cast()) });
    // SAFETY: `register` is below 2S, and the contract above does the rest.
    let branch = |register: usize| unsafe {
        let eight = _mm_loadu_si128(metrics.as_ptr().add(register / 2).cast());
        let mut cost = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(eight), double);
        for axis in 0..AXES {
            let spread = &step.axes.get_unchecked(axis).spread;
            let run = usize::from(*spread.get_unchecked(register >> RUN));
            let position = axis * step.stride + run + register % (1 << RUN);
            let distance = _mm256_loadu_si256(distances.as_ptr().add(position).cast());
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
