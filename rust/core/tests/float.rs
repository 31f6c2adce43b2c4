//! The search in floats beside the exact one, on input that is clear at its tolerance.

use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::float;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::output::{Coordinates, Vertices};
use hypercomp_core::arrangement::{Method, vertices};
use hypercomp_core::{Control, ErrorKind};
use num_bigint::BigInt;
use proptest::prelude::*;

fn arrangement(rows: &[Vec<i64>], dimension: usize) -> Arrangement {
    let rows: Vec<Vec<Rational>> = rows
        .iter()
        .filter(|row| row[..dimension].iter().any(|x| *x != 0))
        .map(|row| {
            row.iter()
                .map(|x| Rational::from_integer((*x).into()))
                .collect()
        })
        .collect();
    Arrangement::new(&rows, dimension).unwrap()
}

fn exactly(arrangement: &Arrangement) -> Vertices {
    vertices(arrangement, Method::Flats, &Control::new()).unwrap()
}

fn rounded(found: &Vertices) -> Vec<Vec<f64>> {
    let Coordinates::Small(numbers) = &found.coordinates else {
        panic!("small input")
    };
    let d = found.dimension;
    numbers
        .chunks_exact(d + 1)
        .map(|v| v[..d].iter().map(|x| *x as f64 / v[d] as f64).collect())
        .collect()
}

/// Every point of one list is near one of the other; as many of them.
fn same_points(a: &[Vec<f64>], b: &[f64], dimension: usize) -> bool {
    let b: Vec<&[f64]> = b.chunks_exact(dimension.max(1)).collect();
    let near = |p: &[f64], q: &[f64]| {
        p.iter()
            .zip(q)
            .all(|(x, y)| (x - y).abs() <= 1e-9 * (1.0 + x.abs()))
    };
    dimension == 0 || (a.len() == b.len() && a.iter().all(|p| b.iter().any(|q| near(p, q))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn clear_input_gives_the_exact_vertices_rounded(
        (rows, dimension) in (0usize..=4, 1i64..=9).prop_flat_map(|(dimension, largest)| {
            let row = prop::collection::vec(-largest..=largest, dimension + 1);
            (prop::collection::vec(row, 0..10), Just(dimension))
        }),
    ) {
        let arrangement = arrangement(&rows, dimension);
        let expected = exactly(&arrangement);
        let found = float::vertices(&arrangement, 1e-9, &Control::new()).unwrap();
        prop_assert_eq!(found.vertices, expected.len());
        prop_assert_eq!(found.near_decisions, 0);
        prop_assert!(same_points(&rounded(&expected), &found.coordinates, dimension));
    }

    #[test]
    fn the_unit_of_length_the_scale_of_rows_and_the_threads_do_not_matter(
        rows in prop::collection::vec(prop::collection::vec(-3i64..=3, 4), 0..10),
        (length, side) in (-200i32..200, -200i32..200),
        factors in prop::collection::vec(-200i32..200, 10),
        threads in 1usize..4,
    ) {
        // Powers of two, of which the scaling makes the same floats again.
        let power = |e: i32| if e < 0 {
            Rational::new(1.into(), BigInt::from(1) << -e)
        } else {
            Rational::from_integer(BigInt::from(1) << e)
        };
        let plain: Vec<Vec<Rational>> = rows.iter().filter(|row| row[..3] != [0, 0, 0])
            .map(|row| row.iter().map(|x| Rational::from_integer((*x).into())).collect()).collect();
        let scaled: Vec<Vec<Rational>> = plain.iter().zip(&factors).map(|(row, f)| {
            row.iter().enumerate().map(|(c, x)| x * power(f + if c < 3 { length } else { side })).collect()
        }).collect();
        let expected = float::vertices(&Arrangement::new(&plain, 3).unwrap(), 1e-9, &Control::new()).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| {
            float::vertices(&Arrangement::new(&scaled, 3).unwrap(), 1e-9, &Control::new()).unwrap()
        });
        prop_assert_eq!(found.vertices, expected.vertices);
        let unit = f64::from(length - side).exp2();
        let points: Vec<Vec<f64>> = found.coordinates.chunks_exact(3)
            .map(|p| p.iter().map(|x| x * unit).collect()).collect();
        prop_assert!(same_points(&points, &expected.coordinates, 3));
    }
}

#[test]
fn what_is_closer_than_the_tolerance_is_one_and_near_it_is_counted() {
    // x = 0, and x = e/10⁹.
    let pair = |e: i64| {
        arrangement(
            &[vec![1_000_000_000, 0], vec![1_000_000_000, e], vec![1, 1]],
            1,
        )
    };
    let count = |e, tolerance| {
        let found = float::vertices(&pair(e), tolerance, &Control::new()).unwrap();
        (found.vertices, found.near_decisions)
    };
    assert_eq!(count(1, 1e-12), (3, 0));
    assert_eq!(count(1, 2e-9), (2, 1));
    assert_eq!(count(1, 5e-10), (3, 1));
    assert_eq!(count(1, 1e-7), (2, 0));
}

#[test]
fn spaces_and_arrangements_without_much_in_them() {
    let count = |rows: &[Vec<i64>], d| {
        float::vertices(&arrangement(rows, d), 1e-9, &Control::new())
            .unwrap()
            .vertices
    };
    assert_eq!(count(&[], 0), 1);
    assert_eq!(count(&[], 3), 0);
    assert_eq!(count(&[vec![1, 1, 0], vec![1, 1, 1]], 2), 0);
    assert_eq!(count(&[vec![2, 4], vec![1, 2], vec![3, -1]], 1), 2);
}

#[test]
fn beyond_the_range_of_floats_is_an_error() {
    let huge = Rational::from_integer(BigInt::from(10).pow(400));
    let one = Rational::from_integer(1.into());
    let found = float::vertices(
        &Arrangement::new(&[vec![one, huge]], 1).unwrap(),
        1e-9,
        &Control::new(),
    );
    assert_eq!(found.unwrap_err().kind(), ErrorKind::TooLarge);
    let control = Control::new();
    control.cancel();
    let rows: Vec<Vec<i64>> = (0..30).map(|i| vec![1, i, i * i, i * i * i]).collect();
    let error = float::vertices(&arrangement(&rows, 3), 1e-9, &control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}
