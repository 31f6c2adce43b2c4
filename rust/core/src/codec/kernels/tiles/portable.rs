//! Tiles in plain Rust, for every rate.

use super::order::{LANES, STEPS, TILE};
use super::plan::TilePlan;

/// Decode a tile of `lanes` lanes to integer levels, in the order of the weights.
pub fn levels(plan: &TilePlan, tile: &[u8], lanes: usize, out: &mut [i16; TILE]) {
    debug_assert!(lanes <= LANES && tile.len() >= plan.order.bytes(lanes));
    let order = plan.order;
    let (bits, axes) = match order.shared() {
        false => (8, 1),
        true => (4, 2),
    };
    let mask = (1u32 << plan.window) - 1;
    // The chain is closed: the register begins with the last path bits.
    let mut register = (1..=4u32).rev().fold(0, |register, back| {
        let lane = (4 * lanes - back as usize) % lanes;
        register << bits | u32::from(order.path(tile, lanes, lane))
    });
    for (lane, out) in out.chunks_exact_mut(STEPS).take(lanes).enumerate() {
        let path = u32::from(order.path(tile, lanes, lane));
        register = register << bits | path;
        for (step, out) in out.iter_mut().enumerate() {
            let w = register >> (bits - 1 - step / axes) & mask;
            let tables = &plan.tables[step % axes];
            let entry = |n: usize| u32::from(tables[n][(w >> (4 * n) & 15) as usize]);
            let u = (0..4).map(entry).sum::<u32>() % 128;
            let cell = usize::from(order.cell(tile, lanes, lane, step));
            *out = plan.levels[cell << 7 | u as usize];
        }
    }
}
