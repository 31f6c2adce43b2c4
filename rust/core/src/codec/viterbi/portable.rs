//! The steps of the search in plain Rust: what the vector forms must equal, bit for bit. Written in
//! runs, so that a compiler can use whatever vectors its machine has.

use super::{SearchTables, Step};

/// See [`fill_distances`](super::fill_distances).
pub fn distances(tables: &SearchTables<'_>, levels: &[i16], x: i16, out: &mut [u16]) {
    out.fill(u16::MAX);
    for cell in levels.chunks_exact(out.len()) {
        for (least, level) in out.iter_mut().zip(cell) {
            let difference = x.saturating_sub(*level).unsigned_abs().min(tables.cap);
            let scaled = u32::from(difference) << tables.shift;
            *least = (*least).min(((scaled * scaled + (1 << 14)) >> 15) as u16);
        }
    }
    super::rebase(out);
}

/// See [`add_compare_select`](super::add_compare_select).
pub fn add_compare_select(
    step: &Step<'_>,
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    let states = metrics.len();
    let run = 1 << step.run_bits;
    let branches = |register: usize, costs: &mut [u16]| {
        let old = &metrics[register / 2..][..run / 2];
        for (pair, metric) in costs.chunks_exact_mut(2).zip(old) {
            pair.fill(*metric);
        }
        for (axis, distances) in step.axes.iter().zip(step.distances.chunks(step.stride)) {
            let position = usize::from(axis.spread[register >> step.run_bits]);
            for (cost, distance) in costs.iter_mut().zip(&distances[position..]) {
                *cost = cost.saturating_add(*distance);
            }
        }
    };
    decisions.fill(0);
    let (mut low, mut high) = ([0; 32], [0; 32]);
    for first in (0..states).step_by(run) {
        branches(first, &mut low[..run]);
        branches(first + states, &mut high[..run]);
        for (i, (low, high)) in low[..run].iter().zip(&high).enumerate() {
            next[first + i] = *low.min(high);
            decisions[(first + i) / 32] |= u32::from(low <= high) << ((first + i) % 32);
        }
    }
}
