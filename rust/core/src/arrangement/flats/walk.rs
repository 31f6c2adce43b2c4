//! The walk over flats, whatever arithmetic the flats are kept in.
//!
//! A *flat* is a non-empty intersection of hyperplanes. Hyperplanes are numbered. The *greedy basis* of
//! a flat is found by going through the hyperplanes that contain it, from the largest number down, and
//! keeping those that are independent of the ones before. Among all cobases of the flat it is the one
//! in which the Zero rule ends. The *parent* of a flat is the flat of its greedy basis without the
//! smallest member.
//!
//! **Children.** Let G be a flat whose greedy basis has the smallest member m (m = ∞ for the whole
//! space). Let j < m, and let H_j meet G properly. Then G ∩ H_j is a child of G if and only if no i > j
//! outside the closure of G cuts G in the same flat. *If*: a hyperplane that contains G ∩ H_j either
//! contains G or cuts G there; none of the second kind exceeds j < m. So greed takes the basis of G
//! first, and then j. *Only if*: with such an i > j, greed would take i, or something larger, before j.
//! Hence each flat is reached from its parent and from nowhere else. Every flat, and so every vertex,
//! is visited exactly once, and no visited vertex has to be stored.
//!
//! **Restricted rows.** The hyperplanes are kept as rows on the flat. Rows that do not cut the flat are
//! dropped. Of rows that cut it in the same place, the one with the largest number is kept. So a row
//! makes a child if and only if its number is below m.
//!
//! **Rank.** Below a flat of dimension r only rows with smaller numbers are used again. There is no
//! vertex below unless these rows have rank r on the flat. Without this test, an input with hardly more
//! hyperplanes than dimensions would cost 2^d flats for one vertex.
//!
//! Source: the Zero rule is that of arXiv 2401.16675; the search over flats is this project's.

use crate::Control;
use crate::arrangement::jobs::{Job, Walk};

/// A flat with the arrangement restricted to it, in some arithmetic.
pub trait Flat: Sized {
    /// What all flats of a search share, and memory that they need on the way.
    type Scratch;
    /// The dimension of flats that [`finish`](Self::finish) enumerates.
    const LAST: usize;

    /// A flat to be overwritten.
    fn empty() -> Self;
    /// Let long steps look at this stop flag.
    fn attend(_: &mut Self::Scratch, _: &Control) {}
    /// Its dimension.
    fn free(&self) -> usize;
    /// The smallest member of its greedy basis, `u32::MAX` for the whole space.
    fn smallest(&self) -> u32;
    /// Number of each row, rising.
    fn numbers(&self) -> &[u32];
    /// The flat that row `at` cuts out; whether its numbers fit the arithmetic.
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut Self::Scratch) -> bool;
    /// Whether there may be a vertex below: false only where it is proved that there is none.
    fn reaches_a_vertex(&self, scratch: &mut Self::Scratch) -> bool;
    /// Everything below a flat of dimension [`LAST`](Self::LAST): its rows from `from` to `to`,
    /// or, where a row of it is given, of the line that this row cuts out.
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        scratch: &mut Self::Scratch,
        walk: &mut Walk<'_>,
    );

    /// Places of the rows that make children with numbers in `from`..`to`.
    fn children(&self, from: u32, to: u32) -> std::ops::Range<usize> {
        let numbers = self.numbers();
        let to = to.min(self.smallest());
        let first = numbers.partition_point(|&n| n < from);
        first..numbers.partition_point(|&n| n < to).max(first)
    }
}

/// Run a job below `whole`; `levels` has a flat of workspace for each dimension.
pub fn run<F: Flat>(
    whole: &F,
    levels: &mut [F],
    job: Job,
    scratch: &mut F::Scratch,
    walk: &mut Walk<'_>,
) {
    walk.path.clear();
    let steps = job.node.len().min(whole.free() - F::LAST);
    for step in 0..steps {
        let (before, here) = levels.split_at_mut(step);
        let parent = before.last().unwrap_or(whole);
        let Ok(at) = parent.numbers().binary_search(&job.node[step]) else {
            // No such flat, so nothing is below it.
            return;
        };
        if !parent.restrict(at, &mut here[0], scratch) {
            walk.outgrown.push(job);
            return;
        }
    }
    let (before, below) = levels.split_at_mut(steps);
    let flat = before.last().unwrap_or(whole);
    walk.path.extend_from_slice(&job.node[..steps]);
    if !walk.wanted.all_flats && !flat.reaches_a_vertex(scratch) {
        return;
    }
    match job.node.get(steps) {
        Some(&line) => {
            walk.path.push(line);
            flat.finish(Some(line), job.from, job.to, scratch, walk);
        }
        None => descend(flat, below, job.from, job.to, scratch, walk),
    }
}

/// Depth first below `flat`.
fn descend<F: Flat>(
    flat: &F,
    below: &mut [F],
    from: u32,
    to: u32,
    scratch: &mut F::Scratch,
    walk: &mut Walk<'_>,
) {
    if flat.free() == F::LAST {
        flat.finish(None, from, to, scratch, walk);
        return;
    }
    let Some((child, below)) = below.split_first_mut() else {
        return;
    };
    // A row's part of a restriction costs some tens of nanoseconds.
    let cost = 32 * flat.numbers().len() as u64;
    for at in flat.children(from, to) {
        let number = flat.numbers()[at];
        if !walk.meter.spend(cost) {
            walk.leave(number, to);
            return;
        }
        walk.result.flats[flat.free() - 1] += 1;
        walk.path.push(number);
        if !flat.restrict(at, child, scratch) {
            walk.outgrow(0, u32::MAX);
        } else if walk.wanted.all_flats || child.reaches_a_vertex(scratch) {
            descend(child, below, 0, u32::MAX, scratch, walk);
        }
        walk.path.pop();
    }
}
