//! The obvious way to the vertices: every d-subset of hyperplanes, in fractions.

use std::collections::{BTreeSet, HashSet};

use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::output::{Coordinates, Vertices};
use num_bigint::BigInt;
use num_traits::Zero;

/// Row-reduce the chosen rows; the point where they meet, if it is one.
fn meet(rows: &[&Vec<BigInt>], dimension: usize) -> Option<Vec<Rational>> {
    let mut matrix: Vec<Vec<Rational>> = rows
        .iter()
        .map(|row| row.iter().cloned().map(Rational::from_integer).collect())
        .collect();
    for column in 0..dimension {
        let pivot = (column..dimension).find(|&r| !Zero::is_zero(&matrix[r][column]))?;
        matrix.swap(column, pivot);
        let lead = matrix[column][column].clone();
        matrix[column].iter_mut().for_each(|x| *x /= lead.clone());
        let solved = matrix[column].clone();
        for (r, row) in matrix.iter_mut().enumerate().filter(|(r, _)| *r != column) {
            debug_assert_ne!(r, column);
            let factor = row[column].clone();
            row.iter_mut()
                .zip(&solved)
                .for_each(|(x, s)| *x -= &factor * s);
        }
    }
    Some(matrix.iter().map(|row| row[dimension].clone()).collect())
}

pub fn subsets(n: usize, k: usize) -> Vec<Vec<usize>> {
    if k == 0 {
        return vec![Vec::new()];
    }
    (k - 1..n)
        .flat_map(|last| {
            subsets(last, k - 1).into_iter().map(move |mut s| {
                s.push(last);
                s
            })
        })
        .collect()
}

/// All d-subsets with independent normals, and the points where they meet.
pub fn brute_force(arrangement: &Arrangement) -> (BTreeSet<Vec<Rational>>, HashSet<Vec<u32>>) {
    let (mut points, mut cobases) = (BTreeSet::new(), HashSet::new());
    for subset in subsets(arrangement.rows().len(), arrangement.dimension()) {
        let rows: Vec<_> = subset.iter().map(|&i| &arrangement.rows()[i]).collect();
        if let Some(point) = meet(&rows, arrangement.dimension()) {
            points.insert(point);
            cobases.insert(subset.iter().map(|&i| i as u32).collect());
        }
    }
    (points, cobases)
}

/// What was found, as fractions; checks that it is sorted and in lowest terms.
pub fn points(found: &Vertices) -> Vec<Vec<Rational>> {
    let numbers: Vec<BigInt> = match &found.coordinates {
        Coordinates::Small(x) => x.iter().map(|x| BigInt::from(*x)).collect(),
        Coordinates::Big(x) => x.clone(),
    };
    let points: Vec<Vec<Rational>> = numbers
        .chunks_exact(found.dimension + 1)
        .map(|v| {
            let denominator = &v[found.dimension];
            let gcd = v
                .iter()
                .fold(BigInt::zero(), |g, x| num_integer::gcd(g, x.clone()));
            assert!(gcd == 1.into() && *denominator > 0.into(), "{v:?}");
            let coordinates = v[..found.dimension].iter();
            coordinates
                .map(|x| Rational::new(x.clone(), denominator.clone()))
                .collect()
        })
        .collect();
    assert!(points.is_sorted_by(|a, b| a < b), "sorted, and each once");
    points
}
