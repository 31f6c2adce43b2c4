//! Tables that kernels read beside the codes of a tensor in tiles, computed once on the host.

use hypercomp_core::codec::kernels::tiles::TilePlan;
use hypercomp_core::codec::trellis::{StateMap, WindowCodes};

use crate::abi;

/// The constants and the integer levels of the codes of one window.
#[derive(Clone, Debug)]
pub struct TileTables {
    /// The constants of every rate.
    pub codes: [abi::TileCode; 16],
    /// The levels: of all rates whose levels are kept in shared memory, and of higher rates in use.
    pub levels: Vec<i16>,
}

impl TileTables {
    /// The tables of a tensor whose streams have these rates, in half bits.
    pub fn new(window: WindowCodes, rates: &[u8]) -> Self {
        let mut codes = [abi::TileCode::default(); 16];
        let mut levels = Vec::with_capacity(abi::TILE_LEVELS);
        for code in window.iter() {
            let StateMap::Tables(axes) = code.map else {
                unreachable!("a code of another set");
            };
            let pinned = window.code(code.half_bits);
            let plan = TilePlan::of(pinned.expect("a window's code"));
            codes[code.half_bits as usize - 1] = abi::TileCode {
                turn: axes.map(|axis| axis.turn),
                skew: axes.map(|axis| axis.skews),
                unit: plan.unit,
                levels: levels.len() as u32,
                unused: [0; 2],
            };
            let in_shared_memory = code.half_bits <= abi::MOST_HALF_BITS_IN_SHARED_MEMORY;
            if in_shared_memory || rates.contains(&(code.half_bits as u8)) {
                let cells = 0..1u8 << code.cell_bits();
                levels.extend(cells.flat_map(|cell| (0..128).map(move |u| plan.level_at(cell, u))));
            }
            if code.half_bits == abi::MOST_HALF_BITS_IN_SHARED_MEMORY {
                assert_eq!(levels.len(), abi::TILE_LEVELS, "rates rise");
            }
        }
        Self { codes, levels }
    }
}
