//! Estimates of the size of a search from random probes (D. E. Knuth, *Estimating the Efficiency of
//! Backtrack Programs*, Math. Comp. 29, 1975).
//!
//! A probe goes down the tree from the root. At each node it draws a child, with some probability q > 0 for
//! the child that is drawn. Its estimate of the number of leaves is the product of all 1/q, which is the
//! inverse of the probability of reaching that leaf. So the mean of the estimate is the number of leaves for
//! every choice of the q. The choice determines the variance.
//!
//! Knuth draws all children with equal probability. Here, on a flat of dimension r, the child is the largest
//! member of a random subset of r rows. So a child with k rows below its own is drawn in proportion to the
//! number of subsets of r − 1 among these k. If all subsets are independent, this is the share of the leaves
//! below the child, and all probes give the same number. Children that are proved to have no vertex below them are
//! not drawn.

use crate::arrangement::arithmetic::Field;
use crate::arrangement::flats::Flat;
use crate::arrangement::input::Arrangement;
use crate::{Control, Result};

/// A small generator of random numbers (SplitMix64). Its numbers depend on the seed alone.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A random number in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The largest member of a random subset of `size` of the numbers below `count`, among the subsets whose
    /// largest member is at least `least`, and the inverse of its probability. 1 ≤ `size` ≤ `count` and
    /// `least` < `count`.
    fn largest_of_subset(&mut self, count: usize, size: usize, least: usize) -> (usize, f64) {
        // The share of these subsets is at least 1/count.
        let below = (0..size).map(|i| least.saturating_sub(i) as f64 / (count - i) as f64);
        let share = 1.0 - below.product::<f64>();
        let at = loop {
            let mut at = count - 1;
            // A fraction of size/(at + 1) of the subsets of 0..=at contains `at`.
            while at >= size.max(least) && self.unit() * (at + 1) as f64 >= size as f64 {
                at -= 1;
            }
            if at >= least {
                break at;
            }
        };
        // C(count, size) / C(at, size − 1), factor by factor: each of them may be beyond a double.
        let ratio = (0..size - 1).map(|i| (count - i) as f64 / (at - i) as f64);
        (
            at,
            share * ratio.product::<f64>() * (count - size + 1) as f64 / size as f64,
        )
    }
}

/// A random way down from the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// The inverse of its probability. 0 if it ends above the depth that it was to reach.
    pub weight: f64,
    /// The rows that cut out its flats.
    pub node: Vec<u32>,
}

/// A probe of `depth` steps, or down to the vertices. Their number is then part of the weight, which estimates
/// the number of all vertices. `None` if numbers do not fit the arithmetic.
pub fn probe_flats<F: Flat>(
    whole: &F,
    levels: &mut [F],
    scratch: &mut F::Scratch,
    random: &mut Random,
    depth: usize,
    control: &Control,
) -> Result<Option<Probe>> {
    let mut probe = Probe {
        weight: 1.0,
        node: Vec::new(),
    };
    for step in 0..depth.min(whole.dimension()) {
        control.check()?;
        let (before, here) = levels.split_at_mut(step);
        let flat = before.last().unwrap_or(whole);
        let children = flat.children(0, u32::MAX);
        if flat.dimension() == 1 {
            probe.weight *= children.len() as f64;
            break;
        }
        if children.len() < flat.dimension() || !flat.reaches_a_vertex(scratch) {
            return Ok(Some(Probe::default()));
        }
        let least = flat
            .first_child(scratch)
            .saturating_sub(children.start)
            .min(children.len() - 1);
        let (at, factor) = random.largest_of_subset(children.len(), flat.dimension(), least);
        probe.weight *= factor;
        probe.node.push(flat.numbers()[children.start + at]);
        if !flat.restrict(children.start + at, &mut here[0], scratch) {
            return Ok(None);
        }
    }
    Ok(Some(probe))
}

/// The estimate of the number of cobases from one probe. It draws d rows with independent normals, in
/// falling order.
///
/// # Errors
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
pub fn probe_cobases<F: Field>(
    arrangement: &Arrangement,
    random: &mut Random,
    control: &Control,
) -> Result<f64> {
    let dimension = arrangement.dimension();
    let mut rows: Vec<Vec<F>> = Vec::with_capacity(arrangement.rows().len());
    for row in arrangement.rows() {
        control.check()?;
        rows.push(row[..dimension].iter().map(F::from_integer).collect());
    }
    let mut weight = 1.0;
    for free in (1..=dimension).rev() {
        control.check()?;
        rows.retain(|row| !row.iter().all(F::is_zero));
        if rows.len() < free {
            return Ok(0.0);
        }
        let (at, factor) = random.largest_of_subset(rows.len(), free, 0);
        weight *= factor;
        let mut chosen = rows.swap_remove(at);
        rows.truncate(at);
        let Some(pivot) = chosen.iter().position(|x| !x.is_zero()) else {
            return Ok(0.0);
        };
        let inverse = chosen[pivot].inverse();
        chosen.iter_mut().for_each(|x| *x = x.times(&inverse));
        for row in &mut rows {
            control.check()?;
            let factor = row[pivot].clone();
            if !factor.is_zero() {
                for (x, by) in row.iter_mut().zip(&chosen) {
                    *x = x.minus_product(&factor, by);
                }
            }
        }
    }
    Ok(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_subsets_are_left_out() {
        let mut random = Random(2);
        let mut counts = [0.0f64; 7];
        for _ in 0..60_000 {
            let (at, weight) = random.largest_of_subset(7, 3, 5);
            // C(5, 2) + C(6, 2) subsets have a largest member of at least 5.
            assert!((weight - 25.0 / (at * (at - 1) / 2) as f64).abs() < 1e-9);
            counts[at] += 25.0 / 60_000.0;
        }
        assert!((counts[5] - 10.0).abs() < 0.3 && (counts[6] - 15.0).abs() < 0.3);
        assert_eq!(random.largest_of_subset(4, 1, 3), (3, 1.0));
    }

    #[test]
    fn subsets_are_drawn_evenly() {
        let mut random = Random(1);
        let mut counts = [0.0; 7];
        for _ in 0..70_000 {
            let (at, weight) = random.largest_of_subset(7, 3, 0);
            // C(7, 3) subsets, C(at, 2) of which have this largest member.
            assert!((weight - 35.0 / (at * (at - 1) / 2) as f64).abs() < 1e-9);
            counts[at] += 1.0 / 2000.0;
        }
        for (at, count) in counts.into_iter().enumerate() {
            let expected = (at * at.saturating_sub(1) / 2) as f64;
            assert!((count - expected).abs() < 0.05 * 15.0, "{at}: {count}");
        }
    }
}
