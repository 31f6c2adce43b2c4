//! An arrangement whose normals span its space, with a linear function to search its regions by.

use std::collections::HashMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};

use super::cones::Cones;
use super::cut::{Lift, cut};
use super::short_point;
use crate::arrangement::arithmetic::exact::{self, Exact};
use crate::arrangement::arithmetic::{Rational, integer};
use crate::arrangement::input::Arrangement;
use crate::arrangement::jobs::{Job, Limits, SearchResult, Wanted};
use crate::arrangement::search::{Method, VertexSearch, Worker, share};
use crate::{Control, Result};

/// Vertices that are held at a time while all of them are looked at.
const BLOCK: u64 = 1 << 16;

/// The least and the largest size of a random coefficient, in bits.
const COEFFICIENT_BITS: std::ops::RangeInclusive<u32> = 3..=40;

/// The numbers of a level in one integer type.
#[derive(Debug)]
pub(super) struct Numbers<N> {
    /// The hyperplanes [a|b], one after the other, those too that are parallel to the level's space.
    pub rows: Vec<N>,
    /// The coefficients of f.
    pub function: Vec<N>,
    /// See [`Lift`].
    pub lift: Vec<Vec<N>>,
    pub divisor: N,
}

impl<N: Exact> Numbers<N> {
    fn new(rows: &[Vec<BigInt>], function: &[BigInt], lift: &Lift) -> Option<Self> {
        let numbers = |row: &[BigInt]| row.iter().map(N::of).collect::<Option<Vec<N>>>();
        Some(Self {
            rows: rows.iter().flatten().map(N::of).collect::<Option<_>>()?,
            function: numbers(function)?,
            lift: lift
                .rows
                .iter()
                .map(|row| numbers(row))
                .collect::<Option<_>>()?,
            divisor: N::of(&lift.divisor)?,
        })
    }
}

/// An arrangement whose normals span its space R^m, a linear function that is not constant on any of its
/// lines, and values of that function beyond all vertices.
#[derive(Debug)]
pub(super) struct Level {
    pub dimension: usize,
    pub search: VertexSearch,
    pub small: Option<Numbers<i64>>,
    pub medium: Option<Numbers<i128>>,
    pub big: Numbers<BigInt>,
    /// For points with few digits.
    pub short: short_point::Rows,
    /// The lift in floats, for the same.
    pub float_lift: Vec<Vec<f64>>,
    /// The hyperplanes [a|b].
    pub rows: Vec<Vec<BigInt>>,
    /// The number of its vertices.
    pub vertices: u64,
    /// Less than the function at every vertex, and more.
    pub beyond: (BigInt, BigInt),
    lift: Lift,
    /// For each hyperplane the number of its normal; parallel ones have the same.
    pub normal_of: Vec<u32>,
    pub normals: Vec<Vec<BigInt>>,
    pub cones: Cones,
}

impl Level {
    /// The level of these hyperplanes [a|b] in R^`dimension`, which `lift` takes to the space. A row whose
    /// coefficients are all 0 misses the level.
    pub(super) fn new(
        rows: Vec<Vec<BigInt>>,
        dimension: usize,
        lift: Lift,
        threads: Threads,
        control: &Control,
    ) -> Result<Self> {
        let search = search_of(&rows, dimension, control)?;
        let lines = if dimension < 2 {
            1
        } else {
            let wanted = Wanted {
                coordinates: false,
                all_flats: true,
            };
            threads.run(&search, wanted, control)?.flats[1]
        };
        let mut attempt = 0;
        let (function, beyond, vertices) = loop {
            let function = random_function(dimension, lines, attempt);
            let (beyond, vertices) = range(&search, &function, control)?;
            let cut = cut(&rows, &function, &beyond.0, control)?;
            let wanted = Wanted {
                coordinates: false,
                all_flats: false,
            };
            // As many vertices on f = −M as there are lines: f is constant on none of them.
            if dimension < 2
                || threads
                    .run(&search_of(&cut, dimension - 1, control)?, wanted, control)?
                    .vertices
                    == lines
            {
                break (function, beyond, vertices);
            }
            attempt += 1;
        };
        let mut numbers = HashMap::new();
        let mut normals = Vec::new();
        let normal_of = rows
            .iter()
            .map(|row| {
                let normal = primitive(&row[..dimension]);
                *numbers.entry(normal).or_insert_with_key(|normal| {
                    normals.push(normal.clone());
                    normals.len() as u32 - 1
                })
            })
            .collect();
        let small = Numbers::<i64>::new(&rows, &function, &lift);
        let divisor = lift.divisor.to_float();
        let float = |row: &Vec<BigInt>| row.iter().map(|x| x.to_float() / divisor).collect();
        Ok(Self {
            dimension,
            search,
            short: short_point::Rows::new(&rows, dimension),
            float_lift: lift.rows.iter().map(float).collect(),
            small,
            medium: Numbers::new(&rows, &function, &lift),
            big: Numbers {
                lift: lift.rows.clone(),
                divisor: lift.divisor.clone(),
                rows: rows.concat(),
                function,
            },
            rows,
            vertices,
            beyond,
            lift,
            normal_of,
            normals,
            cones: Cones::default(),
        })
    }

    /// Whether its coordinates are those of the space.
    pub(super) fn is_the_space(&self) -> bool {
        let Lift { rows, divisor } = &self.lift;
        let one = |row: usize, column: usize| BigInt::from(u8::from(row == column));
        let is_unit = |(row, entries): (usize, &Vec<BigInt>)| {
            entries
                .iter()
                .enumerate()
                .all(|(column, x)| *x == one(row, column))
        };
        *divisor == one(0, 0)
            && rows.len() == self.dimension
            && rows.iter().enumerate().all(is_unit)
    }

    /// The hyperplanes as they meet f = −M, in coordinates without the first.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn below(&self, control: &Control) -> Result<(Vec<Vec<BigInt>>, Lift)> {
        self.at(&self.beyond.0, control)
    }

    /// The hyperplanes as they meet f = +M.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn above(&self, control: &Control) -> Result<(Vec<Vec<BigInt>>, Lift)> {
        self.at(&self.beyond.1, control)
    }

    fn at(&self, value: &BigInt, control: &Control) -> Result<(Vec<Vec<BigInt>>, Lift)> {
        let function = &self.big.function;
        let lift = self.lift.rows.iter().map(|row| {
            // The first coordinate is value − Σ f_i·x_i.
            let (first, rest) = (&row[0], &row[1..]);
            let (constant, coefficients) = match rest.split_last() {
                Some(parts) => parts,
                None => return row.clone(),
            };
            let changed = coefficients.iter().zip(&function[1..]);
            let changed = changed.map(|(x, f)| x - first * f);
            changed.chain([constant + first * value]).collect()
        });
        let lift = Lift {
            rows: lift.collect(),
            divisor: self.lift.divisor.clone(),
        };
        Ok((cut(&self.rows, function, value, control)?, lift))
    }
}

/// How many threads a level may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// Those of the pool.
    All,
    /// This one: for small levels, which threads work on side by side.
    One,
}

impl Threads {
    /// The whole of a search, with vertices in one order.
    pub(super) fn run(
        self,
        search: &VertexSearch,
        wanted: Wanted,
        control: &Control,
    ) -> Result<SearchResult> {
        if self == Self::All {
            return share::run_whole_sorted(search, wanted, control);
        }
        let mut result = SearchResult::new(search.arrangement().dimension());
        let mut jobs = vec![Job::whole()];
        let (mut worker, limits) = (Worker::new(search), Limits::none());
        while let Some(job) = jobs.pop() {
            jobs.extend(worker.run(job, wanted, u64::MAX, &limits, control, &mut result));
            control.check()?;
        }
        Ok(result)
    }
}

/// A search of the vertices of those rows that meet the space properly.
fn search_of(rows: &[Vec<BigInt>], dimension: usize, control: &Control) -> Result<VertexSearch> {
    let meets = |row: &&Vec<BigInt>| row[..dimension].iter().any(|x| !x.is_zero());
    let rows: Vec<Vec<Rational>> = rows
        .iter()
        .filter(meets)
        .map(|row| row.iter().cloned().map(Rational::from).collect())
        .collect();
    let arrangement = Arrangement::from_rows(rows.into_iter(), dimension, control)?;
    VertexSearch::new(arrangement, Method::Flats, control)
}

/// The primitive multiple of a normal whose first entry that is not 0 is positive.
fn primitive(normal: &[BigInt]) -> Vec<BigInt> {
    let mut normal = normal.to_vec();
    exact::reduce(&mut normal);
    let lead = normal.iter().find(|x| !x.is_zero());
    if lead.is_some_and(Signed::is_negative) {
        normal.iter_mut().for_each(|x| *x = -&*x);
    }
    normal
}

/// Coefficients of a function: 1, then random ones, so large that it is probably not constant on any
/// of so many lines. The same for the same arguments.
fn random_function(dimension: usize, lines: u64, attempt: u32) -> Vec<BigInt> {
    let (least, most) = COEFFICIENT_BITS.into_inner();
    let bits = (64 - lines.leading_zeros() + 2 + 2 * attempt).clamp(least, most);
    let mut state = u64::from(attempt);
    let mut coefficient = || {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as i64 >> (63 - bits)
    };
    (0..dimension)
        .map(|i| {
            if i == 0 {
                BigInt::from(1)
            } else {
                coefficient().into()
            }
        })
        .collect()
}

/// Integers below and above the function at all vertices, and the number of vertices.
fn range(
    search: &VertexSearch,
    function: &[BigInt],
    control: &Control,
) -> Result<((BigInt, BigInt), u64)> {
    let small: Option<Vec<i128>> = function.iter().map(i128::of).collect();
    let limbs = search.limbs();
    let wanted = Wanted {
        coordinates: true,
        all_flats: false,
    };
    let mut jobs = vec![Job::whole()];
    let mut found: Option<(BigInt, BigInt)> = None;
    let mut vertices = 0;
    while !jobs.is_empty() {
        let limits = Limits::new(Some(BLOCK), None);
        let (result, left) = share::run(search, jobs, wanted, &limits, control)?;
        control.check()?;
        jobs = left;
        vertices += result.vertices;
        let (mut least, mut most) = (i128::MAX, i128::MIN);
        for vertex in result.numbers.chunks_exact((function.len() + 1) * limbs) {
            control.check()?;
            // ⌊f(v)⌋.
            let floor = match (&small, limbs) {
                (Some(function), 1) => {
                    let point = vertex.iter().map(|x| i128::from(*x as i64));
                    let point: Vec<i128> = point.collect();
                    exact::dot(&point[..function.len()], function)
                        .and_then(|value| value.floor_divided(&point[function.len()]))
                }
                _ => None,
            };
            if let Some(floor) = floor {
                (least, most) = (least.min(floor), most.max(floor));
                continue;
            }
            let point: Vec<BigInt> = vertex.chunks_exact(limbs).map(integer).collect();
            let value: BigInt = point.iter().zip(function).map(|(x, f)| x * f).sum();
            widen(&mut found, value.div_floor(&point[function.len()]));
        }
        if least <= most {
            widen(&mut found, least.into());
            widen(&mut found, most.into());
        }
    }
    let (least, most) = found.unwrap_or_default();
    Ok(((least - 1, most + 2), vertices))
}

fn widen(range: &mut Option<(BigInt, BigInt)>, value: BigInt) {
    match range {
        None => *range = Some((value.clone(), value)),
        Some((least, most)) => {
            if value < *least {
                *least = value;
            } else if value > *most {
                *most = value;
            }
        }
    }
}
