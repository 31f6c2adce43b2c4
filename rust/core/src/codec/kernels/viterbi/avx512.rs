//! The steps of the search in 512-bit vectors of thirty-two metrics.
//!
//! States n..n + 64 come from the metrics n/2..n/2 + 32 and those half the states further: two loads,
//! each doubled into two vectors by word permutes, and a compare that gives the decisions as a mask.

use std::arch::x86_64::*;

use super::{SearchTables, Steps, WRAP};

/// Word numbers that double the lower half of a vector, and its upper half.
const DOUBLE: [[u16; 32]; 2] = {
    let mut words = [[0; 32]; 2];
    let mut i = 0;
    while i < 32 {
        words[0][i] = i as u16 / 2;
        words[1][i] = i as u16 / 2 + 16;
        i += 1;
    }
    words
};

/// See [`fill_distances`](super::fill_distances).
///
/// # Safety
/// The machine has AVX-512 F and BW; the code has 128 or 256 positions.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn distances(tables: &SearchTables<'_>, weights: &[i16], out: &mut [u16]) {
    // SAFETY: the contract is this function's own.
    unsafe {
        match (tables.positions(), tables.trellis.code.is_tiled()) {
            (128, _) => distances_in::<4, 4>(tables, weights, out),
            (_, false) => distances_in::<8, 8>(tables, weights, out),
            (_, true) => distances_in::<8, 4>(tables, weights, out),
        }
    }
}

/// # Safety
/// As [`distances`], for a code of 32·`VECTORS` positions. `COMPUTED` vectors have all distances: where
/// they are half of all, the code is tiled, and the other half repeats them with neighbours exchanged.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn distances_in<const VECTORS: usize, const COMPUTED: usize>(
    tables: &SearchTables<'_>,
    weights: &[i16],
    out: &mut [u16],
) {
    let positions = 32 * VECTORS;
    debug_assert_eq!(positions, tables.positions());
    let cap = _mm512_set1_epi16(tables.cap as i16);
    let shift = _mm_cvtsi32_si128(tables.shift as i32);
    let places = out.chunks_exact_mut(positions + WRAP);
    for (i, (x, places)) in weights.iter().zip(places).enumerate() {
        let target = _mm512_set1_epi16(*x);
        let mut nearest = [_mm512_set1_epi16(-1); VECTORS];
        let near = tables.near(i % tables.axes.len(), *x);
        for cell in near.chunks_exact(positions) {
            for (at, nearest) in nearest[..COMPUTED].iter_mut().enumerate() {
                // SAFETY: a cell has 32·`VECTORS` levels.
                let level = unsafe { _mm512_loadu_si512(cell.as_ptr().add(32 * at).cast()) };
                let difference = _mm512_abs_epi16(_mm512_subs_epi16(target, level));
                let scaled = _mm512_sll_epi16(_mm512_min_epu16(difference, cap), shift);
                *nearest = _mm512_min_epu16(*nearest, _mm512_mulhrs_epi16(scaled, scaled));
            }
        }
        let mut least = nearest[0];
        for other in &nearest[1..COMPUTED] {
            least = _mm512_min_epu16(least, *other);
        }
        for at in COMPUTED..VECTORS {
            nearest[at] = _mm512_rol_epi32::<16>(nearest[at - COMPUTED]);
        }
        let least = lowest(least);
        for (at, nearest) in nearest.iter().enumerate() {
            let lessened = _mm512_sub_epi16(*nearest, least);
            // SAFETY: `places` are 32·`VECTORS` and [`WRAP`] more.
            unsafe {
                _mm512_storeu_si512(places.as_mut_ptr().add(32 * at).cast(), lessened);
                if 32 * at < WRAP {
                    _mm512_storeu_si512(
                        places.as_mut_ptr().add(positions + 32 * at).cast(),
                        lessened,
                    );
                }
            }
        }
    }
}

/// Subtract the minimum from all metrics.
///
/// # Safety
/// The machine has AVX-512 F and BW; the length is a multiple of 32.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn rebase(metrics: &mut [u16]) {
    let mut least = _mm512_set1_epi16(-1);
    for lanes in metrics.chunks_exact(32) {
        // SAFETY: `lanes` are 32 metrics.
        least = _mm512_min_epu16(least, unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) });
    }
    let least = lowest(least);
    for lanes in metrics.chunks_exact_mut(32) {
        // SAFETY: as above.
        unsafe {
            let lessened = _mm512_sub_epi16(_mm512_loadu_si512(lanes.as_ptr().cast()), least);
            _mm512_storeu_si512(lanes.as_mut_ptr().cast(), lessened);
        }
    }
}

/// The minimum of all lanes, in every lane.
#[target_feature(enable = "avx512f,avx512bw")]
fn lowest(least: __m512i) -> __m512i {
    let halves = _mm256_min_epu16(
        _mm512_castsi512_si256(least),
        _mm512_extracti64x4_epi64(least, 1),
    );
    let quarters = _mm_min_epu16(
        _mm256_castsi256_si128(halves),
        _mm256_extracti128_si256(halves, 1),
    );
    _mm512_broadcastw_epi16(_mm_minpos_epu16(quarters))
}

/// See [`add_compare_select`](super::add_compare_select).
///
/// # Safety
/// The machine has AVX-512 F and BW. With S = `metrics.len()`, a multiple of 64: `next` has S places,
/// each step S/32 words of `decisions`, each axis' spread 2S/2^run places, and each step and axis
/// `stride` distances of which every spread plus 32 is within.
#[target_feature(enable = "avx512f,avx512bw")]
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
#[target_feature(enable = "avx512f,avx512bw")]
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
#[target_feature(enable = "avx512f,avx512bw")]
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
    // SAFETY: the constants have 64 bytes each.
    let double = DOUBLE.map(|words| unsafe { _mm512_loadu_si512(words.as_ptr().cast()) });
    // SAFETY: `register` is below 2S, and the contract above does the rest.
    let added = |mut cost: __m512i, register: usize| unsafe {
        for axis in 0..AXES {
            let spread = &step.axes.get_unchecked(axis).spread;
            let distances = distances.as_ptr().add(axis * step.stride);
            let run = usize::from(*spread.get_unchecked(register >> RUN));
            let distance = if RUN == 5 {
                _mm512_loadu_si512(distances.add(run).cast())
            } else {
                let second = usize::from(*spread.get_unchecked((register >> RUN) + 1));
                _mm512_inserti64x4(
                    _mm512_castsi256_si512(_mm256_loadu_si256(distances.add(run).cast())),
                    _mm256_loadu_si256(distances.add(second).cast()),
                    1,
                )
            };
            cost = _mm512_adds_epu16(cost, distance);
        }
        cost
    };
    for (words, decisions) in decisions.chunks_exact_mut(2).enumerate() {
        let at = words * 64;
        // SAFETY: at + 64 ≤ S.
        let [low, high] = [at / 2, (at + states) / 2]
            .map(|old| unsafe { _mm512_loadu_si512(metrics.as_ptr().add(old).cast()) });
        for (half, decision) in decisions.iter_mut().enumerate() {
            let first = at + 32 * half;
            let low = added(_mm512_permutexvar_epi16(double[half], low), first);
            let high = added(_mm512_permutexvar_epi16(double[half], high), first + states);
            *decision = _mm512_cmple_epu16_mask(low, high);
            // SAFETY: first + 32 ≤ S.
            unsafe {
                let place = next.as_mut_ptr().add(first).cast();
                _mm512_storeu_si512(place, _mm512_min_epu16(low, high));
            }
        }
    }
}
