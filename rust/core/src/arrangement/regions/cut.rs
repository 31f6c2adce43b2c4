//! What hyperplanes cut out of a hyperplane, and the way back to the coordinates of the space.

use num_bigint::BigInt;

use super::exact::reduce;

/// An affine map from the coordinates of a level to those of the space.
#[derive(Clone, Debug)]
pub(super) struct Lift {
    /// For each coordinate of the space the coefficients, and then the constant.
    pub rows: Vec<Vec<BigInt>>,
    /// What all of them are divided by; positive.
    pub divisor: BigInt,
}

/// Hyperplanes [a|b] as they meet f = value, without the first coordinate, whose coefficient in f is 1.
pub(super) fn cut(rows: &[Vec<BigInt>], function: &[BigInt], value: &BigInt) -> Vec<Vec<BigInt>> {
    rows.iter()
        .map(|row| {
            let Some((first, rest)) = row.split_first() else {
                return Vec::new();
            };
            let Some((side, coefficients)) = rest.split_last() else {
                return Vec::new();
            };
            let changed = coefficients.iter().zip(function.iter().skip(1));
            let changed = changed.map(|(x, f)| x - first * f);
            let mut row: Vec<BigInt> = changed.chain([side - first * value]).collect();
            reduce(&mut row);
            row
        })
        .collect()
}
