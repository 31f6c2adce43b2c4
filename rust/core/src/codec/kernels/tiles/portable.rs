//! Tiles in plain Rust, for every rate.

use super::order::{LANES, STEPS, TILE};
use super::plan::TilePlan;

/// Decode a tile of `lanes` lanes to integer levels, in the order of the weights.
pub fn levels(plan: &TilePlan, tile: &[u8], lanes: usize, out: &mut [i16; TILE]) {
    let order = plan.order;
    let (mut path, mut cells) = ([0; LANES], [[0; LANES]; STEPS]);
    order.unpack(tile, lanes, &mut path, &mut cells);
    let path = &path[..lanes];
    let bits = if order.shared() { 4 } else { 8 };
    // The chain is closed: the register begins with the last path bits.
    let last = path.iter().rev().cycle().take(4).zip(0..);
    let mut register: u32 = last
        .map(|(path, back)| u32::from(*path) << (bits * back))
        .sum();
    for (lane, out) in out.as_chunks_mut::<STEPS>().0[..lanes]
        .iter_mut()
        .enumerate()
    {
        register = register << bits | u32::from(path[lane]);
        match order.shared() {
            false => {
                for (step, out) in out.iter_mut().enumerate() {
                    *out = plan.level(0, register >> (7 - step), cells[step][lane]);
                }
            }
            true => {
                for (step, out) in out.iter_mut().enumerate() {
                    *out = plan.level(step % 2, register >> (3 - step / 2), cells[step][lane]);
                }
            }
        }
    }
}
