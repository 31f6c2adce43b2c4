//! Jobs: parts of a search tree, and a run of one.
//!
//! A search visits its tree depth first. A [`Job`] is a node of the tree and a range of its children. If a
//! run has to stop, it returns the rest of the tree as jobs, one for each level of the walk, as mplrs does.
//!
//! A job consists of numbers that mean the same in every process and in every
//! [`Arithmetic`](crate::arrangement::input::Arithmetic). So the rest of a search can be stored, sent to
//! another process, distributed to threads, or run later. In every case, each vertex is found exactly once.
//! Threads, streams, limits, checkpoints and executors all exchange jobs.

use super::budget::Meter;
use super::memory::make_room;
use super::result::SearchResult;
use crate::{Control, Result};

/// Part of a search tree: a range of the children of a node, with their subtrees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// The node: the greedy basis of a flat in falling order, or a cobasis in rising order. For the
    /// Zero rule, an empty node is the terminal cobasis.
    pub node: Vec<u32>,
    /// The number of the first child. The children of a flat are numbered by their hyperplanes. Of a
    /// cobasis, 0 is the node itself and k its k-th reverse pivot.
    pub from: u32,
    /// The end of the range: the numbers of all children are below this.
    pub to: u32,
}

impl Job {
    /// The whole search.
    pub fn whole() -> Self {
        Self::below(Vec::new())
    }

    /// Everything below a node.
    pub fn below(node: Vec<u32>) -> Self {
        Self {
            node,
            from: 0,
            to: u32::MAX,
        }
    }
}

/// What a search has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The coordinates of vertices, and not only their number.
    pub coordinates: bool,
    /// All flats, and not only those with a vertex below.
    pub all_flats: bool,
}

/// Decides which flats have nothing below them that is wanted.
pub trait Prune: std::fmt::Debug {
    /// Whether something that is wanted may lie on the flat in which these hyperplanes meet. Each cuts the
    /// flat of those before it properly. False is a proof that nothing does.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    fn keeps(&mut self, path: &[u32], control: &Control) -> Result<bool>;
}

/// The state of a walk through the tree.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The budget of the walk.
    pub meter: Meter<'a>,
    /// What the walk has to find.
    pub wanted: Wanted,
    /// Which flats are not entered.
    pub pruning: Option<&'a mut dyn Prune>,
    /// The number of 64-bit words of each coordinate.
    pub limbs: usize,
    /// What the walk has found.
    pub result: SearchResult,
    /// The present node.
    pub path: Vec<u32>,
    /// Jobs that are left because the budget is spent.
    pub remaining: Vec<Job>,
    /// Jobs whose numbers do not fit the present arithmetic.
    pub outgrown: Vec<Job>,
}

impl Walk<'_> {
    /// Whether something that is wanted may lie on the present flat.
    pub fn keeps_flat(&mut self) -> bool {
        let Some(pruning) = &mut self.pruning else {
            return true;
        };
        // If the caller has cancelled, the walk stops at its next step.
        let kept = pruning.keeps(&self.path, self.meter.control());
        kept.unwrap_or(true)
    }

    /// Reserve room for `wanted` vertices and their coordinates, and return how many may be reported. If
    /// these are fewer, the run stops.
    #[inline]
    pub fn reserve(&mut self, wanted: usize) -> usize {
        if self.wanted.coordinates && !self.has_room(wanted) {
            return 0;
        }
        self.meter.reserve(wanted)
    }

    /// Make room for the coordinates of more vertices. The coordinates of some vertices that were found
    /// before may not be in `numbers` yet. So the room is computed from the number of vertices.
    #[inline]
    fn has_room(&mut self, more: usize) -> bool {
        // Stores of whole vectors write up to this many words beyond the last point.
        const SLACK: usize = 64;
        let stride = self.result.flats.len() * self.limbs;
        let words = (self.result.vertices as usize + more) * stride + SLACK;
        words <= self.result.numbers.capacity() || self.grow(words)
    }

    #[cold]
    fn grow(&mut self, words: usize) -> bool {
        let numbers = &mut self.result.numbers;
        let more = words - numbers.len();
        let grown = make_room(numbers, more);
        if !grown {
            self.meter.exhaust_memory();
        }
        grown
    }

    /// Put down a job for these children of the present node, for a later run.
    pub fn leave(&mut self, from: u32, to: u32) {
        self.remaining.push(Job {
            node: self.path.clone(),
            from,
            to,
        });
    }

    /// Put down a job for these children of the present node, for a wider arithmetic.
    pub fn outgrow(&mut self, from: u32, to: u32) {
        self.outgrown.push(Job {
            node: self.path.clone(),
            from,
            to,
        });
    }
}
