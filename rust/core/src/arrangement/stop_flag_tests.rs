//! No step of a call is long: between two looks at the stop flag there are at most [`LONGEST`], whatever the
//! shape of the input. `STEPS=1000 cargo test --release stop_flag` looks at so many random shapes, and
//! prints the longest step of each call.
//!
//! Flats and polynomials whose minors have more than 19,937 bits are left out. They run in fractions, where one
//! greatest common divisor can take longer. The default method for such numbers is the Zero rule.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use num_bigint::BigInt;

use super::arithmetic::Rational;
use super::input::{Arithmetic, Arrangement, Bound};
use super::intersections::{self, Lattice};
use super::jobs::{Job, Limits, Wanted};
use super::output::{Points, incidence, signs};
use super::regions::RegionSearch;
use super::search::{Method, VertexSearch, share};
use crate::control::gauge;
use crate::{Control, Result};

/// What was asked.
const LONGEST: Duration = Duration::from_millis(50);
/// The same where nobody asked for the figures: other tests run at the same time, and share the processor's
/// caches and units.
const LONGEST_BESIDE_OTHERS: Duration = Duration::from_millis(200);
/// A call is stopped after so long.
const PATIENCE: Duration = Duration::from_millis(150);
/// Digits of an input: as many as a file of a few megabytes has.
const MOST_DIGITS: usize = 3_000_000;
const MOST_ENTRIES: usize = 300_000;
const CASES: u64 = 12;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// A number from 1 to `most` whose logarithm is drawn evenly.
    fn size(&mut self, most: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((most as f64 + 0.999).powf(unit) as usize).clamp(1, most)
    }

    fn number(&mut self, digits: usize) -> BigInt {
        let bits = (digits as f64 * std::f64::consts::LOG2_10) as u64;
        let words = (0..bits.div_ceil(32)).map(|_| self.next() as u32);
        let number = BigInt::from(num_bigint::BigUint::new(words.collect()));
        let number = number >> (bits.div_ceil(32) * 32 - bits);
        if self.below(2) == 0 { number } else { -number }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Integers,
    Fractions,
    /// Few different normals, through few points.
    Degenerate,
    /// Rows that do not span the space.
    Flat,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: Kind,
    n: usize,
    d: usize,
    digits: usize,
}

fn shape(random: &mut Random) -> Shape {
    loop {
        let kind = [
            Kind::Integers,
            Kind::Fractions,
            Kind::Degenerate,
            Kind::Flat,
        ][random.below(4)];
        let d = random.size(200);
        // Half of the shapes have hardly more rows than dimensions.
        let n = if random.below(2) == 0 {
            d + random.below(4)
        } else {
            random.size(10_000)
        };
        let digits = if matches!(kind, Kind::Degenerate) {
            1
        } else {
            random.size(10_000)
        };
        if n * (d + 1) <= MOST_ENTRIES && n * (d + 1) * digits <= MOST_DIGITS {
            return Shape { kind, n, d, digits };
        }
    }
}

fn rows(shape: Shape, random: &mut Random) -> Vec<Vec<Rational>> {
    let Shape { kind, n, d, digits } = shape;
    let mut row = |at: usize| -> Vec<Rational> {
        (0..=d)
            .map(|column| match kind {
                Kind::Integers => random.number(digits).into(),
                Kind::Fractions => {
                    let denominator = random.number(digits) * 2 + 1;
                    Rational::new(random.number(digits), denominator)
                }
                Kind::Degenerate => BigInt::from(random.below(3) as i64 - 1).into(),
                Kind::Flat if column == at % d.max(1) => BigInt::from(0).into(),
                Kind::Flat if column == 0 => BigInt::from(0).into(),
                Kind::Flat => random.number(digits).into(),
            })
            .collect()
    };
    let rows = (0..n).map(&mut row).collect::<Vec<_>>();
    // A row whose normal is 0 is refused.
    let meets = |row: &Vec<Rational>| row[..d].iter().any(|x| *x.numer() != BigInt::from(0));
    rows.into_iter().filter(meets).collect()
}

/// A run of all jobs that ends in time.
fn searched(
    arrangement: &Arrangement,
    method: Method,
    coordinates: bool,
    control: &Control,
) -> Result<(VertexSearch, Vec<u64>)> {
    let search = VertexSearch::new(arrangement.clone(), method, control)?;
    let wanted = Wanted {
        coordinates,
        all_flats: false,
    };
    // An end by limits, after which the result is sorted.
    let limits = Limits::new(None, Some(PATIENCE / 2));
    let (found, _) = share::run_sorted(&search, vec![Job::whole()], wanted, &limits, control)?;
    Ok((search, found.numbers))
}

fn calls(rows: &[Vec<Rational>], d: usize, report: &mut impl FnMut(&str, Duration)) {
    let control = || Control::new().until(Instant::now().checked_add(PATIENCE));
    let mut timed = |name: &str, call: &mut dyn FnMut(&Control) -> Result<()>| {
        let control = control();
        let (longest, result) = gauge::longest(|| call(&control));
        report(name, longest);
        result.is_ok()
    };
    let mut made = None;
    timed("input", &mut |control| {
        made = Some(Arrangement::from_rows(rows.iter().cloned(), d, control)?);
        Ok(())
    });
    let Some(arrangement) = made else { return };
    let bound = Bound::of(arrangement.rows(), d, &Control::new()).unwrap();
    let in_fractions = bound.arithmetic() == Arithmetic::Rational;
    for (method, coordinates, name) in [
        (Method::Flats, true, "flats"),
        (Method::Flats, false, "flats, counted"),
        (Method::Zero, true, "zero"),
    ] {
        if in_fractions && method == Method::Flats {
            continue;
        }
        let mut found = None;
        timed(name, &mut |control| {
            found = Some(searched(&arrangement, method, coordinates, control)?);
            Ok(())
        });
        if let (Some((search, numbers)), true) = (found, coordinates) {
            let points = Points {
                dimension: d,
                limbs: search.limbs(),
                numbers,
            };
            timed("incidence", &mut |control| {
                incidence(&arrangement, &points, control).map(|_| ())
            });
            timed("signs", &mut |control| {
                signs(&arrangement, &points, control).map(|_| ())
            });
        }
        if in_fractions {
            continue;
        }
        timed("probes", &mut |control| {
            let search = VertexSearch::new(arrangement.clone(), method, control)?;
            search.probes(4, 0, control).map(|_| ())
        });
    }
    timed("regions", &mut |control| {
        RegionSearch::new(&arrangement, control)?
            .whole(control)
            .map(|_| ())
    });
    if in_fractions {
        return;
    }
    timed("polynomial", &mut |control| {
        intersections::characteristic_polynomial(&arrangement, control).map(|_| ())
    });
    timed("lattice", &mut |control| {
        Lattice::new(&arrangement, 0, control).map(|_| ())
    });
}

#[test]
fn no_step_is_long() {
    let cases: u64 = std::env::var("STEPS").map_or(CASES, |cases| cases.parse().unwrap());
    let seed: u64 = std::env::var("SEED").map_or(0, |seed| seed.parse().unwrap());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut worst: BTreeMap<String, (Duration, String)> = BTreeMap::new();
    pool.install(|| {
        for case in 0..cases {
            let mut random = Random(seed + case);
            let shape = shape(&mut random);
            if cases > CASES {
                println!("seed {}: {shape:?}", seed + case);
            }
            let rows = rows(shape, &mut random);
            calls(&rows, shape.d, &mut |name, longest| {
                let entry = worst.entry(name.into()).or_default();
                if longest > entry.0 {
                    *entry = (longest, format!("{shape:?}, seed {}", seed + case));
                }
            });
        }
    });
    for (name, (longest, shape)) in &worst {
        println!("{name}: {longest:?} at {shape}");
    }
    let accepted = if cases > CASES {
        LONGEST
    } else {
        LONGEST_BESIDE_OTHERS
    };
    let late: Vec<_> = worst
        .iter()
        .filter(|(_, (longest, _))| *longest > accepted)
        .collect();
    assert!(
        late.is_empty(),
        "steps without a look at the stop flag: {late:#?}"
    );
}
