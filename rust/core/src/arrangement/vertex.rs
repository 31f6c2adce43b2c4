//! The vertices that were found, in lowest terms and in one order.

use std::cmp::Ordering;

use num_bigint::BigInt;
use rayon::prelude::*;

/// Numerators and denominators, as narrow as all of them allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// All fit into 64 bits.
    Small(Vec<i64>),
    /// Some do not.
    Big(Vec<BigInt>),
}

/// The vertices of an arrangement, sorted lexicographically by their coordinates.
///
/// Vertex v has `dimension` numerators and then its denominator, which is positive and has no
/// factor in common with all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertices {
    /// d.
    pub dimension: usize,
    /// d + 1 numbers for each vertex.
    pub coordinates: Coordinates,
    /// Number of cobases, where the search visited them.
    pub cobases: Option<u64>,
}

impl Vertices {
    /// Sort what a search has found.
    pub fn sorted<C>(dimension: usize, found: Vec<C>, cobases: Option<u64>) -> Self
    where
        C: Into<BigInt> + Clone + Send + Sync,
        i64: TryFrom<C>,
    {
        let small: Option<Vec<i64>> = found
            .iter()
            .map(|x| i64::try_from(x.clone()).ok())
            .collect();
        let coordinates = match small {
            Some(small) => Coordinates::Small(sort_small(small, dimension)),
            None => Coordinates::Big(sort_big(
                found.into_iter().map(Into::into).collect(),
                dimension,
            )),
        };
        Self {
            dimension,
            coordinates,
            cobases,
        }
    }

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

/// a/b against c/d, for positive b and d.
fn compare_small(a: i64, b: i64, c: i64, d: i64) -> Ordering {
    (i128::from(a) * i128::from(d)).cmp(&(i128::from(c) * i128::from(b)))
}

fn sort_small(found: Vec<i64>, dimension: usize) -> Vec<i64> {
    let stride = dimension + 1;
    // Division rounds monotonically, so unequal quotients decide; equal ones do not.
    let approximate = |v: &[i64]| v[0] as f64 / v[dimension] as f64;
    let mut vertices: Vec<(f64, &[i64])> = found
        .chunks_exact(stride)
        .map(|v| (approximate(v), v))
        .collect();
    vertices.par_sort_unstable_by(|(near_v, v), (near_w, w)| {
        near_v.total_cmp(near_w).then_with(|| {
            (0..dimension)
                .map(|c| compare_small(v[c], v[dimension], w[c], w[dimension]))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    });
    vertices.into_iter().flat_map(|(_, v)| v).copied().collect()
}

fn sort_big(found: Vec<BigInt>, dimension: usize) -> Vec<BigInt> {
    let mut vertices: Vec<&[BigInt]> = found.chunks_exact(dimension + 1).collect();
    vertices.par_sort_unstable_by(|v, w| {
        (0..dimension)
            .map(|c| (&v[c] * &w[dimension]).cmp(&(&w[c] * &v[dimension])))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    vertices.into_iter().flatten().cloned().collect()
}
