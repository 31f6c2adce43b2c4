//! Incoherence: random signs and a blockwise orthonormal Hadamard transform make the weights of any row
//! nearly Gaussian, so that one quantile function serves every row and no outlier is clipped. The
//! transform is applied before the search.
//!
//! A row of n weights is multiplied by ±1 from a stored seed, then transformed in blocks:
//! * when a power of two ≥ 128 divides n, in n/b blocks of the largest such b ≤ 1024;
//! * otherwise in ⌊n/b⌋ blocks of the largest power of two b ≤ min(n, 1024) from the front, and then
//!   one more block over the last b weights, which includes the rest. A product of orthonormal maps is
//!   orthonormal, so the error of the weights equals the error of their codes.
//!
//! Every output of a butterfly is one sum or one difference of two floats, and the levels of
//! butterflies come in one order, from neighbours to halves. Which butterflies of a level are done
//! first does not matter, so the vector units take several levels over values that stay in registers
//! and give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use std::ops::Range;

use crate::SimdLevel;

/// The smallest block size for which blocks of equal size are preferred to an overlapping one, and the
/// largest block size.
const BLOCKS: (usize, usize) = (128, 1024);

/// The block size for a row of `n` weights and whether a last block overlaps the one before.
fn block(n: usize) -> (usize, bool) {
    let dividing = (1 << n.trailing_zeros()).min(BLOCKS.1);
    if dividing >= BLOCKS.0 || n.is_power_of_two() {
        return (dividing, false);
    }
    let largest = 1 << n.ilog2();
    (largest.min(BLOCKS.1), true)
}

/// Sign bits of a row: bit `i % 64` of SplitMix64's output number `i / 64` for this seed.
fn sign_word(seed: u64, word: u64) -> u64 {
    let mut z = seed.wrapping_add((word + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The transform of rows up to a given length, with its signs worked out once.
#[derive(Clone, Debug)]
pub struct Incoherence {
    /// `f32` sign bits: 0 or 0x8000_0000.
    signs: Vec<u32>,
    simd: SimdLevel,
}

impl Incoherence {
    /// The signs of `seed` for rows of at most `longest` weights.
    pub fn new(simd: SimdLevel, seed: u64, longest: usize) -> Self {
        let mut signs = Vec::with_capacity(longest.next_multiple_of(64));
        for word in 0..longest.div_ceil(64) as u64 {
            let word = sign_word(seed, word);
            signs.extend((0..64).map(|i| ((word >> i) as u32 & 1) << 31));
        }
        Self { signs, simd }
    }

    /// Transform weights to the incoherent basis, in place. An empty row stays empty.
    pub fn forward(&self, row: &mut [f32]) {
        if row.is_empty() {
            return;
        }
        self.flip(row, 0);
        let (size, overlapping) = block(row.len());
        for block in row.chunks_exact_mut(size) {
            self.transform(block);
        }
        if overlapping {
            let rest = row.len() - size;
            self.transform(&mut row[rest..]);
        }
    }

    /// Back from the incoherent basis: the same blocks in the opposite order, because each block is its
    /// own inverse.
    pub fn inverse(&self, row: &mut [f32]) {
        self.inverse_part(row, 0, row.len());
    }

    /// [`inverse`](Self::inverse) of the weights from `start` on, which must be one of the ranges
    /// that [`closure`] gives, of a row of `n`.
    pub fn inverse_part(&self, part: &mut [f32], start: usize, n: usize) {
        if part.is_empty() {
            return;
        }
        let (size, overlapping) = block(n);
        if overlapping && start + part.len() == n {
            let rest = part.len() - size;
            self.transform(&mut part[rest..]);
        }
        for block in part.chunks_exact_mut(size) {
            self.transform(block);
        }
        self.flip(part, start);
    }

    fn flip(&self, part: &mut [f32], start: usize) {
        let signs = &self.signs[start..start + part.len()];
        self.simd.run(
            #[inline(always)]
            || {
                for (value, sign) in part.iter_mut().zip(signs) {
                    *value = f32::from_bits(value.to_bits() ^ sign);
                }
            },
        );
    }

    /// The orthonormal Walsh–Hadamard transform (natural order) of a block of 2^i ≤ 1024 values.
    fn transform(&self, block: &mut [f32]) {
        match self.simd {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves that the machine has these instructions; block sizes are powers of
            // two.
            SimdLevel::Avx2(_) if block.len() >= BLOCKS.0 => unsafe { avx2::transform(block) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            SimdLevel::Avx512(_) | SimdLevel::Vbmi(_) if block.len() >= BLOCKS.0 => unsafe {
                avx512::transform(block)
            },
            _ => transform(block),
        }
    }
}

/// The weights of a row of `n` that must be decoded in the incoherent basis to compute those in
/// `range`: the whole blocks that contain them, and everything up to the end if one of these meets the
/// last, overlapping block.
pub fn closure(n: usize, range: Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return range;
    }
    let (size, overlapping) = block(n);
    let start = range.start / size * size;
    let end = range.end.next_multiple_of(size);
    if !overlapping {
        return start..end;
    }
    // The blocks before this place do not meet the overlapping block.
    let apart = (n - size) / size * size;
    if end <= apart {
        start..end
    } else {
        start.min(apart)..n
    }
}

/// 1/√2^i for block size 2^i.
const NORM: [f32; 11] = [
    1.0,
    std::f32::consts::FRAC_1_SQRT_2,
    0.5,
    std::f32::consts::FRAC_1_SQRT_2 / 2.0,
    0.25,
    std::f32::consts::FRAC_1_SQRT_2 / 4.0,
    0.125,
    std::f32::consts::FRAC_1_SQRT_2 / 8.0,
    0.0625,
    std::f32::consts::FRAC_1_SQRT_2 / 16.0,
    0.03125,
];

/// The transform in plain Rust.
fn transform(block: &mut [f32]) {
    let mut half = 1;
    while half < block.len() {
        for pair in block.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let norm = NORM[block.len().trailing_zeros() as usize];
    for value in block {
        *value *= norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_follow_the_documented_rule() {
        for (n, expected) in [
            (384, (128, false)),
            (768, (256, false)),
            (11008, (256, false)),
            (4096, (1024, false)),
            (1000, (512, true)),
            (1, (1, false)),
            (2, (2, false)),
            (97, (64, true)),
            (5003, (1024, true)),
        ] {
            assert_eq!(block(n), expected, "{n}");
        }
    }

    #[test]
    fn a_block_is_the_walsh_hadamard_matrix() {
        for i in 0..16 {
            let mut unit = [0.0f32; 16];
            unit[i] = 1.0;
            transform(&mut unit);
            for (j, value) in unit.iter().enumerate() {
                let sign = 1.0 - 2.0 * ((i & j).count_ones() % 2) as f32;
                assert_eq!(*value, sign / 4.0);
            }
        }
    }

    proptest! {
        #[test]
        fn every_unit_gives_the_same_bits(
            row in proptest::collection::vec(-1.0f32..1.0, 0..3000),
            grain in prop_oneof![Just(1usize), Just(128), Just(256), Just(512), Just(1024)],
            seed: u64,
        ) {
            let row = &row[..row.len() / grain * grain];
            let on = |simd| {
                let incoherence = Incoherence::new(simd, seed, row.len());
                let (mut there, mut back) = (row.to_vec(), row.to_vec());
                incoherence.forward(&mut there);
                incoherence.inverse(&mut back);
                [there, back].concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let plain = on(SimdLevel::Portable);
            for simd in SimdLevel::available() {
                prop_assert!(on(simd) == plain, "{}", simd);
            }
        }

        #[test]
        fn a_closed_part_goes_back_alone(
            row in proptest::collection::vec(-1.0f32..1.0, 1..5000),
            at in any::<[u16; 2]>(),
        ) {
            let n = row.len();
            let [a, b] = at.map(|i| usize::from(i) % (n + 1));
            let range = closure(n, a.min(b)..a.max(b));
            prop_assert!(range.start <= a.min(b) && range.end >= a.max(b) && range.end <= n);
            prop_assert!(a == b || range.len() <= a.abs_diff(b) + 4 * block(n).0);
            let incoherence = Incoherence::new(SimdLevel::detected(), 5, n);
            let mut whole = row.clone();
            incoherence.inverse(&mut whole);
            let mut part = row[range.clone()].to_vec();
            incoherence.inverse_part(&mut part, range.start, n);
            prop_assert_eq!(&part, &whole[range]);
        }

        #[test]
        fn forward_keeps_the_norm_and_inverse_undoes_it(
            row in proptest::collection::vec(-1.0f32..1.0, 0..3000),
            seed: u64,
        ) {
            let incoherence = Incoherence::new(SimdLevel::detected(), seed, row.len());
            let mut image = row.clone();
            incoherence.forward(&mut image);
            let energy = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            prop_assert!((energy(&image) - energy(&row)).abs() <= 1e-5 * energy(&row));
            incoherence.inverse(&mut image);
            for (a, b) in image.iter().zip(&row) {
                prop_assert!((a - b).abs() < 1e-5);
            }
        }
    }
}
