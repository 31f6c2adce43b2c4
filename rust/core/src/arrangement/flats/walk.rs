//! The walk over flats, for every arithmetic in which flats are kept.
//!
//! A *flat* is a non-empty intersection of hyperplanes. Hyperplanes are numbered. The *greedy basis* of
//! a flat is found by going through the hyperplanes that contain it, from the largest number down, and
//! keeping those that are independent of the ones before. Among all cobases of the flat it is the one
//! in which the Zero rule ends. The *parent* of a flat is the flat of its greedy basis without the
//! smallest member.
//!
//! **Children.** Let G be a flat, and let m be the smallest member of its greedy basis (m = ∞ for the
//! whole space). Let j < m, and let H_j cut G properly: it meets G and does not contain it. Then G ∩ H_j
//! is a child of G if and only if no hyperplane i > j cuts G properly in the same flat.
//!
//! *If.* A hyperplane that contains G ∩ H_j contains G, or cuts G properly in that flat. Those of the
//! second kind have numbers of at most j < m. So the greedy basis of G ∩ H_j is that of G and then j.
//! *Only if.* If there is such an i > j, the greedy basis has i, or a larger hyperplane, instead of j.
//!
//! Hence each flat is reached from its parent only. Every flat, and so every vertex, is visited exactly
//! once, and no visited vertex has to be stored.
//!
//! **Restricted rows.** The hyperplanes are kept as rows on the flat. Rows that do not cut the flat
//! properly are dropped. Of rows that cut it in the same place, the one with the largest number is kept. So
//! a row makes a child if and only if its number is below m.
//!
//! **Rank.** Below a flat of dimension r, only rows with numbers below m are used. There is a vertex below
//! the flat only if these rows have rank r on it. Without this test, an input with hardly more hyperplanes
//! than dimensions would take 2^d flats for one vertex.
//!
//! **Pruning.** All vertices below a flat lie on it. If only some vertices are wanted, and none of them can lie
//! on the flat, it is not entered ([`Prune`](crate::arrangement::jobs::Prune)).
//!
//! Source: the Zero rule is that of arXiv 2401.16675; the search over flats is this project's.

use crate::Control;
use crate::arrangement::jobs::{Job, Walk};

/// A flat, and the restriction of the arrangement to it, in some arithmetic.
pub trait Flat: Sized {
    /// The input that all flats of a search share, and memory that they use.
    type Scratch;
    /// The dimension of flats that [`finish`](Self::finish) enumerates.
    const LAST: usize;

    /// A flat that [`restrict`](Self::restrict) overwrites.
    fn empty() -> Self;
    /// Set the stop flag that long steps check.
    fn set_control(scratch: &mut Self::Scratch, control: &Control);
    /// Whether the stop flag has ended a step before its end since the last [`set_control`](Self::set_control). The
    /// result of that step must not be used.
    fn interrupted(scratch: &Self::Scratch) -> bool;
    /// Its dimension.
    fn dimension(&self) -> usize;
    /// The smallest member of its greedy basis, `u32::MAX` for the whole space.
    fn smallest(&self) -> u32;
    /// Number of each row, rising.
    fn numbers(&self) -> &[u32];
    /// Make `child` the flat that row `at` cuts out. False if its numbers do not fit the arithmetic.
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut Self::Scratch) -> bool;
    /// Whether there may be a vertex below. False is a proof that there is none.
    fn reaches_a_vertex(&self, scratch: &mut Self::Scratch) -> bool;
    /// The place of a row below which no child has a vertex below it. The search does not need it, but random
    /// probes do.
    fn first_child(&self, _: &mut Self::Scratch) -> usize {
        0
    }
    /// Report all vertices below a flat of dimension [`LAST`](Self::LAST), for its rows with numbers
    /// `from`..`to`. If `line` is given, report those on the line that this row cuts out.
    fn finish(
        &self,
        line: Option<u32>,
        from: u32,
        to: u32,
        scratch: &mut Self::Scratch,
        walk: &mut Walk<'_>,
    );

    /// The places of the rows with numbers in `from`..`to` that make children.
    fn children(&self, from: u32, to: u32) -> std::ops::Range<usize> {
        let numbers = self.numbers();
        let to = to.min(self.smallest());
        let first = numbers.partition_point(|&n| n < from);
        first..numbers.partition_point(|&n| n < to).max(first)
    }
}

/// A flat of workspace for each dimension, and the path to the flats that are in them.
///
/// A job usually begins near the place where the last one stopped. Then most flats on its path are here
/// already.
#[derive(Debug)]
pub struct Levels<F> {
    /// One flat for each dimension.
    pub flats: Vec<F>,
    /// The numbers of the rows that cut out the flats. The flats after these are out of date.
    pub held: Vec<u32>,
}

/// Run a job below `whole`.
pub fn run<F: Flat>(
    whole: &F,
    levels: &mut Levels<F>,
    job: Job,
    scratch: &mut F::Scratch,
    walk: &mut Walk<'_>,
) {
    walk.path.clear();
    let Levels { flats, held } = levels;
    let steps = job.node.len().min(whole.dimension() - F::LAST);
    let common = held.iter().zip(&job.node[..steps]);
    held.truncate(common.take_while(|(a, b)| a == b).count());
    for step in held.len()..steps {
        let (before, here) = flats.split_at_mut(step);
        let parent = before.last().unwrap_or(whole);
        let Ok(at) = parent.numbers().binary_search(&job.node[step]) else {
            // There is no such flat.
            return;
        };
        let fits = parent.restrict(at, &mut here[0], scratch);
        if F::interrupted(scratch) {
            walk.remaining.push(job);
            return;
        }
        if !fits {
            walk.outgrown.push(job);
            return;
        }
        held.push(job.node[step]);
    }
    let (before, below) = flats.split_at_mut(steps);
    let flat = before.last().unwrap_or(whole);
    walk.path.extend_from_slice(&job.node[..steps]);
    if !walk.wanted.all_flats && !flat.reaches_a_vertex(scratch) {
        return;
    }
    if F::interrupted(scratch) {
        walk.remaining.push(job);
        return;
    }
    if !walk.keeps_flat() {
        return;
    }
    match job.node.get(steps) {
        Some(&line) => {
            walk.path.push(line);
            flat.finish(Some(line), job.from, job.to, scratch, walk);
        }
        None => descend(flat, below, held, job.from, job.to, scratch, walk),
    }
}

/// Visit the children of `flat` with numbers `from`..`to`, depth first. `held` is the path of `flat`.
fn descend<F: Flat>(
    flat: &F,
    below: &mut [F],
    held: &mut Vec<u32>,
    from: u32,
    to: u32,
    scratch: &mut F::Scratch,
    walk: &mut Walk<'_>,
) {
    if flat.dimension() == F::LAST {
        flat.finish(None, from, to, scratch, walk);
        return;
    }
    let Some((child, below)) = below.split_first_mut() else {
        return;
    };
    let depth = held.len();
    // A restriction takes some tens of nanoseconds for each row. In many dimensions, products with the basis
    // of the flat and its reduction take longer.
    let (rows, size) = (flat.numbers().len() as u64, flat.dimension() as u64 + 1);
    let cost = (32 * rows).max(rows * size * size / 4 + size * size * size);
    for at in flat.children(from, to) {
        let number = flat.numbers()[at];
        if !walk.meter.spend(cost) {
            walk.leave(number, to);
            return;
        }
        if at + 1 < flat.dimension() && !walk.wanted.all_flats {
            // Fewer rows than the child has dimensions are below it.
            walk.result.flats[flat.dimension() - 1] += 1;
            continue;
        }
        held.truncate(depth);
        let fits = flat.restrict(at, child, scratch);
        let enters = fits && (walk.wanted.all_flats || child.reaches_a_vertex(scratch));
        if F::interrupted(scratch) {
            walk.leave(number, to);
            return;
        }
        walk.result.flats[flat.dimension() - 1] += 1;
        walk.path.push(number);
        if !fits {
            walk.outgrow(0, u32::MAX);
        } else {
            held.push(number);
            if enters && walk.keeps_flat() {
                descend(child, below, held, 0, u32::MAX, scratch, walk);
            }
        }
        walk.path.pop();
        if F::interrupted(scratch) {
            // The step below was stopped, and has already put down the jobs that are left there.
            if let Some(next) = number.checked_add(1).filter(|next| *next < to) {
                walk.leave(next, to);
            }
            return;
        }
    }
}
