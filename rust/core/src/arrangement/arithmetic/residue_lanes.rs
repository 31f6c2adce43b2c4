//! Inverses of residues modulo 2⁵⁰ − 27 in vector lanes.

use super::field::Field;
use super::residue50::{P, PRIME_50, Residue50, fused};

/// The number of chains of products that run side by side. In a chain, each product depends on the one
/// before.
pub const LANES: usize = 32;

/// The representative within ±p/2 of a residue. Then equal residues are equal doubles.
#[inline(always)]
pub fn canonical(residue: f64) -> f64 {
    let residue = residue + 0.0;
    if residue > (PRIME_50 / 2) as f64 {
        residue - P
    } else if residue < -((PRIME_50 / 2) as f64) {
        residue + P
    } else {
        residue
    }
}

/// Replace numbers by their inverses (Montgomery's trick). No number is 0, and their count is a multiple of
/// [`LANES`].
#[inline(always)]
pub fn invert_lanes(numbers: &mut [f64], products: &mut Vec<f64>) {
    products.resize(numbers.len(), 0.0);
    let mut product = [1.0; LANES];
    for (numbers, before) in numbers
        .chunks_exact(LANES)
        .zip(products.chunks_exact_mut(LANES))
    {
        before.copy_from_slice(&product);
        for k in 0..LANES {
            product[k] = fused(0.0, product[k], numbers[k]);
        }
    }
    let mut inverse = inverted(product);
    let chunks = numbers
        .chunks_exact_mut(LANES)
        .zip(products.chunks_exact(LANES));
    for (numbers, before) in chunks.rev() {
        for k in 0..LANES {
            let next = fused(0.0, inverse[k], numbers[k]);
            numbers[k] = fused(0.0, inverse[k], before[k]);
            inverse[k] = next;
        }
    }
}

/// The inverse of each lane, with one inversion. The lanes are multiplied in pairs, level by level, down to
/// one product. Its inverse is taken back through the levels.
#[inline(always)]
fn inverted(lanes: [f64; LANES]) -> [f64; LANES] {
    const LEVELS: usize = LANES.ilog2() as usize;
    let mut levels = [[1.0; LANES]; LEVELS + 1];
    levels[0] = lanes;
    for level in 0..LEVELS {
        let half = LANES >> (level + 1);
        for k in 0..half {
            levels[level + 1][k] = fused(0.0, levels[level][k], levels[level][k + half]);
        }
    }
    let mut inverse = [0.0; LANES];
    inverse[0] = Residue50::from_double(levels[LEVELS][0])
        .inverse()
        .symmetric() as f64;
    for level in (0..LEVELS).rev() {
        let half = LANES >> (level + 1);
        for k in 0..half {
            let (one, other) = (levels[level][k], levels[level][k + half]);
            let both = inverse[k];
            (inverse[k], inverse[k + half]) = (fused(0.0, both, other), fused(0.0, both, one));
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inverses_are_those_of_single_residues(
            numbers in proptest::collection::vec(1u64..PRIME_50, 1..70),
        ) {
            let symmetric = |x: &u64| Residue50::from_double(*x as f64).symmetric() as f64;
            let mut lanes: Vec<f64> = numbers.iter().map(symmetric).collect();
            lanes.resize(numbers.len().next_multiple_of(LANES), 1.0);
            invert_lanes(&mut lanes, &mut Vec::new());
            for (x, inverse) in numbers.iter().zip(&lanes) {
                let expected = Residue50::from_double(*x as f64).inverse();
                prop_assert_eq!(canonical(*inverse), expected.symmetric() as f64);
            }
        }
    }
}
