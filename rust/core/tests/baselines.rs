//! The baselines against the searches that are measured by them, on degenerate arrangements.

use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::baselines::{self, Baseline};
use hypercomp_core::arrangement::input::Arithmetic;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::{Method, vertices};
use hypercomp_core::{Control, ErrorKind};
use proptest::prelude::*;

const BASELINES: [Baseline; 3] = [Baseline::Moss, Baseline::CrissCross, Baseline::Fractions];

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

fn agrees(arrangement: &Arrangement) {
    let control = Control::new();
    let zero = vertices(arrangement, Method::Zero, &control).unwrap();
    for kind in BASELINES {
        let found = baselines::vertices(arrangement, kind, &control).unwrap();
        assert_eq!(found.vertices, zero, "{kind:?} on {arrangement:?}");
        assert!(found.pivots + 1 >= found.cobases);
        if kind == Baseline::Moss && found.cobases > 0 {
            assert_eq!(found.pivots, 2 * (found.cobases - 1), "there and back");
        }
        let exact =
            baselines::vertices_in(Arithmetic::Rational, arrangement, kind, &control).unwrap();
        assert_eq!(
            (exact.vertices, exact.pivots),
            (found.vertices, found.pivots)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn baselines_find_what_the_zero_rule_finds(
        (rows, dimension) in (0usize..=4, 1i64..=3).prop_flat_map(|(dimension, largest)| {
            let row = prop::collection::vec(-largest..=largest, dimension + 1);
            (prop::collection::vec(row, 0..9), Just(dimension))
        }),
    ) {
        agrees(&arrangement(&rows, dimension));
    }

    #[test]
    fn large_numbers_too(rows in prop::collection::vec(prop::collection::vec(any::<i64>(), 4), 0..7)) {
        agrees(&arrangement(&rows, 3));
    }
}

#[test]
fn arrangements_with_names() {
    // Braid: one vertex, of n^(n−2) cobases.
    let braid: Vec<Vec<i64>> = (0..5)
        .flat_map(|i| (i + 1..5).map(move |j| (i, j)))
        .map(|(i, j)| {
            (0..5)
                .map(|k| i64::from(k == i && k < 4) - i64::from(k == j && k < 4))
                .collect()
        })
        .collect();
    agrees(&arrangement(&braid, 4));
    let control = Control::new();
    for kind in BASELINES {
        let found = baselines::vertices(&arrangement(&braid, 4), kind, &control).unwrap();
        assert_eq!((found.vertices.len(), found.cobases), (1, 125));
    }
    let vandermonde: Vec<Vec<i64>> = (1..10).map(|t| vec![1, t, t * t, t * t * t]).collect();
    agrees(&arrangement(&vandermonde, 3));
}

#[test]
fn cancelled_baselines_stop() {
    let control = Control::new();
    control.cancel();
    let rows: Vec<Vec<i64>> = (0..30).map(|i| vec![1, i, i * i, i * i * i]).collect();
    for kind in BASELINES {
        let error = baselines::vertices(&arrangement(&rows, 3), kind, &control).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
