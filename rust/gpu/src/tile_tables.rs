//! Tables that kernels read beside the codes of a tensor in tiles, computed once on the host.

use hypercomp_core::codec::kernels::tiles::TilePlan;
use hypercomp_core::codec::trellis::{Code, StateMap, WindowCodes};

use crate::abi;
use crate::level_bytes::level_bytes;

/// The constants and the tables of the codes of one window.
#[derive(Clone, Debug)]
pub struct TileTables {
    /// The constants of every rate.
    pub codes: [abi::TileCode; 16],
    /// The levels: of all rates whose levels are kept in shared memory, and of higher rates in use.
    pub levels: Vec<i16>,
    /// The level bytes of all rates in use; `None` if one of them has none.
    pub bytes: Option<Vec<u8>>,
}

impl TileTables {
    /// The tables of a tensor whose streams have these rates, in half bits; 0 for a stream of zeros.
    pub fn new(window: WindowCodes, rates: impl Iterator<Item = u8>) -> Self {
        let mut used = [false; 17];
        rates.for_each(|rate| used[usize::from(rate)] = true);
        let mut tables = Self {
            codes: [abi::TileCode::default(); 16],
            levels: Vec::with_capacity(abi::TILE_LEVELS),
            bytes: Some(Vec::new()),
        };
        for code in window.iter() {
            let pinned = window.code(code.half_bits).expect("a window's code");
            let is_used = used[code.half_bits as usize];
            tables.add(code, TilePlan::of(pinned), is_used);
            if code.half_bits == abi::MOST_BYTE_HALF_BITS {
                assert_eq!(tables.levels.len(), abi::TILE_LEVELS, "rates rise");
            }
        }
        tables
    }

    fn add(&mut self, code: &Code, plan: &TilePlan, is_used: bool) {
        let StateMap::Tables(axes) = code.map else {
            unreachable!("a code of another set");
        };
        let entry = &mut self.codes[code.half_bits as usize - 1];
        *entry = abi::TileCode {
            turn: axes.map(|axis| axis.turn),
            skew: axes.map(|axis| axis.skews),
            unit: plan.unit,
            levels: self.levels.len() as u32,
            ..abi::TileCode::default()
        };
        if code.half_bits <= abi::MOST_BYTE_HALF_BITS || is_used {
            let cells = 0..1u8 << code.cell_bits();
            let levels = cells.flat_map(|cell| (0..128).map(move |u| plan.level_at(cell, u)));
            self.levels.extend(levels);
        }
        if !is_used {
            return;
        }
        match (&mut self.bytes, level_bytes(code, plan)) {
            (Some(bytes), Some(table)) => {
                entry.bytes = bytes.len() as u32;
                bytes.extend(table);
            }
            _ => self.bytes = None,
        }
    }
}
