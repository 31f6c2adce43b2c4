//! Masks of bytes.

use std::arch::x86_64::*;
use std::hint::black_box;

use crate::codec::kernels::byte_vectors::bytes;
use crate::codec::trellis::byte_levels::{FAR, FARTHEST, step_mask};

/// The masks that decoding needs.
pub struct Masks {
    /// The lower four bits.
    pub four: __m256i,
    /// The highest of each four bits.
    pub tops: __m256i,
    /// The bits of ⌊|c|/8⌋ that are a step.
    pub step: __m256i,
    /// The bits of ⌊far/8⌋, where far ≤ 64.
    pub seven: __m256i,
    /// [`FARTHEST`].
    pub farthest: __m256i,
    /// The highest bit.
    pub upper: __m256i,
    /// The bits of a kind that find the tail.
    pub tail: __m256i,
    /// See [`CELL_MASKS`].
    pub cells: [__m256i; 3],
}

/// By cell bits: masks of the bytes that have cells. After them no shift brings a bit of a neighbouring
/// byte to the top of a byte, where it would make a lookup give 0.
const CELL_MASKS: [[u8; 3]; 5] = [
    [0; 3],
    [0xAA, 0x55, 0],
    [0x33, 0, 0],
    [0x77, 0x66, 0x11],
    [0x0F, 0, 0],
];

impl Masks {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(cell_bits: u32) -> Self {
        let [first, second, third] = CELL_MASKS[cell_bits as usize];
        Self {
            four: in_memory(15),
            tops: in_memory(0x88),
            step: in_memory(step_mask(cell_bits) as u8),
            seven: in_memory(7),
            farthest: in_memory(FARTHEST as u8),
            upper: in_memory(0x80),
            tail: in_memory(FAR as u8),
            cells: [in_memory(first), in_memory(second), in_memory(third)],
        }
    }
}

/// The same byte everywhere, in memory.
///
/// The compiler does not see the byte: it would broadcast it anew before each use, which takes one of
/// the two units that shifts and lookups need.
#[inline]
#[target_feature(enable = "avx2")]
pub fn in_memory(byte: u8) -> __m256i {
    black_box(bytes(byte))
}
