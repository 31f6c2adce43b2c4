//! The cone at a vertex on which a linear function grows, and a point inside.

use crate::Control;
use crate::arrangement::arithmetic::exact::{Exact, dot, reduce};

/// The elimination of so many rows can take long, so the stop flag is checked for each row.
const LARGE: usize = 16;

/// The lines in which all but one of these hyperplanes meet, through the origin: column by column the inverse
/// of the matrix times its determinant, up to a common sign. By fraction-free Gauss–Jordan elimination, in
/// which every number is a minor (E. H. Bareiss, 1968).
///
/// `None` if a number overflows, if the normals are dependent, or if the caller has cancelled.
pub(super) fn edges<N: Exact>(normals: &[&[N]], control: &Control) -> Option<Vec<Vec<N>>> {
    let size = normals.len();
    let mut work = Vec::new();
    eliminate(normals, &mut work, control)?;
    let entry = |i: usize, j: usize| work[i * 2 * size + size + j].clone();
    Some(
        (0..size)
            .map(|j| (0..size).map(|i| entry(i, j)).collect())
            .collect(),
    )
}

/// Gauss–Jordan elimination of [matrix | identity], in rows of twice the size.
fn eliminate<N: Exact>(normals: &[&[N]], work: &mut Vec<N>, control: &Control) -> Option<()> {
    let size = normals.len();
    let width = 2 * size;
    work.clear();
    for (i, row) in normals.iter().enumerate() {
        work.extend_from_slice(&row[..size]);
        work.extend((0..size).map(|j| if i == j { N::one() } else { N::zero() }));
    }
    let mut before = N::one();
    for column in 0..size {
        let pivot = (column..size).find(|row| work[row * width + column].sign() != 0)?;
        for at in 0..width {
            work.swap(column * width + at, pivot * width + at);
        }
        let pivot = work[column * width + column].clone();
        for number in (0..size).filter(|number| *number != column) {
            if size >= LARGE {
                control.check().ok()?;
            }
            let factor = work[number * width + column].clone();
            for at in 0..width {
                let below = &work[column * width + at];
                let x = &work[number * width + at];
                // Half of the entries are 0 on the way.
                if x.sign() == 0 && (factor.sign() == 0 || below.sign() == 0) {
                    continue;
                }
                let x = pivot.times(x)?.minus(&factor.times(below)?)?;
                work[number * width + at] = x.divided(&before)?;
            }
        }
        before = pivot;
    }
    Some(())
}

/// Memory that is used again from vertex to vertex.
#[derive(Debug)]
pub(super) struct Scratch<N> {
    work: Vec<N>,
    /// The direction that [`direction`] has found.
    pub direction: Vec<N>,
}

impl<N> Default for Scratch<N> {
    fn default() -> Self {
        Self {
            work: Vec::new(),
            direction: Vec::new(),
        }
    }
}

/// A direction inside the cone at a simple vertex on which f grows: the sum of its edges.
///
/// `through` are the normals of the d hyperplanes that meet there. An edge is the line of all but one of
/// them, in the direction in which f grows. f is not constant on any. `None` if a number overflows, or if the
/// caller has cancelled.
pub(super) fn direction<N: Exact>(
    through: &[&[N]],
    f: &[N],
    scratch: &mut Scratch<N>,
    control: &Control,
) -> Option<()> {
    let size = through.len();
    eliminate(through, &mut scratch.work, control)?;
    scratch.direction.clear();
    scratch.direction.resize(size, N::zero());
    for j in 0..size {
        let edge = (0..size).map(|i| &scratch.work[i * 2 * size + size + j]);
        let mut growth = N::zero();
        for (x, y) in edge.clone().zip(f) {
            growth = growth.plus(&x.times(y)?)?;
        }
        let grows = growth.sign() > 0;
        for (x, y) in scratch.direction.iter_mut().zip(edge) {
            *x = if grows { x.plus(y)? } else { x.minus(y)? };
        }
    }
    reduce(&mut scratch.direction);
    Some(())
}

/// The point a short way from a vertex in this direction, as numerators and a denominator: so short that
/// no hyperplane lies between.
///
/// `values` are a·v − b times the vertex' denominator, for each hyperplane. `None` if a number overflows.
pub(super) fn step<N: Exact>(
    rows: &[N],
    values: &[N],
    vertex: &[N],
    direction: &[N],
) -> Option<Vec<N>> {
    let (denominator, numerators) = vertex.split_last()?;
    // One over the length of the step, rounded up.
    let mut steps = N::one();
    for (row, value) in rows.chunks_exact(vertex.len()).zip(values) {
        let slope = dot(&row[..direction.len()], direction)?;
        if value.sign() * slope.sign() < 0 {
            // The hyperplane is met after |value| / (denominator·|slope|).
            let needed = denominator.times(&slope.absolute()?)?;
            let needed = needed.floor_divided(&value.absolute()?)?.plus(&N::one())?;
            steps = steps.max(needed);
        }
    }
    let mut point = Vec::with_capacity(vertex.len());
    for (x, u) in numerators.iter().zip(direction) {
        point.push(x.times(&steps)?.plus(&denominator.times(u)?)?);
    }
    point.push(denominator.times(&steps)?);
    reduce(&mut point);
    Some(point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn edges_lie_in_all_hyperplanes_but_one(
            size in 1usize..6,
            entries in proptest::collection::vec(-9i64..10, 25),
        ) {
            let rows: Vec<&[i64]> = entries.chunks_exact(5).take(size).map(|r| &r[..size]).collect();
            prop_assume!(rows.len() == size);
            let control = Control::new();
            if let Some(columns) = edges(&rows, &control) {
                for (j, edge) in columns.iter().enumerate() {
                    for (i, row) in rows.iter().enumerate() {
                        prop_assert_eq!(dot(row, edge).unwrap() == 0, i != j);
                    }
                }
                // Numbers of any size give the same.
                let big: Vec<Vec<BigInt>> =
                    rows.iter().map(|r| r.iter().map(|x| (*x).into()).collect()).collect();
                let big: Vec<&[BigInt]> = big.iter().map(Vec::as_slice).collect();
                let same: Vec<Vec<BigInt>> =
                    columns.iter().map(|c| c.iter().map(|x| (*x).into()).collect()).collect();
                prop_assert_eq!(edges(&big, &control).unwrap(), same);
            }
        }
    }

    #[test]
    fn a_step_stays_in_the_region() {
        // x = 0, y = 0, and 10x + 10y = 1, from the origin along (1, 1): f grows in the positive quadrant.
        let rows = [1i64, 0, 0, 0, 1, 0, 10, 10, 1];
        let vertex = [0, 0, 1];
        let values = [0, 0, -1];
        let mut scratch = Scratch::default();
        let control = Control::new();
        direction(&[&rows[..2], &rows[3..5]], &[1, 1], &mut scratch, &control).unwrap();
        assert_eq!(scratch.direction, [1, 1]);
        let point = step(&rows, &values, &vertex, &scratch.direction).unwrap();
        assert_eq!(point, [1, 1, 21]);
    }
}
