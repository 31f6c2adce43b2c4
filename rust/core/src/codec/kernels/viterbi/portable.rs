//! The steps of the search in plain Rust. The vector forms give the same bits. The loops run over runs
//! of registers, so that the compiler can vectorise them.

use super::{SearchTables, Steps, WRAP};

/// See [`fill_distances`](super::fill_distances).
pub fn distances(tables: &SearchTables<'_>, weights: &[i16], out: &mut [u16]) {
    let positions = tables.positions();
    let places = out.chunks_exact_mut(positions + WRAP);
    for (i, (x, places)) in weights.iter().zip(places).enumerate() {
        let (least, wrapped) = places.split_at_mut(positions);
        least.fill(u16::MAX);
        for cell in tables
            .near(i % tables.axes.len(), *x)
            .chunks_exact(positions)
        {
            for (least, level) in least.iter_mut().zip(cell) {
                let difference = x.saturating_sub(*level).unsigned_abs().min(tables.cap);
                let scaled = u32::from(difference) << tables.shift;
                *least = (*least).min(((scaled * scaled + (1 << 14)) >> 15) as u16);
            }
        }
        rebase(least);
        wrapped.copy_from_slice(&least[..WRAP]);
    }
}

/// Subtract the minimum from all metrics.
fn rebase(metrics: &mut [u16]) {
    let least = metrics.iter().copied().min().unwrap_or(0);
    for metric in metrics {
        *metric -= least;
    }
}

/// See [`add_compare_select`](super::add_compare_select).
pub fn add_compare_select<'m>(
    steps: &Steps<'_>,
    mut metrics: &'m mut [u16],
    mut next: &'m mut [u16],
    decisions: &mut [u32],
) -> bool {
    let words = metrics.len() / 32;
    let mut swapped = false;
    for (distances, decisions) in steps.iter().zip(decisions.chunks_exact_mut(words)) {
        select(steps, distances, metrics, next, decisions);
        std::mem::swap(&mut metrics, &mut next);
        swapped = !swapped;
    }
    rebase(metrics);
    swapped
}

fn select(
    steps: &Steps<'_>,
    distances: &[u16],
    metrics: &[u16],
    next: &mut [u16],
    decisions: &mut [u32],
) {
    let states = metrics.len();
    let run = 1 << steps.run_bits;
    let branches = |register: usize, costs: &mut [u16]| {
        let old = &metrics[register / 2..][..run / 2];
        for (pair, metric) in costs.chunks_exact_mut(2).zip(old) {
            pair.fill(*metric);
        }
        for (axis, distances) in steps.axes.iter().zip(distances.chunks(steps.stride)) {
            let position = usize::from(axis.spread[register >> steps.run_bits]);
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
