//! The table by which tensor cores' fragments are decoded (`cuda/tile_bytes.cuh`): for the registers of two
//! consecutive weights two bytes each, what the offset adds to a line and the level in the tail.

use hypercomp_core::codec::kernels::tiles::TilePlan;
use hypercomp_core::codec::trellis::{Code, StateMap};

/// Bits of a byte for what an inner line adds. Above is what an outermost line adds more.
const INNER_BITS: u32 = 5;
/// Offsets u of a register.
const OFFSETS: usize = 128;

/// The constants of a code whose levels are bytes.
#[derive(Clone, Debug)]
pub struct PairTable {
    /// Where the line of each cell begins, a byte each, moved up by 128; 0 for the tail.
    pub base: [u32; 2],
    /// The parity of levels in half units.
    pub parity: i32,
    /// The table, by the path bits of two weights and those before.
    pub words: Vec<u32>,
}

impl PairTable {
    /// The table of a code; `None` if its levels are not bytes, or not the lines that the kernel adds.
    pub fn new(code: &Code, plan: &TilePlan) -> Option<Self> {
        let StateMap::Tables(axes) = code.map else {
            return None;
        };
        let parity = plan.bytes.as_ref()?.parity;
        let cells = 1usize << code.cell_bits();
        let byte = |cell: usize, u: usize| {
            let level = i32::from(plan.level_at(cell as u8, u as u8));
            u8::try_from((level - parity).div_euclid(2) + 128)
        };
        let mut levels = vec![[0u8; OFFSETS]; cells];
        for (cell, levels) in levels.iter_mut().enumerate() {
            for (u, level) in levels.iter_mut().enumerate() {
                *level = byte(cell, u).ok()?;
            }
        }
        let added = added(&levels)?;
        let mut base = [0u8; 8];
        for (base, line) in base.iter_mut().zip(&levels).skip(1) {
            *base = line[0];
        }
        let entry = |u: u32| u32::from(added[u as usize]) | u32::from(levels[0][u as usize]) << 8;
        let register = (1u32 << code.window) - 1;
        let words = match code.weights_a_step() {
            1 => (0..2 << code.window)
                .map(|bits: u32| {
                    let [first, second] = [bits >> 1, bits & register];
                    entry(axes[0].offset(first)) | entry(axes[0].offset(second)) << 16
                })
                .collect(),
            _ => (0..1 << code.window)
                .map(|bits| entry(axes[0].offset(bits)) | entry(axes[1].offset(bits)) << 16)
                .collect(),
        };
        let (lower, upper) = base.split_at(4);
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        Some(Self {
            base: [word(lower), word(upper)],
            parity,
            words,
        })
    }
}

/// What each offset adds to the start of a line: of inner lines, and above INNER_BITS the rest of
/// outermost ones. `None` if lines add other numbers.
fn added(levels: &[[u8; OFFSETS]]) -> Option<[u8; OFFSETS]> {
    let cells = levels.len();
    let mut added = [0; OFFSETS];
    if cells == 1 {
        return Some(added);
    }
    for (u, added) in added.iter_mut().enumerate() {
        let of = |cell: usize| levels[cell][u].checked_sub(levels[cell][0]);
        let inner = of(cells / 2)?;
        let more = of(1)?.checked_sub(inner)?;
        let is_line = |cell| {
            of(cell)
                == Some(if cell == 1 || cell == cells - 1 {
                    inner + more
                } else {
                    inner
                })
        };
        let fits = cells == 2 || (inner >> INNER_BITS == 0 && more >> (8 - INNER_BITS) == 0);
        if !fits || !(1..cells).all(is_line) {
            return None;
        }
        *added = inner | more << INNER_BITS;
    }
    Some(added)
}

#[cfg(test)]
mod tests {
    use hypercomp_core::codec::trellis::CodeSet;

    use super::*;

    /// The level that a kernel makes of a weight's entry and cell, in half units.
    fn level(table: &PairTable, cells: u8, entry: u32, cell: u8) -> i32 {
        let [added, tail] = [entry & 255, entry >> 8 & 255];
        let outermost = cells > 2 && (cell == 1 || cell == cells - 1);
        let added = match cells {
            2 => added,
            _ => (added & 31) + if outermost { added >> INNER_BITS } else { 0 },
        };
        let start = table.base[usize::from(cell) / 4] >> (8 * (cell % 4)) & 255;
        let byte = if cell == 0 { tail } else { start + added };
        2 * (byte as i32 - 128) + table.parity
    }

    #[test]
    fn every_code_of_up_to_four_bits_has_a_table_that_gives_its_levels() {
        for (window, half_bits) in [8, 10, 12]
            .map(|w| (1..=8).map(move |h| (w, h)))
            .into_iter()
            .flatten()
        {
            let pinned = CodeSet::SECOND.code(half_bits, window).unwrap();
            let (code, plan) = (pinned.code(), TilePlan::of(pinned));
            let table = PairTable::new(code, plan).expect("a table");
            let cells = 1u8 << code.cell_bits();
            for (bits, word) in (0u32..).zip(&table.words) {
                for (weight, entry) in [word & 0xFFFF, word >> 16].into_iter().enumerate() {
                    let (axis, register) = match code.weights_a_step() {
                        1 => (0, bits >> (1 - weight)),
                        _ => (weight, bits),
                    };
                    for cell in 0..cells {
                        let expected = i32::from(plan.level(axis, register, cell));
                        assert_eq!(level(&table, cells, entry, cell), expected);
                    }
                }
            }
        }
    }
}
