//! Integer levels in 256-bit vectors. Where phases come in bytes (short registers), lines are looked up
//! in bytes; otherwise levels are gathered from their table.
//!
//! The curve is an odd function: the line is selected by the distance of a phase from the middle, and
//! the sign is applied last.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::{Activations, PAIR, STRETCH};
use crate::codec::kernels::decode::avx2::each_block;
use crate::codec::kernels::decode::bytes::{
    ByteLookup, Chunk, EIGHT, FOUND, Index, NOTHING, Phases, twice,
};
use crate::codec::kernels::decode::codes::{CHUNK, ChainCodes};
use crate::codec::kernels::decode::plan::{BLOCK, DecodePlan, PerLane};
use crate::codec::trellis::integer_levels::Plane;

/// The levels of eight phases, each with the level of the next phase in the upper half of its lane.
///
/// A gather takes 7 cycles on a Zen 5, single loads and insertions take 10 (measured).
///
/// # Safety
/// The machine has AVX2, and all phases have an entry and one after it.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn gather(table: &[i16], phases: __m256i) -> __m256i {
    // SAFETY: as the caller promised.
    unsafe { _mm256_i32gather_epi32::<2>(table.as_ptr().cast(), phases) }
}

/// The integer levels of a code, in registers. `LONG` tails have more than sixteen phases.
struct IntegerLines<const LONG: bool> {
    slope: [__m256i; 2],
    start: [__m256i; 2],
    tail: [__m256i; 2],
    /// Mask of the offset's bits that are multiplied by the slope.
    along: __m256i,
    /// Added to a negative byte, gives a positive one if the phase is in the tail.
    tail_to_zero: __m256i,
    half: __m256i,
    unit: __m256i,
    place: __m256i,
    one: __m256i,
    minus_one: __m256i,
}

impl<const LONG: bool> IntegerLines<LONG> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(plan: &DecodePlan) -> Self {
        let planes = &plan.integer_levels().planes;
        let load = |plane: &Plane| [twice(&plane[0]), twice(&plane[1])];
        let swap = |[a, b]: [__m256i; 2]| [b, a];
        // `black_box` keeps the constants in registers: the compiler would otherwise rebuild them at
        // each use.
        let byte = |byte: usize| _mm256_set1_epi8(black_box(byte as u8 as i8));
        let points = 1usize << plan.code().phase_bits();
        let fit = planes.fit;
        Self {
            slope: swap(load(&planes.slope)),
            start: swap(load(&planes.start)),
            tail: load(&planes.tail),
            along: byte(fit.along.into()),
            // The length of the tail in units of the 128 values that the upper bits have above the
            // middle.
            tail_to_zero: byte(fit.tail * 256 / points),
            half: byte(64),
            unit: byte(fit.unit.into()),
            place: byte(15),
            one: byte(1),
            minus_one: byte(255),
        }
    }

    /// The levels of some phases: those of the first eight blocks, and of the other eight.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn levels(&self, phases: &Phases) -> [__m256i; 2] {
        // SAFETY: both arrays have 32 bytes.
        let (upper, offset) = unsafe {
            (
                _mm256_load_si256(phases.upper.as_ptr().cast()),
                _mm256_load_si256(phases.offset.as_ptr().cast()),
            )
        };
        // Below the middle, distances count downwards.
        let below = _mm256_cmpgt_epi8(upper, self.minus_one);
        let upper = _mm256_xor_si256(upper, below);
        let offset = _mm256_xor_si256(offset, below);
        // The first of the upper bits is 1 now; the next five select the line.
        let line = Index {
            place: _mm256_and_si256(_mm256_srli_epi16::<2>(upper), self.place),
            // Adding half carries the next bit into the top bit.
            which: _mm256_add_epi8(upper, self.half),
        };
        let has_line = _mm256_add_epi8(upper, self.tail_to_zero);
        let along = _mm256_and_si256(offset, self.along);
        let tail = match LONG {
            true => Index {
                place: along,
                which: _mm256_slli_epi16::<3>(along),
            }
            .of(self.tail),
            false => _mm256_shuffle_epi8(self.tail[0], along),
        };
        let slope = line.of(self.slope);
        let start = _mm256_blendv_epi8(tail, line.of(self.start), has_line);
        let sign = _mm256_or_si256(below, self.one);
        let along = _mm256_sign_epi8(along, sign);
        let unit = _mm256_sign_epi8(self.unit, sign);
        [
            _mm256_maddubs_epi16(
                _mm256_unpacklo_epi8(slope, start),
                _mm256_unpacklo_epi8(along, unit),
            ),
            _mm256_maddubs_epi16(
                _mm256_unpackhi_epi8(slope, start),
                _mm256_unpackhi_epi8(along, unit),
            ),
        ]
    }

    /// The levels of a chunk, in pairs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pairs(&self, chunk: &Chunk) -> [[__m256i; 2]; CHUNK / PAIR] {
        let mut pairs = [[_mm256_setzero_si256(); 2]; CHUNK / PAIR];
        let levels: [_; EIGHT] = std::array::from_fn(|s| self.levels(&chunk[s]));
        for half in 0..2 {
            // The two levels of a pair are neighbours already. Gather the pairs of each block.
            let words = |s: usize| levels[s][half];
            let two = |s| {
                [
                    _mm256_unpacklo_epi32(words(s), words(s + 1)),
                    _mm256_unpackhi_epi32(words(s), words(s + 1)),
                ]
            };
            let twos = [two(0), two(2), two(4), two(6)];
            for quarter in 0..2 {
                let [a, b, c, d] = twos.map(|two| two[quarter]);
                let fours = [
                    [_mm256_unpacklo_epi64(a, b), _mm256_unpacklo_epi64(c, d)],
                    [_mm256_unpackhi_epi64(a, b), _mm256_unpackhi_epi64(c, d)],
                ];
                for (i, [a, b]) in fours.into_iter().enumerate() {
                    pairs[4 * half + 2 * quarter + i] = [
                        _mm256_permute2x128_si256::<0x20>(a, b),
                        _mm256_permute2x128_si256::<0x31>(a, b),
                    ];
                }
            }
        }
        pairs
    }
}

/// Call `take` with the levels of `count` pairs from weight `from` on: those of lanes 0 to 7, and of
/// 8 to 15.
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held for these weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn gather_each_pair(
    codes: &ChainCodes<'_>,
    from: usize,
    count: usize,
    mut take: impl FnMut(usize, [__m256i; 2]),
) {
    let table = &codes.plan.integer_levels().table[..];
    let mut first = [_mm256_setzero_si256(); 2];
    // SAFETY: the contract is this function's own; a table has an entry more than there are phases.
    unsafe {
        each_block(codes, from, 2 * count, |i, phases| {
            let levels = phases.map(|phases| gather(table, phases));
            if i % 2 == 0 {
                first = levels;
                return;
            }
            let both = |half: usize| {
                let second = _mm256_slli_epi32::<16>(levels[half]);
                _mm256_blend_epi16::<0xAA>(first[half], second)
            };
            take(i / 2, [both(0), both(1)]);
        });
    }
}

/// See [`levels`](super::levels).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn levels(codes: &ChainCodes<'_>, from: usize, out: &mut [i16]) {
    // SAFETY: the contract is this function's own.
    unsafe {
        match &codes.plan.bytes {
            Some(table) if has_long_tail(codes) => levels_of::<true>(codes, table, from, out),
            Some(table) => levels_of::<false>(codes, table, from, out),
            None => {
                let out = out.as_chunks_mut::<PAIR>().0;
                gather_each_pair(codes, from, out.len(), |i, levels| {
                    store(&mut out[i], levels)
                });
            }
        }
    }
}

fn has_long_tail(codes: &ChainCodes<'_>) -> bool {
    codes.plan.integer_levels().planes.fit.tail > 16
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(out: &mut [i16; PAIR], [low, high]: [__m256i; 2]) {
    let start = out.as_mut_ptr();
    // SAFETY: a pair has 32 levels.
    unsafe {
        _mm256_storeu_si256(start.cast(), low);
        _mm256_storeu_si256(start.add(BLOCK).cast(), high);
    }
}

/// # Safety
/// As for [`levels`].
#[target_feature(enable = "avx2,fma")]
unsafe fn levels_of<const LONG: bool>(
    codes: &ChainCodes<'_>,
    table: &ByteLookup,
    from: usize,
    out: &mut [i16],
) {
    let lines = IntegerLines::<LONG>::new(codes.plan);
    let mut found = NOTHING;
    for (i, out) in out.chunks_mut(FOUND * CHUNK).enumerate() {
        let (from, chunks) = (from + i * FOUND * CHUNK, out.len().div_ceil(CHUNK));
        // SAFETY: the contract is this function's own.
        let found = unsafe { table.find_phases(codes, from, chunks, &mut found) };
        for (out, chunk) in out.chunks_mut(CHUNK).zip(found) {
            let places = out.as_chunks_mut::<PAIR>().0;
            for (place, pair) in places.iter_mut().zip(lines.pairs(chunk)) {
                store(place, pair);
            }
        }
    }
}

const _: () = assert!(
    FOUND * CHUNK >= STRETCH,
    "all phases of a stretch are found in one call"
);

/// See [`dot`](super::dot).
///
/// # Safety
/// The machine has AVX2 and FMA, and [`ChainCodes::check`] held.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn dot(codes: &ChainCodes<'_>, x: Activations<'_>) -> PerLane<f32> {
    // SAFETY: the contract is this function's own.
    unsafe {
        match &codes.plan.bytes {
            Some(table) if has_long_tail(codes) => dot_of::<true>(codes, table, x),
            Some(table) => dot_of::<false>(codes, table, x),
            None => gather_dot(codes, x),
        }
    }
}

/// The sums of a stretch's lanes, in integers.
type Whole = [__m256i; 2];

/// Add the sums of a stretch, times its unit.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_stretch(sums: &mut [__m256; 2], whole: Whole, unit: f32) {
    for (sum, whole) in sums.iter_mut().zip(whole) {
        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(unit), *sum);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(sums: [__m256; 2]) -> PerLane<f32> {
    let mut lanes = [0.0; BLOCK];
    // SAFETY: sixteen floats are two vectors.
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
    }
    lanes
}

/// # Safety
/// As for [`dot`].
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_of<const LONG: bool>(
    codes: &ChainCodes<'_>,
    table: &ByteLookup,
    x: Activations<'_>,
) -> PerLane<f32> {
    let mut sums = [_mm256_setzero_ps(); 2];
    let lines = IntegerLines::<LONG>::new(codes.plan);
    let mut found = NOTHING;
    let chunks = x.values.as_chunks::<CHUNK>().0;
    for (i, (x, unit)) in chunks.chunks(STRETCH / CHUNK).zip(x.units).enumerate() {
        // SAFETY: the contract is this function's own.
        let found = unsafe { table.find_phases(codes, i * STRETCH, x.len(), &mut found) };
        // The lower half of each vector has the columns ≡ s mod 16, the upper half those ≡ 8 + s.
        let whole: [__m256i; EIGHT] = std::array::from_fn(|s| {
            let mut whole = _mm256_setzero_si256();
            for (chunk, x) in found.iter().zip(x) {
                for (half, levels) in lines.levels(&chunk[s]).into_iter().enumerate() {
                    // SAFETY: a chunk has sixteen vectors.
                    let x = unsafe {
                        _mm256_loadu_si256(x.as_ptr().add((2 * s + half) * BLOCK).cast())
                    };
                    whole = _mm256_add_epi32(whole, _mm256_madd_epi16(levels, x));
                }
            }
            whole
        });
        let two = |s| _mm256_hadd_epi32(whole[s], whole[s + 1]);
        let four = |s| _mm256_hadd_epi32(two(s), two(s + 2));
        let (a, b) = (four(0), four(4));
        let whole = [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x31>(a, b),
        ];
        add_stretch(&mut sums, whole, *unit);
    }
    lanes(sums)
}

/// # Safety
/// As for [`dot`].
#[target_feature(enable = "avx2,fma")]
unsafe fn gather_dot(codes: &ChainCodes<'_>, x: Activations<'_>) -> PerLane<f32> {
    let mut sums = [_mm256_setzero_ps(); 2];
    let pairs = x.values.as_chunks::<PAIR>().0;
    for (i, (x, unit)) in pairs.chunks(STRETCH / PAIR).zip(x.units).enumerate() {
        let mut whole = [_mm256_setzero_si256(); 2];
        // SAFETY: the contract is this function's own; a pair has 32 values.
        unsafe {
            gather_each_pair(codes, i * STRETCH, x.len(), |k, levels| {
                for (half, (whole, levels)) in whole.iter_mut().zip(levels).enumerate() {
                    let x = _mm256_loadu_si256(x[k].as_ptr().add(half * BLOCK).cast());
                    *whole = _mm256_add_epi32(*whole, _mm256_madd_epi16(levels, x));
                }
            });
        }
        add_stretch(&mut sums, whole, *unit);
    }
    lanes(sums)
}
