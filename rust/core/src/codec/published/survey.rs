//! Statistics of all weights that the search needs.

use rayon::prelude::*;

use super::params::CHUNK;
use crate::{Control, Result};

/// The centre of the groups and the farthest of them.
#[derive(Clone, Debug)]
pub struct Survey<const K: usize> {
    /// The mean of all weights, which pads the last group.
    pub padding: f32,
    /// The mean of the groups.
    pub centre: [f32; K],
    /// The group farthest from the centre, the first of several.
    pub farthest: [f32; K],
    /// Whether any group is outside the cube.
    pub outside: bool,
}

/// A group in `f64`; `padding` replaces the weights that the last group lacks.
#[inline]
pub fn group<const K: usize>(weights: &[f32], padding: f32) -> [f64; K] {
    std::array::from_fn(|i| weights.get(i).copied().unwrap_or(padding).into())
}

impl<const K: usize> Survey<K> {
    /// Survey finite weights, at least one, for a cube of this side.
    pub fn of(weights: &[f32], side: f64, control: &Control) -> Result<Self> {
        let sums: [f64; K] = sums(weights, control)?;
        let padding = (sums.iter().sum::<f64>() / weights.len() as f64) as f32;
        let lanes_filled = (weights.len() - 1) % K + 1;
        let groups = weights.len().div_ceil(K) as f64;
        let centre: [f32; K] = std::array::from_fn(|i| {
            let padded = if i < lanes_filled {
                0.0
            } else {
                padding.into()
            };
            ((sums[i] + padded) / groups) as f32
        });
        let reach = Reach::of(weights, padding, &centre, control)?;
        Ok(Self {
            padding,
            centre,
            farthest: reach.farthest.map(|x| x as f32),
            outside: reach.coordinate > side / 2.0,
        })
    }
}

/// Σ of the weights on each coordinate, without padding.
fn sums<const K: usize>(weights: &[f32], control: &Control) -> Result<[f64; K]> {
    let add = |mut sums: [f64; K], group: &[f32]| {
        for (sum, weight) in sums.iter_mut().zip(group) {
            *sum += f64::from(*weight);
        }
        sums
    };
    let chunks = weights.par_chunks(CHUNK * K).map(|chunk| {
        control.check()?;
        Ok(chunk.chunks(K).fold([0.0; K], add))
    });
    let mut total = [0.0; K];
    for sums in chunks.collect::<Result<Vec<_>>>()? {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    Ok(total)
}

/// The largest distances of groups from the centre.
#[derive(Clone, Copy)]
struct Reach<const K: usize> {
    /// The first of the farthest groups, and its squared distance.
    farthest: [f64; K],
    squared: f64,
    /// The largest distance along one coordinate, of any group.
    coordinate: f64,
}

impl<const K: usize> Reach<K> {
    fn of(weights: &[f32], padding: f32, centre: &[f32; K], control: &Control) -> Result<Self> {
        let centre = centre.map(f64::from);
        let nothing = Self {
            farthest: centre,
            squared: -1.0,
            coordinate: 0.0,
        };
        let chunks = weights.par_chunks(CHUNK * K).map(|chunk| {
            control.check()?;
            let groups = chunk.chunks(K).map(|weights| group(weights, padding));
            Ok(groups.fold(nothing, |reach, group| reach.or(Self::to(group, &centre))))
        });
        let chunks = chunks.collect::<Result<Vec<_>>>()?;
        Ok(chunks.into_iter().fold(nothing, Self::or))
    }

    fn to(group: [f64; K], centre: &[f64; K]) -> Self {
        let (mut squared, mut coordinate) = (0.0, 0.0f64);
        for i in 0..K {
            let offset = group[i] - centre[i];
            squared += offset * offset;
            coordinate = coordinate.max(offset.abs());
        }
        Self {
            farthest: group,
            squared,
            coordinate,
        }
    }

    /// The union of `self` and the reach of later groups.
    fn or(self, later: Self) -> Self {
        let coordinate = self.coordinate.max(later.coordinate);
        let farther = if later.squared > self.squared {
            later
        } else {
            self
        };
        Self {
            coordinate,
            ..farther
        }
    }
}
