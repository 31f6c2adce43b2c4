//! Categories: how far a group outside the cube is pulled towards the centre before the search.
//!
//! With M categories, category j = 1..M holds the groups outside the cube of side l whose distance from
//! the centre is at most d_j = l/2 + j·(r_far − l/2)/M and more than d_(j−1); the factor (l/2)/d_j
//! pulls them into the ball inside the cube. Category 0 is the cube itself, factor 1. So category j
//! searches in a cube of half-side d_j (with d_0 = l/2), and one pair of factors per category converts
//! weights to units of the orbit and back.

/// The half-sides of M categories and of the cube.
#[derive(Clone, Debug)]
pub struct Categories {
    /// d_0 = l/2, d_1, …, d_M = r_far.
    half_sides: Vec<f64>,
}

impl Categories {
    /// `classes` categories between the cube of side `side` and the distance `farthest`, which must
    /// be more than half of `side` unless `classes` is 0.
    pub fn new(classes: u32, side: f64, farthest: f64) -> Self {
        let inner = side / 2.0;
        let span = farthest - inner;
        let step = |j: u32| match j {
            0 => inner,
            // Not computed by the formula, because its rounding could leave the farthest group outside.
            j if j == classes => farthest,
            j => inner + f64::from(j) * span / f64::from(classes),
        };
        Self {
            half_sides: (0..=classes).map(step).collect(),
        }
    }

    /// The half-sides, from category 0 on.
    pub fn half_sides(&self) -> &[f64] {
        &self.half_sides
    }

    /// Whether a group this far from the centre on every coordinate is in category 0. The cube is
    /// closed.
    #[inline]
    pub fn inside<const K: usize>(&self, offset: &[f64; K]) -> bool {
        offset.iter().all(|x| x.abs() <= self.half_sides[0])
    }

    /// The category of a group outside the cube: the first whose half-side reaches its distance. O(log
    /// M).
    #[inline]
    pub fn outside<const K: usize>(&self, offset: &[f64; K]) -> usize {
        let outer = &self.half_sides[1..];
        let distance = distance(offset);
        outer
            .partition_point(|reach| *reach < distance)
            .min(outer.len() - 1)
            + 1
    }
}

/// The distance from the centre. All callers use this function, so that no group is farther than the
/// farthest one because of rounding. No square over- or underflows: the offsets are sums of `f32`.
#[inline]
pub fn distance<const K: usize>(offset: &[f64; K]) -> f64 {
    offset.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_category_that_reaches_is_taken() {
        let categories = Categories::new(4, 2.0, 9.0);
        assert_eq!(categories.half_sides(), [1.0, 3.0, 5.0, 7.0, 9.0]);
        for (distance, category) in [(1.1, 1), (3.0, 1), (3.1, 2), (6.9, 3), (7.1, 4), (9.0, 4)] {
            assert_eq!(categories.outside(&[0.0, -distance]), category);
        }
    }

    #[test]
    fn the_cube_is_closed() {
        let categories = Categories::new(1, 2.0, 9.0);
        assert!(categories.inside(&[1.0, -1.0]));
        assert!(!categories.inside(&[1.0, -(1.0f64.next_up())]));
    }
}
