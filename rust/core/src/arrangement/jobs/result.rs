//! The result of a run of a search.

use rayon::prelude::*;

use super::memory::make_room;
use crate::{Error, ErrorKind, Result};

/// The result of a run, or of the part of it that one thread has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// Homogeneous coordinates of the vertices (see [`Points`](crate::arrangement::output::Points)).
    pub numbers: Vec<u64>,
    /// Number of vertices.
    pub vertices: u64,
    /// Number of cobases visited. 0 for a search over flats.
    pub cobases: u64,
    /// Number of flats visited, for each dimension. The root of a job is not counted.
    pub flats: Vec<u64>,
}

impl SearchResult {
    /// An empty result of a search in R^`dimension`.
    pub fn new(dimension: usize) -> Self {
        Self {
            flats: vec![0; dimension + 1],
            ..Self::default()
        }
    }

    /// Add another result.
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

/// Append on all threads, because the first access to new memory takes most of the time.
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
    // SAFETY: the room was made above, and all `more.len()` words have been written.
    unsafe { numbers.set_len(length) };
    Ok(())
}

/// The error if there is no memory for this many words of coordinates.
pub fn out_of_memory(words: usize) -> Error {
    let megabytes = (words as f64 * 8.0 / 1e6).ceil();
    Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "there is no memory for {megabytes} MB of vertices: limit their number, iterate over blocks of them, or only count them"
        ),
    )
}
