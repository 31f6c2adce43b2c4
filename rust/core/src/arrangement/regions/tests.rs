use std::collections::HashSet;

use num_bigint::BigInt;
use num_traits::Signed;
use proptest::prelude::*;

use super::block::Block;
use super::faces;
use super::search::RegionSearch;
use crate::Control;
use crate::arrangement::arithmetic::Rational;
use crate::arrangement::input::Arrangement;
use crate::arrangement::intersections::count_regions;

fn arrangement(rows: &[Vec<i64>], dimension: usize) -> Arrangement {
    let rows: Vec<Vec<Rational>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|x| Rational::from_integer((*x).into()))
                .collect()
        })
        .collect();
    Arrangement::new(&rows, dimension).unwrap()
}

/// That these are all regions of the arrangement: each once, with a point that proves it, and as many as
/// Zaslavsky's theorem says, also of the bounded ones.
fn is_all(arrangement: &Arrangement, found: &Block) -> Result<(), TestCaseError> {
    let hyperplanes = arrangement.rows().len();
    let control = Control::new();
    let all = count_regions(arrangement, false, &control).unwrap();
    prop_assert_eq!(BigInt::from(found.len()), all);
    let bounded = found.bounded.iter().filter(|x| **x).count();
    let expected = count_regions(arrangement, true, &control).unwrap();
    prop_assert_eq!(BigInt::from(bounded), expected);
    let mut distinct = HashSet::new();
    for (region, point) in found.points.big().enumerate() {
        let signs = &found.signs[region * hyperplanes..][..hyperplanes];
        prop_assert!(distinct.insert(signs.to_vec()), "a region comes twice");
        let (denominator, numerators) = point.split_last().unwrap();
        prop_assert!(denominator.is_positive());
        for (row, sign) in arrangement.rows().iter().zip(signs) {
            let (side, normal) = row.split_last().unwrap();
            let value: BigInt = normal.iter().zip(numerators).map(|(a, x)| a * x).sum();
            prop_assert_eq!((value - side * denominator).signum(), BigInt::from(*sign));
        }
    }
    Ok(())
}

fn regions(arrangement: &Arrangement) -> Block {
    let control = Control::new();
    RegionSearch::new(arrangement, &control)
        .unwrap()
        .whole(&control)
        .unwrap()
}

/// x_i − x_j = c for i < j and each of the shifts.
fn deformations(dimension: usize, shifts: &[i64]) -> Vec<Vec<i64>> {
    let mut rows = Vec::new();
    for i in 0..dimension {
        for j in i + 1..dimension {
            for c in shifts {
                let mut row = vec![0; dimension + 1];
                (row[i], row[j], row[dimension]) = (1, -1, *c);
                rows.push(row);
            }
        }
    }
    rows
}

#[test]
fn known_arrangements() {
    for (rows, dimension, count) in [
        (vec![], 0, 1),
        (vec![], 3, 1),
        (vec![vec![2, 3]], 1, 2),
        (vec![vec![1, 0, 0], vec![1, 0, 5]], 2, 3),
        (vec![vec![1, 0, 0], vec![0, 1, 0], vec![1, 1, 1]], 2, 7),
        (deformations(4, &[0]), 4, 24),
        (deformations(5, &[0]), 5, 120),
        (deformations(4, &[0, 1]), 4, 125),
        (deformations(4, &[-1, 0, 1]), 4, 24 * 14),
    ] {
        let arrangement = arrangement(&rows, dimension);
        let found = regions(&arrangement);
        assert_eq!(found.len(), count, "{rows:?}");
        is_all(&arrangement, &found).unwrap();
    }
}

/// The faces of every dimension: their alternating sum is (−1)^d, the Euler characteristic of R^d with compact
/// support; each has a point that proves its signs, and none comes twice.
fn are_all_faces(arrangement: &Arrangement) -> Result<(), TestCaseError> {
    let hyperplanes = arrangement.rows().len();
    let control = Control::new();
    let mut distinct = HashSet::new();
    let mut sum = 0i64;
    for dimension in 0..=arrangement.dimension() {
        let found = faces(arrangement, dimension, &control).unwrap();
        sum += if dimension.is_multiple_of(2) { 1 } else { -1 } * found.len() as i64;
        for (face, point) in found.points.big().enumerate() {
            let signs = &found.signs[face * hyperplanes..][..hyperplanes];
            prop_assert!(
                hyperplanes == 0 || distinct.insert(signs.to_vec()),
                "a face comes twice"
            );
            let (denominator, numerators) = point.split_last().unwrap();
            for (row, sign) in arrangement.rows().iter().zip(signs) {
                let (side, normal) = row.split_last().unwrap();
                let value: BigInt = normal.iter().zip(numerators).map(|(a, x)| a * x).sum();
                prop_assert_eq!((value - side * denominator).signum(), BigInt::from(*sign));
            }
        }
    }
    prop_assert_eq!(
        sum,
        if arrangement.dimension().is_multiple_of(2) {
            1
        } else {
            -1
        }
    );
    Ok(())
}

#[test]
fn blocks_are_the_whole() {
    let arrangement = arrangement(&deformations(4, &[-1, 0, 1]), 4);
    let hyperplanes = arrangement.rows().len();
    let control = Control::new();
    let mut search = RegionSearch::new(&arrangement, &control).unwrap();
    let whole = search.whole(&control).unwrap();
    let mut signs = Vec::new();
    let mut blocks = 0;
    while let Some(block) = search.next_block(7, &control).unwrap() {
        blocks += 1;
        signs.extend(block.signs.chunks_exact(hyperplanes).map(<[i8]>::to_vec));
    }
    assert!(blocks > 5);
    signs.sort();
    let mut expected: Vec<_> = whole
        .signs
        .chunks_exact(hyperplanes)
        .map(<[i8]>::to_vec)
        .collect();
    expected.sort();
    assert_eq!(signs, expected);
}

#[test]
fn a_search_stops_when_it_is_told_to() {
    let control = Control::new();
    control.cancel();
    let arrangement = arrangement(&deformations(4, &[0]), 4);
    assert!(RegionSearch::new(&arrangement, &control).is_err());
}

fn rows_strategy(
    entry: impl Strategy<Value = i64> + Clone,
) -> impl Strategy<Value = (usize, Vec<Vec<i64>>)> {
    (1usize..5).prop_flat_map(move |dimension| {
        let row = proptest::collection::vec(entry.clone(), dimension + 1);
        let rows = proptest::collection::vec(row, 0..9);
        rows.prop_map(move |mut rows| {
            rows.retain(|row| row[..dimension].iter().any(|x| *x != 0));
            (dimension, rows)
        })
    })
}

proptest! {
    #[test]
    fn degenerate_arrangements((dimension, rows) in rows_strategy(-1i64..2)) {
        let arrangement = arrangement(&rows, dimension);
        is_all(&arrangement, &regions(&arrangement))?;
    }

    #[test]
    fn faces_of_degenerate_arrangements((dimension, rows) in rows_strategy(-2i64..3)) {
        are_all_faces(&arrangement(&rows, dimension))?;
    }

    #[test]
    fn generic_arrangements((dimension, rows) in rows_strategy(-99i64..100)) {
        let arrangement = arrangement(&rows, dimension);
        is_all(&arrangement, &regions(&arrangement))?;
    }

    #[test]
    fn long_numbers((dimension, rows) in rows_strategy(-(1i64 << 60)..(1 << 60))) {
        let arrangement = arrangement(&rows, dimension);
        is_all(&arrangement, &regions(&arrangement))?;
    }
}
