//! From codes to levels: a sum of three lookups of sixteen bytes, with the sign of the offset.
//!
//! The tables of the state map hold 2T, so that their sum, less 127, is c = 2u − 127 as a signed byte
//! (see `trellis/byte_levels.rs`). Then for 32 weights
//!
//! ```text
//! k     = kinds[cell]                the class, or 64 for the tail
//! level = starts[cell] + lines[(|c|/8 and mask) or k] + tail[max(k − |c|, 0)/4]
//! ```
//!
//! times the sign of c. A class is less than 4, and an odd |c| leaves at most 2 of it, so that inner
//! cells find entry 0 of `tail`, which is 0.

use std::arch::x86_64::*;

use super::HALF;
use super::path::{path_of, register_bits};
use crate::codec::kernels::byte_vectors::{bytes, down, masked, twice, up};
use crate::codec::kernels::tiles::order::{LANES, TileOrder};
use crate::codec::kernels::tiles::plan::{Table, TilePlan};
use crate::codec::trellis::byte_levels::{ByteLevels, FAR, step_mask};

/// The tables of a code.
#[derive(Debug)]
pub struct Tables {
    /// By axis: twice the tables of the state map, the first less 127.
    offsets: [[Table; 4]; 2],
    /// By cell: its class, or [`FAR`] for the tail.
    kinds: Table,
    /// By cell: where it starts.
    starts: Table,
    lines: Table,
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
            kinds: of_cells(&|cell| if cell == 0 { FAR as u8 } else { levels.classes[cell] }),
            starts: of_cells(&|cell| levels.starts[cell] as u8),
            lines: levels.lines.map(|step| step as u8),
            tail: levels.tail.map(|distance| distance as u8),
        }
    }
}

/// The tables of a code in registers.
pub struct Vectors {
    offsets: [[__m256i; 4]; 2],
    kinds: __m256i,
    starts: __m256i,
    lines: __m256i,
    tail: __m256i,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(plan: &TilePlan) -> Self {
        let bytes = plan.bytes.as_ref().expect("levels are bytes");
        let tables = &bytes.avx2;
        let axis = |axis: usize| {
            let [a, b, c, d] = &tables.offsets[axis];
            [twice(a), twice(b), twice(c), twice(d)]
        };
        Self {
            offsets: [axis(0), axis(1)],
            kinds: twice(&tables.kinds),
            starts: twice(&tables.starts),
            lines: twice(&tables.lines),
            tail: twice(&tables.tail),
        }
    }

    /// The level of each byte c and cell; `cell` has no bits above the cell's.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn levels(&self, c: __m256i, cell: __m256i, cell_bits: u32) -> __m256i {
        let a = _mm256_abs_epi8(c);
        let (kind, start) = match cell_bits {
            // The tail alone.
            0 => (bytes(FAR as u8), self.starts),
            _ => (
                _mm256_shuffle_epi8(self.kinds, cell),
                _mm256_shuffle_epi8(self.starts, cell),
            ),
        };
        let step = masked(down(a, 3), step_mask(cell_bits) as u8);
        // A shuffle reads four bits and the highest one, so 64 is 0.
        let line = _mm256_shuffle_epi8(self.lines, _mm256_or_si256(step, kind));
        let far = masked(down(_mm256_subs_epu8(kind, a), 2), 15);
        let tail = _mm256_shuffle_epi8(self.tail, far);
        _mm256_sign_epi8(_mm256_add_epi8(_mm256_add_epi8(start, line), tail), c)
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
    let paths = unsafe { path_of::<RATE, WHOLE>(tile, lanes) };
    for (path, half) in paths.iter().zip([0, HALF]) {
        if half >= lanes {
            break;
        }
        let vector = |i: usize| {
            // SAFETY: the contract; a rate of four bits or less has at most four vectors.
            unsafe { _mm256_loadu_si256(tile.add(first + LANES * i + half).cast()) }
        };
        macro_rules! steps {
            ($($step:literal)*) => {$(
                let tables = &constants.offsets[if shared { $step % 2 } else { 0 }];
                let found = |n: usize| {
                    _mm256_shuffle_epi8(tables[n], register_bits(path, shared, $step, n))
                };
                let mut c = _mm256_add_epi8(found(0), found(1));
                if WINDOW > 8 {
                    c = _mm256_add_epi8(c, found(2));
                }
                if WINDOW > 12 {
                    c = _mm256_add_epi8(c, found(3));
                }
                let mask = ((1u32 << cell_bits) - 1) as u8;
                let cell = match (RATE, cell_bits) {
                    (_, 0) => _mm256_setzero_si256(),
                    (8, _) => masked(down(vector($step % 4), if $step < 4 { 4 } else { 0 }), mask),
                    (_, 1) => masked(down(vector(0), 7 - $step), mask),
                    (_, 2) => masked(down(vector($step % 2), 6 - $step / 2 * 2), mask),
                    // Two bits in a field above one in another.
                    _ => {
                        let upper = match $step / 2 {
                            3 => up(vector($step % 2), 1),
                            place => down(vector($step % 2), 5 - 2 * place),
                        };
                        _mm256_or_si256(masked(upper, 6), masked(down(vector(2), 7 - $step), 1))
                    }
                };
                f($step, half, constants.levels(c, cell, cell_bits));
            )*};
        }
        steps!(0 1 2 3 4 5 6 7);
    }
}
