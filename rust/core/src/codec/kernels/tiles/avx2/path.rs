//! The path bits of 32 lanes, where lookups of sixteen bytes find them.

use std::arch::x86_64::*;

use super::HALF;
use crate::codec::kernels::byte_vectors::{down, masked, up};
use crate::codec::kernels::tiles::order::{LANES, TileOrder};

/// Bytes of path bits of each lane. Byte n ends 4n bits before the last path bit of the lane's eight
/// weights, so that four bits of the register are always within one byte: no lookup needs bits from two.
pub type Path = [__m256i; 5];

/// Bits 4n to 4n + 3 of the registers of step `step`, and zeros above; `four` masks four bits.
#[inline]
#[target_feature(enable = "avx2")]
pub fn register_bits(path: &Path, shared: bool, step: usize, n: usize, four: __m256i) -> __m256i {
    let (byte, by) = match shared {
        true => (n, 3 - step / 2),
        false => (n + usize::from(step < 4), 3 - step % 4),
    };
    _mm256_and_si256(down(path[byte], by as u32), four)
}

/// The path bits of lanes whose path bits lie above cells, in the highest bit of each four.
#[inline]
#[target_feature(enable = "avx2")]
fn gathered(vectors: [__m256i; 4], tops: __m256i) -> __m256i {
    let [a, b, c, d] = vectors;
    let first = _mm256_or_si256(
        _mm256_and_si256(a, tops),
        down(_mm256_and_si256(b, tops), 1),
    );
    let last = _mm256_or_si256(
        _mm256_and_si256(c, tops),
        down(_mm256_and_si256(d, tops), 1),
    );
    _mm256_or_si256(first, down(last, 2))
}

/// Room before the bytes of a tile's lanes for those of the lanes before the first.
const ROOM: usize = 8;

/// The path bits of the lanes of a tile.
pub struct Lanes {
    /// Eight of each lane, or four at a half rate: of this half of the tile, and of the other one.
    halves: [__m256i; 2],
    /// For a tile of fewer lanes, whose first lane follows the last one.
    memory: [u8; ROOM + LANES],
}

impl Lanes {
    /// The lanes of a tile in the places of a whole one; `WHOLE` if it is one. `tops` masks the highest of
    /// each four bits.
    ///
    /// # Safety
    /// The machine has AVX2. The bytes of a whole tile are there.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn of<const RATE: u32, const WHOLE: bool>(
        tile: *const u8,
        lanes: usize,
        tops: __m256i,
    ) -> Self {
        let order = TileOrder { half_bits: RATE };
        // SAFETY: the contract.
        let load = |at: usize| unsafe { _mm256_loadu_si256(tile.add(at).cast()) };
        let halves = if order.path_in_cells() {
            let vector = |i: usize| [load(LANES * i), load(LANES * i + HALF)];
            let [a, b, c, d] = [vector(0), vector(1), vector(2), vector(3)];
            [
                gathered([a[0], b[0], c[0], d[0]], tops),
                gathered([a[1], b[1], c[1], d[1]], tops),
            ]
        } else if order.shared() {
            let packed = load(0);
            [masked(down(packed, 4), 15), masked(packed, 15)]
        } else {
            [load(0), load(HALF)]
        };
        let mut memory = [0; ROOM + LANES];
        if !WHOLE {
            for (half, bytes) in halves.into_iter().enumerate() {
                // SAFETY: both halves fit behind the room.
                unsafe {
                    let place = memory.as_mut_ptr().add(ROOM + half * HALF);
                    _mm256_storeu_si256(place.cast(), bytes);
                }
            }
            for back in 1..=ROOM {
                memory[ROOM - back] = memory[ROOM + (ROOM * lanes - back) % lanes];
            }
        }
        Self { halves, memory }
    }

    /// The path of the first half, and after [`turn`](Self::turn) of the second.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn path<const WHOLE: bool>(&self, half: usize, shared: bool, four: __m256i) -> Path {
        let before = |by: usize| self.before::<WHOLE>(half, by);
        if shared {
            // A lane has four bits.
            let eight = |by: usize| _mm256_or_si256(before(by), up(before(by + 1), 4));
            return [eight(0), eight(1), eight(2), eight(3), eight(3)];
        }
        // Four bits of each.
        let joined = |later: __m256i, earlier: __m256i| {
            _mm256_or_si256(
                _mm256_and_si256(down(later, 4), four),
                _mm256_andnot_si256(four, up(earlier, 4)),
            )
        };
        let [own, first, second] = [before(0), before(1), before(2)];
        [
            own,
            joined(own, first),
            first,
            joined(first, second),
            second,
        ]
    }

    /// Go on to the other half.
    #[inline]
    pub fn turn(&mut self) {
        self.halves.swap(0, 1);
    }

    /// The bytes of the lanes `by` before those of a half of the tile.
    ///
    /// A whole tile is turned in registers: a load across two recent stores would wait for both.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn before<const WHOLE: bool>(&self, half: usize, by: usize) -> __m256i {
        if !WHOLE {
            // SAFETY: at most eight bytes before the lanes, where the room is.
            return unsafe {
                let place = self.memory.as_ptr().add(ROOM + half - by);
                _mm256_loadu_si256(place.cast())
            };
        }
        let [own, other] = self.halves;
        let joint = _mm256_permute2x128_si256::<0x21>(other, own);
        match by {
            0 => own,
            1 => _mm256_alignr_epi8::<15>(own, joint),
            2 => _mm256_alignr_epi8::<14>(own, joint),
            3 => _mm256_alignr_epi8::<13>(own, joint),
            4 => _mm256_alignr_epi8::<12>(own, joint),
            _ => unreachable!("a register has the bits of five lanes"),
        }
    }
}
