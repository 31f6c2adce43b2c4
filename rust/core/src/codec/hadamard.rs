//! Incoherence: signs and a blockwise orthonormal Hadamard transform make any row look Gaussian,
//! so that one quantile function serves every row and no outlier is clipped (DESIGN: "before the
//! search").
//!
//! A row of n weights is multiplied by ±1 from a stored seed, then transformed in blocks:
//! * when a power of two ≥ 128 divides n, in n/b blocks of the largest such b ≤ 1024;
//! * otherwise in ⌊n/b⌋ blocks of the largest power of two b ≤ min(n, 1024) from the front, and
//!   then one more block over the last b weights, which mixes the rest in. A product of orthonormal
//!   maps is orthonormal, so the error of the weights is still the error of their codes.
//!
//! Every output of a butterfly is one sum or one difference of two floats, so the result does not
//! depend on the width of the machine's vectors.

/// The smallest block that is worth having everywhere, and the largest that is used.
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
}

impl Incoherence {
    /// The signs of `seed` for rows of at most `longest` weights.
    pub fn new(seed: u64, longest: usize) -> Self {
        let signs = (0..longest)
            .map(|i| (sign_word(seed, i as u64 / 64) >> (i % 64)) as u32 & 1)
            .map(|bit| bit << 31)
            .collect();
        Self { signs }
    }

    /// Weights to the incoherent basis, in place. An empty row is left alone.
    pub fn forward(&self, row: &mut [f32]) {
        if row.is_empty() {
            return;
        }
        self.flip(row);
        let (size, overlapping) = block(row.len());
        row.chunks_exact_mut(size).for_each(transform);
        if overlapping {
            let rest = row.len() - size;
            transform(&mut row[rest..]);
        }
    }

    /// Back from the incoherent basis: the same blocks in the opposite order, as each is its own
    /// inverse.
    pub fn inverse(&self, row: &mut [f32]) {
        if row.is_empty() {
            return;
        }
        let (size, overlapping) = block(row.len());
        if overlapping {
            let rest = row.len() - size;
            transform(&mut row[rest..]);
        }
        row.chunks_exact_mut(size).for_each(transform);
        self.flip(row);
    }

    fn flip(&self, row: &mut [f32]) {
        for (value, sign) in row.iter_mut().zip(&self.signs) {
            *value = f32::from_bits(value.to_bits() ^ sign);
        }
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

/// The orthonormal Walsh–Hadamard transform (natural order) of a block of 2^i ≤ 1024 values.
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
        fn forward_keeps_the_norm_and_inverse_undoes_it(
            row in proptest::collection::vec(-1.0f32..1.0, 0..3000),
            seed: u64,
        ) {
            let incoherence = Incoherence::new(seed, row.len());
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
