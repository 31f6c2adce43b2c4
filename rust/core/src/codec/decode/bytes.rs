//! Thirty-two weights at a time in bytes, where vectors have shuffles of sixteen bytes (AVX2) and the
//! register is short.
//!
//! The lower and the upper part of a register of eight bits have sixteen values each, of one of ten
//! bits 32, so what each of them adds to the offset is looked up: one shuffle of bytes does that for
//! 32 weights, where a multiplication in 32-bit lanes does it for eight. AVX2 has no shift by another
//! distance for each byte; a 16-bit multiplication by a power of two brings a lane's bits to the top
//! of its two bytes, of which the upper one is kept.
//!
//! Weights j and 16 + j have neighbouring bytes, in the order in which unpacking bytes to words gives
//! sixteen words of weights 0 to 7 and 16 to 23, and sixteen of the others.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::codes::Codes;
use super::plan::BLOCK;
use crate::codec::trellis::Code;

/// The weight of a block that each of sixteen words has: unpacking takes eight bytes, four words,
/// of either half of a vector.
const WEIGHT: [usize; BLOCK] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// What takes some bits of a block for each of its sixteen weights: two bytes for a word of each, and
/// the power of two that brings them to its top.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Shuffle {
    bytes: [[u8; 2]; BLOCK],
    up: [u16; BLOCK],
}

impl Shuffle {
    /// By each word's weight, the two bytes and the distance.
    fn new(of: impl Fn(usize) -> ([u8; 2], usize)) -> Self {
        let of = |word: usize| of(WEIGHT[word]);
        Self {
            bytes: std::array::from_fn(|word| of(word).0),
            up: std::array::from_fn(|word| 1 << of(word).1),
        }
    }

    /// For eight bits of little-endian words, from another bit for each weight up.
    fn little_endian(first: impl Fn(usize) -> usize) -> Self {
        Self::new(|weight| {
            let (byte, bit) = (first(weight) / 8, first(weight) % 8);
            ([byte as u8, byte as u8 + 1], 8 - bit)
        })
    }

    /// For eight bits of big-endian words, from another bit for each weight down.
    fn big_endian(first: impl Fn(usize) -> usize) -> Self {
        Self::new(|weight| {
            let byte = (first(weight) / 8) as u8;
            ([byte + 1, byte], first(weight) % 8)
        })
    }
}

/// What a part of the register adds to twice the offset: for the first sixteen of its values, and
/// the others if it has five bits.
type Adds = [[u8; 16]; 2];

/// The constants of a code and of the bit at which its cells begin.
#[derive(Debug)]
pub struct Table {
    /// The lowest eight bits of the register, by the number of bits after the window.
    lower: [Shuffle; 8],
    /// Those from its upper half on.
    upper: [Shuffle; 8],
    cells: Shuffle,
    /// By axis, for the lower and the upper part of the register.
    adds: [[Adds; 2]; 2],
    /// Bits of a cell.
    cell_bits: u32,
    /// Whether the register has ten bits, and whether two weights share a path bit.
    wide: bool,
    half: bool,
}

impl Table {
    /// The table of a code whose register and offset are short enough for one.
    pub fn new(code: &Code, skipped: u32) -> Option<Self> {
        let wide = match (code.window, code.run_bits, code.offset_bits) {
            (8, 4, 7) => false,
            (10, 5, 7) => true,
            _ => return None,
        };
        let (run, group) = (code.run_bits as usize, code.weights_a_step());
        let down = |weight: usize| BLOCK / group - 1 - weight / group;
        let lower = |after| Shuffle::little_endian(|weight| after + down(weight));
        let upper = |after| Shuffle::little_endian(|weight| after + down(weight) + run);
        let cell_bit = |weight| skipped as usize + weight * code.cell_bits() as usize;
        let adds = |axis, part: u32| {
            std::array::from_fn(|half| {
                std::array::from_fn(|i| {
                    let value = (16 * half + i) as u32;
                    if value >> run > 0 {
                        return 0;
                    }
                    let position = code.position(axis, value << (part * code.run_bits));
                    2 * code.offset_at(axis, position) as u8
                })
            })
        };
        Some(Self {
            lower: std::array::from_fn(lower),
            upper: std::array::from_fn(upper),
            cells: Shuffle::big_endian(cell_bit),
            adds: std::array::from_fn(|axis| [0, 1].map(|part| adds(axis.min(group - 1), part))),
            cell_bits: code.cell_bits(),
            wide,
            half: group == 2,
        })
    }
}

/// The phases of 32 weights, in the order of unpacking.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Phases {
    /// The upper eight bits of each.
    pub upper: [u8; 2 * BLOCK],
    /// Twice the offset, which has the lower ones.
    pub twice_offset: [u8; 2 * BLOCK],
}

/// Memory for the phases that are found at a time, of [`FOUND`] pairs of blocks. Zeros in it would
/// take a tenth of the time.
pub type Found = [MaybeUninit<Phases>; FOUND];

/// Few, as they are to be in the first-level cache beside all else: four times as many took a tenth
/// longer.
pub const FOUND: usize = 32;

/// Nothing found yet.
pub const NOTHING: Found = [const { MaybeUninit::uninit() }; FOUND];

impl Table {
    /// What takes the cells from the phases.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn cells(&self) -> Cells {
        Cells {
            mask: _mm256_set1_epi8(((1u32 << self.cell_bits) - 1) as i8),
            down: _mm_cvtsi32_si128(8 - self.cell_bits as i32),
        }
    }
}

/// Where the cells are in the upper eight bits of phases.
#[derive(Clone, Copy)]
pub struct Cells {
    mask: __m256i,
    down: __m128i,
}

impl Cells {
    /// Twice the phases as words: of weights 0 to 7 and 16 to 23 in turns, and of the others.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn twice_phases(self, phases: &Phases) -> [__m256i; 2] {
        // SAFETY: both arrays have 32 bytes.
        let (upper, twice_offset) = unsafe {
            (
                _mm256_load_si256(phases.upper.as_ptr().cast()),
                _mm256_load_si256(phases.twice_offset.as_ptr().cast()),
            )
        };
        let cell = _mm256_and_si256(_mm256_srl_epi16(upper, self.down), self.mask);
        [
            _mm256_unpacklo_epi8(twice_offset, cell),
            _mm256_unpackhi_epi8(twice_offset, cell),
        ]
    }
}

/// A [`Shuffle`] in registers.
#[derive(Clone, Copy)]
struct Bits {
    bytes: __m256i,
    up: __m256i,
}

impl Bits {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(shuffle: &Shuffle) -> Self {
        // SAFETY: every array has 32 bytes.
        let load = |array: *const u8| unsafe { _mm256_loadu_si256(array.cast()) };
        Self {
            bytes: load(shuffle.bytes.as_ptr().cast()),
            up: load(shuffle.up.as_ptr().cast()),
        }
    }

    /// Eight bits for each weight of two blocks, side by side.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(self, blocks: [__m256i; 2]) -> __m256i {
        let [first, second] =
            blocks.map(|block| _mm256_mullo_epi16(_mm256_shuffle_epi8(block, self.bytes), self.up));
        let upper = _mm256_set1_epi16(0xFF00u16 as i16);
        _mm256_or_si256(
            _mm256_srli_epi16::<8>(first),
            _mm256_and_si256(second, upper),
        )
    }
}

/// Sixteen bytes in both halves of a vector.
#[inline]
#[target_feature(enable = "avx2")]
pub fn twice(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are there.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Where bytes stand in tables of 32, which are two vectors.
#[derive(Clone, Copy)]
pub struct Index {
    /// The place in a vector, in the lowest four bits; the top bit is zero.
    pub place: __m256i,
    /// The top bit says which of the two.
    pub which: __m256i,
}

impl Index {
    /// What a table has.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn of(self, table: [__m256i; 2]) -> __m256i {
        let [first, second] = table.map(|half| _mm256_shuffle_epi8(half, self.place));
        _mm256_blendv_epi8(first, second, self.which)
    }
}

/// Twice the offsets that parts of registers add up to.
#[inline]
#[target_feature(enable = "avx2")]
fn twice_offset<const WIDE: bool>(adds: &[[__m256i; 2]; 2], parts: [__m256i; 2]) -> __m256i {
    let [lower, upper] = [0, 1].map(|part| match WIDE {
        true => Index {
            place: parts[part],
            which: _mm256_slli_epi16::<3>(parts[part]),
        }
        .of(adds[part]),
        false => _mm256_shuffle_epi8(adds[part][0], parts[part]),
    });
    _mm256_add_epi8(lower, upper)
}

/// Find the phases of `pairs` pairs of blocks, [`FOUND`] at most, from weight `from` of `codes` on.
///
/// They go through memory, and not on in registers: phases and levels each are a chain of some
/// twenty instructions that wait for each other, of which a processor's queue holds several, and of
/// both together little more than one.
///
/// # Safety
/// The machine has AVX2, and [`Codes::check`] held for these weights.
#[target_feature(enable = "avx2")]
pub unsafe fn find_phases<'f>(
    codes: &Codes<'_>,
    table: &Table,
    from: usize,
    pairs: usize,
    found: &'f mut Found,
) -> &'f [Phases] {
    let out = &mut found[..pairs];
    // SAFETY: the contract is this function's own.
    unsafe {
        match (table.wide, table.half) {
            (false, false) => find_phases_of::<false, false>(codes, table, from, out),
            (false, true) => find_phases_of::<false, true>(codes, table, from, out),
            (true, false) => find_phases_of::<true, false>(codes, table, from, out),
            (true, true) => find_phases_of::<true, true>(codes, table, from, out),
        }
        // All of them were written.
        std::slice::from_raw_parts(out.as_ptr().cast(), pairs)
    }
}

/// # Safety
/// As for [`find_phases`]; all of `out` is written.
#[target_feature(enable = "avx2")]
unsafe fn find_phases_of<const WIDE: bool, const HALF: bool>(
    codes: &Codes<'_>,
    table: &Table,
    from: usize,
    out: &mut [MaybeUninit<Phases>],
) {
    if out.is_empty() {
        return;
    }
    let after = codes.window_down as usize % 8;
    let (lower, upper) = (
        Bits::new(&table.lower[after]),
        Bits::new(&table.upper[after]),
    );
    let cells_of = Bits::new(&table.cells);
    let adds = |axis: usize, part: usize| {
        let [first, second] = &table.adds[axis][part];
        [twice(first), twice(second)]
    };
    let adds = [[adds(0, 0), adds(0, 1)], [adds(1, 0), adds(1, 1)]];
    let part_mask = _mm256_set1_epi8(if WIDE { 31 } else { 15 });
    // A phase is its cell above its offset, and the offset has eight bits of which one is zero.
    let cell_mask = _mm256_set1_epi8(!(0xFFu32 >> table.cell_bits) as i8);
    let offset_down = _mm_cvtsi32_si128(table.cell_bits as i32);
    let (path_step, cell_step) = (codes.plan.path_step, codes.plan.cell_step);
    let mut path = codes.path_to(from).as_ptr_range().end.wrapping_sub(8);
    let mut cells = codes.cells_from(from).as_ptr();
    for out in out {
        // SAFETY: `check` says that 8 and at least 16 bytes are here for each of the blocks.
        let (windows, bytes) = unsafe {
            let window = |at: *const u8| _mm256_set1_epi64x(at.cast::<i64>().read_unaligned());
            let bytes = |at: *const u8| _mm256_broadcastsi128_si256(_mm_loadu_si128(at.cast()));
            (
                [window(path), window(path.wrapping_sub(path_step))],
                [bytes(cells), bytes(cells.wrapping_add(cell_step))],
            )
        };
        let register = lower.of(windows);
        let parts = match WIDE {
            true => [register, upper.of(windows)].map(|byte| _mm256_and_si256(byte, part_mask)),
            false => [register, _mm256_srli_epi16::<4>(register)]
                .map(|byte| _mm256_and_si256(byte, part_mask)),
        };
        let mut offset = twice_offset::<WIDE>(&adds[0], parts);
        if HALF {
            // Every other weight is the second of its step; both blocks' are side by side.
            let second = twice_offset::<WIDE>(&adds[1], parts);
            offset = _mm256_blend_epi16::<0xAA>(offset, second);
        }
        let cell = _mm256_and_si256(cells_of.of(bytes), cell_mask);
        let below = _mm256_andnot_si256(cell_mask, _mm256_srl_epi16(offset, offset_down));
        // SAFETY: phases are two vectors, the upper bits first.
        unsafe {
            let place: *mut __m256i = out.as_mut_ptr().cast();
            _mm256_store_si256(place, _mm256_or_si256(cell, below));
            _mm256_store_si256(place.add(1), offset);
        }
        path = path.wrapping_sub(2 * path_step);
        cells = cells.wrapping_add(2 * cell_step);
    }
}
