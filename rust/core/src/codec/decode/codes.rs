//! The codes of some consecutive weights of a stream, with room around them.
//!
//! Path bits are copied, in the opposite order: their bytes are read as big-endian words, which are
//! little-endian ones then, and a vector unit fills its lanes with one in the load. The copy also has
//! zeros before a chain. Cells, which are most of the codes, are read where they are.

use super::plan::{BLOCK, Plan, Plans};
use super::unit::Unit;

/// Bytes before the first path bit: a window is read as the last of eight.
const BEFORE: usize = 8;
/// Bytes from the first cell of the last block on: so many may be read wherever a block begins.
/// Those of two blocks are at most 28, and begin within the first.
const AFTER: usize = 32;

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

/// The codes of a run of weights.
#[derive(Debug)]
pub struct Codes<'m> {
    /// The lanes' constants.
    pub plan: &'static Plan,
    /// The path's bytes, last first: a window is a little-endian word.
    path: &'m [u8],
    cells: &'m [u8],
    /// Where the eight bytes of the first block's window begin; those of the next are before them.
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
    /// The codes of weights `from`, a multiple of [`BLOCK`], to `to` of a stream, and of an even
    /// number of blocks.
    pub fn load<'m>(
        &'m mut self,
        unit: Unit,
        plans: &Plans,
        source: Source<'m>,
        from: usize,
        to: usize,
    ) -> Codes<'m> {
        debug_assert!(from.is_multiple_of(BLOCK) && from <= to);
        let blocks = 2 * (to - from).div_ceil(2 * BLOCK);
        let (shared, cell_bits) = (source.rate % 2, (usize::from(source.rate) - 1) / 2);
        // Two weights share a path bit where there are half bits.
        let path_bit = source.path_bit + (from >> shared);
        let cell_bit = source.cell_bit + from * cell_bits;
        let plan = plans.plan(source.rate, (cell_bit % 8) as u32);
        let path = load_path(
            &mut self.path,
            unit,
            source,
            path_bit / 8,
            blocks * plan.path_step,
        );
        let skipped = path_bit % 8;
        Codes {
            plan,
            // Those of the first block; where there is none, nothing is read.
            first: path
                .len()
                .saturating_sub(BEFORE + plan.path_step + usize::from(skipped > 0)),
            path,
            cells: load_cells(
                &mut self.cells,
                source.cells,
                cell_bit / 8,
                blocks * plan.cell_step,
            ),
            window_down: (8 - skipped as u32) % 8,
        }
    }
}

/// Ask for the first `len` bytes of what comes next in a plane, which are the next stream's as a rule.
///
/// A stream is read at a few bytes a cycle, of which the machine's own guesses from memory are a
/// third slower (measured at 4096 weights a row).
fn fetch_ahead(next: &[u8], len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..len.min(next.len()).div_ceil(64) {
        // SAFETY: every x86-64 has the instruction, which does nothing but to ask.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                next.as_ptr().wrapping_add(64 * line).cast(),
            )
        };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (next, len);
}

/// `len` bytes of a path plane from `byte` on, one more, and [`BEFORE`] of them, last first; zeros
/// before the chain and after the plane.
fn load_path<'m>(
    memory: &'m mut Vec<u8>,
    unit: Unit,
    source: Source<'_>,
    byte: usize,
    len: usize,
) -> &'m [u8] {
    let size = BEFORE + len + 1;
    if memory.len() < size {
        memory.resize(size, 0);
    }
    let memory = &mut memory[..size];
    let here = byte.max(source.chain + BEFORE) - BEFORE;
    let end = (byte + len + 1).min(source.path.len());
    let known = &source.path[here.min(end)..end];
    let before = BEFORE - (byte - here);
    let after = size - before - known.len();
    memory[..after].fill(0);
    memory[size - before..].fill(0);
    fetch_ahead(&source.path[end..], len);
    let reversed = &mut memory[after..size - before];
    unit.run(|| reverse(known, reversed));
    memory
}

/// Write bytes last first. By words: a loop of bytes is a fifth of a product's instructions.
#[inline(always)]
fn reverse(bytes: &[u8], out: &mut [u8]) {
    let (first, words) = bytes.as_rchunks::<8>();
    let (places, last) = out.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words.iter().rev()) {
        *place = u64::from_le_bytes(*word).swap_bytes().to_le_bytes();
    }
    for (place, byte) in last.iter_mut().zip(first.iter().rev()) {
        *place = *byte;
    }
}

/// `len` bytes of a cell plane from `byte` on, and [`AFTER`] more: those of the plane itself where it
/// has so many, else a copy with zeros after its end. Where codes have no cells (`len` is 0), zeros.
fn load_cells<'m>(memory: &'m mut Vec<u8>, plane: &'m [u8], byte: usize, len: usize) -> &'m [u8] {
    if len == 0 {
        return &[0; AFTER];
    }
    if let Some(cells) = plane.get(byte..byte + len + AFTER) {
        fetch_ahead(&plane[byte + len..], len);
        return cells;
    }
    memory.clear();
    memory.extend_from_slice(&plane[byte.min(plane.len())..]);
    memory.truncate(len + AFTER);
    memory.resize(len + AFTER, 0);
    memory
}

impl<'m> Codes<'m> {
    /// Panics unless the codes of `count` weights from `from` on are here, both multiples of
    /// [`BLOCK`]: what the vector units rely on.
    pub fn check(&self, from: usize, count: usize) {
        let (from, blocks) = (from / BLOCK, (from + count) / BLOCK);
        assert!(from * BLOCK <= blocks * BLOCK && count.is_multiple_of(BLOCK));
        assert!(
            blocks == 0
                || (blocks - 1) * self.plan.path_step <= self.first
                    && self.first + BEFORE <= self.path.len()
                    && (blocks - 1) * self.plan.cell_step + AFTER <= self.cells.len(),
            "the codes of {blocks} blocks are not all here"
        );
    }

    /// All bytes of the path before and with the eight, last first, whose last bits but `window_down`
    /// are the window of the block from weight `from` on.
    pub fn path_to(&self, from: usize) -> &'m [u8] {
        &self.path[..self.first + BEFORE - from / BLOCK * self.plan.path_step]
    }

    /// The bytes with the cells of the block from weight `from` on, and all that follow.
    pub fn cells_from(&self, from: usize) -> &'m [u8] {
        &self.cells[from / BLOCK * self.plan.cell_step..]
    }
}
