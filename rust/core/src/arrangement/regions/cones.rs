//! The cones at a vertex through which more hyperplanes pass than there are dimensions.
//!
//! Move the vertex to the origin. A cone on which f grows from there meets f = 1 in a bounded region of
//! the arrangement that is cut out of f = 1, and every bounded region is such a meeting. (If it were not
//! bounded, f would not grow in the direction in which it is not.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use num_bigint::BigInt;
use num_traits::Zero;

use super::cut::cut;
use super::exact::{dot, reduce};
use crate::Result;

/// A direction inside each cone of a vertex.
pub(super) type Directions = Arc<Vec<Vec<BigInt>>>;

/// The cones for each set of normals that was met, by the numbers of the normals.
#[derive(Debug, Default)]
pub(super) struct Cones(Mutex<HashMap<Vec<u32>, Directions>>);

impl Cones {
    /// A direction inside each cone on which a function grows, made by the hyperplanes with these normals,
    /// which have these rising numbers.
    ///
    /// `bounded` gives a point inside each bounded region of hyperplanes [a|b] in one dimension less.
    pub(super) fn directions<'a>(
        &self,
        numbers: Vec<u32>,
        normals: impl Iterator<Item = &'a Vec<BigInt>>,
        function: &[BigInt],
        bounded: impl FnOnce(Vec<Vec<BigInt>>) -> Result<Vec<Vec<BigInt>>>,
    ) -> Result<Directions> {
        // Two threads may work on the same cones; what they find is the same.
        if let Some(known) = self.locked().get(&numbers) {
            return Ok(known.clone());
        }
        let central: Vec<Vec<BigInt>> = normals
            .map(|normal| normal.iter().cloned().chain([BigInt::zero()]).collect())
            .collect();
        let mut directions = Vec::new();
        for point in bounded(cut(&central, function, &BigInt::from(1)))? {
            let Some((denominator, numerators)) = point.split_last() else {
                continue;
            };
            let rest: BigInt = dot(numerators, &function[1..]).unwrap_or_default();
            let mut direction = vec![denominator - rest];
            direction.extend_from_slice(numerators);
            reduce(&mut direction);
            directions.push(direction);
        }
        let directions = Arc::new(directions);
        self.locked().insert(numbers, directions.clone());
        Ok(directions)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u32>, Directions>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
