//! The codes of some consecutive weights of a stream, with room around them.
//!
//! Most units want path bits copied, in the opposite order: their bytes are read as big-endian words,
//! which are little-endian ones then, and a vector unit fills its lanes with one in the load. Cells,
//! which are most of the codes, are read where they are.
//!
//! What looks up bytes ([`bytes`](super::bytes)) wants codes that begin with a byte, in order. Those are
//! read where they are, too, but for the ends of planes and for streams that begin within a byte.

use super::plan::{BLOCK, DecodePlan, DecodePlans};
use crate::SimdLevel;

/// Bytes before the first path bit: a window is read as the last of eight.
const BEFORE: usize = 8;
/// Bytes from the first cell of the last block on: so many may be read wherever a block begins.
/// Those of two blocks are at most 28, and begin within the first.
const AFTER: usize = 32;
/// Bytes before the first with path bits where codes are in order: a window is the end of three.
pub const PATH_BEFORE: usize = 2;
/// Weights that are decoded at once there, from the beginning of any block on.
pub const CHUNK: usize = 256;

/// Where the codes of a stream are.
#[derive(Clone, Copy, Debug)]
pub struct StreamCodes<'a> {
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
    pub plan: &'static DecodePlan,
    path: &'m [u8],
    cells: &'m [u8],
    order: PathByteOrder,
    /// Bits of a block's eight path bytes after its window, where they are turned round.
    pub window_down: u32,
}

/// The order of a path's bytes.
#[derive(Clone, Copy, Debug)]
enum PathByteOrder {
    /// The last first: a window is a little-endian word. The eight bytes of the first block's begin
    /// here; those of the next are before them.
    Reversed(usize),
    /// As in the plane, from [`PATH_BEFORE`] bytes before the first block's on, which begins with a
    /// byte; so do the cells.
    AsStored,
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
        simd: SimdLevel,
        plans: &DecodePlans,
        source: StreamCodes<'m>,
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
        if plan.reads_stored_order(simd) {
            let blocks = (to - from).div_ceil(BLOCK);
            let plane = &source.path[source.chain..];
            return Codes {
                plan,
                path: load_stored_order(
                    &mut self.path,
                    simd,
                    plane,
                    path_bit as isize - 8 * (source.chain + PATH_BEFORE) as isize,
                    PATH_BEFORE + blocks * plan.path_step,
                    CHUNK / BLOCK * plan.path_step,
                ),
                cells: load_stored_order(
                    &mut self.cells,
                    simd,
                    source.cells,
                    cell_bit as isize,
                    blocks * plan.cell_step,
                    CHUNK / BLOCK * plan.cell_step,
                ),
                order: PathByteOrder::AsStored,
                window_down: 0,
            };
        }
        let path = load_path(
            &mut self.path,
            simd,
            source,
            path_bit / 8,
            blocks * plan.path_step,
        );
        let skipped = path_bit % 8;
        // That of the first block; where there is none, nothing is read.
        let first = path
            .len()
            .saturating_sub(BEFORE + plan.path_step + usize::from(skipped > 0));
        Codes {
            plan,
            path,
            cells: load_cells(
                &mut self.cells,
                source.cells,
                cell_bit / 8,
                blocks * plan.cell_step,
            ),
            order: PathByteOrder::Reversed(first),
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
    simd: SimdLevel,
    source: StreamCodes<'_>,
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
    simd.run(|| reverse(known, reversed));
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

/// `len` bytes of a plane from `bit` on, which may be before it or within a byte, and `room` more: the
/// plane itself where that is possible, else a copy with zeros on either side of it.
fn load_stored_order<'m>(
    memory: &'m mut Vec<u8>,
    simd: SimdLevel,
    plane: &'m [u8],
    bit: isize,
    len: usize,
    room: usize,
) -> &'m [u8] {
    let size = len + room;
    let (byte, shift) = (bit.div_euclid(8), bit.rem_euclid(8) as u32);
    if let Ok(start) = usize::try_from(byte)
        && shift == 0
        && let Some(bytes) = plane.get(start..start + size)
    {
        fetch_ahead(&plane[start + len..], len);
        return bytes;
    }
    // One byte more, as each is made of two.
    memory.clear();
    memory.resize(size + 1, 0);
    let zeros = usize::try_from(-byte).unwrap_or(0).min(size);
    let start = usize::try_from(byte).unwrap_or(0).min(plane.len());
    let known = (size + 1 - zeros).min(plane.len() - start);
    memory[zeros..zeros + known].copy_from_slice(&plane[start..start + known]);
    if shift > 0 {
        simd.run(|| shift_up(memory, shift));
    }
    &memory[..size]
}

/// Shift big-endian bytes up by fewer bits than one has; the last is of no meaning then.
#[inline(always)]
fn shift_up(bytes: &mut [u8], shift: u32) {
    for i in 1..bytes.len() {
        let both = u16::from_be_bytes([bytes[i - 1], bytes[i]]);
        bytes[i - 1] = (both << shift >> 8) as u8;
    }
}

impl<'m> Codes<'m> {
    /// Panics unless the codes of `count` weights from `from` on are here, both multiples of
    /// [`BLOCK`], and what else is read with them: what the vector units rely on.
    pub fn check(&self, from: usize, count: usize) {
        let (from, blocks) = (from / BLOCK, (from + count) / BLOCK);
        assert!(from * BLOCK <= blocks * BLOCK && count.is_multiple_of(BLOCK));
        let here = match self.order {
            _ if from == blocks => true,
            PathByteOrder::Reversed(first) => {
                let last = blocks - 1;
                last * self.plan.path_step <= first
                    && first + BEFORE <= self.path.len()
                    && last * self.plan.cell_step + AFTER <= self.cells.len()
            }
            PathByteOrder::AsStored => {
                let end = from + (blocks - from).next_multiple_of(CHUNK / BLOCK);
                PATH_BEFORE + end * self.plan.path_step <= self.path.len()
                    && end * self.plan.cell_step <= self.cells.len()
            }
        };
        assert!(here, "the codes of {blocks} blocks are not all here");
    }

    /// All bytes of the path before and with the eight, last first, whose last bits but `window_down`
    /// are the window of the block from weight `from` on.
    pub fn path_to(&self, from: usize) -> &'m [u8] {
        let PathByteOrder::Reversed(first) = self.order else {
            unreachable!("the path was loaded for what reads it in order");
        };
        &self.path[..first + BEFORE - from / BLOCK * self.plan.path_step]
    }

    /// The bytes of the path from [`PATH_BEFORE`] before the block from weight `from` on.
    pub fn path_from(&self, from: usize) -> &'m [u8] {
        assert!(matches!(self.order, PathByteOrder::AsStored));
        &self.path[from / BLOCK * self.plan.path_step..]
    }

    /// The bytes with the cells of the block from weight `from` on, and all that follow.
    pub fn cells_from(&self, from: usize) -> &'m [u8] {
        &self.cells[from / BLOCK * self.plan.cell_step..]
    }
}
