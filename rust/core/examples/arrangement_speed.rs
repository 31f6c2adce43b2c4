//! Time and rate of the arrangement searches on the inputs that the bars name, without Python.
//!
//! `cargo run --release -p hypercomp-core --example arrangement_speed [WORD [THREADS [TIMES]]]` runs
//! those whose name begins with WORD. Of several times the least is given, of the clock and of the
//! processors (all threads together), as other processes disturb the first more than the second.

use std::fmt;
use std::ops::Sub;
use std::time::Instant;

use hypercomp_core::Control;
use hypercomp_core::arrangement::Method;
use hypercomp_core::arrangement::arithmetic::Rational;
use hypercomp_core::arrangement::input::Arithmetic;
use hypercomp_core::arrangement::input::Arrangement;
use hypercomp_core::arrangement::jobs::Wanted;
use hypercomp_core::arrangement::search::{VertexSearch, share};
use num_bigint::BigInt;

/// A small linear congruential generator: the inputs are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * u128::from(limit)) >> 64) as u64
    }

    fn symmetric(&mut self, largest: u64) -> i64 {
        self.below(2 * largest + 1) as i64 - largest as i64
    }
}

fn generic(n: usize, d: usize, largest: u64) -> Vec<Vec<BigInt>> {
    let mut random = Random(1);
    (0..n)
        .map(|_| (0..=d).map(|_| random.symmetric(largest).into()).collect())
        .collect()
}

/// Planes in R^(d+1) of which all but one are parallel to an axis: every vertex lies on that one, and
/// so the whole tree of the search below one child of its root.
fn unbalanced(n: usize, d: usize, largest: u64) -> Vec<Vec<BigInt>> {
    let mut rows = generic(n, d, largest);
    rows.iter_mut().for_each(|row| row.insert(d, 0.into()));
    rows.push((1..=d as u64 + 2).map(BigInt::from).collect());
    rows
}

/// x_i = c and x_i ± x_j = c.
fn type_b(d: usize, constants: &[i64]) -> Vec<Vec<BigInt>> {
    let mut rows = Vec::new();
    for &c in constants {
        for i in 0..d {
            let mut row = vec![BigInt::from(0); d + 1];
            row[i] = 1.into();
            row[d] = c.into();
            rows.push(row);
            for j in i + 1..d {
                for sign in [1, -1] {
                    let mut row = vec![BigInt::from(0); d + 1];
                    row[i] = 1.into();
                    row[j] = sign.into();
                    row[d] = c.into();
                    rows.push(row);
                }
            }
        }
    }
    rows
}

/// The same arrangement in other coordinates: x = T·y for a T of entries up to `largest`.
fn transformed(rows: &[Vec<BigInt>], largest: u64) -> Vec<Vec<BigInt>> {
    let d = rows[0].len() - 1;
    let mut random = Random(2);
    let map: Vec<Vec<BigInt>> = (0..d)
        .map(|_| (0..d).map(|_| random.symmetric(largest).into()).collect())
        .collect();
    rows.iter()
        .map(|row| {
            let mut new: Vec<BigInt> = (0..d)
                .map(|c| (0..d).map(|k| &row[k] * &map[k][c]).sum())
                .collect();
            new.push(row[d].clone());
            new
        })
        .collect()
}

/// Seconds by the clock, and of all processors.
#[derive(Clone, Copy)]
struct Spent {
    clock: f64,
    cpu: f64,
}

impl Spent {
    const MOST: Self = Self {
        clock: f64::INFINITY,
        cpu: f64::INFINITY,
    };

    fn now() -> Self {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let clock = START.get_or_init(Instant::now).elapsed().as_secs_f64();
        #[cfg(target_os = "linux")]
        let cpu = {
            let mut time = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // SAFETY: the pointer is to a timespec that outlives the call.
            unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
            time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
        };
        #[cfg(not(target_os = "linux"))]
        let cpu = clock;
        Self { clock, cpu }
    }

    fn least(self, other: Self) -> Self {
        Self {
            clock: self.clock.min(other.clock),
            cpu: self.cpu.min(other.cpu),
        }
    }
}

impl Sub for Spent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            clock: self.clock - before.clock,
            cpu: self.cpu - before.cpu,
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:.1} ms (cpu {:.1})",
            self.clock * 1e3,
            self.cpu * 1e3
        )
    }
}

fn main() {
    let number = |at, otherwise| {
        std::env::args()
            .nth(at)
            .map_or(otherwise, |n| n.parse().unwrap_or(otherwise))
    };
    let (most, times) = (number(2, 2), number(3, 1));
    let word = std::env::args().nth(1).unwrap_or_default();
    const E18: u64 = 1_000_000_000_000_000_000;
    let b5 = type_b(5, &[-2, -1, 0, 1, 2]);
    let inputs = [
        ("60 in R^4", generic(60, 4, 100), Method::Flats),
        ("50 in R^5", generic(50, 5, 100), Method::Flats),
        ("type B in R^5", b5.clone(), Method::Flats),
        (
            "unbalanced 61 in R^5",
            unbalanced(60, 4, 100),
            Method::Flats,
        ),
        ("big 60 in R^4", generic(60, 4, E18), Method::Flats),
        ("big 50 in R^5", generic(50, 5, E18), Method::Flats),
        (
            "big type B in R^5",
            transformed(&b5, E18 / 2),
            Method::Flats,
        ),
        ("zero 25 in R^5", generic(25, 5, 100), Method::Zero),
        ("plain zero 16 in R^5", generic(16, 5, 100), Method::Zero),
        ("zero 16 in R^5", generic(16, 5, 100), Method::Zero),
        ("zero 40 in R^5", generic(40, 5, 100), Method::Zero),
        ("zero type B of 50 in R^5", type_b(5, &[0, 1]), Method::Zero),
        (
            "zero type B in R^4",
            type_b(4, &[-2, -1, 0, 1, 2]),
            Method::Zero,
        ),
    ];
    for (name, rows, method) in inputs {
        if !name.starts_with(&word) {
            continue;
        }
        let dimension = rows[0].len() - 1;
        let rows: Vec<Vec<Rational>> = rows
            .into_iter()
            .map(|row| row.into_iter().map(Rational::from_integer).collect())
            .collect();
        let arrangement = Arrangement::new(&rows, dimension).expect("no empty hyperplane");
        for threads in [1, 2].into_iter().take(most) {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            let search = if name.starts_with("plain") {
                VertexSearch::in_field(
                    arrangement.clone(),
                    method,
                    Arithmetic::Rational,
                    &Control::new(),
                )
            } else {
                VertexSearch::new(arrangement.clone(), method, &Control::new())
            };
            let search = search.expect("HYPERCOMP_SIMD names a level of this machine");
            let wanted = |coordinates| Wanted {
                coordinates,
                all_flats: false,
            };
            let run = |coordinates| {
                pool.install(|| share::run_whole(&search, wanted(coordinates), &Control::new()))
                    .expect("not cancelled")
            };
            let find = || {
                pool.install(|| share::run_whole_sorted(&search, wanted(true), &Control::new()))
                    .expect("not cancelled")
            };
            let (mut counted, mut count) = (run(false), Spent::MOST);
            let (mut searched, mut sorted) = (Spent::MOST, Spent::MOST);
            for _ in 0..times {
                let start = Spent::now();
                counted = run(false);
                let counting = Spent::now();
                drop(run(true));
                let searching = Spent::now();
                drop(find());
                count = count.least(counting - start);
                searched = searched.least(searching - counting);
                sorted = sorted.least(Spent::now() - searching);
            }
            let vertices = counted.vertices.max(1) as f64;
            println!(
                "{name}, {threads} threads: {} vertices, {} cobases, flats {:?}: count {count}, search {searched}, \
                 sorted {sorted}; {:.1} ns a vertex, {:.0} ns a cobasis",
                counted.vertices,
                counted.cobases,
                counted.flats,
                sorted.cpu * 1e9 / vertices,
                count.cpu * 1e9 / counted.cobases.max(1) as f64,
            );
        }
    }
}
