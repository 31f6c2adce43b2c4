//! The cones at a vertex through which more hyperplanes pass than there are dimensions.
//!
//! Move the vertex to the origin. A cone on which f grows from there meets f = 1 in a bounded region of
//! the arrangement that is cut out of f = 1, and every bounded region is such a meeting. (If it were not
//! bounded, f would not grow in the direction in which it is not.)

use std::collections::HashMap;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{One, Zero};

use super::exact::{dot, reduce};
use super::level::{Level, Threads, cut};
use super::search::RegionSearch;
use crate::{Control, Result};

/// Directions inside the cones, for each set of normals that was met.
pub(super) type Cones = HashMap<Vec<u32>, Arc<Vec<Vec<BigInt>>>>;

/// A direction inside each cone of the hyperplanes with these normals on which the level's function
/// grows.
pub(super) fn directions(
    level: &Level,
    mut normals: Vec<u32>,
    control: &Control,
) -> Result<Arc<Vec<Vec<BigInt>>>> {
    normals.sort_unstable();
    let known = |level: &Level| {
        let cones = level.cones.lock();
        cones
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .get(&normals)
            .cloned()
    };
    if let Some(known) = known(level) {
        return Ok(known);
    }
    let central: Vec<Vec<BigInt>> = normals
        .iter()
        .map(|normal| {
            let normal = &level.normals[*normal as usize];
            normal.iter().cloned().chain([BigInt::zero()]).collect()
        })
        .collect();
    let function = &level.big.function;
    let rows = cut(&central, function, &BigInt::one());
    let search = RegionSearch::of_rows(rows, level.dimension - 1, true, Threads::One, control)?;
    let found = search.whole(control)?;
    let mut directions = Vec::new();
    for (point, bounded) in found.big_points().zip(&found.bounded) {
        if *bounded {
            let (denominator, numerators) = match point.split_last() {
                Some(parts) => parts,
                None => continue,
            };
            let rest: BigInt = dot(numerators, &function[1..]).unwrap_or_default();
            let mut direction = vec![denominator - rest];
            direction.extend_from_slice(numerators);
            reduce(&mut direction);
            directions.push(direction);
        }
    }
    let directions = Arc::new(directions);
    let cones = level.cones.lock();
    let mut cones = cones.unwrap_or_else(|poisoned| poisoned.into_inner());
    cones.insert(normals, directions.clone());
    Ok(directions)
}
