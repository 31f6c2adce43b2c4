//! Integer levels from their table, in plain Rust.

use super::{Activations, PAIR, STRETCH};
use crate::codec::kernels::decode::codes::ChainCodes;
use crate::codec::kernels::decode::plan::{BLOCK, PerLane};
use crate::codec::kernels::decode::portable::each_phases;

/// See [`levels`](super::levels).
pub fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [i16]) {
    let table = table(codes);
    for (i, pair) in out.as_chunks_mut::<PAIR>().0.iter_mut().enumerate() {
        each_phases(codes, from + i * PAIR, 0..2, |half, phases| {
            for (j, phase) in phases.into_iter().enumerate() {
                pair[2 * j + half] = table[phase as usize];
            }
        });
    }
}

/// See [`dot`](super::dot).
pub fn dot(codes: &ChainCodes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let table = table(codes);
    let mut sums = [0.0f32; BLOCK];
    let stretches = x.values.chunks(STRETCH).zip(x.units).enumerate();
    for (i, (values, unit)) in stretches {
        let mut whole = [0i32; BLOCK];
        for (k, pair) in values.as_chunks::<PAIR>().0.iter().enumerate() {
            each_phases(codes, i * STRETCH + k * PAIR, 0..2, |half, phases| {
                for (j, (sum, phase)) in whole.iter_mut().zip(phases).enumerate() {
                    *sum += i32::from(table[phase as usize]) * i32::from(pair[2 * j + half]);
                }
            });
        }
        for (sum, whole) in sums.iter_mut().zip(whole) {
            *sum = (whole as f32).mul_add(*unit, *sum);
        }
    }
    sums
}

fn table<'a>(codes: &'a ChainCodes<'_>) -> &'a [i16] {
    &codes.plan.integer_levels().table
}
