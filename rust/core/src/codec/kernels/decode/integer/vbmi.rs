//! Integer levels with byte permutes and dot products of words (AVX-512 VBMI, VNNI), for codes with
//! short registers. 32 levels take fifteen instructions, and one more multiplies them.

use std::arch::x86_64::*;

use super::avx512::{self, IntegerLines};
use super::{Activations, PAIR, STRETCH};
use crate::codec::kernels::decode::codes::ChainCodes;
use crate::codec::kernels::decode::plan::{BLOCK, PerLane};
use crate::codec::kernels::decode::vbmi::each_pair;

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [i16]) {
    let Some(table) = &codes.plan.table else {
        // SAFETY: the contract is this function's own.
        return unsafe { avx512::levels(codes, from, out) };
    };
    let lines = IntegerLines::new(codes.plan);
    let start = out.as_mut_ptr();
    // SAFETY: the contract is this function's own; pair i is within `out`.
    unsafe {
        each_pair(codes, table, from, out.len() / PAIR, |i, phases| {
            _mm512_storeu_si512(start.add(i * PAIR).cast(), lines.levels(phases));
        });
    }
}

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX-512 F, BW, VBMI and VNNI, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub unsafe fn dot(codes: &ChainCodes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let Some(table) = &codes.plan.table else {
        // SAFETY: the contract is this function's own.
        return unsafe { avx512::dot(codes, x) };
    };
    let lines = IntegerLines::new(codes.plan);
    let mut sums = _mm512_setzero_ps();
    for (i, (values, unit)) in x.values.chunks(STRETCH).zip(x.units).enumerate() {
        let mut whole = _mm512_setzero_si512();
        // SAFETY: the contract is this function's own; pair k is within `values`.
        unsafe {
            each_pair(
                codes,
                table,
                i * STRETCH,
                values.len() / PAIR,
                |k, phases| {
                    let x = _mm512_loadu_si512(values.as_ptr().add(k * PAIR).cast());
                    whole = _mm512_dpwssd_epi32(whole, lines.levels(phases), x);
                },
            );
        }
        sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(*unit), sums);
    }
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are a vector.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums) };
    lanes
}
