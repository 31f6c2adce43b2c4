//! Tiles in 64 byte lanes: AVX-512 VBMI, whose byte permutes look up 64 bytes, and VNNI.
//!
//! A vector holds one weight of each lane. The register of a lane ends in the lane's own path byte; the
//! bytes before are those of the lanes before, so one permute moves them into place. The newest four
//! bits find their table, the bits above find the sum of two tables. The upper bits of u and the cell then
//! find the level, but in the far half of the tail, which u alone finds. That is some 15 instructions for 64 weights.
//!
//! Shifts work on 16 bits. The bits that come in from the neighbouring byte lie above those that a
//! lookup of 64 bytes reads, or are masked.

use std::arch::x86_64::*;

use super::order::{LANES, STEPS, TILE, TileOrder};
use super::plan::{BytePlan, Table, TilePlan};
use crate::codec::kernels::activations::{BLOCK, PAIR, even_parts};

/// For each number of lanes, the lane before each lane; the first follows the last.
const BEFORE: [[u8; 64]; LANES + 1] = {
    let mut all = [[0; 64]; LANES + 1];
    let mut lanes = 1;
    while lanes <= LANES {
        let mut lane = 0;
        while lane < lanes {
            all[lanes][lane] = ((lane + lanes - 1) % lanes) as u8;
            lane += 1;
        }
        lanes += 1;
    }
    all
};

/// Shift all bytes down. Bits from the neighbouring byte come in above.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn down(bytes: __m512i, by: u32) -> __m512i {
    match by {
        0 => bytes,
        1 => _mm512_srli_epi16::<1>(bytes),
        2 => _mm512_srli_epi16::<2>(bytes),
        3 => _mm512_srli_epi16::<3>(bytes),
        4 => _mm512_srli_epi16::<4>(bytes),
        5 => _mm512_srli_epi16::<5>(bytes),
        6 => _mm512_srli_epi16::<6>(bytes),
        _ => _mm512_srli_epi16::<7>(bytes),
    }
}

/// Shift all bytes up. Bits from the neighbouring byte come in below.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn up(bytes: __m512i, by: u32) -> __m512i {
    match by {
        0 => bytes,
        1 => _mm512_slli_epi16::<1>(bytes),
        2 => _mm512_slli_epi16::<2>(bytes),
        3 => _mm512_slli_epi16::<3>(bytes),
        4 => _mm512_slli_epi16::<4>(bytes),
        5 => _mm512_slli_epi16::<5>(bytes),
        6 => _mm512_slli_epi16::<6>(bytes),
        _ => _mm512_slli_epi16::<7>(bytes),
    }
}

/// The bits of `a` where `mask` has ones, and those of `b` elsewhere.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(a: __m512i, b: __m512i, mask: u8) -> __m512i {
    _mm512_ternarylogic_epi32::<0xCA>(_mm512_set1_epi8(mask as i8), a, b)
}

/// The path bytes of each lane, and of the two lanes before it.
type PathBytes = [__m512i; 3];

/// Bytes whose lowest `count` ≤ 6 bits are the path bits that end with bit `end` of the lane's own
/// byte, counted from its top; negative numbers are bits before. The bits above have no meaning.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bits(path: &PathBytes, end: i32, count: u32) -> __m512i {
    let byte = (-end.div_euclid(8)) as usize;
    let have = end.rem_euclid(8) as u32 + 1;
    let own = down(path[byte], 8 - have);
    if have >= count {
        return own;
    }
    choose(own, up(path[byte + 1], have), (1 << have) - 1)
}

/// The tables of a code, each repeated as often as it fits in 64 bytes.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Tables {
    /// By axis: of the newest four bits of the register; of the next bits, six where the window has
    /// ten, else four; of bits 8 to 11, and of bits 12 to 15.
    offsets: [[[u8; 64]; 4]; 2],
    /// The levels of the far half of the tail, where 32 ≤ u < 96, by u mod 64, plus 128.
    tail: [u8; 64],
    /// All others by u with the cell in place of the lowest bits, by u/2 with up to eight cells.
    lines: [[u8; 64]; 2],
}

impl Tables {
    /// `levels` has the level of each of some cells and u, at `cell·128 + u`.
    pub fn new(window: u32, cells: usize, tables: &[[Table; 4]; 2], levels: &[i16]) -> Self {
        let moved = |cell: usize, u: usize| (levels[cell << 7 | u] + 128) as u8;
        let line = |i: usize| match cells {
            16 => moved(i % cells, i - i % cells),
            _ => moved(i % cells, 2 * (i % 64 - i % cells)),
        };
        let offsets = tables.map(|tables| {
            let repeated = |n: usize| std::array::from_fn(|i| tables[n][i % 16]);
            let next = match window {
                10 => std::array::from_fn(|i| tables[1][i % 16].wrapping_add(tables[2][i / 16])),
                _ => repeated(1),
            };
            [repeated(0), next, repeated(2), repeated(3)]
        });
        Self {
            offsets,
            tail: std::array::from_fn(|i| moved(0, (i + 32) % 64 + 32)),
            lines: [0, 1].map(|half| std::array::from_fn(|i| line(64 * half + i))),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are a vector.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// u of the registers that end with path bit `end`, by the tables of an axis. Bit 7 has no meaning.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn offsets<const WINDOW: u32>(tables: &[__m512i; 4], path: &PathBytes, end: i32) -> __m512i {
    let next = if WINDOW == 10 { 6 } else { 4 };
    let mut u = _mm512_add_epi8(
        _mm512_permutexvar_epi8(bits(path, end, 4), tables[0]),
        _mm512_permutexvar_epi8(bits(path, end - 4, next), tables[1]),
    );
    if WINDOW >= 12 {
        u = _mm512_add_epi8(
            u,
            _mm512_permutexvar_epi8(bits(path, end - 8, 4), tables[2]),
        );
    }
    if WINDOW >= 16 {
        u = _mm512_add_epi8(
            u,
            _mm512_permutexvar_epi8(bits(path, end - 12, 4), tables[3]),
        );
    }
    u
}

/// The constants of a code in registers.
struct Vectors {
    offsets: [[__m512i; 4]; 2],
    lines: [__m512i; 2],
    tail: __m512i,
    before: __m512i,
}

impl Vectors {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(bytes: &BytePlan) -> Self {
        let tables = &bytes.vbmi;
        let axis = |axis: usize| {
            let [a, b, c, d] = &tables.offsets[axis];
            [load(a), load(b), load(c), load(d)]
        };
        Self {
            offsets: [axis(0), axis(1)],
            lines: [load(&tables.lines[0]), load(&tables.lines[1])],
            tail: load(&tables.tail),
            before: before(LANES),
        }
    }
}

/// The lane before each of some lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn before(lanes: usize) -> __m512i {
    // SAFETY: 64 bytes are a vector.
    unsafe { _mm512_loadu_si512(BEFORE[lanes].as_ptr().cast()) }
}

/// Call `f` with each step and the levels of its weights plus 128, for a tile in the places of a whole
/// one.
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI. The bytes of a whole tile are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn each_step<const WINDOW: u32, const RATE: u32>(
    constants: &Vectors,
    tile: *const u8,
    before: __m512i,
    mut f: impl FnMut(usize, __m512i),
) {
    let order = TileOrder { half_bits: RATE };
    let half_path = order.shared() as usize;
    let first = match (order.path_in_cells(), order.shared()) {
        (true, _) => 0,
        (false, true) => LANES / 2,
        (false, false) => LANES,
    };
    let vector = |i: usize| {
        // SAFETY: the contract; a rate whose levels are bytes has at most four vectors.
        unsafe { _mm512_loadu_si512(tile.add(first + LANES * i).cast()) }
    };
    let turned = |bytes: __m512i| _mm512_permutexvar_epi8(before, bytes);
    let cells = order.cell_bits();
    let read: [__m512i; 4] = match (RATE, cells) {
        (8 | 9, _) => [vector(0), vector(1), vector(2), vector(3)],
        (_, 0) => [_mm512_setzero_si512(); 4],
        (_, 1) => [vector(0), vector(0), vector(0), vector(0)],
        (_, 2) => [vector(0), vector(1), vector(0), vector(0)],
        _ => [vector(0), vector(1), vector(2), vector(2)],
    };
    let path: PathBytes = if order.path_in_cells() {
        let top = |i: usize, mask: u8| {
            _mm512_and_si512(down(read[i], i as u32), _mm512_set1_epi8(mask as i8))
        };
        let gathered = choose(read[0], top(1, 0x44), 0x88);
        let other = choose(down(read[2], 2), top(3, 0x11), 0x22);
        // Both have zeros or others' bits where the other has its own.
        let own = choose(gathered, other, 0xCC);
        let first = turned(own);
        [own, first, turned(first)]
    } else if half_path == 1 {
        // SAFETY: the contract; half a vector of path bits comes first.
        let packed = unsafe { _mm256_loadu_si256(tile.cast()) };
        let both = _mm512_inserti64x4::<1>(
            _mm512_castsi256_si512(_mm256_srli_epi16::<4>(packed)),
            packed,
        );
        let four = _mm512_and_si512(both, _mm512_set1_epi8(15));
        let previous = turned(four);
        let eight = _mm512_or_si512(_mm512_slli_epi16::<4>(previous), four);
        let first = turned(turned(eight));
        [eight, first, turned(turned(first))]
    } else {
        // SAFETY: the contract.
        let own = unsafe { _mm512_loadu_si512(tile.cast()) };
        let first = turned(own);
        [own, first, turned(first)]
    };
    macro_rules! steps {
        ($($step:literal)*) => {$(
            let (axis, end) = match order.shared() {
                true => ($step % 2, 4 + $step / 2),
                false => (0, $step),
            };
            let u = offsets::<WINDOW>(&constants.offsets[axis], &path, end);
            let half = _mm512_srli_epi16::<1>(u);
            let cell = match (RATE, cells) {
                (8 | 9, _) => down(read[$step % 4], if $step < 4 { 4 } else { 0 }),
                (_, 0) => _mm512_setzero_si512(),
                (_, 1) => down(read[0], 7 - $step),
                (_, 2) => down(read[$step % 2], 6 - $step / 2 * 2),
                // Two bits in a field above one in another.
                _ => {
                    let upper = match $step / 2 {
                        3 => up(read[$step % 2], 1),
                        place => down(read[$step % 2], 5 - 2 * place),
                    };
                    choose(upper, down(read[2], 7 - $step), 6)
                }
            };
            let mask = (1 << cells) - 1;
            let [line, more] = constants.lines;
            let level = match cells {
                4 => _mm512_permutex2var_epi8(line, choose(cell, u, mask), more),
                _ => _mm512_permutexvar_epi8(choose(cell, half, mask), line),
            };
            // Bit 6 of u + 96 is 0 where 32 ≤ u < 96.
            let near = _mm512_add_epi8(u, _mm512_set1_epi8(96));
            let far_tail = _mm512_testn_epi8_mask(
                choose(cell, near, mask),
                _mm512_set1_epi8((64 | mask) as i8),
            );
            let level = _mm512_mask_permutexvar_epi8(level, far_tail, u, constants.tail);
            f($step, level);
        )*};
    }
    steps!(0 1 2 3 4 5 6 7);
}

/// Decode a tile in the places of a whole one to bytes, in the order of the weights.
///
/// Three rounds of interleaving bring the steps of a lane together.
///
/// # Safety
/// The machine has AVX-512 F, BW and VBMI. The bytes of a whole tile are there. The code has levels in
/// bytes, and the window and the rate are its own.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn levels<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [i8; TILE],
) {
    let bytes = plan.bytes.as_ref().expect("levels are bytes");
    let constants = Vectors::new(bytes);
    let mut steps = [_mm512_setzero_si512(); STEPS];
    // SAFETY: the contract is this function's own.
    unsafe {
        each_step::<WINDOW, RATE>(&constants, tile, before(lanes), |step, level| {
            steps[step] = _mm512_xor_si512(level, _mm512_set1_epi8(-128));
        });
    }
    let [a, b, c, d, e, f, g, h] = steps;
    let pairs = |a, b| [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)];
    let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
    for half in 0..2 {
        let fours = |a, b| [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)];
        let (first, second) = (fours(ab[half], cd[half]), fours(ef[half], gh[half]));
        for quarter in 0..2 {
            let (a, b) = (first[quarter], second[quarter]);
            let eights = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
            for (eighth, lanes) in eights.into_iter().enumerate() {
                // Each quarter of the vector has two neighbouring lanes, of every sixteen.
                let place = out[BLOCK * (4 * half + 2 * quarter + eighth)..].as_mut_ptr();
                // SAFETY: the last quarter ends where the tile does.
                unsafe {
                    let store = |at: usize, lanes| _mm_storeu_si128(place.add(at).cast(), lanes);
                    store(0, _mm512_castsi512_si128(lanes));
                    store(TILE / 4, _mm512_extracti32x4_epi32::<1>(lanes));
                    store(TILE / 2, _mm512_extracti32x4_epi32::<2>(lanes));
                    store(TILE / 4 * 3, _mm512_extracti32x4_epi32::<3>(lanes));
                }
            }
        }
    }
}

/// Bytes as levels in floats. Whole blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn floats(bytes: &[i8], unit: f32, out: &mut [f32]) {
    let unit = _mm512_set1_ps(unit);
    let blocks = out.as_chunks_mut::<BLOCK>().0;
    for (bytes, out) in bytes.as_chunks::<BLOCK>().0.iter().zip(blocks) {
        let level = _mm512_mul_ps(wide(bytes), unit);
        // SAFETY: sixteen floats are a vector.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), level) };
    }
}

/// A block of levels as floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn wide(bytes: &[i8; BLOCK]) -> __m512 {
    // SAFETY: sixteen bytes are there.
    let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
}

/// Bytes as integer levels, in pairs of blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn pairs(bytes: &[i8], out: &mut [i16]) {
    const INTERLEAVED: [u16; PAIR] = {
        let mut places = [0; PAIR];
        let mut i = 0;
        while i < PAIR {
            places[i] = (i / 2 + i % 2 * BLOCK) as u16;
            i += 1;
        }
        places
    };
    // SAFETY: 64 bytes are a vector.
    let places = unsafe { _mm512_loadu_si512(INTERLEAVED.as_ptr().cast()) };
    let pairs = out.as_chunks_mut::<PAIR>().0;
    for (bytes, out) in bytes.as_chunks::<PAIR>().0.iter().zip(pairs) {
        // SAFETY: 32 bytes and 32 words are there.
        unsafe {
            let words = _mm512_cvtepi8_epi16(_mm256_loadu_si256(bytes.as_ptr().cast()));
            let levels = _mm512_permutexvar_epi16(places, words);
            _mm512_storeu_si512(out.as_mut_ptr().cast(), levels);
        }
    }
}

/// Add level·x to sixteen sums. Whole blocks.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn add_products(bytes: &[i8], unit: f32, x: &[f32], sums: &mut [f32; BLOCK]) {
    let unit = _mm512_set1_ps(unit);
    // SAFETY: sixteen floats are a vector.
    let mut sum = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
    for (bytes, x) in bytes
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .zip(x.as_chunks::<BLOCK>().0)
    {
        let level = _mm512_mul_ps(wide(bytes), unit);
        // SAFETY: sixteen floats are a vector.
        let x = unsafe { _mm512_loadu_ps(x.as_ptr()) };
        sum = _mm512_fmadd_ps(level, x, sum);
    }
    // SAFETY: sixteen floats are a vector.
    unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), sum) };
}

/// See [`dot`](super::dot): Σ (level + 128)·x. `last` are the lanes of the last tile, which is in the
/// places of a whole one at `rest`.
///
/// # Safety
/// The machine has AVX-512 F, BW, VBMI and VNNI. `whole` tiles are at `tiles`, and if `last` is not 0
/// one more at `rest`; for each step of each tile `x` has the upper and then the lower bytes of the
/// activations of all lanes. There are at most [`MOST_TILES`](super::MOST_TILES). The code has levels in
/// bytes, and the window and the rate are its own.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub unsafe fn dot<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tiles: *const u8,
    whole: usize,
    rest: *const u8,
    last: usize,
    x: *const u8,
) -> i64 {
    let bytes = plan.bytes.as_ref().expect("levels are bytes");
    let constants = Vectors::new(bytes);
    let size = TileOrder { half_bits: RATE }.bytes(LANES);
    // Two sums of each half of the activations, since a sum waits for the one before.
    let mut sums = [_mm512_setzero_si512(); 4];
    for tile in 0..whole + usize::from(last > 0) {
        // SAFETY: the contract.
        unsafe {
            // One call for all tiles, so that it is inlined and the sums stay in registers.
            let (at, before) = match tile < whole {
                true => (tiles.add(size * tile), constants.before),
                false => (rest, before(last)),
            };
            let x = x.add(2 * TILE * tile);
            sums = add_tile::<WINDOW, RATE>(&constants, at, before, x, sums);
        }
    }
    total(
        _mm512_add_epi32(sums[0], sums[2]),
        _mm512_add_epi32(sums[1], sums[3]),
    )
}

/// Add Σ (level + 128)·x of a tile to two sums for the upper bytes of activations, and two for the lower.
///
/// # Safety
/// As [`dot`], for a tile in the places of a whole one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
unsafe fn add_tile<const WINDOW: u32, const RATE: u32>(
    constants: &Vectors,
    tile: *const u8,
    before: __m512i,
    x: *const u8,
    mut sums: [__m512i; 4],
) -> [__m512i; 4] {
    // SAFETY: the contract is this function's own.
    unsafe {
        each_step::<WINDOW, RATE>(constants, tile, before, |step, level| {
            let x = x.add(2 * LANES * step);
            let (upper, lower) = (
                _mm512_loadu_si512(x.cast()),
                _mm512_loadu_si512(x.add(LANES).cast()),
            );
            let [a, b] = if step % 2 == 0 { [0, 1] } else { [2, 3] };
            sums[a] = _mm512_dpbusd_epi32(sums[a], level, upper);
            sums[b] = _mm512_dpbusd_epi32(sums[b], level, lower);
        });
    }
    sums
}

/// The sum of all lanes: those of the upper bytes count 256 times.
#[inline]
#[target_feature(enable = "avx512f")]
fn total(upper: __m512i, lower: __m512i) -> i64 {
    let [upper, lower] = [upper, lower].map(|sums| i64::from(_mm512_reduce_add_epi32(sums)));
    256 * upper + lower
}

/// Decode a tile in the places of a whole one to bytes plus 128, weight s of all lanes for each s in
/// turn.
///
/// # Safety
/// As [`levels`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn steps<const WINDOW: u32, const RATE: u32>(
    plan: &TilePlan,
    tile: *const u8,
    lanes: usize,
    out: &mut [u8; TILE],
) {
    let constants = Vectors::new(plan.bytes.as_ref().expect("levels are bytes"));
    let place = out.as_mut_ptr();
    // SAFETY: the contract; eight vectors are a tile.
    unsafe {
        each_step::<WINDOW, RATE>(&constants, tile, before(lanes), |step, level| {
            _mm512_storeu_si512(place.add(LANES * step).cast(), level);
        });
    }
}

/// Vectors that are multiplied at a time: the sums of four rows, and what is loaded, stay in registers.
const VECTORS: usize = 3;
/// Rows that are multiplied at a time.
const ROWS: usize = 4;

/// Σ (level + 128)·x of each row and each vector: `rows` have bytes by steps, `len` each, and `x` has
/// activations in upper and lower bytes, twice as many for each vector.
///
/// # Safety
/// The machine has AVX-512 F, BW and VNNI. `len` is a multiple of [`LANES`], and the rows, the vectors
/// and the sums are there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn products(rows: &[u8], len: usize, x: &[i16], sums: &mut [i64]) {
    let (count, batch) = (rows.len() / len, x.len() / len);
    for part in even_parts(batch, VECTORS) {
        let mut row = 0;
        while row < count {
            let height = if row + ROWS <= count { ROWS } else { 1 };
            let rows = rows[row * len..].as_ptr();
            let x = x[part.start * len..].as_ptr().cast();
            let sums = &mut sums[row * batch + part.start..];
            // SAFETY: `height` rows, the vectors of `part` and their sums are within the slices.
            unsafe {
                match (height, part.len()) {
                    (ROWS, 1) => product::<ROWS, 1>(rows, len, x, batch, sums),
                    (ROWS, 2) => product::<ROWS, 2>(rows, len, x, batch, sums),
                    (ROWS, _) => product::<ROWS, VECTORS>(rows, len, x, batch, sums),
                    (_, 1) => product::<1, 1>(rows, len, x, batch, sums),
                    (_, 2) => product::<1, 2>(rows, len, x, batch, sums),
                    _ => product::<1, VECTORS>(rows, len, x, batch, sums),
                }
            }
            row += height;
        }
    }
}

/// # Safety
/// As [`products`], for `R` rows and `V` vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn product<const R: usize, const V: usize>(
    rows: *const u8,
    len: usize,
    x: *const u8,
    batch: usize,
    sums: &mut [i64],
) {
    let mut all = [[[_mm512_setzero_si512(); 2]; V]; R];
    for at in (0..len).step_by(LANES) {
        let mut halves = [[_mm512_setzero_si512(); 2]; V];
        for (v, halves) in halves.iter_mut().enumerate() {
            // SAFETY: the contract; a vector has two bytes for each level.
            *halves = unsafe {
                let place = x.add(2 * (v * len + at));
                [
                    _mm512_loadu_si512(place.cast()),
                    _mm512_loadu_si512(place.add(LANES).cast()),
                ]
            };
        }
        for (r, all) in all.iter_mut().enumerate() {
            // SAFETY: the contract.
            let level = unsafe { _mm512_loadu_si512(rows.add(r * len + at).cast()) };
            for (all, halves) in all.iter_mut().zip(halves) {
                for (sum, half) in all.iter_mut().zip(halves) {
                    *sum = _mm512_dpbusd_epi32(*sum, level, half);
                }
            }
        }
    }
    for (r, all) in all.into_iter().enumerate() {
        for (v, [upper, lower]) in all.into_iter().enumerate() {
            sums[r * batch + v] = total(upper, lower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TilePlan;
    use crate::codec::trellis::code_set::PinnedCode;

    /// What `each_step` looks up, in plain Rust: a check that needs no AVX-512.
    #[test]
    fn the_tables_have_the_level_of_every_cell_and_offset() {
        for pinned in PinnedCode::all().filter(|code| code.code().is_tiled()) {
            let plan = TilePlan::of(pinned);
            let Some(bytes) = &plan.bytes else {
                continue;
            };
            let tables = &bytes.vbmi;
            let cells = 1usize << pinned.code().cell_bits();
            for (cell, u) in (0..cells).flat_map(|cell| (0..128).map(move |u| (cell, u))) {
                let upper = if cells == 16 { u } else { u / 2 };
                let index = (upper & !(cells - 1)) | cell;
                let far_tail = cell == 0 && (u + 96) & 64 == 0;
                let found = match far_tail {
                    true => tables.tail[u % 64],
                    false => tables.lines[index / 64][index % 64],
                };
                let level = plan.level_at(cell as u8, u as u8);
                assert_eq!(i16::from(found) - 128, level, "{pinned:?} {cell} {u}");
            }
        }
    }
}
