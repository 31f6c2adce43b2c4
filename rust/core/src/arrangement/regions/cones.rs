//! The cones at a vertex that lies in more than d hyperplanes of R^d.
//!
//! Here the vertex is the origin. d of the hyperplanes, with independent normals, cut the space into 2^d
//! cones with d edges each. The other hyperplanes are added one by one. A hyperplane cuts the cones that
//! have edges on both sides of it. Each new edge lies in the plane of two neighbouring edges of the cone,
//! one on each side. Two edges are neighbours if no third edge lies in all the hyperplanes that contain both
//! (T. S. Motzkin and others, *The Double Description Method*, 1953; K. Fukuda and A. Prodon, *Double
//! Description Method Revisited*, 1996). At the end, f grows on a cone if it grows along all of its edges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use num_bigint::BigInt;

use super::cone::edges;
use crate::arrangement::arithmetic::exact::{Exact, dot, reduce};
use crate::{Control, Error, ErrorKind, Result};

/// In more dimensions there would be no memory for the regions.
const MOST_DIMENSIONS: usize = 30;

/// A direction inside each cone of a vertex.
pub(super) type Directions = Arc<Vec<Vec<BigInt>>>;

/// The cones of each set of normals that was seen so far, by the numbers of the normals.
#[derive(Debug, Default)]
pub(super) struct Cones(Mutex<HashMap<Vec<u32>, Directions>>);

impl Cones {
    /// Hyperplanes through the origin cut the space into cones. Returns a direction inside each cone on
    /// which a function grows. `numbers` are the numbers of the normals, rising. The normals are distinct
    /// and span the space.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn directions(
        &self,
        numbers: &[u32],
        normals: &[Vec<BigInt>],
        function: &[BigInt],
        control: &Control,
    ) -> Result<Directions> {
        // Two threads may compute the same cones. Their results are equal.
        if let Some(known) = self.locked().get(numbers) {
            return Ok(known.clone());
        }
        let chosen: Vec<&[BigInt]> = numbers
            .iter()
            .map(|number| normals[*number as usize].as_slice())
            .collect();
        let directions = Arc::new(growing(&chosen, function, control)?);
        self.locked().insert(numbers.to_vec(), directions.clone());
        Ok(directions)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u32>, Directions>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A direction inside each cone on which the function grows, in the narrowest integers that hold it.
fn growing(
    normals: &[&[BigInt]],
    function: &[BigInt],
    control: &Control,
) -> Result<Vec<Vec<BigInt>>> {
    if let Some(found) = growing_in::<i128>(normals, function, control)? {
        return Ok(found);
    }
    Ok(growing_in::<BigInt>(normals, function, control)?.unwrap_or_default())
}

/// [`growing`] in one type of integers; `None` if a number overflows.
fn growing_in<N: Exact>(
    normals: &[&[BigInt]],
    function: &[BigInt],
    control: &Control,
) -> Result<Option<Vec<Vec<BigInt>>>> {
    let numbers = |row: &[BigInt]| row.iter().map(N::of).collect::<Option<Vec<N>>>();
    let Some(normals) = normals.iter().map(|row| numbers(row)).collect() else {
        return Ok(None);
    };
    let Some(function) = numbers(function) else {
        return Ok(None);
    };
    let Some(mut subdivision) = Subdivision::new(normals, control)? else {
        return Ok(None);
    };
    while subdivision.remaining() {
        if subdivision.cut(&function, control)?.is_none() {
            return Ok(None);
        }
    }
    Ok(subdivision.growing(&function))
}

/// An edge of cones.
#[derive(Clone, Debug)]
struct Edge<N> {
    direction: Vec<N>,
    /// The hyperplanes that contain the edge, among those added so far, as bits.
    within: Box<[u64]>,
}

/// The cones into which the hyperplanes that were added so far cut the space.
#[derive(Debug)]
struct Subdivision<N> {
    normals: Vec<Vec<N>>,
    edges: Vec<Edge<N>>,
    /// The edges of each cone.
    cones: Vec<Vec<u32>>,
    /// The hyperplanes that still have to be added. The next one is the last of them.
    waiting: Vec<usize>,
}

impl<N: Exact> Subdivision<N> {
    /// The cones of d hyperplanes with independent normals, which are chosen here. `None` if a number
    /// overflows.
    fn new(normals: Vec<Vec<N>>, control: &Control) -> Result<Option<Self>> {
        let dimension = normals.first().map_or(0, Vec::len);
        if dimension > MOST_DIMENSIONS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "{} hyperplanes meet in a vertex in {dimension} dimensions: their regions number more than 2^{MOST_DIMENSIONS}",
                    normals.len()
                ),
            ));
        }
        let Some((all, basis)) = Self::cross(&normals, control) else {
            control.check()?;
            return Ok(None);
        };
        let side = |cone: u32, i: usize| 2 * i as u32 + (cone >> i & 1);
        let mut cones = Vec::with_capacity(1 << dimension);
        for cone in 0..1u32 << dimension {
            if cone % 4096 == 0 {
                control.check()?;
            }
            cones.push((0..dimension).map(|i| side(cone, i)).collect());
        }
        let waiting = (0..normals.len()).filter(|at| !basis.contains(at)).rev();
        Ok(Some(Self {
            waiting: waiting.collect(),
            normals,
            edges: all,
            cones,
        }))
    }

    /// The edges of the cones of d hyperplanes, and these hyperplanes.
    fn cross(normals: &[Vec<N>], control: &Control) -> Option<(Vec<Edge<N>>, Vec<usize>)> {
        let basis = independent(normals)?;
        let rows: Vec<&[N]> = basis.iter().map(|at| normals[*at].as_slice()).collect();
        let words = normals.len().div_ceil(64);
        let mut all = Vec::new();
        for (i, direction) in edges(&rows, control)?.into_iter().enumerate() {
            let mut within = vec![0u64; words];
            for (j, at) in basis.iter().enumerate() {
                if i != j {
                    within[at / 64] |= 1 << (at % 64);
                }
            }
            let opposite = direction.iter().map(|x| N::zero().minus(x));
            let opposite = opposite.collect::<Option<Vec<N>>>()?;
            for direction in [direction, opposite] {
                all.push(Edge {
                    direction,
                    within: within.clone().into(),
                });
            }
        }
        Some((all, basis))
    }

    fn remaining(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Add a hyperplane. Cones without an edge along which the function grows are dropped.
    fn cut(&mut self, function: &[N], control: &Control) -> Result<Option<()>> {
        let Some(hyperplane) = self.waiting.pop() else {
            return Ok(Some(()));
        };
        let normal = &self.normals[hyperplane];
        let values = |edges: &[Edge<N>], row: &[N]| -> Option<Vec<N>> {
            edges.iter().map(|edge| dot(&edge.direction, row)).collect()
        };
        let Some(heights) = values(&self.edges, normal) else {
            return Ok(None);
        };
        let Some(growth) = values(&self.edges, function) else {
            return Ok(None);
        };
        for (edge, height) in self.edges.iter_mut().zip(&heights) {
            if height.sign() == 0 {
                edge.within[hyperplane / 64] |= 1 << (hyperplane % 64);
            }
        }
        let mut made: HashMap<(u32, u32), u32> = HashMap::new();
        let mut cones = Vec::with_capacity(self.cones.len());
        for (count, cone) in std::mem::take(&mut self.cones).into_iter().enumerate() {
            if count % 64 == 0 {
                control.check()?;
            }
            if cone.iter().all(|edge| growth[*edge as usize].sign() <= 0) {
                continue;
            }
            let on = |sign: i8| -> Vec<u32> {
                let edges = cone.iter().copied();
                edges
                    .filter(|e| heights[*e as usize].sign() == sign)
                    .collect()
            };
            let (above, below, mut between) = (on(1), on(-1), on(0));
            if above.is_empty() || below.is_empty() {
                cones.push(cone);
                continue;
            }
            for up in &above {
                for down in &below {
                    if !self.neighbours(&cone, *up, *down) {
                        continue;
                    }
                    let known = made.get(&(*up, *down)).copied();
                    let edge = match known {
                        Some(edge) => edge,
                        None => {
                            let Some(edge) = self.join(*up, *down, &heights, hyperplane) else {
                                return Ok(None);
                            };
                            made.insert((*up, *down), edge);
                            edge
                        }
                    };
                    between.push(edge);
                }
            }
            cones.push([above, between.clone()].concat());
            cones.push([below, between].concat());
        }
        self.cones = cones;
        Ok(Some(()))
    }

    /// Whether two edges of a cone are neighbours: no third edge lies in all hyperplanes that contain both.
    fn neighbours(&self, cone: &[u32], a: u32, b: u32) -> bool {
        let [first, second] = [a, b].map(|edge| &self.edges[edge as usize].within);
        let both: Vec<u64> = first.iter().zip(second).map(|(x, y)| x & y).collect();
        cone.iter()
            .filter(|edge| **edge != a && **edge != b)
            .all(|edge| {
                let within = &self.edges[*edge as usize].within;
                both.iter().zip(within).any(|(x, y)| x & !y != 0)
            })
    }

    /// Add the edge in which a hyperplane meets the plane of two edges, one on each of its sides.
    fn join(&mut self, up: u32, down: u32, heights: &[N], hyperplane: usize) -> Option<u32> {
        let [above, below] = [up, down].map(|edge| &self.edges[edge as usize]);
        let high = &heights[up as usize];
        let deep = heights[down as usize].absolute()?;
        let mut direction = Vec::with_capacity(above.direction.len());
        for (x, y) in above.direction.iter().zip(&below.direction) {
            direction.push(deep.times(x)?.plus(&high.times(y)?)?);
        }
        reduce(&mut direction);
        let mut within: Vec<u64> = above
            .within
            .iter()
            .zip(&below.within)
            .map(|(x, y)| x & y)
            .collect();
        within[hyperplane / 64] |= 1 << (hyperplane % 64);
        self.edges.push(Edge {
            direction,
            within: within.into(),
        });
        Some(self.edges.len() as u32 - 1)
    }

    /// A direction inside each cone on which the function grows: the sum of its edges.
    fn growing(&self, function: &[N]) -> Option<Vec<Vec<BigInt>>> {
        let grows = self
            .edges
            .iter()
            .map(|edge| Some(dot(&edge.direction, function)?.sign() > 0));
        let grows = grows.collect::<Option<Vec<bool>>>()?;
        let cones = self
            .cones
            .iter()
            .filter(|cone| cone.iter().all(|edge| grows[*edge as usize]));
        let sum = |cone: &Vec<u32>| {
            let mut sum = vec![BigInt::from(0); function.len()];
            for edge in cone {
                let direction = &self.edges[*edge as usize].direction;
                sum.iter_mut()
                    .zip(direction)
                    .for_each(|(x, y)| *x += y.to_big());
            }
            reduce(&mut sum);
            sum
        };
        Some(cones.map(sum).collect())
    }
}

/// Rows with independent normals, as many as there are dimensions, by fraction-free elimination.
fn independent<N: Exact>(rows: &[Vec<N>]) -> Option<Vec<usize>> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut echelon: Vec<(usize, Vec<N>)> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if chosen.len() == row.len() {
            break;
        }
        let mut left = row.clone();
        for (column, pivot) in &echelon {
            let factor = left[*column].clone();
            if factor.sign() == 0 {
                continue;
            }
            let lead = pivot[*column].clone();
            for (x, y) in left.iter_mut().zip(pivot) {
                *x = lead.times(x)?.minus(&factor.times(y)?)?;
            }
            reduce(&mut left);
        }
        if let Some(column) = left.iter().position(|x| x.sign() != 0) {
            echelon.push((column, left));
            chosen.push(at);
        }
    }
    Some(chosen)
}
