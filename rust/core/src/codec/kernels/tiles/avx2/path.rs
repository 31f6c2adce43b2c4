//! The path bits of 32 lanes, where lookups of sixteen bytes find them.

use std::arch::x86_64::*;

use super::HALF;
use crate::codec::kernels::byte_vectors::{down, masked, up};
use crate::codec::kernels::tiles::order::{LANES, TileOrder};

/// Bytes of path bits of each lane. Byte n ends 4n bits before the last path bit of the lane's eight
/// weights, so that four bits of the register are always within one byte: no lookup needs bits from two.
pub type Path = [__m256i; 5];

/// Bits 4n to 4n + 3 of the registers of step `step`, and zeros above.
#[inline]
#[target_feature(enable = "avx2")]
pub fn register_bits(path: &Path, shared: bool, step: usize, n: usize) -> __m256i {
    let (byte, by) = match shared {
        true => (n, 3 - step / 2),
        false => (n + usize::from(step < 4), 3 - step % 4),
    };
    masked(down(path[byte], by as u32), 15)
}

/// Room before the bytes of a tile's lanes for those of the lanes before the first.
const ROOM: usize = 8;

/// The bytes of all lanes, and those of the lanes before.
struct Lanes {
    own: [__m256i; 2],
    /// For a tile of fewer lanes, whose first lane follows the last one.
    memory: [u8; ROOM + LANES],
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new<const WHOLE: bool>(own: [__m256i; 2], lanes: usize) -> Self {
        let mut memory = [0; ROOM + LANES];
        if !WHOLE {
            for (half, own) in own.into_iter().enumerate() {
                // SAFETY: both halves fit behind the room.
                unsafe {
                    let place = memory.as_mut_ptr().add(ROOM + half * HALF);
                    _mm256_storeu_si256(place.cast(), own);
                }
            }
            for back in 1..=ROOM {
                memory[ROOM - back] = memory[ROOM + (ROOM * lanes - back) % lanes];
            }
        }
        Self { own, memory }
    }

    /// The bytes of the lanes `BY` before those of a half of the tile.
    ///
    /// A whole tile is turned in registers: a load across two recent stores would wait for both.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn before<const WHOLE: bool>(&self, half: usize, by: usize) -> __m256i {
        if !WHOLE {
            // SAFETY: at most eight bytes before the lanes, where the room is.
            return unsafe {
                let place = self.memory.as_ptr().add(ROOM + half * HALF - by);
                _mm256_loadu_si256(place.cast())
            };
        }
        let own = self.own[half];
        let joint = _mm256_permute2x128_si256::<0x21>(self.own[1 - half], own);
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

/// The path bits of both halves of the lanes of a tile in the places of a whole one; `WHOLE` if it is
/// one.
///
/// # Safety
/// The machine has AVX2. The bytes of a whole tile are there.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn path_of<const RATE: u32, const WHOLE: bool>(
    tile: *const u8,
    lanes: usize,
) -> [Path; 2] {
    let order = TileOrder { half_bits: RATE };
    // SAFETY: the contract.
    let load = |at: usize| unsafe { _mm256_loadu_si256(tile.add(at).cast()) };
    let own = if order.path_in_cells() {
        let half = |half: usize| {
            let top = |i: usize, mask: u8| {
                masked(down(load(LANES * i + half * HALF), i as u32), mask)
            };
            _mm256_or_si256(
                _mm256_or_si256(top(0, 0x88), top(1, 0x44)),
                _mm256_or_si256(top(2, 0x22), top(3, 0x11)),
            )
        };
        [half(0), half(1)]
    } else if order.shared() {
        let packed = load(0);
        [masked(down(packed, 4), 15), masked(packed, 15)]
    } else {
        [load(0), load(HALF)]
    };
    let lanes = Lanes::new::<WHOLE>(own, lanes);
    // Eight bits of which the later four are the upper ones of `later`.
    let joined = |later: __m256i, before: __m256i| {
        _mm256_or_si256(masked(down(later, 4), 15), masked(up(before, 4), 0xF0))
    };
    let half = |half: usize| -> Path {
        let before = |by: usize| lanes.before::<WHOLE>(half, by);
        match order.shared() {
            // A lane has four bits.
            true => {
                let eight = |by: usize| _mm256_or_si256(before(by), up(before(by + 1), 4));
                let [a, b, c, d] = [eight(0), eight(1), eight(2), eight(3)];
                [a, b, c, d, _mm256_setzero_si256()]
            }
            false => {
                let [own, first, second] = [before(0), before(1), before(2)];
                [own, joined(own, first), first, joined(first, second), second]
            }
        }
    };
    [half(0), half(1)]
}
