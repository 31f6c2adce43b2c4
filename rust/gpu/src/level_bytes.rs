//! The table by which rows in tiles are decoded for tensor cores (`cuda/tile_bytes.cuh`): for each register
//! the levels of all cells side by side, as bytes moved up by 128.

use hypercomp_core::codec::kernels::tiles::TilePlan;
use hypercomp_core::codec::trellis::Code;

use crate::abi;

/// The level bytes of a code, by register, weight of a step and cell; `None` if the code has more than
/// [`abi::MOST_BYTE_HALF_BITS`], or the bytes do not fit in [`abi::LEVEL_BYTES`].
pub fn level_bytes(code: &Code, plan: &TilePlan) -> Option<Vec<u8>> {
    let (axes, cells) = (code.weights_a_step(), 1u8 << code.cell_bits());
    let bytes = (axes * usize::from(cells)) << code.window;
    if code.half_bits > abi::MOST_BYTE_HALF_BITS || bytes > abi::LEVEL_BYTES {
        return None;
    }
    (0..1u32 << code.window)
        .flat_map(|register| (0..axes).map(move |axis| (register, axis)))
        .flat_map(|(register, axis)| (0..cells).map(move |cell| plan.level(axis, register, cell)))
        .map(|level| u8::try_from(level + 128).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use hypercomp_core::codec::trellis::{CodeSet, StateMap};

    use super::*;

    #[test]
    fn codes_of_up_to_four_bits_have_the_levels_of_each_register() {
        for (window, half_bits) in [8, 10, 12]
            .into_iter()
            .flat_map(|w| (1..=8).map(move |h| (w, h)))
        {
            let pinned = CodeSet::SECOND.code(half_bits, window).unwrap();
            let (code, plan) = (pinned.code(), TilePlan::of(pinned));
            let Some(table) = level_bytes(code, plan) else {
                assert_eq!((window, half_bits), (12, 7));
                continue;
            };
            let StateMap::Tables(axes) = code.map else {
                unreachable!("a code of another set");
            };
            let cells = 1 << code.cell_bits();
            assert_eq!(table.len(), (code.weights_a_step() * cells) << window);
            for (at, byte) in table.into_iter().enumerate() {
                let (place, cell) = (at / cells, at % cells);
                let (register, axis) = match half_bits % 2 {
                    0 => (place, 0),
                    _ => (place / 2, place % 2),
                };
                let u = axes[axis].offset(register as u32);
                let level = i32::from(plan.level_at(cell as u8, u as u8));
                assert_eq!(
                    i32::from(byte) - 128,
                    level,
                    "W = {window}, h = {half_bits}"
                );
            }
        }
    }

    #[test]
    fn codes_of_larger_windows_or_more_bits_have_none() {
        for (window, half_bits) in [(16, 1), (16, 2), (16, 8), (8, 9), (8, 16)] {
            let pinned = CodeSet::SECOND.code(half_bits, window).unwrap();
            assert!(level_bytes(pinned.code(), TilePlan::of(pinned)).is_none());
        }
    }
}
