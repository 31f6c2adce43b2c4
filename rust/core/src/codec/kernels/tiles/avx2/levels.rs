//! From codes to levels: a sum of lookups of sixteen bytes, with the sign of the offset.
//!
//! The tables of the state map hold 2T, so that their sum, less 127, is c = 2u − 127 as a signed byte
//! (see `trellis/byte_levels.rs`). Then for 32 weights
//!
//! ```text
//! kind  = kinds[cell]                the place among four cells, bits that say which four, 64 for the tail
//! far   = max(kind − |c|, 0)
//! level = lines[(|c|/8 and mask) or kind] + tail[far/8 + max(far − 48, 0)/2]
//! ```
//!
//! times the sign of c. A place is less than 4, and an odd |c| leaves at most 2 of it, so that inner
//! cells find entry 0 of `tail`, which is 0.

use std::arch::x86_64::*;

use super::HALF;
use super::cells::Cells;
use super::masks::Masks;
use super::path::{Lanes, register_bits};
use crate::codec::kernels::byte_vectors::{bytes, down, twice, up};
use crate::codec::kernels::tiles::order::{LANES, TileOrder};
use crate::codec::kernels::tiles::plan::{Table, TilePlan};
use crate::codec::trellis::byte_levels::{ByteLevels, FAR};

/// The bit of the second four of eight cells. A lookup finds 0 where it is set.
const UPPER: u8 = 0x80;
/// The bit of the second eight of sixteen cells.
const EIGHTS: u8 = 0x20;

/// The tables of a code.
#[derive(Debug)]
pub struct Tables {
    /// By axis: twice the tables of the state map, the first less 127.
    offsets: [[Table; 4]; 2],
    /// By cell: its place among four cells, [`UPPER`] in the second four of eight cells, [`EIGHTS`] in
    /// the second eight, and [`FAR`] for the tail.
    kinds: Table,
    lines: [Table; 4],
    tail: Table,
}

impl Tables {
    pub fn new(cell_bits: u32, levels: &ByteLevels, tables: &[[Table; 4]; 2]) -> Self {
        let cells = 1 << cell_bits;
        let of_cells = |byte: &dyn Fn(usize) -> u8| std::array::from_fn(|i| byte(i % cells));
        Self {
            offsets: tables.map(|tables| {
                let mut twice = tables.map(|table| table.map(|entry| 2 * entry));
                twice[0] = twice[0].map(|entry| entry.wrapping_sub(127));
                twice
            }),
            kinds: of_cells(&|cell| {
                let tail = if cell == 0 { FAR as u8 } else { 0 };
                let upper = if cell & 4 != 0 { UPPER } else { 0 };
                let eights = if cell & 8 != 0 { EIGHTS } else { 0 };
                (cell % 4) as u8 | tail | upper | eights
            }),
            lines: std::array::from_fn(|four| {
                std::array::from_fn(|i| levels.lines[16 * four + i] as u8)
            }),
            tail: levels.tail.map(|distance| distance as u8),
        }
    }
}

/// The tables of a code in vectors.
pub struct Vectors {
    offsets: [[__m256i; 4]; 2],
    kinds: __m256i,
    lines: [__m256i; 4],
    tail: __m256i,
    masks: Masks,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(plan: &TilePlan) -> Self {
        let levels = plan.bytes.as_ref().expect("levels are bytes");
        let tables = &levels.avx2;
        let axis = |axis: usize| {
            let [a, b, c, d] = &tables.offsets[axis];
            [twice(a), twice(b), twice(c), twice(d)]
        };
        Self {
            offsets: [axis(0), axis(1)],
            kinds: twice(&tables.kinds),
            lines: [0, 1, 2, 3].map(|four: usize| twice(&tables.lines[four])),
            tail: twice(&tables.tail),
            masks: Masks::new(plan.order.cell_bits()),
        }
    }

    /// The levels of two steps, from the bytes c and the cells, whose upper bits have no meaning but the
    /// highest, which is 0.
    ///
    /// Instructions of the two alternate, because each waits for the one before.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn levels(&self, c: [__m256i; 2], cell: [__m256i; 2], cell_bits: u32) -> [__m256i; 2] {
        let a = c.map(|c| _mm256_abs_epi8(c));
        let kind = match cell_bits {
            // The tail alone.
            0 => [bytes(FAR as u8); 2],
            _ => cell.map(|cell| _mm256_shuffle_epi8(self.kinds, cell)),
        };
        let step = a.map(|a| _mm256_and_si256(down(a, 3), self.masks.step));
        // A shuffle reads four bits and the highest one.
        let line = [0, 1].map(|i| _mm256_or_si256(step[i], kind[i]));
        let mut level = line.map(|line| _mm256_shuffle_epi8(self.lines[0], line));
        let mut tail_kind = kind;
        if cell_bits >= 3 {
            let other = line.map(|line| _mm256_xor_si256(line, self.masks.upper));
            let eight = |level: __m256i, other: __m256i, four: usize| {
                _mm256_or_si256(level, _mm256_shuffle_epi8(self.lines[four], other))
            };
            level = [0, 1].map(|i| eight(level[i], other[i], 1));
            if cell_bits == 4 {
                let first = line.map(|line| _mm256_shuffle_epi8(self.lines[2], line));
                let second = [0, 1].map(|i| eight(first[i], other[i], 3));
                // The bit of the second eight moves to the top of the byte.
                level = [0, 1].map(|i| _mm256_blendv_epi8(level[i], second[i], up(kind[i], 2)));
            }
            tail_kind = kind.map(|kind| _mm256_and_si256(kind, self.masks.tail));
        }
        let far = [0, 1].map(|i| _mm256_subs_epu8(tail_kind[i], a[i]));
        let eighth = far.map(|far| _mm256_and_si256(down(far, 3), self.masks.seven));
        // The average with 0 is half, rounded up.
        let none = _mm256_setzero_si256();
        let farthest = far.map(|far| _mm256_subs_epu8(far, self.masks.farthest));
        let half = farthest.map(|farthest| _mm256_avg_epu8(farthest, none));
        let tail = [0, 1].map(|i| _mm256_add_epi8(eighth[i], half[i]));
        let tail = tail.map(|tail| _mm256_shuffle_epi8(self.tail, tail));
        let level = [0, 1].map(|i| _mm256_add_epi8(level[i], tail[i]));
        [0, 1].map(|i| _mm256_sign_epi8(level[i], c[i]))
    }
}

/// Call `f` with each step, each half of the lanes, and the levels of its weights, for a tile in the
/// places of a whole one; `WHOLE` if it is one.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn each_step<const WINDOW: u32, const RATE: u32, const WHOLE: bool>(
    constants: &Vectors,
    tile: *const u8,
    lanes: usize,
    mut f: impl FnMut(usize, usize, __m256i),
) {
    let order = TileOrder { half_bits: RATE };
    let (cell_bits, shared) = (order.cell_bits(), order.shared());
    let first = match (order.path_in_cells(), shared) {
        (true, _) => 0,
        (false, true) => LANES / 2,
        (false, false) => LANES,
    };
    // SAFETY: the contract is this function's own.
    let mut all = unsafe { Lanes::of::<RATE, WHOLE>(tile, lanes, constants.masks.tops) };
    for half in [0, HALF] {
        if !WHOLE && half >= lanes {
            break;
        }
        let path = &all.path::<WHOLE>(half, shared, constants.masks.four);
        all.turn();
        // Without cells nothing is read there.
        let place = tile.wrapping_add(first + half);
        // SAFETY: the contract.
        let cells = unsafe { Cells::<RATE>::read(place, &constants.masks) };
        macro_rules! c_and_cell {
            ($step:expr) => {{
                let tables = &constants.offsets[if shared { $step % 2 } else { 0 }];
                let found = |n: usize| {
                    let index = register_bits(path, shared, $step, n, constants.masks.four);
                    _mm256_shuffle_epi8(tables[n], index)
                };
                let mut c = _mm256_add_epi8(found(0), found(1));
                if WINDOW > 8 {
                    c = _mm256_add_epi8(c, found(2));
                }
                if WINDOW > 12 {
                    c = _mm256_add_epi8(c, found(3));
                }
                (c, cells.at($step, &constants.masks))
            }};
        }
        macro_rules! pairs {
            ($($a:literal $b:literal),*) => {{$(
                let (first, second) = (c_and_cell!($a), c_and_cell!($b));
                let [a, b] = constants.levels([first.0, second.0], [first.1, second.1], cell_bits);
                f($a, half, a);
                f($b, half, b);
            )*}};
        }
        match shared {
            // Two weights have the same register.
            true => pairs!(0 1, 2 3, 4 5, 6 7),
            // Registers four weights apart have the same bits.
            false => pairs!(0 4, 1 5, 2 6, 3 7),
        }
    }
}
