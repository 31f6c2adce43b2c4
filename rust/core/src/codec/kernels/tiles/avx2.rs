//! Tiles in 32 byte lanes: AVX2, whose byte shuffles look up sixteen bytes.
//!
//! As with AVX-512, a vector holds one weight of each lane. The tables of the state map hold 2T, so
//! that their sum, less 127, is c = 2u − 127 as a signed byte: its sign is the side of the tail, and its
//! upper four bits find f. An inner cell's level is the sum of two lookups, or of four where the
//! outermost cells have a slope of their own. The tail takes two lookups of sixteen bytes.

use std::arch::x86_64::*;

use super::order::{LANES, STEPS, TILE, TileOrder};
use super::plan::{BytePlan, Table, TilePlan};
use crate::codec::kernels::activations::{BLOCK, PAIR, even_parts};
use crate::codec::kernels::byte_vectors::{bytes, down, twice, up};

/// Bytes of a vector.
const HALF: usize = 32;

#[inline]
#[target_feature(enable = "avx2")]
fn masked(bytes_: __m256i, mask: u8) -> __m256i {
    _mm256_and_si256(bytes_, bytes(mask))
}

/// The path bytes of each lane, and of the two lanes before it.
type PathBytes = [__m256i; 3];

/// The lowest four bits of bytes are the path bits that end with bit `end` of the lane's own byte,
/// counted from its top; negative numbers are bits before. The bits above are zero.
#[inline]
#[target_feature(enable = "avx2")]
fn four(path: &PathBytes, end: i32) -> __m256i {
    let byte = (-end.div_euclid(8)) as usize;
    let have = end.rem_euclid(8) as u32 + 1;
    if have >= 4 {
        return masked(down(path[byte], 8 - have), 15);
    }
    let own = (1 << have) - 1;
    _mm256_or_si256(
        masked(down(path[byte], 8 - have), own),
        masked(up(path[byte + 1], have), 15 & !own),
    )
}

/// The tables of a code.
#[derive(Debug)]
pub struct Tables {
    /// By axis: twice the tables of the state map, the first less 127.
    offsets: [[Table; 4]; 2],
    /// The byte of a cell where f = 0.
    base: Table,
    /// What f adds, by ⌊c/16⌋ mod 16.
    line: Table,
    /// What f adds more in the outermost cells.
    steeper: Table,
    /// All bits set for the outermost cells.
    outermost: Table,
    /// Whether the outermost cells have a slope of their own.
    two_slopes: bool,
    /// The distance of the tail by ⌊|c|/4⌋, less half of the parity.
    tail: [Table; 2],
    /// −1 if the parity is even: what is subtracted from the inverted bytes of a negative tail.
    even: u8,
}

impl Tables {
    /// `lines` and `tail` are those of [`BytePlan`].
    pub fn new(
        cells: usize,
        tables: &[[Table; 4]; 2],
        lines: &[i8; 64],
        tail: &[i8; 64],
        parity: i32,
    ) -> Self {
        let byte = |cell: usize, f: usize| lines[8 * f + cell];
        // The middle cell has the slope of all but the outermost ones.
        let added = |cell: usize, i: usize| {
            // c/16 from −8 on is f/2 from 0 on.
            byte(cell, (i ^ 8) / 2) - byte(cell, 0)
        };
        let more = |i: usize| match cells > 2 {
            true => added(1, i) - added(cells / 2, i),
            false => 0,
        };
        let inner = 1..cells;
        let offsets = tables.map(|tables| {
            let mut twice = tables.map(|table| table.map(|entry| 2 * entry));
            twice[0] = twice[0].map(|entry| entry.wrapping_sub(127));
            twice
        });
        Self {
            offsets,
            base: std::array::from_fn(|i| {
                if inner.contains(&i) {
                    byte(i, 0) as u8
                } else {
                    0
                }
            }),
            line: std::array::from_fn(|i| {
                if cells > 1 {
                    added(cells / 2, i) as u8
                } else {
                    0
                }
            }),
            steeper: std::array::from_fn(|i| more(i) as u8),
            outermost: std::array::from_fn(|i| if i == 1 || i + 1 == cells { 0xFF } else { 0 }),
            two_slopes: (0..16).any(|i| more(i) != 0),
            // ⌊|c|/4⌋ = 31 − ⌊m/2⌋, on the side where u = m.
            tail: [0, 16].map(|first| std::array::from_fn(|i| tail[31 - first - i] as u8)),
            even: if parity == 0 { 0xFF } else { 0 },
        }
    }
}

/// The constants of a code in registers.
struct Vectors {
    offsets: [[__m256i; 4]; 2],
    base: __m256i,
    line: __m256i,
    steeper: __m256i,
    outermost: __m256i,
    tail: [__m256i; 2],
    even: __m256i,
    two_slopes: bool,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(levels: &BytePlan) -> Self {
        let tables = &levels.avx2;
        let axis = |axis: usize| {
            let [a, b, c, d] = &tables.offsets[axis];
            [twice(a), twice(b), twice(c), twice(d)]
        };
        Self {
            offsets: [axis(0), axis(1)],
            base: twice(&tables.base),
            line: twice(&tables.line),
            steeper: twice(&tables.steeper),
            outermost: twice(&tables.outermost),
            tail: [twice(&tables.tail[0]), twice(&tables.tail[1])],
            even: bytes(tables.even),
            two_slopes: tables.two_slopes,
        }
    }

    /// The level of each byte c and cell; `cell` has no bits above the cell's.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn levels(&self, c: __m256i, cell: __m256i, cells: u32, two_slopes: bool) -> __m256i {
        let place = masked(down(_mm256_abs_epi8(c), 2), 31);
        // Places from 16 on have the top bit set in the first index, and places below in the second:
        // a shuffle gives zero there.
        let tail = _mm256_or_si256(
            _mm256_shuffle_epi8(self.tail[0], _mm256_add_epi8(place, bytes(0x70))),
            _mm256_shuffle_epi8(self.tail[1], _mm256_sub_epi8(place, bytes(16))),
        );
        // −x is the inverse of x, less −1.
        let below = _mm256_cmpgt_epi8(c, _mm256_setzero_si256());
        let tail = _mm256_sub_epi8(
            _mm256_xor_si256(tail, below),
            _mm256_and_si256(below, self.even),
        );
        if cells == 0 {
            return tail;
        }
        let f = masked(down(c, 4), 15);
        let mut level = _mm256_add_epi8(
            _mm256_shuffle_epi8(self.base, cell),
            _mm256_shuffle_epi8(self.line, f),
        );
        if two_slopes {
            let more = _mm256_and_si256(
                _mm256_shuffle_epi8(self.steeper, f),
                _mm256_shuffle_epi8(self.outermost, cell),
            );
            level = _mm256_add_epi8(level, more);
        }
        let in_tail = _mm256_cmpeq_epi8(cell, _mm256_setzero_si256());
        _mm256_blendv_epi8(level, tail, in_tail)
    }
}

/// Room before the bytes of a tile's lanes for those of the lanes before the first.
const ROOM: usize = 8;

/// The path bits of each lane of a tile, after those of the lanes before the first.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather_path<const RATE: u32>(
    tile: *const u8,
    lanes: usize,
    path: &mut [u8; ROOM + LANES],
) {
    let order = TileOrder { half_bits: RATE };
    let place = path.as_mut_ptr();
    // SAFETY: the contract; both halves of the lanes fit behind the room.
    unsafe {
        let load = |at: usize| _mm256_loadu_si256(tile.add(at).cast());
        let store = |at: usize, bytes: __m256i| _mm256_storeu_si256(place.add(at).cast(), bytes);
        if order.path_in_cells() {
            for half in [0, HALF] {
                let top = |i: usize, mask: u8| masked(down(load(LANES * i + half), i as u32), mask);
                let gathered = _mm256_or_si256(
                    _mm256_or_si256(top(0, 0x88), top(1, 0x44)),
                    _mm256_or_si256(top(2, 0x22), top(3, 0x11)),
                );
                store(ROOM + half, gathered);
            }
        } else if order.shared() {
            let packed = load(0);
            store(ROOM, masked(down(packed, 4), 15));
            store(ROOM + HALF, masked(packed, 15));
        } else {
            store(ROOM, load(0));
            store(ROOM + HALF, load(HALF));
        }
    }
    if lanes >= ROOM {
        // One word, so that the loads of the first lanes find it in two stores and not in nine.
        let last: [u8; ROOM] = std::array::from_fn(|i| path[lanes + i]);
        path[..ROOM].copy_from_slice(&last);
    } else {
        for back in 1..=ROOM {
            path[ROOM - back] = path[ROOM + (ROOM * lanes - back) % lanes];
        }
    }
}

/// The path bytes of half of the lanes, from the path bits of all and of those before.
///
/// # Safety
/// The machine has AVX2.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn path_bytes(bits: &[u8; ROOM + LANES], half: usize, shared: bool) -> PathBytes {
    let before = |by: usize| {
        // SAFETY: at most eight bytes before the lanes, where the room is.
        unsafe { _mm256_loadu_si256(bits.as_ptr().add(ROOM + half - by).cast()) }
    };
    match shared {
        false => [before(0), before(1), before(2)],
        true => {
            let eight =
                |by: usize| _mm256_or_si256(_mm256_slli_epi16::<4>(before(by + 1)), before(by));
            [eight(0), eight(2), eight(4)]
        }
    }
}

/// u of every weight of a tile in the places of a whole one, weight s of all lanes for each s in turn.
/// The tile begins with its path bits, as at every rate whose levels are words.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there, and the window is the code's.
#[target_feature(enable = "avx2")]
pub unsafe fn offsets<const WINDOW: u32, const SHARED: bool>(
    tables: &[[Table; 4]; 2],
    tile: *const u8,
    lanes: usize,
    out: &mut [[u8; LANES]; STEPS],
) {
    let mut bits = [0; ROOM + LANES];
    // SAFETY: the contract; rates 2 and 3 begin with their path bits, too.
    unsafe {
        match SHARED {
            true => gather_path::<3>(tile, lanes, &mut bits),
            false => gather_path::<2>(tile, lanes, &mut bits),
        }
    }
    for half in [0, HALF] {
        // SAFETY: the machine has AVX2.
        let path = unsafe { path_bytes(&bits, half, SHARED) };
        for (step, out) in out.iter_mut().enumerate() {
            let (tables, end) = match SHARED {
                true => (&tables[step % 2], 4 + step as i32 / 2),
                false => (&tables[0], step as i32),
            };
            let mut u = _mm256_setzero_si256();
            for (n, table) in tables[..WINDOW.div_ceil(4) as usize].iter().enumerate() {
                let mut index = four(&path, end - 4 * n as i32);
                if WINDOW == 10 && n == 2 {
                    index = masked(index, 3);
                }
                u = _mm256_add_epi8(u, _mm256_shuffle_epi8(twice(table), index));
            }
            // SAFETY: half of the lanes are a vector.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(half).cast(), masked(u, 127)) };
        }
    }
}

/// Call `f` with each step, each half of the lanes, and the levels of its weights, for a tile in the
/// places of a whole one.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn each_step<const WINDOW: u32, const RATE: u32>(
    constants: &Vectors,
    tile: *const u8,
    lanes: usize,
    two_slopes: bool,
    mut f: impl FnMut(usize, usize, __m256i),
) {
    let order = TileOrder { half_bits: RATE };
    let cells = order.cell_bits();
    let first = match (order.path_in_cells(), order.shared()) {
        (true, _) => 0,
        (false, true) => LANES / 2,
        (false, false) => LANES,
    };
    let mut bits = [0; ROOM + LANES];
    // SAFETY: the contract is this function's own.
    unsafe { gather_path::<RATE>(tile, lanes, &mut bits) };
    for half in [0, HALF] {
        if half >= lanes {
            break;
        }
        let vector = |i: usize| {
            // SAFETY: the contract; a rate of four bits or less has at most four vectors.
            unsafe { _mm256_loadu_si256(tile.add(first + LANES * i + half).cast()) }
        };
        let read: [__m256i; 4] = match (RATE, cells) {
            (8, _) => [vector(0), vector(1), vector(2), vector(3)],
            (_, 0) => [_mm256_setzero_si256(); 4],
            (_, 1) => [vector(0), vector(0), vector(0), vector(0)],
            (_, 2) => [vector(0), vector(1), vector(0), vector(0)],
            _ => [vector(0), vector(1), vector(2), vector(2)],
        };
        // SAFETY: the machine has AVX2.
        let path = unsafe { path_bytes(&bits, half, order.shared()) };
        macro_rules! steps {
            ($($step:literal)*) => {$(
                let (axis, end) = match order.shared() {
                    true => ($step % 2, 4 + $step / 2),
                    false => (0, $step),
                };
                let tables = &constants.offsets[axis];
                let mut c = _mm256_add_epi8(
                    _mm256_shuffle_epi8(tables[0], four(&path, end)),
                    _mm256_shuffle_epi8(tables[1], four(&path, end - 4)),
                );
                if WINDOW > 8 {
                    let mut index = four(&path, end - 8);
                    if WINDOW == 10 {
                        index = masked(index, 3);
                    }
                    c = _mm256_add_epi8(c, _mm256_shuffle_epi8(tables[2], index));
                }
                if WINDOW > 12 {
                    let more = _mm256_shuffle_epi8(tables[3], four(&path, end - 12));
                    c = _mm256_add_epi8(c, more);
                }
                let mask = ((1u32 << cells) - 1) as u8;
                let cell = match (RATE, cells) {
                    (_, 0) => _mm256_setzero_si256(),
                    (8, _) => masked(down(read[$step % 4], if $step < 4 { 4 } else { 0 }), mask),
                    (_, 1) => masked(down(read[0], 7 - $step), mask),
                    (_, 2) => masked(down(read[$step % 2], 6 - $step / 2 * 2), mask),
                    // Two bits in a field above one in another.
                    _ => {
                        let upper = match $step / 2 {
                            3 => up(read[$step % 2], 1),
                            place => down(read[$step % 2], 5 - 2 * place),
                        };
                        _mm256_or_si256(masked(upper, 6), masked(down(read[2], 7 - $step), 1))
                    }
                };
                f($step, half, constants.levels(c, cell, cells, two_slopes));
            )*};
        }
        steps!(0 1 2 3 4 5 6 7);
    }
}

/// Decode a tile in the places of a whole one to bytes, in the order of the weights.
///
/// Three rounds of interleaving bring the steps of a lane together.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there. The code has levels in bytes, and the
/// window and the rate are its own.
#[target_feature(enable = "avx2")]
pub unsafe fn levels<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [i8; TILE],
) {
    let constants = Vectors::new(plan.bytes.as_ref().expect("levels are bytes"));
    let mut steps = [_mm256_setzero_si256(); STEPS];
    let two_slopes = constants.two_slopes;
    // SAFETY: the contract is this function's own.
    unsafe {
        each_step::<WINDOW, RATE>(&constants, tile, lanes, two_slopes, |step, half, level| {
            steps[step] = level;
            if step + 1 == STEPS {
                in_weight_order(&steps, &mut out[half * STEPS..]);
            }
        });
    }
}

/// Store the levels of half of the lanes in the order of the weights.
#[inline]
#[target_feature(enable = "avx2")]
fn in_weight_order(steps: &[__m256i; STEPS], out: &mut [i8]) {
    let out = &mut out[..TILE / 2];
    let [a, b, c, d, e, f, g, h] = *steps;
    let pairs = |a, b| [_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)];
    let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
    for half in 0..2 {
        let fours = |a, b| [_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)];
        let (first, second) = (fours(ab[half], cd[half]), fours(ef[half], gh[half]));
        for quarter in 0..2 {
            let (a, b) = (first[quarter], second[quarter]);
            let eights = [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)];
            for (eighth, lanes) in eights.into_iter().enumerate() {
                // Each half of the vector has two neighbouring lanes, of every sixteen.
                let place = out[BLOCK * (4 * half + 2 * quarter + eighth)..].as_mut_ptr();
                // SAFETY: the second half ends where half of the tile does.
                unsafe {
                    _mm_storeu_si128(place.cast(), _mm256_castsi256_si128(lanes));
                    let second = _mm256_extracti128_si256::<1>(lanes);
                    _mm_storeu_si128(place.add(TILE / 4).cast(), second);
                }
            }
        }
    }
}

/// Eight integer levels.
///
/// # Safety
/// The machine has AVX2, and eight bytes are at `bytes`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn wide(bytes: *const i8, parity: i32) -> __m256 {
    // SAFETY: the contract.
    let bytes = unsafe { _mm_loadl_epi64(bytes.cast()) };
    let twice = _mm256_slli_epi32::<1>(_mm256_cvtepi8_epi32(bytes));
    _mm256_cvtepi32_ps(_mm256_add_epi32(twice, _mm256_set1_epi32(parity)))
}

/// Bytes as levels in floats: twice the byte plus the parity, times the unit. Whole blocks.
#[target_feature(enable = "avx2")]
pub fn floats(bytes: &[i8], parity: i32, unit: f32, out: &mut [f32]) {
    let unit = _mm256_set1_ps(unit);
    let eights = out.as_chunks_mut::<8>().0;
    for (bytes, out) in bytes.as_chunks::<8>().0.iter().zip(eights) {
        // SAFETY: eight bytes and eight floats are there.
        unsafe {
            let level = _mm256_mul_ps(wide(bytes.as_ptr(), parity), unit);
            _mm256_storeu_ps(out.as_mut_ptr(), level);
        }
    }
}

/// Bytes as integer levels, in pairs of blocks.
#[target_feature(enable = "avx2")]
pub fn pairs(bytes: &[i8], parity: i32, out: &mut [i16]) {
    let parity = _mm256_set1_epi16(parity as i16);
    let pairs = out.as_chunks_mut::<PAIR>().0;
    for (bytes, out) in bytes.as_chunks::<PAIR>().0.iter().zip(pairs) {
        let level = |at: usize| {
            // SAFETY: a pair has two blocks of sixteen bytes.
            let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().add(at).cast()) };
            _mm256_add_epi16(_mm256_slli_epi16::<1>(_mm256_cvtepi8_epi16(bytes)), parity)
        };
        let (a, b) = (level(0), level(BLOCK));
        let (low, high) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
        // SAFETY: 32 words are there.
        unsafe {
            let place: *mut __m256i = out.as_mut_ptr().cast();
            _mm256_storeu_si256(place, _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(place.add(1), _mm256_permute2x128_si256::<0x31>(low, high));
        }
    }
}

/// Add level·x to sixteen sums. Whole blocks.
#[target_feature(enable = "avx2,fma")]
pub fn add_products(bytes: &[i8], parity: i32, unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    let unit = _mm256_set1_ps(unit);
    // SAFETY: sixteen floats are two vectors.
    let mut sum = unsafe { [0, 8].map(|at| _mm256_loadu_ps(sums.as_ptr().add(at))) };
    for (bytes, x) in bytes
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .zip(x.as_chunks::<BLOCK>().0)
    {
        for (i, sum) in sum.iter_mut().enumerate() {
            // SAFETY: sixteen bytes and sixteen floats are there.
            let (level, x) = unsafe {
                (
                    _mm256_mul_ps(wide(bytes.as_ptr().add(8 * i), parity), unit),
                    _mm256_loadu_ps(x.as_ptr().add(8 * i)),
                )
            };
            *sum = _mm256_fmadd_ps(level, x, *sum);
        }
    }
    for (i, sum) in sum.into_iter().enumerate() {
        // SAFETY: sixteen floats are two vectors.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr().add(8 * i), sum) };
    }
}

/// The same for levels that are words; the activations after the last weight are zeros.
#[target_feature(enable = "avx2,fma")]
pub fn add_products_of_words(words: &[i16], unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    super::add_products_of_words(words, unit, x, sums);
}

/// Tiles whose products are summed in 32 bits: a lane has 32 products a tile, each of at most 2^7·2^15.
const TOGETHER: usize = 8;

/// The sum of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: &[__m256i; 2]) -> i64 {
    let mut lanes = [[0i32; 8]; 2];
    for (lanes, sums) in lanes.iter_mut().zip(sums) {
        // SAFETY: eight words are a vector.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), *sums) };
    }
    lanes
        .as_flattened()
        .iter()
        .map(|lane| i64::from(*lane))
        .sum()
}

/// See [`dot`](super::dot): Σ level·x. `last` are the lanes of the last tile, which is in the places of
/// a whole one at `rest`.
///
/// # Safety
/// The machine has AVX2. `whole` tiles are at `tiles`, and if `last` is not 0 one more at `rest`; for
/// each step `x` has the activations of all lanes. The code has levels in bytes, and the window and the
/// rate are its own.
#[target_feature(enable = "avx2")]
pub unsafe fn dot<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tiles: *const u8,
    whole: usize,
    rest: *const u8,
    last: usize,
    x: *const i16,
) -> i64 {
    let constants = Vectors::new(plan.bytes.as_ref().expect("levels are bytes"));
    let size = TileOrder { half_bits: RATE }.bytes(LANES);
    let count = whole + usize::from(last > 0);
    let mut sum = 0;
    for first in (0..count).step_by(TOGETHER) {
        let mut sums = [_mm256_setzero_si256(); 2];
        for tile in first..(first + TOGETHER).min(count) {
            // SAFETY: the contract.
            sums = unsafe {
                let x = x.add(TILE * tile);
                let (at, lanes) = match tile < whole {
                    true => (tiles.add(size * tile), LANES),
                    false => (rest, last),
                };
                // One loop for each shape of the levels, so that the branch is outside of it.
                match constants.two_slopes {
                    true => add_tile::<WINDOW, RATE>(&constants, at, lanes, true, x, sums),
                    false => add_tile::<WINDOW, RATE>(&constants, at, lanes, false, x, sums),
                }
            };
        }
        sum += total(&sums);
    }
    sum
}

/// Add Σ level·x of a tile to two sums.
///
/// # Safety
/// As [`dot`], for a tile in the places of a whole one.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_tile<const WINDOW: u32, const RATE: u32>(
    constants: &Vectors,
    tile: *const u8,
    lanes: usize,
    two_slopes: bool,
    x: *const i16,
    mut sums: [__m256i; 2],
) -> [__m256i; 2] {
    // SAFETY: the contract is this function's own.
    unsafe {
        each_step::<WINDOW, RATE>(constants, tile, lanes, two_slopes, |step, half, level| {
            add_products_of_step(level, x.add(LANES * step + half), &mut sums);
        });
    }
    sums
}

/// Add the products of 32 levels and their activations.
///
/// # Safety
/// The machine has AVX2, and 32 activations are at `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_products_of_step(level: __m256i, x: *const i16, sums: &mut [__m256i; 2]) {
    let words = [
        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(level)),
        _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(level)),
    ];
    for (i, (words, sum)) in words.into_iter().zip(sums).enumerate() {
        // SAFETY: the contract.
        let x = unsafe { _mm256_loadu_si256(x.add(16 * i).cast()) };
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, x));
    }
}

/// Decode a tile in the places of a whole one to bytes, weight s of all lanes for each s in turn.
///
/// # Safety
/// As [`levels`].
#[target_feature(enable = "avx2")]
pub unsafe fn steps<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [u8; TILE],
) {
    let constants = Vectors::new(plan.bytes.as_ref().expect("levels are bytes"));
    let two_slopes = constants.two_slopes;
    let place = out.as_mut_ptr();
    // SAFETY: the contract; eight times two vectors are a tile.
    unsafe {
        each_step::<WINDOW, RATE>(&constants, tile, lanes, two_slopes, |step, half, level| {
            _mm256_storeu_si256(place.add(LANES * step + half).cast(), level);
        });
    }
}

/// Vectors that are multiplied at a time, so that the levels are widened once for all of them.
const VECTORS: usize = 4;

/// Σ level·x of each row and each vector: `rows` have bytes by steps, `len` each, and `x` has as many
/// activations for each vector.
///
/// # Safety
/// The machine has AVX2. `len` is a multiple of [`TILE`], and the rows, the vectors and the sums are
/// there.
#[target_feature(enable = "avx2")]
pub unsafe fn products(rows: &[u8], len: usize, x: &[i16], sums: &mut [i64]) {
    let batch = x.len() / len;
    for (row, sums) in rows.chunks_exact(len).zip(sums.chunks_exact_mut(batch)) {
        for part in even_parts(batch, VECTORS) {
            let x = &x[part.start * len..part.end * len];
            let sums = &mut sums[part];
            // SAFETY: the contract is this function's own.
            unsafe {
                match sums.len() {
                    1 => product::<1>(row, x, sums),
                    2 => product::<2>(row, x, sums),
                    3 => product::<3>(row, x, sums),
                    _ => product::<VECTORS>(row, x, sums),
                }
            }
        }
    }
}

/// # Safety
/// As [`products`], for a row and `V` vectors.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn product<const V: usize>(row: &[u8], x: &[i16], sums: &mut [i64]) {
    let len = row.len();
    sums.fill(0);
    for from in (0..len).step_by(TOGETHER * TILE) {
        let mut all = [[_mm256_setzero_si256(); 2]; V];
        for at in (from..(from + TOGETHER * TILE).min(len)).step_by(2 * BLOCK) {
            // SAFETY: 32 bytes of the row are there, and 32 activations of each vector.
            unsafe {
                let level = _mm256_loadu_si256(row.as_ptr().add(at).cast());
                for (v, all) in all.iter_mut().enumerate() {
                    add_products_of_step(level, x.as_ptr().add(v * len + at), all);
                }
            }
        }
        for (sum, all) in sums.iter_mut().zip(&all) {
            *sum += total(all);
        }
    }
}
