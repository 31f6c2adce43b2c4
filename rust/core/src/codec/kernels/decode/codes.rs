//! The codes of consecutive weights of a stream, with readable bytes on both sides.
//!
//! Most vector units read path bits as big-endian words. The path's bytes are copied in reverse order,
//! so that these words become little-endian and a broadcast load fills all lanes. Cells, which are most
//! of the codes, are read where they are.
//!
//! The byte kernels ([`bytes`](super::bytes)) read the path in its stored order, from a whole byte on.
//! It is read where it is, except at the ends of planes and in streams that begin within a byte: these
//! are copied.

use super::plan::{BLOCK, DecodePlan, DecodePlans};
use crate::SimdLevel;
pub use crate::codec::kernels::activations::CHUNK;
use crate::codec::kernels::tiles::TileCodes;

/// Readable bytes before the first path bit: a window is read as the end of an 8-byte word.
const BEFORE: usize = 8;
/// Readable bytes from the first cell of a block on. The cells of two blocks take at most 28 bytes and
/// may begin within the first byte.
const AFTER: usize = 32;
/// Readable bytes before the first path byte in the stored order: a window lies in the last three
/// bytes.
pub const PATH_BEFORE: usize = 2;

/// Where the codes of a stream are.
#[derive(Clone, Copy, Debug)]
pub struct StreamCodes<'a> {
    /// The path plane; empty where streams are cut into tiles.
    pub path: &'a [u8],
    /// The cell plane, or the tiles.
    pub cells: &'a [u8],
    /// Byte of the path plane at which the chain begins.
    pub chain: usize,
    /// Bit of the path plane at which the stream begins.
    pub path_bit: usize,
    /// Bit of the cell plane at which the stream begins.
    pub cell_bit: usize,
    /// Half bits a weight.
    pub rate: u8,
    /// Number of coded weights.
    pub len: usize,
}

/// The codes of a run of weights of a stream.
#[derive(Debug)]
pub enum Codes<'m> {
    /// Of a stream that is a part of a chain (code set 1).
    Chain(ChainCodes<'m>),
    /// Of a stream in tiles (code set 2).
    Tiles(TileCodes<'m>),
}

/// The codes of a run of weights in a chain.
#[derive(Debug)]
pub struct ChainCodes<'m> {
    /// The constants of the code for each lane.
    pub plan: &'static DecodePlan,
    path: &'m [u8],
    cells: &'m [u8],
    order: PathByteOrder,
    /// Number of bits that follow the window in a block's 8-byte word of path bits, in reversed order.
    pub window_down: u32,
}

/// The order of the path's bytes in memory.
#[derive(Clone, Copy, Debug)]
enum PathByteOrder {
    /// Last byte first: a window is a little-endian word. The eight bytes of the first block begin at
    /// this index; those of the next block lie before them.
    Reversed(usize),
    /// As in the plane, from [`PATH_BEFORE`] bytes before the first block on. Path and cells of the
    /// first block begin with a whole byte.
    AsStored,
}

/// Reusable memory for [`ChainCodes`].
#[derive(Debug, Default)]
pub struct Memory {
    path: Vec<u8>,
    cells: Vec<u8>,
}

impl Memory {
    /// Load the codes of weights `from` to `to` of a stream, rounded up to an even number of blocks.
    /// `from` is a multiple of [`BLOCK`].
    pub fn load<'m>(
        &'m mut self,
        simd: SimdLevel,
        plans: &DecodePlans,
        source: StreamCodes<'m>,
        from: usize,
        to: usize,
    ) -> Codes<'m> {
        debug_assert!(from.is_multiple_of(BLOCK) && from <= to);
        if let Some(plan) = plans.tiles(source.rate) {
            let start = source.cell_bit / 8;
            let codes = TileCodes::new(plan, source.cells, start, source.len, from);
            return Codes::Tiles(codes);
        }
        Codes::Chain(self.load_chain(simd, plans, source, from, to))
    }

    fn load_chain<'m>(
        &'m mut self,
        simd: SimdLevel,
        plans: &DecodePlans,
        source: StreamCodes<'m>,
        from: usize,
        to: usize,
    ) -> ChainCodes<'m> {
        let blocks = 2 * (to - from).div_ceil(2 * BLOCK);
        let (shared, cell_bits) = (source.rate % 2, (usize::from(source.rate) - 1) / 2);
        // Two weights share a path bit where there are half bits.
        let path_bit = source.path_bit + (from >> shared);
        let cell_bit = source.cell_bit + from * cell_bits;
        let plan = plans.plan(source.rate, (cell_bit % 8) as u32);
        if plan.reads_stored_order(simd) {
            let blocks = (to - from).div_ceil(BLOCK);
            let plane = &source.path[source.chain..];
            return ChainCodes {
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
        // The byte of the first block; if there is none, nothing is read.
        let first = path
            .len()
            .saturating_sub(BEFORE + plan.path_step + usize::from(skipped > 0));
        ChainCodes {
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

/// Prefetch the first `len` bytes that follow in a plane, as a rule those of the next stream.
///
/// A stream is read at a few bytes a cycle. With the hardware prefetcher alone, reading from memory is
/// a third slower (measured at 4096 weights a row).
fn fetch_ahead(next: &[u8], len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..len.min(next.len()).div_ceil(64) {
        // SAFETY: every x86-64 has the instruction, which accesses no memory that could fault.
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
    simd.run(
        #[inline(always)]
        || reverse(known, reversed),
    );
    memory
}

/// Write bytes in reverse order, by words: a loop over bytes would be a fifth of a product's
/// instructions.
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

/// `len` bytes of a cell plane from `byte` on, and [`AFTER`] more: a slice of the plane if it is long
/// enough, else a copy with zeros after the end. If codes have no cells (`len` is 0), zeros.
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

/// `len` bytes of a plane from `bit` on, and `room` more. `bit` may lie before the plane or within a
/// byte. Gives a slice of the plane where that is possible, else a copy with zeros on either side.
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
    // One byte more, because each byte of the copy is made of two.
    memory.clear();
    memory.resize(size + 1, 0);
    let zeros = usize::try_from(-byte).unwrap_or(0).min(size);
    let start = usize::try_from(byte).unwrap_or(0).min(plane.len());
    let known = (size + 1 - zeros).min(plane.len() - start);
    memory[zeros..zeros + known].copy_from_slice(&plane[start..start + known]);
    if shift > 0 {
        simd.run(
            #[inline(always)]
            || shift_up(memory, shift),
        );
    }
    &memory[..size]
}

/// Shift big-endian bytes up by less than 8 bits. The last byte has no meaning afterwards.
#[inline(always)]
fn shift_up(bytes: &mut [u8], shift: u32) {
    for i in 1..bytes.len() {
        let both = u16::from_be_bytes([bytes[i - 1], bytes[i]]);
        bytes[i - 1] = (both << shift >> 8) as u8;
    }
}

impl<'m> ChainCodes<'m> {
    /// Panics unless the codes of `count` weights from `from` on (both multiples of [`BLOCK`]) are
    /// loaded, with the readable bytes around them that the vector kernels rely on.
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
        assert!(here, "the codes of {blocks} blocks are not all loaded");
    }

    /// All bytes of the path, in reverse order, up to the 8-byte word of the block from weight `from`
    /// on. The window is followed by `window_down` bits in that word.
    pub fn path_to(&self, from: usize) -> &'m [u8] {
        let PathByteOrder::Reversed(first) = self.order else {
            unreachable!("the path was loaded in its stored order");
        };
        &self.path[..first + BEFORE - from / BLOCK * self.plan.path_step]
    }

    /// The bytes of the path from [`PATH_BEFORE`] before the block from weight `from` on.
    pub fn path_from(&self, from: usize) -> &'m [u8] {
        assert!(matches!(self.order, PathByteOrder::AsStored));
        &self.path[from / BLOCK * self.plan.path_step..]
    }

    /// The bytes from the cells of the block at weight `from` on.
    pub fn cells_from(&self, from: usize) -> &'m [u8] {
        &self.cells[from / BLOCK * self.plan.cell_step..]
    }
}
