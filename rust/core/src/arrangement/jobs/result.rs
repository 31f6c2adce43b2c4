//! What a run of a search has found.

use rayon::prelude::*;

/// What a run has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// Homogeneous coordinates of the vertices (see [`Points`](crate::arrangement::output::Points)).
    pub numbers: Vec<u64>,
    /// Number of vertices.
    pub vertices: u64,
    /// Number of cobases, if they were visited.
    pub cobases: u64,
    /// Number of flats of each dimension below the node that the run began at.
    pub flats: Vec<u64>,
}

impl SearchResult {
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
