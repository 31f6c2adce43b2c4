//! The comparison of points in homogeneous coordinates.

use std::cmp::Ordering;

use crate::arrangement::arithmetic::integer;

/// Some points, with comparisons of their coordinates.
#[derive(Clone, Copy)]
pub(super) struct PointOrder<'a> {
    pub(super) dimension: usize,
    pub(super) limbs: usize,
    pub(super) numbers: &'a [u64],
}

impl PointOrder<'_> {
    /// The number of words of a point.
    pub(super) fn stride(&self) -> usize {
        (self.dimension + 1) * self.limbs
    }

    pub(super) fn point(&self, at: u32) -> &[u64] {
        let stride = self.stride();
        &self.numbers[at as usize * stride..][..stride]
    }

    /// Compare coordinate `c` of two points.
    pub(super) fn compare(&self, a: u32, b: u32, c: usize) -> Ordering {
        let (limbs, last) = (self.limbs, self.dimension);
        let (a, b) = (self.point(a), self.point(b));
        if limbs == 1 {
            let product = |x: u64, y: u64| i128::from(x as i64) * i128::from(y as i64);
            return product(a[c], b[last]).cmp(&product(b[c], a[last]));
        }
        let part = |point: &[u64], c: usize| integer(&point[c * limbs..][..limbs]);
        (part(a, c) * part(b, last)).cmp(&(part(b, c) * part(a, last)))
    }

    /// Coordinate `c` as a double.
    pub(super) fn approximate(&self, at: u32, c: usize) -> f64 {
        let (point, limbs) = (self.point(at), self.limbs);
        if limbs == 1 {
            return point[c] as i64 as f64 / point[self.dimension] as i64 as f64;
        }
        let (numerator, shift) = scientific(&point[c * limbs..][..limbs]);
        let (denominator, down) = scientific(&point[self.dimension * limbs..]);
        // Multiply in two steps: the power of two may be beyond the range of a double even if the result is
        // not.
        let shift = (shift - down).clamp(-2400, 2400);
        let half = f64::powi(2.0, shift / 2);
        numerator / denominator * half * f64::powi(2.0, shift - shift / 2)
    }
}

/// An integer as a double times a power of two.
fn scientific(words: &[u64]) -> (f64, i32) {
    let negative = words.last().is_some_and(|word| word >> 63 == 1);
    // The complement of x is −x − 1. The difference of 1 is smaller than the rounding error if the number is
    // long. For short ones it is added below.
    let flip = if negative { u64::MAX } else { 0 };
    let top = words.iter().rposition(|word| word ^ flip != 0).unwrap_or(0);
    let below = |k: usize| top.checked_sub(k).map_or(0, |at| words[at] ^ flip);
    let high = u128::from(below(0)) << 64 | u128::from(below(1));
    // A number of at most two words has no words below them, so adding 1 makes its magnitude exact.
    let exact = if negative && top < 2 {
        1u128 << (64 * (1 - top))
    } else {
        0
    };
    let size = high.saturating_add(exact) as f64;
    let value = if negative { -size } else { size };
    (value, 64 * (top as i32 - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arrangement::arithmetic::push_integer;

    proptest! {
        #[test]
        fn the_double_of_an_integer_is_near(value: i128, limbs in 2usize..5) {
            let mut words = Vec::new();
            push_integer(&value.into(), limbs, &mut words);
            let (near, shift) = scientific(&words);
            let near = near * f64::powi(2.0, shift);
            prop_assert!((near - value as f64).abs() <= 1e-15 * (value as f64).abs());
        }
    }
}
