//! The cone at a vertex on which a linear function grows, and a point inside.

use super::exact::{Exact, dot, reduce};

/// The inverse of a square matrix times its determinant, column by column, up to a common sign:
/// fraction-free Gauss–Jordan elimination, in which every number is a minor (E. H. Bareiss, 1968).
///
/// `None` if a number overflows, or if the matrix is singular.
fn adjugate<N: Exact>(rows: &[&[N]]) -> Option<Vec<Vec<N>>> {
    let size = rows.len();
    let unit = |on: bool| if on { N::one() } else { N::zero() };
    let mut work: Vec<Vec<N>> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let identity = (0..size).map(|j| unit(i == j));
            row[..size].iter().cloned().chain(identity).collect()
        })
        .collect();
    let mut before = N::one();
    for column in 0..size {
        let pivot = (column..size).find(|row| work[*row][column].sign() != 0)?;
        work.swap(column, pivot);
        let pivot_row = work[column].clone();
        let pivot = &pivot_row[column];
        for (number, row) in work.iter_mut().enumerate() {
            if number == column {
                continue;
            }
            let factor = row[column].clone();
            for (x, y) in row.iter_mut().zip(&pivot_row) {
                *x = pivot.times(x)?.minus(&factor.times(y)?)?.divided(&before)?;
            }
        }
        before = pivot.clone();
    }
    Some(
        (0..size)
            .map(|j| (0..size).map(|i| work[i][size + j].clone()).collect())
            .collect(),
    )
}

/// A direction inside the cone at a simple vertex on which f grows: the sum of its edges.
///
/// `through` are the normals of the d hyperplanes that meet there. An edge is the line of all but one of
/// them, in the direction in which f grows. f is not constant on any. `None` if a number overflows.
pub(super) fn direction<N: Exact>(through: &[&[N]], f: &[N]) -> Option<Vec<N>> {
    let size = through.len();
    let mut sum = vec![N::zero(); size];
    for mut edge in adjugate(through)? {
        reduce(&mut edge);
        let grows = dot(&edge, f)?.sign() > 0;
        for (x, y) in sum.iter_mut().zip(&edge) {
            *x = if grows { x.plus(y)? } else { x.minus(y)? };
        }
    }
    reduce(&mut sum);
    Some(sum)
}

/// The point a short way from a vertex in this direction, as numerators and a denominator: so short that
/// no hyperplane lies between. And the signs of all hyperplanes there.
///
/// `values` are a·v − b times the vertex' denominator, for each hyperplane. `None` if a number overflows.
pub(super) fn step<N: Exact>(
    rows: &[Vec<N>],
    values: &[N],
    vertex: &[N],
    direction: &[N],
    signs: &mut Vec<i8>,
) -> Option<Vec<N>> {
    let (denominator, numerators) = vertex.split_last()?;
    // One over the length of the step, rounded up.
    let mut steps = N::one();
    for (row, value) in rows.iter().zip(values) {
        let slope = dot(&row[..direction.len()], direction)?;
        let sign = value.sign();
        signs.push(if sign == 0 { slope.sign() } else { sign });
        if sign * slope.sign() < 0 {
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
            if let Some(columns) = adjugate(&rows) {
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
                prop_assert_eq!(adjugate(&big).unwrap(), same);
            }
        }
    }

    #[test]
    fn a_step_stays_in_the_region() {
        // x = 0, y = 0, and 10x + 10y = 1, from the origin along (1, 1): f grows in the positive quadrant.
        let rows = [vec![1i64, 0, 0], vec![0, 1, 0], vec![10, 10, 1]];
        let mut signs = Vec::new();
        let vertex = [0, 0, 1];
        let values = [0, 0, -1];
        let up = direction(&[&rows[0], &rows[1]], &[1, 1]).unwrap();
        assert_eq!(up, [1, 1]);
        let point = step(&rows, &values, &vertex, &up, &mut signs).unwrap();
        assert_eq!(signs, [1, 1, -1]);
        assert_eq!(point, [1, 1, 21]);
    }
}
