//! Vertices in lowest terms and sorted.
//!
//! The homogeneous coordinates of a vertex are d numerators and a positive denominator. All have the same
//! number of 64-bit words, in two's complement with the least word first.

use num_bigint::BigInt;
use rayon::prelude::*;

use super::order;
use crate::Result;
use crate::arrangement::arithmetic::{content, integer, push_integer};

/// Numerators and denominators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// All numbers fit 64 bits.
    Small(Vec<i64>),
    /// Some numbers do not fit 64 bits.
    Big(Vec<BigInt>),
}

/// The vertices of an arrangement, sorted lexicographically by their coordinates.
///
/// Each vertex has `dimension` numerators and then a positive denominator, in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertices {
    /// The dimension d of the space.
    pub dimension: usize,
    /// d + 1 numbers for each vertex.
    pub coordinates: Coordinates,
    /// The number of cobases, if the search visited them.
    pub cobases: Option<u64>,
}

impl Vertices {
    /// Number of vertices.
    pub fn len(&self) -> usize {
        let numbers = match &self.coordinates {
            Coordinates::Small(x) => x.len(),
            Coordinates::Big(x) => x.len(),
        };
        numbers / (self.dimension + 1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Homogeneous coordinates in words, as a search finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Points {
    /// The dimension d of the space.
    pub dimension: usize,
    /// The number of words of a coordinate.
    pub limbs: usize,
    /// d + 1 coordinates for each point.
    pub numbers: Vec<u64>,
}

impl Points {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.stride()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn stride(&self) -> usize {
        (self.dimension + 1) * self.limbs
    }

    /// Bring the points to lowest terms, sort them, and use 64 bits if all coordinates fit.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn vertices(mut self, cobases: Option<u64>) -> Result<Vertices> {
        self.reduce();
        self.sort()?;
        self.narrow();
        Ok(Vertices {
            dimension: self.dimension,
            coordinates: self.coordinates(),
            cobases,
        })
    }

    /// The coordinates as integers.
    pub fn coordinates(self) -> Coordinates {
        if self.limbs == 1 {
            Coordinates::Small(self.numbers.into_iter().map(|x| x as i64).collect())
        } else {
            Coordinates::Big(self.numbers.chunks_exact(self.limbs).map(integer).collect())
        }
    }

    /// Bring the points to lowest terms. Coordinates of one word are in lowest terms already.
    pub fn reduce(&mut self) {
        let (limbs, stride) = (self.limbs, self.stride());
        if limbs == 1 {
            return;
        }
        self.numbers.par_chunks_exact_mut(stride).for_each(|point| {
            let numbers: Vec<BigInt> = point.chunks_exact(limbs).map(integer).collect();
            let divisor = content(numbers.iter().rev());
            if divisor == 1.into() {
                return;
            }
            let mut reduced = Vec::with_capacity(stride);
            for x in numbers {
                push_integer(&(x / &divisor), limbs, &mut reduced);
            }
            point.copy_from_slice(&reduced);
        });
    }

    /// Keep only the lowest word of each coordinate, if all coordinates fit one word.
    pub fn narrow(&mut self) {
        let limbs = self.limbs;
        let sign = |word: u64| ((word as i64) >> 63) as u64;
        let fits = |x: &[u64]| x[1..].iter().all(|word| *word == sign(x[0]));
        if limbs > 1 && self.numbers.par_chunks_exact(limbs).all(fits) {
            self.numbers = self.numbers.par_chunks_exact(limbs).map(|x| x[0]).collect();
            self.limbs = 1;
        }
    }

    /// Sort the points lexicographically by their coordinates.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn sort(&mut self) -> Result<()> {
        let parts = vec![std::mem::take(&mut self.numbers)];
        self.numbers = order::sorted(parts, self.dimension, self.limbs, order::BUCKET)?;
        Ok(())
    }
}
