//! The codes of some consecutive weights of a stream, with room around them.

use super::plan::{BLOCK, Plan, Plans};

/// Bytes before the first path bit: a window is read as the last of eight.
const BEFORE: usize = 8;
/// Bytes from the first cell of the last block on: so many may be read wherever a block begins.
const AFTER: usize = 64;

/// Where the codes of a stream are.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The path plane.
    pub path: &'a [u8],
    /// The cell plane.
    pub cells: &'a [u8],
    /// Byte of the path plane at which the chain begins.
    pub chain: usize,
    /// Bit of the path plane at which the stream begins.
    pub path_bit: usize,
    /// Bit of the cell plane at which it begins.
    pub cell_bit: usize,
    /// Half bits a weight.
    pub rate: u8,
}

/// A copy of the codes of a run of weights.
#[derive(Debug)]
pub struct Codes<'m> {
    /// The lanes' constants.
    pub plan: &'static Plan,
    path: &'m [u8],
    cells: &'m [u8],
    /// Where the eight bytes of the first block's window begin.
    first: usize,
    /// Bits of them after the window.
    pub window_down: u32,
}

/// Memory for [`Codes`], to be used again and again.
#[derive(Debug, Default)]
pub struct Memory {
    path: Vec<u8>,
    cells: Vec<u8>,
}

impl Memory {
    /// Copy the codes of weights `from`, a multiple of [`BLOCK`], to `to` of a stream.
    pub fn load<'m>(
        &'m mut self,
        plans: &Plans,
        source: Source<'_>,
        from: usize,
        to: usize,
    ) -> Codes<'m> {
        debug_assert!(from.is_multiple_of(BLOCK) && from <= to);
        let blocks = (to - from).div_ceil(BLOCK);
        let (group, cell_bits) = (
            1 + usize::from(source.rate) % 2,
            (usize::from(source.rate) - 1) / 2,
        );
        let path_bit = source.path_bit + from / group;
        let cell_bit = source.cell_bit + from * cell_bits;
        let plan = plans.plan(source.rate, (cell_bit % 8) as u32);

        let byte = path_bit / 8;
        let here = byte.max(source.chain + BEFORE) - BEFORE;
        let end = (byte + blocks * plan.path_step + 1).min(source.path.len());
        self.path.clear();
        self.path.resize(BEFORE - (byte - here), 0);
        self.path.extend_from_slice(&source.path[here..end]);
        self.path.resize(BEFORE + blocks * plan.path_step + 1, 0);

        let byte = cell_bit / 8;
        let end = (byte + blocks * plan.cell_step + 1).min(source.cells.len());
        self.cells.clear();
        self.cells
            .extend_from_slice(&source.cells[byte.min(end)..end]);
        self.cells.resize(blocks * plan.cell_step + AFTER, 0);

        let skipped = path_bit % 8;
        Codes {
            plan,
            path: &self.path,
            cells: &self.cells,
            first: plan.path_step + usize::from(skipped > 0),
            window_down: (8 - skipped as u32) % 8,
        }
    }
}

impl Codes<'_> {
    /// Panics unless the codes of `count` weights from `from` on are here, both multiples of
    /// [`BLOCK`]: what the vector units rely on.
    pub fn check(&self, from: usize, count: usize) {
        let (from, blocks) = (from / BLOCK, (from + count) / BLOCK);
        assert!(from * BLOCK <= blocks * BLOCK && count.is_multiple_of(BLOCK));
        assert!(
            blocks == 0
                || self.first + (blocks - 1) * self.plan.path_step + 8 <= self.path.len()
                    && (blocks - 1) * self.plan.cell_step + AFTER <= self.cells.len(),
            "the codes of {blocks} blocks are not all here"
        );
    }

    /// The eight bytes whose last bits but `window_down` are the window of the block from weight
    /// `from` on, and all that follow.
    pub fn path_from(&self, from: usize) -> &[u8] {
        &self.path[self.first + from / BLOCK * self.plan.path_step..]
    }

    /// The sixteen bytes with the cells of the block from weight `from` on, and all that follow.
    pub fn cells_from(&self, from: usize) -> &[u8] {
        &self.cells[from / BLOCK * self.plan.cell_step..]
    }
}
