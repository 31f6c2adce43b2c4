//! The faces of one dimension: the regions on every flat of that dimension.

use rayon::prelude::*;

use super::block::Block;
use super::level::Threads;
use super::search::RegionSearch;
use crate::arrangement::input::Arrangement;
use crate::arrangement::intersections::Lattice;
use crate::{Control, Result};

/// All faces of this dimension, each with the signs of all hyperplanes on it and a point inside. The sign of
/// a hyperplane that contains the face is 0.
///
/// Memory and time are those of the [`Lattice`] down to this dimension, and of the regions on each flat.
///
/// # Errors
/// As [`Lattice::new`] and [`RegionSearch::new`].
pub fn faces(arrangement: &Arrangement, dimension: usize, control: &Control) -> Result<Block> {
    let hyperplanes = arrangement.rows().len();
    let mut all = Block::new(arrangement.dimension());
    if dimension == arrangement.dimension() {
        return RegionSearch::new(arrangement, control)?.whole(control);
    }
    let lattice = Lattice::new(arrangement, dimension, control)?;
    let codimension = arrangement.dimension() - dimension;
    let Some(flats) = lattice.levels.get(codimension) else {
        return Ok(all);
    };
    let blocks = flats
        .par_iter()
        .map(|flat| {
            let search = RegionSearch::on_flat(arrangement, &flat.basis, Threads::One, control)?;
            let found = search.whole(control)?;
            let inside =
                |hyperplane: &usize| flat.closure[hyperplane / 64] >> (hyperplane % 64) & 1 == 0;
            let others: Vec<usize> = (0..hyperplanes).filter(inside).collect();
            Ok(found.spread(&others, hyperplanes))
        })
        .collect::<Result<Vec<_>>>()?;
    for block in blocks {
        all.add(block);
    }
    Ok(all)
}
