//! Levels that are words: u by lookups, and the curve in floats.

use std::arch::x86_64::*;

use super::HALF;
use super::path::{Lanes, register_bits};
use crate::codec::kernels::byte_vectors::{bytes, masked, twice};
use crate::codec::kernels::tiles::order::{LANES, STEPS, TILE, TileOrder};
use crate::codec::kernels::tiles::plan::{Table, TilePlan};
use crate::codec::trellis::code::WORDS_A_SIGMA;

/// Lanes whose levels are computed at a time.
const EIGHT: usize = 8;

/// Decode a tile in the places of a whole one to integer levels, in the order of the weights.
///
/// # Safety
/// The machine has AVX2 and FMA. The code has levels in words, and the rate is its own.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn word_levels<const RATE: u32>(
    plan: &TilePlan,
    tile: &[u8],
    lanes: usize,
    out: &mut [i16; TILE],
) {
    let order = TileOrder { half_bits: RATE };
    let (mut path, mut cells) = ([0; LANES], [[0; LANES]; STEPS]);
    order.unpack(tile, LANES, &mut path, &mut cells);
    let mut offsets = [[0; LANES]; STEPS];
    // SAFETY: the contract; `unpack` has found the bytes of a whole tile.
    unsafe {
        let (tables, tile, offsets) = (&plan.tables, tile.as_ptr(), &mut offsets);
        match (plan.window, order.shared()) {
            (8, false) => find_offsets::<8, false>(tables, tile, lanes, offsets),
            (8, true) => find_offsets::<8, true>(tables, tile, lanes, offsets),
            (10, false) => find_offsets::<10, false>(tables, tile, lanes, offsets),
            (10, true) => find_offsets::<10, true>(tables, tile, lanes, offsets),
            (12, false) => find_offsets::<12, false>(tables, tile, lanes, offsets),
            (12, true) => find_offsets::<12, true>(tables, tile, lanes, offsets),
            (_, false) => find_offsets::<16, false>(tables, tile, lanes, offsets),
            (_, true) => find_offsets::<16, true>(tables, tile, lanes, offsets),
        }
    }
    let curve = Curve::new(plan);
    for (group, out) in out
        .as_chunks_mut::<{ EIGHT * STEPS }>()
        .0
        .iter_mut()
        .enumerate()
    {
        let first = EIGHT * group;
        if first >= lanes {
            break;
        }
        let mut steps = [_mm_setzero_si128(); STEPS];
        for (step, words) in steps.iter_mut().enumerate() {
            // SAFETY: eight bytes are there.
            let load = |bytes: &[u8; LANES]| unsafe {
                _mm_loadl_epi64(bytes[first..first + EIGHT].as_ptr().cast())
            };
            *words = curve.words(load(&offsets[step]), load(&cells[step]));
        }
        in_weight_order(steps, out);
    }
}

/// u of every weight of a tile in the places of a whole one, weight s of all lanes for each s in turn.
/// The tile begins with its path bits, as at every rate whose levels are words.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there, and the window is the code's.
#[target_feature(enable = "avx2")]
unsafe fn find_offsets<const WINDOW: u32, const SHARED: bool>(
    tables: &[[Table; 4]; 2],
    tile: *const u8,
    lanes: usize,
    out: &mut [[u8; LANES]; STEPS],
) {
    // SAFETY: the contract; rates 2 and 3 begin with their path bits, too.
    let all = unsafe {
        match SHARED {
            true => Lanes::of::<3, false>(tile, lanes, bytes(0x88)),
            false => Lanes::of::<2, false>(tile, lanes, bytes(0x88)),
        }
    };
    for half in [0, HALF] {
        let path = &all.path::<false>(half, SHARED, bytes(15));
        for (step, out) in out.iter_mut().enumerate() {
            let tables = &tables[if SHARED { step % 2 } else { 0 }];
            let mut u = _mm256_setzero_si256();
            for (n, table) in tables[..WINDOW.div_ceil(4) as usize].iter().enumerate() {
                let index = register_bits(path, SHARED, step, n, bytes(15));
                u = _mm256_add_epi8(u, _mm256_shuffle_epi8(twice(table), index));
            }
            // SAFETY: half of the lanes are a vector.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(half).cast(), masked(u, 127)) };
        }
    }
}

/// The constants of `Code::integer_level` in vectors.
struct Curve {
    shape: [__m256; 3],
    /// All bits of a cell.
    cell: __m128i,
    /// 2^L.
    points: __m128i,
    /// 2^−L.
    point: __m256,
}

impl Curve {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(plan: &TilePlan) -> Self {
        let [a, b, c] = plan.curve;
        let cells = 1 << plan.order.cell_bits();
        Self {
            shape: [_mm256_set1_ps(a), _mm256_set1_ps(b), _mm256_set1_ps(c)],
            cell: _mm_set1_epi8((cells - 1) as i8),
            points: _mm_set1_epi16(128 * cells as i16),
            point: _mm256_set1_ps(1.0 / (128 * cells) as f32),
        }
    }

    /// The levels of eight weights by u and the stored cell.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn words(&self, u: __m128i, cell: __m128i) -> __m128i {
        // Cells are counted from above where u < 64. The offset is u + 64 mod 128.
        let upper = _mm_cmpgt_epi8(_mm_set1_epi8(64), u);
        let cell = _mm_xor_si128(cell, _mm_and_si128(upper, self.cell));
        let offset = _mm_xor_si128(u, _mm_set1_epi8(64));
        // Twice the phase, plus 1: a byte has twice the offset.
        let twice = _mm_or_si128(_mm_add_epi8(offset, offset), _mm_set1_epi8(1));
        let phase = _mm_sub_epi16(_mm_unpacklo_epi8(twice, cell), self.points);
        let t = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(phase)), self.point);
        let one = _mm256_set1_ps(1.0);
        let u = _mm256_castps_si256(_mm256_fnmadd_ps(t, t, one));
        let v = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_castps_si256(one), u));
        let [a, b, c] = self.shape;
        let level = _mm256_mul_ps(t, _mm256_fmadd_ps(_mm256_fmadd_ps(c, v, b), v, a));
        // Rounded to nearest, ties to even, as the default is.
        let words = _mm256_cvtps_epi32(_mm256_mul_ps(level, _mm256_set1_ps(WORDS_A_SIGMA)));
        _mm_packs_epi32(
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
        )
    }
}

/// Store the words of eight lanes in the order of the weights: three rounds of interleaving.
#[inline]
#[target_feature(enable = "avx2")]
fn in_weight_order(steps: [__m128i; STEPS], out: &mut [i16; EIGHT * STEPS]) {
    let [a, b, c, d, e, f, g, h] = steps;
    let pairs = |a, b| [_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)];
    let [ab, cd, ef, gh] = [pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h)];
    for half in 0..2 {
        let fours = |a, b| [_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)];
        let (first, second) = (fours(ab[half], cd[half]), fours(ef[half], gh[half]));
        for quarter in 0..2 {
            let (a, b) = (first[quarter], second[quarter]);
            let lanes = [_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)];
            for (lane, words) in lanes.into_iter().enumerate() {
                let place = out[STEPS * (4 * half + 2 * quarter + lane)..][..STEPS].as_mut_ptr();
                // SAFETY: eight words are there.
                unsafe { _mm_storeu_si128(place.cast(), words) };
            }
        }
    }
}
