//! A search cut into jobs, each run within a budget: the one mechanism beneath threads, streams,
//! time limits, checkpoints and executors.
//!
//! A search tree is walked depth first. A [`Job`] is a node of it and a range of that node's
//! children; a run of a job that has to stop half-way returns what is left as jobs, one for each
//! level of the walk, as in mplrs. Jobs are plain numbers that mean the same in every process and
//! in every [`Arithmetic`](super::bound::Arithmetic), so what is left of a search can be stored,
//! sent away, shared out or run later, and however that is done each vertex is found exactly once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rayon::prelude::*;

use crate::Control;

/// Units of work, each about a nanosecond's, between two looks at the clock and the stop flag.
const LOOK: u64 = 1 << 18;

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

/// What one run of a search may spend, shared by its threads.
#[derive(Debug)]
pub struct Limits {
    /// Vertices that may still be found.
    room: AtomicU64,
    /// When to stop.
    deadline: Option<Instant>,
}

impl Limits {
    /// At most `vertices` vertices, until `deadline`.
    pub fn new(vertices: Option<u64>, deadline: Option<Instant>) -> Self {
        Self {
            room: vertices.unwrap_or(u64::MAX).into(),
            deadline,
        }
    }

    /// No limit.
    pub fn none() -> Self {
        Self::new(None, None)
    }

    /// Whether the clock or the number of vertices says to stop.
    pub fn reached(&self) -> bool {
        self.room.load(Ordering::Relaxed) == 0 || self.deadline.is_some_and(|d| Instant::now() >= d)
    }

    /// Vertices that may still be found.
    pub fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Room for up to `wanted` vertices, taken.
    fn reserve(&self, wanted: u64) -> u64 {
        let mut room = self.room.load(Ordering::Relaxed);
        loop {
            let granted = room.min(wanted);
            let left = if room == u64::MAX {
                room
            } else {
                room - granted
            };
            match self
                .room
                .compare_exchange_weak(room, left, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return granted,
                Err(now) => room = now,
            }
        }
    }
}

/// The account of one job's run.
#[derive(Debug)]
pub struct Meter<'a> {
    control: &'a Control,
    limits: &'a Limits,
    work: u64,
    until_look: u64,
    /// What a unit costs in the arithmetic at work.
    pub weight: u64,
    stopped: bool,
}

impl<'a> Meter<'a> {
    /// A budget of `work` units.
    pub fn new(control: &'a Control, limits: &'a Limits, work: u64) -> Self {
        Self {
            control,
            limits,
            work,
            until_look: 0,
            weight: 1,
            stopped: false,
        }
    }

    /// Spend `units`; whether they may be spent. Once it says no it always does. A budget that is
    /// not empty lets at least one step pass, so that every run gets on.
    #[inline]
    pub fn spend(&mut self, units: u64) -> bool {
        if self.stopped || self.work == 0 {
            self.stopped = true;
            return false;
        }
        let units = units * self.weight;
        self.work = self.work.saturating_sub(units);
        match self.until_look.checked_sub(units) {
            Some(left) => self.until_look = left,
            None => self.look(),
        }
        !self.stopped
    }

    #[cold]
    fn look(&mut self) {
        self.until_look = LOOK;
        self.stopped = self.control.check().is_err() || self.limits.reached();
    }

    /// How many of `wanted` vertices may be reported; fewer than all stop the run.
    #[inline]
    pub fn reserve(&mut self, wanted: usize) -> usize {
        let granted = self.limits.reserve(wanted as u64) as usize;
        self.stopped |= granted < wanted;
        self.control.advance(granted as u64);
        granted
    }

    /// Whether the run has to stop.
    pub fn stopped(&self) -> bool {
        self.stopped
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

/// What a run has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harvest {
    /// Homogeneous coordinates of the vertices (see [`vertex`](super::vertex)).
    pub numbers: Vec<u64>,
    /// Number of vertices.
    pub vertices: u64,
    /// Number of cobases, if they were visited.
    pub cobases: u64,
    /// Number of flats of each dimension below the node that the run began at.
    pub flats: Vec<u64>,
}

impl Harvest {
    /// Nothing yet, of R^`dimension`.
    pub fn new(dimension: usize) -> Self {
        Self {
            flats: vec![0; dimension + 1],
            ..Self::default()
        }
    }

    /// Add what another run has found.
    pub fn add(&mut self, other: Self) {
        self.add_numbers(other.numbers);
        self.vertices += other.vertices;
        self.cobases += other.cobases;
        for (flats, more) in self.flats.iter_mut().zip(other.flats) {
            *flats += more;
        }
    }

    /// Add coordinates only.
    pub fn add_numbers(&mut self, more: Vec<u64>) {
        if self.numbers.is_empty() {
            self.numbers = more;
        } else {
            append(&mut self.numbers, &more);
        }
    }
}

/// Append, on all threads: most of the time goes into memory that is touched for the first time.
fn append(numbers: &mut Vec<u64>, more: &[u64]) {
    const CHUNK: usize = 1 << 16;
    numbers.reserve(more.len());
    let length = numbers.len() + more.len();
    let spare = &mut numbers.spare_capacity_mut()[..more.len()];
    spare
        .par_chunks_mut(CHUNK)
        .zip(more.par_chunks(CHUNK))
        .for_each(|(to, from)| {
            for (to, from) in to.iter_mut().zip(from) {
                to.write(*from);
            }
        });
    // SAFETY: there is room for so many, and all of them have been written.
    unsafe { numbers.set_len(length) };
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Its account.
    pub meter: Meter<'a>,
    /// What it is for.
    pub wanted: Wanted,
    /// 64-bit words of each coordinate.
    pub limbs: usize,
    /// What it has found.
    pub harvest: Harvest,
    /// The node that it is at.
    pub path: Vec<u32>,
    /// What it had to leave, when its budget ended.
    pub remaining: Vec<Job>,
    /// Subtrees whose numbers have outgrown the arithmetic at work.
    pub outgrown: Vec<Job>,
}

impl Walk<'_> {
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
