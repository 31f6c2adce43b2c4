//! The running of jobs in one arithmetic: over flats or over cobases.

use std::sync::Arc;

use num_bigint::BigInt;

use super::estimate::{Random, probe_cobases, probe_flats};
use super::vertex_search::{Method, Tier, VertexSearch};
use crate::arrangement::arithmetic::{
    Field, Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689,
    Mersenne19937, Rational, Residue50,
};
use crate::arrangement::cobases::{Dictionary, zero_lanes, zero_rule};
use crate::arrangement::flats::{
    FieldFlat, FieldScratch, Flat, IntegerFlat, IntegerScratch, Levels, Matrix, walk,
};
use crate::arrangement::input::{Arithmetic, Arrangement};
use crate::arrangement::jobs::{Job, Walk};
use crate::arrangement::planes::PlaneWord;
use crate::{Control, Result, SimdLevel};

/// Runs jobs in one arithmetic.
pub(super) trait Runner: Send {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>);
    /// Let long steps look at this stop flag.
    fn attend(&mut self, control: &Control);
    /// One probe of the size of its tree.
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64>;
    /// How many units of work one unit counts as in this arithmetic.
    fn weight(&self) -> u64;
}

/// Runs jobs over flats in one arithmetic, with a workspace for each level.
struct FlatRunner<F: Flat> {
    whole: F,
    levels: Levels<F>,
    scratch: F::Scratch,
    weight: u64,
}

impl<F> FlatRunner<F>
where
    F: Flat,
{
    fn new(whole: F, scratch: F::Scratch, weight: u64) -> Self {
        let levels = Levels {
            flats: (0..whole.free()).map(|_| F::empty()).collect(),
            held: Vec::new(),
        };
        Self {
            whole,
            levels,
            scratch,
            weight,
        }
    }
}

impl<F> Runner for FlatRunner<F>
where
    F: Flat + Send,
    F::Scratch: Send,
{
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        walk::run(&self.whole, &mut self.levels, job, &mut self.scratch, walk);
    }
    fn attend(&mut self, control: &Control) {
        F::attend(&mut self.scratch, control);
    }
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64> {
        self.levels.held.clear();
        probe_flats(
            &self.whole,
            &mut self.levels.flats,
            &mut self.scratch,
            random,
            control,
        )
    }
    fn weight(&self) -> u64 {
        self.weight
    }
}

fn integer_flats<W: PlaneWord>(
    simd: SimdLevel,
    matrix: &Arc<Matrix<W>>,
    weight: u64,
) -> Box<dyn Runner>
where
    IntegerFlat<W>: Flat<Scratch = IntegerScratch<W>>,
{
    let whole = IntegerFlat::whole(matrix);
    Box::new(FlatRunner::new(
        whole,
        IntegerScratch::new(simd, matrix.clone()),
        weight,
    ))
}

/// Runs jobs over cobases in a field.
struct CobasisRunner<F> {
    arrangement: Arc<Arrangement>,
    terminal: Option<Dictionary<F>>,
}

impl<F: Field> Runner for CobasisRunner<F> {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        if let Some(terminal) = &self.terminal {
            zero_rule::run(terminal, &job, walk);
        }
    }
    fn attend(&mut self, control: &Control) {
        if let Some(terminal) = &mut self.terminal {
            terminal.attend(control);
        }
    }
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64> {
        probe_cobases::<F>(&self.arrangement, random, control)
    }
    fn weight(&self) -> u64 {
        1
    }
}

/// Runs jobs over cobases in vector lanes.
struct LaneRunner(SimdLevel, CobasisRunner<Residue50>);

impl Runner for LaneRunner {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        if let Some(terminal) = &self.1.terminal {
            zero_lanes::run(self.0, terminal, &job, walk);
        }
    }
    fn attend(&mut self, control: &Control) {
        self.1.attend(control);
    }
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64> {
        self.1.probe(random, control)
    }
    fn weight(&self) -> u64 {
        1
    }
}

/// A runner of jobs of `search` in one tier; `None` where the caller has cancelled while it was made.
pub(super) fn runner(
    search: &VertexSearch,
    tier: &Tier,
    control: &Control,
) -> Option<Box<dyn Runner>> {
    let made = match tier {
        Tier::Narrow(matrix) => integer_flats(search.simd, matrix, 1),
        Tier::Wide(matrix) => integer_flats(search.simd, matrix, 8),
        Tier::LaneCobases => Box::new(LaneRunner(search.simd, cobases(search, control))),
        Tier::Field(arithmetic) => match arithmetic {
            Arithmetic::Mersenne61 => in_field::<Mersenne61>(search, 8, control),
            Arithmetic::Mersenne127 => in_field::<Mersenne127>(search, 16, control),
            Arithmetic::Mersenne521 => in_field::<Mersenne521>(search, 1 << 7, control),
            Arithmetic::Mersenne1279 => in_field::<Mersenne1279>(search, 1 << 9, control),
            Arithmetic::Mersenne3217 => in_field::<Mersenne3217>(search, 1 << 12, control),
            Arithmetic::Mersenne9689 => in_field::<Mersenne9689>(search, 1 << 15, control),
            Arithmetic::Mersenne19937 => in_field::<Mersenne19937>(search, 1 << 17, control),
            Arithmetic::Rational => in_field::<Rational>(search, 1 << 18, control),
        },
    };
    control.check().is_ok().then_some(made)
}

fn cobases<F: Field>(search: &VertexSearch, control: &Control) -> CobasisRunner<F> {
    CobasisRunner {
        arrangement: search.arrangement.clone(),
        terminal: Dictionary::terminal(&search.arrangement, control),
    }
}

fn in_field<F: Field + 'static>(
    search: &VertexSearch,
    weight: u64,
    control: &Control,
) -> Box<dyn Runner>
where
    F::Coordinate: Into<BigInt>,
{
    match search.method {
        Method::Flats => Box::new(FlatRunner::new(
            FieldFlat::<F>::whole(&search.arrangement, control),
            FieldScratch::new(control.clone()),
            weight,
        )),
        Method::Zero => Box::new(cobases::<F>(search, control)),
    }
}
