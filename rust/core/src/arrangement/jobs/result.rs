//! What a run of a search has found.

use rayon::prelude::*;

use super::memory::make_room;
use crate::{Error, ErrorKind, Result};

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
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`].
    pub fn add(&mut self, other: Self) -> Result<()> {
        self.add_numbers(other.numbers)?;
        self.vertices += other.vertices;
        self.cobases += other.cobases;
        for (flats, more) in self.flats.iter_mut().zip(other.flats) {
            *flats += more;
        }
        Ok(())
    }

    /// Add coordinates only.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`].
    pub fn add_numbers(&mut self, more: Vec<u64>) -> Result<()> {
        if self.numbers.is_empty() {
            self.numbers = more;
            Ok(())
        } else {
            append(&mut self.numbers, &more)
        }
    }
}

/// Append, on all threads: most of the time goes into memory that is touched for the first time.
fn append(numbers: &mut Vec<u64>, more: &[u64]) -> Result<()> {
    const CHUNK: usize = 1 << 16;
    if !make_room(numbers, more.len()) {
        return Err(out_of_memory(numbers.len() + more.len()));
    }
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
    Ok(())
}

/// There is no memory for so many words of coordinates.
pub fn out_of_memory(words: usize) -> Error {
    let megabytes = (words as f64 * 8.0 / 1e6).ceil();
    Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "no memory for {megabytes} MB of vertices: limit their number, take them as a stream, or count them"
        ),
    )
}
