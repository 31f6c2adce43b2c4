//! The walk over flats, whatever arithmetic the flats are kept in.
//!
//! A *flat* is a non-empty intersection of hyperplanes. Hyperplanes are numbered; the *greedy
//! basis* of a flat takes those that contain it from the largest number down and keeps the
//! independent ones. It is the cobasis in which the Zero rule ends among all cobases of that flat.
//! The parent of a flat is the flat of its greedy basis without its smallest member.
//!
//! **Children.** Let G be a flat whose greedy basis has the smallest member m (m = ∞ for the whole
//! space). For j < m with H_j meeting G properly, G ∩ H_j is a child of G if and only if no i > j
//! outside the closure of G cuts G in the same flat. *If*: the hyperplanes that contain G ∩ H_j are
//! those that contain G and those that cut G there, none of which exceeds j < m; so greed takes the
//! basis of G first and then j. *Only if*: with such an i > j, greed would take i, or something
//! larger, before j. Hence each flat is reached from its one parent and from nowhere else: every
//! flat, so every vertex, is visited exactly once, and no visited vertex is ever stored.
//!
//! **Restricted rows.** The hyperplanes are kept as rows on the flat: rows that cut the flat
//! nowhere are dropped, and rows that cut it in the same place are merged into the one of the
//! largest number. So a row is a child if and only if its number is below m.
//!
//! **Rank.** Below a flat of dimension r only rows with smaller numbers are ever used again, so
//! there is no vertex below unless those have rank r on it. Without this test, inputs with hardly
//! more hyperplanes than dimensions would cost 2^d flats for one vertex.
//!
//! Source: the Zero rule is that of arXiv 2401.16675; the search over flats is this project's.

use super::job::{Job, Walk};
use crate::Control;

/// A flat with the arrangement restricted to it, in some arithmetic.
pub trait Flat: Sized {
    /// What all flats of a search share, and memory that they need on the way.
    type Desk;
    /// The dimension of flats that [`finish`](Self::finish) enumerates.
    const LAST: usize;

    /// A flat to be overwritten.
    fn empty() -> Self;
    /// Let long steps look at this stop flag.
    fn attend(_: &mut Self::Desk, _: &Control) {}
    /// Its dimension.
    fn free(&self) -> usize;
    /// The smallest member of its greedy basis, `u32::MAX` for the whole space.
    fn smallest(&self) -> u32;
    /// Number of each row, rising.
    fn numbers(&self) -> &[u32];
    /// The flat that row `at` cuts out; whether its numbers fit the arithmetic.
    fn restrict(&self, at: usize, child: &mut Self, desk: &mut Self::Desk) -> bool;
    /// Whether there may be a vertex below: false only where it is proved that there is none.
    fn reaches_a_vertex(&self, desk: &mut Self::Desk) -> bool;
    /// Everything below a flat of dimension [`LAST`](Self::LAST): its rows from `from` to `to`,
    /// or, where a row of it is given, of the line that this row cuts out.
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        desk: &mut Self::Desk,
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
    desk: &mut F::Desk,
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
        if !parent.restrict(at, &mut here[0], desk) {
            walk.outgrown.push(job);
            return;
        }
    }
    let (before, below) = levels.split_at_mut(steps);
    let flat = before.last().unwrap_or(whole);
    walk.path.extend_from_slice(&job.node[..steps]);
    if !walk.wanted.all_flats && !flat.reaches_a_vertex(desk) {
        return;
    }
    match job.node.get(steps) {
        Some(&line) => {
            walk.path.push(line);
            flat.finish(Some(line), job.from, job.to, desk, walk);
        }
        None => descend(flat, below, job.from, job.to, desk, walk),
    }
}

/// Depth first below `flat`.
fn descend<F: Flat>(
    flat: &F,
    below: &mut [F],
    from: u32,
    to: u32,
    desk: &mut F::Desk,
    walk: &mut Walk<'_>,
) {
    if flat.free() == F::LAST {
        flat.finish(None, from, to, desk, walk);
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
        walk.harvest.flats[flat.free() - 1] += 1;
        walk.path.push(number);
        if !flat.restrict(at, child, desk) {
            walk.outgrow(0, u32::MAX);
        } else if walk.wanted.all_flats || child.reaches_a_vertex(desk) {
            descend(child, below, 0, u32::MAX, desk, walk);
        }
        walk.path.pop();
    }
}
