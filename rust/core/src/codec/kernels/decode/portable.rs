//! Sixteen lanes in plain Rust.

use super::codes::ChainCodes;
use super::plan::{BLOCK, DecodePlan, PerLane};

/// Whether the target has fused multiply-add instructions. Without them each would be a library call,
/// and the table of levels costs a load only.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// See [`levels`](super::levels).
pub fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [f32]) {
    let blocks = out.as_chunks_mut::<BLOCK>().0;
    each_block(codes, from, blocks, |out, levels| *out = levels);
}

/// See [`dot`](super::dot).
pub fn dot(codes: &ChainCodes<'_>, x: &[f32]) -> PerLane<f32> {
    let mut sums = [0.0f32; BLOCK];
    each_block(codes, 0, x.as_chunks::<BLOCK>().0, |x, levels| {
        for ((sum, x), level) in sums.iter_mut().zip(x).zip(levels) {
            *sum = level.mul_add(*x, *sum);
        }
    });
    sums
}

/// Decode a block for each item of `blocks`.
#[inline(always)]
fn each_block<T>(
    codes: &ChainCodes<'_>,
    from: usize,
    blocks: impl IntoIterator<Item = T>,
    mut take: impl FnMut(T, PerLane<f32>),
) {
    let plan = codes.plan;
    each_phases(codes, from, blocks, |item, phases| {
        take(
            item,
            if FUSED {
                phases.map(|phase| level(plan, phase))
            } else {
                phases.map(|phase| plan.trellis.levels[phase as usize])
            },
        );
    });
}

/// Find the phases of a block for each item of `blocks`.
#[inline(always)]
pub fn each_phases<T>(
    codes: &ChainCodes<'_>,
    from: usize,
    blocks: impl IntoIterator<Item = T>,
    mut take: impl FnMut(T, PerLane<u32>),
) {
    let plan = codes.plan;
    for (i, item) in blocks.into_iter().enumerate() {
        let from = from + i * BLOCK;
        let (Some(window), Some(bytes)) = (
            codes.path_to(from).last_chunk(),
            codes.cells_from(from).first_chunk(),
        ) else {
            unreachable!("`ChainCodes::check` held");
        };
        let window = (u64::from_le_bytes(*window) >> codes.window_down) as u32;
        take(item, phases(plan, window, bytes));
    }
}

#[inline(always)]
fn phases(plan: &DecodePlan, window: u32, cells: &[u8; 16]) -> PerLane<u32> {
    std::array::from_fn(|i| {
        let upper = window >> plan.upper_down[i] & plan.upper_mask;
        let lower = window >> plan.lower_down[i] & plan.lower_mask;
        let spread = plan.skew[i].wrapping_mul(upper) >> plan.spread_down;
        let offset = plan.turn[i].wrapping_mul(spread + lower) & plan.offset_mask;
        let [.., second, first] = plan.cell_bytes[i];
        let cell = u32::from_be_bytes([
            cells[usize::from(first) % 16],
            cells[usize::from(second) % 16],
            0,
            0,
        ]);
        (cell << plan.cell_up[i] >> plan.cell_down) & !plan.offset_mask | offset
    })
}

#[inline(always)]
fn level(plan: &DecodePlan, phase: u32) -> f32 {
    let ([scale, start], [a, b, c]) = (plan.t_line, plan.shape);
    let t = (phase as i32 as f32).mul_add(scale, start);
    let u = (-t).mul_add(t, 1.0);
    let v = (1f32.to_bits() as i32 - u.to_bits() as i32) as f32;
    t * c.mul_add(v, b).mul_add(v, a)
}
