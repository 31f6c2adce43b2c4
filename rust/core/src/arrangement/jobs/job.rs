//! Jobs: parts of a search tree, and a run of one.
//!
//! A search tree is walked depth first. A [`Job`] is a node of the tree and a range of its children. A
//! run that has to stop returns what is left as jobs, one for each level of the walk, as mplrs does.
//!
//! Jobs are plain numbers with the same meaning in every process and in every
//! [`Arithmetic`](crate::arrangement::input::Arithmetic). So the rest of a search can be stored, sent
//! away, shared out or run later. However that is done, each vertex is found exactly once. Threads,
//! streams, time limits, checkpoints and executors all rest on this.

use super::budget::Meter;
use super::memory::make_room;
use super::result::SearchResult;

/// Part of a search tree: some children of a node, with all that is below them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// The node: the greedy basis of a flat in falling order, or a cobasis in rising order. For the
    /// Zero rule an empty node is the terminal cobasis.
    pub node: Vec<u32>,
    /// The first child. Children of a flat are numbered by their hyperplanes. Of a cobasis, 0 is the
    /// node itself and k its k-th reverse pivot.
    pub from: u32,
    /// One more than the last child may have.
    pub to: u32,
}

impl Job {
    /// The whole search.
    pub fn whole() -> Self {
        Self::below(Vec::new())
    }

    /// All below a node.
    pub fn below(node: Vec<u32>) -> Self {
        Self {
            node,
            from: 0,
            to: u32::MAX,
        }
    }
}

/// What is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Coordinates, not only numbers.
    pub coordinates: bool,
    /// All flats, those without a vertex below too.
    pub all_flats: bool,
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Its budget.
    pub meter: Meter<'a>,
    /// What is asked of it.
    pub wanted: Wanted,
    /// 64-bit words of each coordinate.
    pub limbs: usize,
    /// What it has found.
    pub result: SearchResult,
    /// The node that it is at.
    pub path: Vec<u32>,
    /// Jobs that are left because its budget ended.
    pub remaining: Vec<Job>,
    /// Jobs whose numbers do not fit the arithmetic that runs.
    pub outgrown: Vec<Job>,
}

impl Walk<'_> {
    /// How many of `wanted` vertices may be reported; fewer than all stop the run. There is room for
    /// the coordinates of those that may.
    #[inline]
    pub fn reserve(&mut self, wanted: usize) -> usize {
        if self.wanted.coordinates && !self.has_room(wanted) {
            return 0;
        }
        self.meter.reserve(wanted)
    }

    /// Make room for the coordinates of more vertices. Some that were found before may not be among
    /// the numbers yet, so all are counted by their number.
    #[inline]
    fn has_room(&mut self, more: usize) -> bool {
        // The last points of a plane are written with some words beyond them.
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

    /// Leave these children of the present node to a later run.
    pub fn leave(&mut self, from: u32, to: u32) {
        self.remaining.push(Job {
            node: self.path.clone(),
            from,
            to,
        });
    }

    /// Leave these children of the present node to a wider arithmetic.
    pub fn outgrow(&mut self, from: u32, to: u32) {
        self.outgrown.push(Job {
            node: self.path.clone(),
            from,
            to,
        });
    }
}
