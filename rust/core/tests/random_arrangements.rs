//! Random arrangements, degenerate by construction, against brute force in fractions.
//!
//! CI runs some hundreds. `ARRANGEMENTS=10000 cargo test --release -p hypercomp-core --test
//! random_arrangements` runs ten thousand of each kind.

mod brute_force;

use std::collections::BTreeSet;

use brute_force::{brute_force, points, subsets};
use hypercomp_core::arrangement::arithmetic::Mersenne61;
use hypercomp_core::arrangement::arithmetic::PRIME_50;
use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::input::Bound;
use hypercomp_core::arrangement::jobs::{Job, Limits, SearchResult, Wanted};
use hypercomp_core::arrangement::output::Points;
use hypercomp_core::arrangement::search::{VertexSearch, Worker, share};
use hypercomp_core::arrangement::{Method, vertices_in, vertices_on};
use hypercomp_core::{Control, SimdLevel};
use num_bigint::BigInt;
use proptest::prelude::*;

const COORDINATES: Wanted = Wanted {
    coordinates: true,
    all_flats: false,
};

fn cases() -> ProptestConfig {
    let count = std::env::var("ARRANGEMENTS")
        .ok()
        .and_then(|n| n.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count.unwrap_or(300))
    }
}

/// How a row is made of those before it.
#[derive(Clone, Debug)]
enum Row {
    Fresh,
    Parallel(usize),
    Scaled(usize, i64),
    /// Parallel but for 10⁻¹² of one coefficient.
    Near(usize, usize),
    /// The sum of two: through the intersection of both.
    Sum(usize, usize),
}

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        6 => Just(Row::Fresh),
        1 => any::<usize>().prop_map(Row::Parallel),
        1 => (any::<usize>(), prop_oneof![Just(-2i64), Just(3)]).prop_map(|(i, k)| Row::Scaled(i, k)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(i, c)| Row::Near(i, c)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(i, j)| Row::Sum(i, j)),
    ]
}

/// Entries of one arrangement: tiny, small, of 10¹⁸, or around a prime: of keys, or of slopes.
fn entry(kind: u8) -> BoxedStrategy<i128> {
    let p = i128::from(if kind == 5 {
        Mersenne61::PRIME
    } else {
        PRIME_50
    });
    let huge = 1_000_000_000_000_000_000i128;
    match kind {
        0 | 1 => (-1i128..=1).boxed(),
        2 => (-9i128..=9).boxed(),
        3 => (-huge..=huge).boxed(),
        4 => prop_oneof![Just(huge), Just(-huge), Just(huge - 1), -1i128..=1].boxed(),
        _ => prop_oneof![Just(p), Just(-p), Just(p + 1), Just(2 * p), -1i128..=1].boxed(),
    }
}

fn arrangements() -> impl Strategy<Value = Arrangement> {
    (1usize..=4, 0u8..7, any::<bool>())
        .prop_flat_map(|(d, kind, low_rank)| {
            let most = [0, 14, 10, 9, 8][d];
            let numbers = proptest::collection::vec(entry(kind), d + 1);
            let rows = proptest::collection::vec((row(), numbers), 0..most);
            (rows, Just(d), Just(low_rank && kind % 2 == 0), moved(d))
        })
        .prop_map(|(rows, d, low_rank, map)| made(rows, d, low_rank, map))
}

/// Another basis and origin, or none: coordinates in which the same arrangement has long entries.
fn moved(d: usize) -> impl Strategy<Value = Option<Vec<Vec<i64>>>> {
    let numbers = prop_oneof![-9i64..10, -1_000_000_000_000i64..1_000_000_000_000];
    let map = proptest::collection::vec(proptest::collection::vec(numbers, d), d + 1);
    prop_oneof![2 => Just(None), 1 => map.prop_map(Some)]
}

fn made(
    rows: Vec<(Row, Vec<i128>)>,
    d: usize,
    low_rank: bool,
    map: Option<Vec<Vec<i64>>>,
) -> Arrangement {
    let mut made: Vec<Vec<Rational>> = Vec::new();
    for (row, mut numbers) in rows {
        if low_rank && d > 1 {
            numbers[d - 1] = numbers[0];
        }
        let fresh: Vec<Rational> = numbers.iter().map(|x| BigInt::from(*x).into()).collect();
        let old = |i: usize| {
            made.get(i % made.len().max(1))
                .cloned()
                .unwrap_or(fresh.clone())
        };
        let new = match row {
            Row::Fresh => fresh.clone(),
            Row::Parallel(i) => {
                let mut new = old(i);
                new[d] = fresh[d].clone();
                new
            }
            Row::Scaled(i, by) => {
                let by = Rational::from_integer(by.into());
                old(i).into_iter().map(|x| x * &by).collect()
            }
            Row::Near(i, c) => {
                let mut new = old(i);
                new[c % d] += Rational::new(1.into(), BigInt::from(10).pow(12));
                new
            }
            Row::Sum(i, j) => old(i).into_iter().zip(old(j)).map(|(x, y)| x + y).collect(),
        };
        if new[..d].iter().any(|x| *x != Rational::default()) {
            made.push(new);
        }
    }
    if let Some(map) = map {
        made = made.iter().map(|row| seen_from(row, &map)).collect();
        made.retain(|row| row[..d].iter().any(|x| *x != Rational::default()));
    }
    Arrangement::new(&made, d).unwrap()
}

/// A row in coordinates y, where x is y times the first rows of the map, less the last one.
fn seen_from(row: &[Rational], map: &[Vec<i64>]) -> Vec<Rational> {
    let (origin, basis) = map.split_last().unwrap();
    let big = |x: i64| Rational::from_integer(x.into());
    let along = |c: usize| (0..basis.len()).map(|k| &row[k] * big(basis[k][c])).sum();
    let mut new: Vec<Rational> = (0..basis.len()).map(along).collect();
    let shift: Rational = new.iter().zip(origin).map(|(a, x)| a * big(*x)).sum();
    new.push(&row[basis.len()] + shift);
    new
}

fn sorted(search: &VertexSearch, numbers: Vec<u64>) -> Vec<Vec<Rational>> {
    let points = Points {
        dimension: search.arrangement().dimension(),
        limbs: search.limbs(),
        numbers,
    };
    self::points(&points.vertices(None).unwrap())
}

/// The number of flats of each dimension, by the closure of every subset of hyperplanes.
fn flats(arrangement: &Arrangement) -> Vec<u64> {
    let d = arrangement.dimension();
    let mut found = vec![BTreeSet::new(); d + 1];
    let rows = arrangement.rows();
    for k in 0..=d.min(rows.len()) {
        for subset in subsets(rows.len(), k) {
            let chosen: Vec<usize> = subset.clone();
            let rank = |rows: &[usize], width: usize| rank(arrangement, rows, width);
            if rank(&chosen, d) < k || rank(&chosen, d + 1) > k {
                continue;
            }
            let closure: Vec<usize> = (0..rows.len())
                .filter(|i| {
                    let with: Vec<usize> = chosen.iter().copied().chain([*i]).collect();
                    rank(&with, d + 1) == k
                })
                .collect();
            found[d - k].insert(closure);
        }
    }
    found.iter().map(|flats| flats.len() as u64).collect()
}

/// Rank of these rows' first `width` entries.
fn rank(arrangement: &Arrangement, rows: &[usize], width: usize) -> usize {
    let mut matrix: Vec<Vec<Rational>> = rows
        .iter()
        .map(|&i| {
            arrangement.rows()[i][..width]
                .iter()
                .cloned()
                .map(Into::into)
                .collect()
        })
        .collect();
    let mut rank = 0;
    for column in 0..width {
        let Some(pivot) = (rank..matrix.len()).find(|&r| matrix[r][column] != Rational::default())
        else {
            continue;
        };
        matrix.swap(rank, pivot);
        let (done, rest) = matrix.split_at_mut(rank + 1);
        for row in rest {
            let factor = &row[column] / &done[rank][column];
            for (x, y) in row.iter_mut().zip(&done[rank]) {
                *x -= &factor * y;
            }
        }
        rank += 1;
    }
    rank
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn vertices_are_those_of_brute_force(arrangement in arrangements()) {
        let (expected, cobases) = brute_force(&arrangement);
        let expected: Vec<_> = expected.into_iter().collect();
        for method in [Method::Flats, Method::Zero] {
            for simd in SimdLevel::available() {
                let found = vertices_on(simd, &arrangement, method, &Control::new()).unwrap();
                prop_assert_eq!(&points(&found), &expected, "{}", simd);
                if method == Method::Zero {
                    prop_assert_eq!(found.cobases, Some(cobases.len() as u64));
                }
            }
        }
    }

    /// In residues beside exact integers, also where shorter numbers would do: the same vertices, the same flats on
    /// the way, and however the search is cut into runs.
    #[test]
    fn residues_find_the_vertices_of_brute_force(
        arrangement in arrangements(),
        budgets in proptest::collection::vec(1u64..30_000, 1..5),
        rooms in proptest::collection::vec(1u64..4, 1..4),
    ) {
        let control = Control::new();
        let (expected, _) = brute_force(&arrangement);
        let expected: Vec<_> = expected.into_iter().collect();
        let other = VertexSearch::new(arrangement.clone(), Method::Flats, &control).unwrap();
        let other = share::run_whole(&other, COORDINATES, &control).unwrap();
        for simd in SimdLevel::available() {
            let search = VertexSearch::in_residues(simd, arrangement.clone(), &control).unwrap();
            let whole = share::run_whole(&search, COORDINATES, &control).unwrap();
            prop_assert_eq!(&whole.flats, &other.flats);
            prop_assert_eq!(sorted(&search, whole.numbers), expected.clone());
            let mut worker = Worker::new(&search);
            let mut found = SearchResult::new(arrangement.dimension());
            let mut jobs = vec![Job::whole()];
            let mut step = 0;
            while let Some(job) = jobs.pop() {
                let room = (step % 3 == 0).then(|| rooms[step % rooms.len()]);
                let (budget, limits) = (budgets[step % budgets.len()], Limits::new(room, None));
                jobs.extend(worker.run(job, COORDINATES, budget, &limits, &control, &mut found));
                step += 1;
            }
            prop_assert_eq!(&found.flats, &whole.flats);
            prop_assert_eq!(sorted(&search, found.numbers), expected.clone());
        }
    }

    /// However a search is cut into runs, each vertex is found once.
    #[test]
    fn runs_of_any_budget_add_up(
        arrangement in arrangements(),
        budgets in proptest::collection::vec(1u64..3000, 1..5),
        rooms in proptest::collection::vec(1u64..4, 1..4),
    ) {
        for method in [Method::Flats, Method::Zero] {
            let search = VertexSearch::new(arrangement.clone(), method, &Control::new()).unwrap();
            let whole = share::run_whole(&search, COORDINATES, &Control::new()).unwrap();
            let mut worker = Worker::new(&search);
            let mut found = SearchResult::new(arrangement.dimension());
            let mut jobs = vec![Job::whole()];
            let mut step = 0;
            while let Some(job) = jobs.pop() {
                let room = (step % 3 == 0).then(|| rooms[step % rooms.len()]);
                let before = found.vertices;
                jobs.extend(worker.run(
                    job,
                    COORDINATES,
                    budgets[step % budgets.len()],
                    &Limits::new(room, None),
                    &Control::new(),
                    &mut found,
                ));
                prop_assert!(room.is_none_or(|room| found.vertices - before <= room));
                step += 1;
            }
            prop_assert_eq!(found.vertices, whole.vertices);
            prop_assert_eq!(found.cobases, whole.cobases);
            prop_assert_eq!(&found.flats, &whole.flats);
            prop_assert_eq!(sorted(&search, found.numbers), sorted(&search, whole.numbers));
        }
    }

    #[test]
    fn flats_are_the_closed_sets(arrangement in arrangements()) {
        let search = VertexSearch::new(arrangement.clone(), Method::Flats, &Control::new()).unwrap();
        let wanted = Wanted { coordinates: false, all_flats: true };
        let mut found = share::run_whole(&search, wanted, &Control::new()).unwrap().flats;
        // The space itself is not below itself.
        found[arrangement.dimension()] += 1;
        prop_assert_eq!(found, flats(&arrangement));
    }
}

/// Minors that the primes of the keys and of the slopes divide and that are not zero: rows that agree
/// modulo one of them must not be taken for one, and the subtree is done again in a wider arithmetic.
#[test]
fn a_bad_prime_is_noticed() {
    for prime in [Mersenne61::PRIME, PRIME_50] {
        let p = BigInt::from(prime);
        let big = BigInt::from(10).pow(18);
        let row = |numbers: [BigInt; 4]| numbers.map(Rational::from_integer).to_vec();
        let n = |x: i64| BigInt::from(x);
        let rows = vec![
            row([n(1), n(0), n(0), n(0)]),
            row([n(0), n(1), n(0), n(0)]),
            // The same as the last on x = 0 modulo p, and a multiple of p in every coefficient.
            row([big.clone(), &p + 1, p.clone(), n(0)]),
            row([n(3), p.clone(), 2 * &p, 5 * &p]),
            row([n(7), n(2), n(1), n(1)]),
            row([big, n(2) + &p, n(1), n(1) + 3 * &p]),
        ];
        let arrangement = Arrangement::new(&rows, 3).unwrap();
        let (expected, _) = brute_force(&arrangement);
        for method in [Method::Flats, Method::Zero] {
            for simd in SimdLevel::available() {
                let found = vertices_on(simd, &arrangement, method, &Control::new()).unwrap();
                assert_eq!(points(&found), expected.iter().cloned().collect::<Vec<_>>());
            }
        }
    }
}

/// Long entries because of the coordinates alone: found in other ones, beside a search in a field, which
/// knows of none.
#[test]
fn moved_arrangements_have_moved_vertices() {
    let mut rows: Vec<Vec<Rational>> = Vec::new();
    let scale = 1_000_000_007i64;
    let map: Vec<Vec<i64>> = vec![
        vec![scale, -scale / 3, 12],
        vec![scale / 7, 5, scale / 11],
        vec![-scale / 2, scale - 1, 1],
        vec![scale, 3, -scale],
    ];
    for (a, b) in [(1, 1), (1, -1), (0, 1), (1, 0)] {
        for c in -2..=2 {
            for k in 0..3 {
                let mut row = vec![Rational::default(); 4];
                row[k] = Rational::from_integer(a.into());
                row[(k + 1) % 3] = Rational::from_integer(b.into());
                row[3] = Rational::from_integer(c.into());
                rows.push(seen_from(&row, &map));
            }
        }
    }
    let arrangement = Arrangement::new(&rows, 3).unwrap();
    let expected = vertices_in(
        Bound::of(arrangement.rows(), 3, &Control::new())
            .unwrap()
            .arithmetic(),
        &arrangement,
        Method::Flats,
        &Control::new(),
    )
    .unwrap();
    assert!(expected.len() > 100);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for simd in SimdLevel::available() {
            let control = Control::new();
            let find = || vertices_on(simd, &arrangement, Method::Flats, &control);
            assert_eq!(pool.install(find).unwrap(), expected, "{simd}");
        }
    }
}
