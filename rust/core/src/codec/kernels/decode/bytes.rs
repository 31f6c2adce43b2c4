//! Phases of 256 weights at a time, in bytes: for AVX2, whose shuffles look up sixteen bytes, and codes
//! with short registers.
//!
//! The lower and the upper part of an 8-bit register have sixteen values each, those of a 10-bit
//! register 32. So the contribution of each part to the offset is looked up. One byte shuffle does that
//! for 32 weights; a multiplication in 32-bit lanes would serve eight.
//!
//! AVX2 cannot shift each byte by its own distance, so a vector holds weights that need the same shift.
//! Each of 32 *lanes* has eight consecutive weights: their path bits are one byte (or half a byte), and
//! their cells take as many bytes as a cell has bits. Vector s has weight s of all lanes. Consecutive
//! weights have registers that are shifted by one bit, so the parts of each register are shifts of the
//! path's bytes. Registers four bits apart share a part, which is extracted once. Weights come out in
//! another order than they are stored in; [`in_weight_order`] restores it.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::codes::{CHUNK, ChainCodes, PATH_BEFORE};
use super::plan::BLOCK;
pub use crate::codec::kernels::byte_vectors::twice;
use crate::codec::kernels::byte_vectors::{bytes, down, up};
use crate::codec::trellis::code::Code;

/// Bits of an offset. The top bit of a byte is left for carries.
const OFFSET_BITS: u32 = 7;

/// Consecutive weights of a lane.
pub const EIGHT: usize = 8;

/// The phases of one weight of each lane. The lower half of a vector has weight s of sixteen
/// consecutive blocks, the upper half weight 8 + s.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Phases {
    /// The upper eight bits of each phase.
    pub upper: [u8; 32],
    /// The offset: the lower bits of the phase. The top bit has no meaning.
    pub offset: [u8; 32],
}

/// The phases of a chunk, by s.
pub type Chunk = [Phases; EIGHT];

/// Memory for the phases of [`FOUND`] chunks. It is uninitialised, because writing zeros would take a
/// tenth of the time.
pub type Found = [MaybeUninit<Chunk>; FOUND];

/// Chunks whose phases are found in one call. They are few so that their phases stay in the first-level
/// cache.
pub const FOUND: usize = 4;

/// Uninitialised memory for phases.
pub const NOTHING: Found = [const { MaybeUninit::uninit() }; FOUND];

/// The contribution of a part of the register to the offset, by the value of the part: for values 0 to
/// 15, and for 16 to 31 if the part has five bits.
type Adds = [[u8; 16]; 2];

/// The constants of a code.
#[derive(Debug)]
pub struct ByteLookup {
    /// By axis, for the lower and the upper part of the register.
    adds: [[Adds; 2]; 2],
    /// Bits of a cell.
    cell_bits: u32,
    find: Find,
}

/// See [`find_phases_of`].
type Find = unsafe fn(&ChainCodes<'_>, &ByteLookup, usize, &mut [MaybeUninit<Chunk>]);

impl ByteLookup {
    /// The tables of a code; `None` if its register or its offset is too long for them.
    pub fn new(code: &Code) -> Option<Self> {
        // Both parts of the register need the same length, because a shuffle looks up sixteen values.
        if code.offset_bits != OFFSET_BITS || code.window != 2 * code.run_bits() {
            return None;
        }
        let find = match code.run_bits() {
            4 => find_of::<false>(code),
            5 => find_of::<true>(code),
            _ => return None,
        };
        let (run, group) = (code.run_bits(), code.weights_a_step());
        let adds = |axis, part: u32| {
            std::array::from_fn(|half| {
                std::array::from_fn(|i| {
                    let value = (16 * half + i) as u32;
                    if value >> run > 0 {
                        return 0;
                    }
                    let position = code.position(axis, value << (part * run));
                    code.offset_at(axis, position) as u8
                })
            })
        };
        Some(Self {
            adds: std::array::from_fn(|axis| [0, 1].map(|part| adds(axis.min(group - 1), part))),
            cell_bits: code.cell_bits(),
            find,
        })
    }

    /// Find the phases of `chunks` chunks, [`FOUND`] at most, from weight `from` of `codes` on.
    ///
    /// Phases go to memory and not directly to the levels' code. Phases and levels are each a dependent
    /// chain of some twenty instructions. A processor's queue holds several such chains, but little
    /// more than one of both together.
    ///
    /// # Safety
    /// The machine has AVX2, and [`ChainCodes::check`] held for these weights.
    #[inline]
    pub unsafe fn find_phases<'f>(
        &self,
        codes: &ChainCodes<'_>,
        from: usize,
        chunks: usize,
        found: &'f mut Found,
    ) -> &'f [Chunk] {
        let out = &mut found[..chunks];
        // SAFETY: the contract is this function's own, and `find` writes all of `out`.
        unsafe {
            (self.find)(codes, self, from, out);
            std::slice::from_raw_parts(out.as_ptr().cast(), chunks)
        }
    }
}

/// The function that finds the phases of a code.
fn find_of<const WIDE: bool>(code: &Code) -> Find {
    macro_rules! by_cell_bits {
        ($half:literal, $($bits:literal)*) => {
            match code.cell_bits() {
                $($bits => find_phases_of::<WIDE, $half, $bits> as Find,)*
                _ => unreachable!("a cell has at most seven bits"),
            }
        };
    }
    match code.weights_a_step() {
        1 => by_cell_bits!(false, 0 1 2 3 4 5 6 7),
        _ => by_cell_bits!(true, 0 1 2 3 4 5 6 7),
    }
}

/// Indices into a table of 32 bytes, which is two vectors.
#[derive(Clone, Copy)]
pub struct Index {
    /// The place in a vector, in the lowest four bits. The top bit is zero.
    pub place: __m256i,
    /// The top bit selects one of the two vectors.
    pub which: __m256i,
}

impl Index {
    /// The bytes of a table at these indices.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn of(self, table: [__m256i; 2]) -> __m256i {
        let [first, second] = table.map(|half| _mm256_shuffle_epi8(half, self.place));
        _mm256_blendv_epi8(first, second, self.which)
    }
}

/// Bytes of two halves: the lower four bits of `higher` above the upper four bits of `lower`.
#[inline]
#[target_feature(enable = "avx2")]
fn middle(lower: __m256i, higher: __m256i) -> __m256i {
    _mm256_or_si256(
        _mm256_and_si256(down(lower, 4), bytes(0x0F)),
        _mm256_and_si256(up(higher, 4), bytes(0xF0)),
    )
}

/// The lane, of sixteen, whose byte is at this place: even lanes come first, which are the first halves
/// of blocks.
const fn lane(place: usize) -> usize {
    2 * (place % EIGHT) + place / EIGHT
}

/// Bring bytes that are in the order of [`lane`] in each half of a vector to even lanes in the lower
/// half and odd ones in the upper.
#[inline]
#[target_feature(enable = "avx2")]
fn even_and_odd(bytes: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes)
}

/// For each lane four bytes of path bits, the last bit lowest: those that end with the lane's own bits,
/// and those that end 4, 8 and 12 bits earlier.
///
/// # Safety
/// Path bytes of 32 lanes are there from `path` on, and [`PATH_BEFORE`] before.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn windows<const HALF: bool>(path: *const u8) -> [__m256i; 4] {
    let before = |by: usize| path.wrapping_sub(by);
    if HALF {
        // A lane has half a byte: even lanes have the upper half. SAFETY: 16 bytes have the path bits
        // of 32 lanes.
        let [own, first, second] = [0, 1, 2]
            .map(|by| _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(before(by).cast()) }));
        let (upper, before_first) = (middle(own, first), middle(first, second));
        let even_odd = |even, odd| _mm256_blend_epi32::<0b1111_0000>(even, odd);
        return [
            even_odd(upper, own),
            even_odd(first, upper),
            even_odd(before_first, first),
            // Where a lane has half a byte, no register reaches so far back.
            _mm256_setzero_si256(),
        ];
    }
    const PLACES: [u8; 16] = {
        let mut places = [0; 16];
        let mut i = 0;
        while i < 16 {
            places[i] = lane(i) as u8;
            i += 1;
        }
        places
    };
    let places = twice(&PLACES);
    let [own, first, second] = [0, 1, 2].map(|by| {
        // SAFETY: a lane has a byte.
        let bytes = unsafe { _mm256_loadu_si256(before(by).cast()) };
        even_and_odd(_mm256_shuffle_epi8(bytes, places))
    });
    [own, middle(own, first), first, middle(first, second)]
}

/// Where byte `j` of the cells of each of sixteen lanes is, if the cells' bytes are loaded as vectors.
struct Places {
    /// The place within its vector, by lane in the order of [`lane`].
    of_lane: [u8; 16],
    /// By vector: all bits set at the places that hold one of these bytes.
    taken: [[u8; 16]; 7],
    /// By vector: the places in the order of the lanes, with the top bit set where the byte is in
    /// another vector.
    of_lane_in: [[u8; 16]; 7],
}

/// The places of byte `j` of cells of `bits` bytes a lane.
const fn places(bits: usize, j: usize) -> Places {
    let mut places = Places {
        of_lane: [0; 16],
        taken: [[0; 16]; 7],
        of_lane_in: [[0x80; 16]; 7],
    };
    let mut i = 0;
    while i < 16 {
        let byte = lane(i) * bits + j;
        let (vector, place) = (byte / 16, byte % 16);
        places.of_lane[i] = place as u8;
        places.taken[vector][place] = 0xFF;
        places.of_lane_in[vector][i] = place as u8;
        i += 1;
    }
    places
}

const fn all_places<const BITS: usize>() -> [Places; 7] {
    let mut all = [const { places(1, 0) }; 7];
    let mut j = 0;
    while j < BITS {
        all[j] = places(BITS, j);
        j += 1;
    }
    all
}

/// The cells' bytes of each lane, `BITS` of them.
///
/// # Safety
/// The cells of a chunk are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn cell_bytes<const BITS: usize>(cells: *const u8) -> [__m256i; 7] {
    let mut read = [_mm256_setzero_si256(); 7];
    for (v, read) in read.iter_mut().enumerate().take(BITS) {
        let half = |h: usize| cells.wrapping_add((h * BITS + v) * 16).cast();
        // SAFETY: sixteen lanes have so many vectors of bytes, and there are two times sixteen.
        *read = unsafe { _mm256_loadu2_m128i(half(1), half(0)) };
    }
    let mut out = [_mm256_setzero_si256(); 7];
    for (j, out) in out.iter_mut().enumerate().take(BITS) {
        let places = const { &all_places::<BITS>() };
        let places = &places[j];
        // Slices are used because the compiler does not unroll loops over `take` and `skip`.
        let bytes = if BITS % 2 == 1 {
            // No two of the bytes have the same place.
            let others = read[1..BITS].iter().zip(&places.taken[1..BITS]);
            let mut bytes = read[0];
            for (read, taken) in others {
                bytes = _mm256_blendv_epi8(bytes, *read, twice(taken));
            }
            _mm256_shuffle_epi8(bytes, twice(&places.of_lane))
        } else {
            let mut bytes = _mm256_setzero_si256();
            for (read, places) in read[..BITS].iter().zip(&places.of_lane_in[..BITS]) {
                bytes = _mm256_or_si256(bytes, _mm256_shuffle_epi8(*read, twice(places)));
            }
            bytes
        };
        *out = even_and_odd(bytes);
    }
    out
}

/// Cell `s` of each lane, at the top of a byte, with zeros below.
#[inline]
#[target_feature(enable = "avx2")]
fn cell<const BITS: usize>(cells: &[__m256i; 7], s: usize) -> __m256i {
    let (byte, first) = (s * BITS / 8, s * BITS % 8);
    let top = !(0xFFu32 >> BITS) as u8;
    if first + BITS <= 8 {
        return _mm256_and_si256(up(cells[byte], first as u32), bytes(top));
    }
    let own = 0xFFu8 << first;
    _mm256_or_si256(
        _mm256_and_si256(up(cells[byte], first as u32), bytes(own)),
        _mm256_and_si256(down(cells[byte + 1], 8 - first as u32), bytes(top & !own)),
    )
}

/// Find the phases of as many chunks as `out` has, from weight `from` of `codes` on. All are written.
///
/// # Safety
/// The machine has AVX2, and [`ChainCodes::check`] held for these weights.
#[target_feature(enable = "avx2")]
unsafe fn find_phases_of<const WIDE: bool, const HALF: bool, const BITS: usize>(
    codes: &ChainCodes<'_>,
    table: &ByteLookup,
    from: usize,
    out: &mut [MaybeUninit<Chunk>],
) {
    let adds = |axis: usize, part: usize| {
        let [first, second] = &table.adds[axis][part];
        [twice(first), twice(second)]
    };
    let adds = [[adds(0, 0), adds(0, 1)], [adds(1, 0), adds(1, 1)]];
    let mut path = codes.path_from(from)[PATH_BEFORE..].as_ptr();
    let mut cells = codes.cells_from(from).as_ptr();
    for out in out {
        // SAFETY: `check` held: the chunk's codes and the bytes before them are readable.
        let (windows, cell_bytes) = unsafe { (windows::<HALF>(path), cell_bytes::<BITS>(cells)) };
        // The path bits that end this many bits before the lane's last bit.
        let part = |after: usize| {
            let bits = down(windows[after / 4], after as u32 % 4);
            _mm256_and_si256(bits, bytes(if WIDE { 31 } else { 15 }))
        };
        let add = |table: [__m256i; 2], part: __m256i| match WIDE {
            true => Index {
                place: part,
                which: up(part, 3),
            }
            .of(table),
            false => _mm256_shuffle_epi8(table[0], part),
        };
        macro_rules! find {
            ($($s:literal)*) => {$(
                let (axis, after) = match HALF {
                    true => ($s % 2, 3 - $s / 2),
                    false => (0, 7 - $s),
                };
                let lower = add(adds[axis][0], part(after));
                let upper = add(adds[axis][1], part(after + if WIDE { 5 } else { 4 }));
                let offset = _mm256_add_epi8(lower, upper);
                // A phase is its cell above its offset of seven bits.
                let upper = match BITS {
                    0 => _mm256_add_epi8(offset, offset),
                    _ => _mm256_or_si256(
                        _mm256_and_si256(down(offset, BITS as u32 - 1), bytes((0xFFu32 >> BITS) as u8)),
                        cell::<BITS>(&cell_bytes, $s),
                    ),
                };
                // SAFETY: eight times two vectors are a chunk.
                unsafe {
                    let place = out.as_mut_ptr().cast::<__m256i>().add(2 * $s);
                    _mm256_store_si256(place, upper);
                    _mm256_store_si256(place.add(1), offset);
                }
            )*};
        }
        find!(0 1 2 3 4 5 6 7);
        path = path.wrapping_add(CHUNK / EIGHT / if HALF { 2 } else { 1 });
        cells = cells.wrapping_add(CHUNK / 8 * BITS);
    }
}

/// Twice the phases of a chunk as words, in the order of the weights.
#[inline]
#[target_feature(enable = "avx2")]
pub fn in_weight_order(table: &ByteLookup, chunk: &Chunk, out: &mut [[u16; BLOCK]; CHUNK / BLOCK]) {
    let cell_mask = bytes(((1u32 << table.cell_bits) - 1) as u8);
    let cell_down = _mm_cvtsi32_si128(8 - table.cell_bits as i32);
    let words = |phases: &Phases| {
        // SAFETY: both arrays have 32 bytes.
        let (upper, offset) = unsafe {
            (
                _mm256_load_si256(phases.upper.as_ptr().cast()),
                _mm256_load_si256(phases.offset.as_ptr().cast()),
            )
        };
        let cell = _mm256_and_si256(_mm256_srl_epi16(upper, cell_down), cell_mask);
        let twice_offset = _mm256_add_epi8(offset, offset);
        [
            _mm256_unpacklo_epi8(twice_offset, cell),
            _mm256_unpackhi_epi8(twice_offset, cell),
        ]
    };
    for half in 0..2 {
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|s| words(&chunk[s])[half]);
        // Interleave the words of a block's halves: pairs, then groups of four, then all eight.
        let pairs = |a, b| [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
        let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
        for quarter in 0..2 {
            let fours = |a, b| [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)];
            let first = fours(ab[quarter], cd[quarter]);
            let second = fours(ef[quarter], gh[quarter]);
            for eighth in 0..2 {
                let (a, b) = (first[eighth], second[eighth]);
                let blocks = [_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)];
                for (i, block) in blocks.into_iter().enumerate() {
                    let place = &mut out[8 * half + 4 * quarter + 2 * eighth + i];
                    // SAFETY: a block has sixteen words.
                    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), block) };
                }
            }
        }
    }
}
