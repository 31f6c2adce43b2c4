//! The arrangement engine against facts, brute force, and the statements about the Zero rule.

mod brute_force;

use std::collections::HashSet;

use brute_force::{brute_force, points};

use hypercomp_core::arrangement::arithmetic::Mersenne61;
use hypercomp_core::arrangement::arithmetic::{Field, Rational};
use hypercomp_core::arrangement::cobases::{Dictionary, IntegerDictionary, Tableau, zero_rule};
use hypercomp_core::arrangement::input::Arithmetic;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::output::{Coordinates, Vertices};
use hypercomp_core::arrangement::{Method, vertices, vertices_in};
use hypercomp_core::{Control, ErrorKind};
use num_bigint::BigInt;
use proptest::prelude::*;

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

fn find(arrangement: &Arrangement, method: Method) -> Vertices {
    vertices(arrangement, method, &Control::new()).unwrap()
}

/// Small arrangements, most of them degenerate: few values, repeated and scaled rows.
fn small_arrangements() -> impl Strategy<Value = Arrangement> {
    (0usize..=4, 1i64..=3)
        .prop_flat_map(|(dimension, largest)| {
            let row = proptest::collection::vec(-largest..=largest, dimension + 1);
            let rows = proptest::collection::vec(row, 0..9);
            (rows, Just(dimension))
        })
        .prop_map(|(rows, dimension)| {
            let rows: Vec<_> = rows
                .into_iter()
                .filter(|row| row[..dimension].iter().any(|x| *x != 0))
                .collect();
            arrangement(&rows, dimension)
        })
}

fn sorted(cobasis: &[u32]) -> Vec<u32> {
    let mut cobasis = cobasis.to_vec();
    cobasis.sort_unstable();
    cobasis
}

/// The four statements, and the fifth, of `zero_rule`, at every cobasis below `dictionary`.
fn check_zero_rule(
    dictionary: &Dictionary<Mersenne61>,
    dimension: usize,
    seen: &mut HashSet<Vec<u32>>,
    reported: &mut Vec<Vec<u32>>,
) {
    assert!(
        seen.insert(sorted(&dictionary.cobasis)),
        "each cobasis once"
    );
    if zero_rule::reports(dictionary) {
        reported.push(sorted(&dictionary.cobasis));
    }
    // Forward to the terminal.
    let mut at = dictionary.clone();
    let (mut pivots, mut last) = (0, None);
    while let Some((row, column)) = zero_rule::forward(&at) {
        let leaving = at.cobasis[column];
        assert!(last.is_none_or(|last| last < leaving), "j* rises");
        last = Some(leaving);
        assert!(at.pivot(row, column));
        pivots += 1;
    }
    assert!(pivots <= dimension);
    // Reverse pivots against a trial of every exchange.
    let read_off: HashSet<(usize, usize)> = zero_rule::reverse(dictionary).into_iter().collect();
    for row in 0..dictionary.others.len() {
        for column in 0..dictionary.cobasis.len() {
            if dictionary.entry(row, column).is_zero() {
                assert!(!read_off.contains(&(row, column)));
                continue;
            }
            let mut child = dictionary.clone();
            assert!(child.pivot(row, column));
            let returns = zero_rule::forward(&child) == Some((row, column));
            assert_eq!(returns, read_off.contains(&(row, column)), "if and only if");
            if returns {
                check_zero_rule(&child, dimension, seen, reported);
            }
        }
    }
}

/// Dictionaries in a field and in integers have their zeros in the same places, and so on all the way down;
/// the number of cobases.
fn agree(field: &Dictionary<Mersenne61>, integers: &IntegerDictionary) -> usize {
    assert_eq!(field.cobasis(), integers.cobasis());
    assert_eq!(field.others(), integers.others());
    for row in 0..field.others().len() {
        for column in 0..=field.cobasis().len() {
            assert_eq!(field.vanishes(row, column), integers.vanishes(row, column));
        }
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    field.push_vertex(1, &mut one);
    integers.push_vertex(1, &mut other);
    // One is in lowest terms, the other is a multiple.
    let (&by, &times) = (one.last().unwrap(), other.last().unwrap());
    for (x, y) in one.iter().zip(&other) {
        assert_eq!(x.wrapping_mul(times), y.wrapping_mul(by));
    }
    let pivots = zero_rule::reverse(integers);
    assert_eq!(zero_rule::reverse(field), pivots);
    let children = pivots.into_iter().map(|(row, column)| {
        let (mut field, mut integers) = (field.clone(), integers.clone());
        assert!(field.pivot(row, column) && integers.pivot(row, column));
        agree(&field, &integers)
    });
    1 + children.sum::<usize>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_method_and_field_agrees_with_brute_force(arrangement in small_arrangements()) {
        let (expected, cobases) = brute_force(&arrangement);
        let expected: Vec<_> = expected.into_iter().collect();
        for method in [Method::Flats, Method::Zero] {
            let control = Control::new();
            let chosen = vertices(&arrangement, method, &control).unwrap();
            prop_assert_eq!(&points(&chosen), &expected);
            if method == Method::Zero {
                prop_assert_eq!(chosen.cobases, Some(cobases.len() as u64));
            }
            prop_assert_eq!(&vertices_in(Arithmetic::Mersenne61, &arrangement, method, &control).unwrap(), &chosen);
            prop_assert_eq!(&vertices_in(Arithmetic::Mersenne127, &arrangement, method, &control).unwrap(), &chosen);
            prop_assert_eq!(&vertices_in(Arithmetic::Mersenne521, &arrangement, method, &control).unwrap(), &chosen);
            prop_assert_eq!(&vertices_in(Arithmetic::Rational, &arrangement, method, &control).unwrap(), &chosen);
        }
    }

    #[test]
    fn the_statements_about_the_zero_rule_hold(arrangement in small_arrangements()) {
        let (expected, cobases) = brute_force(&arrangement);
        let Some(terminal) = Dictionary::<Mersenne61>::terminal(&arrangement, &Control::new()) else {
            prop_assert!(cobases.is_empty());
            return Ok(());
        };
        prop_assert!(zero_rule::forward(&terminal).is_none());
        let largest = cobases.iter().map(|c| c.iter().rev().collect::<Vec<_>>()).max();
        let found = sorted(&terminal.cobasis);
        prop_assert_eq!(largest, Some(found.iter().rev().collect()));
        let (mut seen, mut reported) = (HashSet::new(), Vec::new());
        check_zero_rule(&terminal, arrangement.dimension(), &mut seen, &mut reported);
        let integers = IntegerDictionary::terminal(&arrangement, &Control::new());
        let visited = agree(&terminal, &integers.expect("a terminal"));
        prop_assert_eq!(visited, cobases.len());
        prop_assert_eq!(seen, cobases);
        prop_assert_eq!(reported.len(), expected.len());
    }

    #[test]
    fn large_numbers_are_as_exact_as_small_ones(
        arrangement in small_arrangements(),
        exponents in proptest::collection::vec(0usize..60, 5),
    ) {
        // A change of scale of each coordinate changes minors by known factors, and so the field
        // that is chosen, but not which of them vanish.
        let dimension = arrangement.dimension();
        let rows: Vec<Vec<Rational>> = arrangement.rows().iter().map(|row| {
            row.iter().enumerate().map(|(c, x)| {
                let shift = if c < dimension { exponents[c] } else { 0 };
                Rational::from_integer(x << shift)
            }).collect()
        }).collect();
        let scaled = Arrangement::new(&rows, dimension).unwrap();
        for method in [Method::Flats, Method::Zero] {
            let mut expected: Vec<Vec<Rational>> = points(&find(&arrangement, method));
            for point in &mut expected {
                for (x, shift) in point.iter_mut().zip(&exponents) {
                    *x /= Rational::from_integer(BigInt::from(1) << shift);
                }
            }
            expected.sort();
            prop_assert_eq!(points(&find(&scaled, method)), expected);
        }
    }

    #[test]
    fn neither_the_order_of_rows_nor_the_threads_matter(
        rows in proptest::collection::vec(proptest::collection::vec(-2i64..=2, 4), 0..12),
        threads in 1usize..4,
    ) {
        let mut rows: Vec<_> = rows.into_iter().filter(|r| r[..3] != [0, 0, 0]).collect();
        let expected = find(&arrangement(&rows, 3), Method::Flats);
        rows.reverse();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            for method in [Method::Flats, Method::Zero] {
                let found = find(&arrangement(&rows, 3), method);
                assert_eq!(found.coordinates, expected.coordinates);
            }
        });
    }
}

#[test]
fn spaces_and_arrangements_without_much_in_them() {
    for method in [Method::Flats, Method::Zero] {
        assert_eq!(find(&arrangement(&[], 0), method).len(), 1, "R⁰ is a point");
        assert_eq!(find(&arrangement(&[vec![0]], 0), method).len(), 1);
        assert!(find(&arrangement(&[], 3), method).is_empty());
        assert!(find(&arrangement(&[vec![1, 0, 0]], 2), method).is_empty());
        // Parallel planes, and planes that all contain one line.
        assert!(find(&arrangement(&[vec![1, 1, 0], vec![1, 1, 1]], 2), method).is_empty());
        let pencil = [vec![1, 0, 0, 0], vec![0, 1, 0, 0], vec![1, 1, 0, 0]];
        assert!(find(&arrangement(&pencil, 3), method).is_empty());
        let line = [vec![2, 4], vec![1, 2], vec![3, -1], vec![0, 0]];
        let found = find(&arrangement(&line, 1), method);
        assert_eq!(found.coordinates, Coordinates::Small(vec![-1, 3, 2, 1]));
    }
}

#[test]
fn a_cancelled_search_stops() {
    let control = Control::new();
    control.cancel();
    let rows: Vec<Vec<i64>> = (0..30).map(|i| vec![1, i, i * i, i * i * i]).collect();
    for method in [Method::Flats, Method::Zero] {
        let error = vertices(&arrangement(&rows, 3), method, &control).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
