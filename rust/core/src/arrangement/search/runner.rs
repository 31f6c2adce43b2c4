//! Execution of jobs in one arithmetic, over flats or over cobases.

use std::marker::PhantomData;
use std::sync::Arc;

use num_bigint::BigInt;

use super::estimate::{Probe, Random, probe_cobases, probe_flats};
use super::vertex_search::{Method, Tier, VertexSearch};
use super::workspaces::Runner;
use crate::arrangement::arithmetic::{
    Field, Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689,
    Mersenne19937, Rational, Residue50,
};
use crate::arrangement::cobases::{Dictionary, IntegerDictionary, Tableau, zero_lanes, zero_rule};
use crate::arrangement::flats::{
    FieldFlat, FieldScratch, Flat, IntegerFlat, IntegerScratch, Levels, Matrix, ResidueFlat,
    ResidueScratch, walk,
};
use crate::arrangement::input::{Arithmetic, Arrangement};
use crate::arrangement::jobs::{BUDGET, Job, Walk};
use crate::arrangement::planes::PlaneWord;
use crate::{Control, Result, SimdLevel};

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
            flats: (0..whole.dimension()).map(|_| F::empty()).collect(),
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
    fn set_control(&mut self, control: &Control) {
        F::set_control(&mut self.scratch, control);
    }
    fn probe(
        &mut self,
        random: &mut Random,
        depth: usize,
        control: &Control,
    ) -> Result<Option<Probe>> {
        self.levels.held.clear();
        F::set_control(&mut self.scratch, control);
        probe_flats(
            &self.whole,
            &mut self.levels.flats,
            &mut self.scratch,
            random,
            depth,
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

/// Runs jobs over cobases on one kind of dictionary. Probes run in a field.
struct CobasisRunner<T, F> {
    arrangement: Arc<Arrangement>,
    terminal: Option<T>,
    field: PhantomData<F>,
    weight: u64,
}

impl<T: Tableau + Send, F: Field> Runner for CobasisRunner<T, F> {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        if let Some(terminal) = &self.terminal {
            zero_rule::run(terminal, &job, walk);
        }
    }
    fn set_control(&mut self, control: &Control) {
        if let Some(terminal) = &mut self.terminal {
            terminal.set_control(control);
        }
    }
    fn probe(&mut self, random: &mut Random, _: usize, control: &Control) -> Result<Option<Probe>> {
        let weight = probe_cobases::<F>(&self.arrangement, random, control)?;
        Ok(Some(Probe {
            weight,
            node: Vec::new(),
        }))
    }
    fn weight(&self) -> u64 {
        self.weight
    }
}

/// Runs jobs over cobases in vector lanes.
struct LaneRunner(SimdLevel, CobasisRunner<Dictionary<Residue50>, Residue50>);

impl Runner for LaneRunner {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        if let Some(terminal) = &self.1.terminal {
            zero_lanes::run(self.0, terminal, &job, walk);
        }
    }
    fn set_control(&mut self, control: &Control) {
        self.1.set_control(control);
    }
    fn probe(
        &mut self,
        random: &mut Random,
        depth: usize,
        control: &Control,
    ) -> Result<Option<Probe>> {
        self.1.probe(random, depth, control)
    }
    fn weight(&self) -> u64 {
        self.1.weight
    }
}

/// A runner for jobs of `search` in one tier. `None` if the caller has cancelled.
pub(super) fn runner(
    search: &VertexSearch,
    tier: &Tier,
    control: &Control,
) -> Option<Box<dyn Runner>> {
    let made = match tier {
        Tier::Narrow(matrix) => integer_flats(search.simd, matrix, 1),
        Tier::Wide(matrix) => integer_flats(search.simd, matrix, 8),
        Tier::Residues(matrix) => Box::new(FlatRunner::new(
            ResidueFlat::whole(matrix),
            ResidueScratch::new(search.simd, matrix.clone()),
            matrix.weight(),
        )),
        Tier::LaneCobases => {
            let terminal = Dictionary::terminal(&search.arrangement, control);
            Box::new(LaneRunner(search.simd, cobases(search, terminal, 8)))
        }
        Tier::Field(arithmetic) => in_arithmetic(search, *arithmetic, false, control),
        Tier::IntegerCobases(arithmetic) => in_arithmetic(search, *arithmetic, true, control),
    };
    control.check().is_ok().then_some(made)
}

/// A runner in this field. If `integers`, it runs over cobases in integers of any size, and uses the field
/// only for probes.
fn in_arithmetic(
    search: &VertexSearch,
    arithmetic: Arithmetic,
    integers: bool,
    control: &Control,
) -> Box<dyn Runner> {
    match arithmetic {
        Arithmetic::Mersenne61 => in_field::<Mersenne61>(search, 8, integers, control),
        Arithmetic::Mersenne127 => in_field::<Mersenne127>(search, 16, integers, control),
        Arithmetic::Mersenne521 => in_field::<Mersenne521>(search, 1 << 7, integers, control),
        Arithmetic::Mersenne1279 => in_field::<Mersenne1279>(search, 1 << 9, integers, control),
        Arithmetic::Mersenne3217 => in_field::<Mersenne3217>(search, 1 << 12, integers, control),
        Arithmetic::Mersenne9689 => in_field::<Mersenne9689>(search, 1 << 15, integers, control),
        Arithmetic::Mersenne19937 => in_field::<Mersenne19937>(search, 1 << 17, integers, control),
        Arithmetic::Rational => in_field::<Rational>(search, 1 << 18, integers, control),
    }
}

/// `nanoseconds` are those that a pivot takes for each entry of a dictionary.
fn cobases<T, F>(
    search: &VertexSearch,
    terminal: Option<T>,
    nanoseconds: u64,
) -> CobasisRunner<T, F> {
    // A job begins with a pivot for each dimension. A budget has to be long beside that.
    const PIVOTS: usize = 12;
    let (n, d) = (
        search.arrangement.rows().len(),
        search.arrangement.dimension(),
    );
    let entries = d * n.saturating_sub(d);
    let most = BUDGET / (PIVOTS * d * entries).max(1) as u64;
    CobasisRunner {
        arrangement: search.arrangement.clone(),
        terminal,
        field: PhantomData,
        weight: nanoseconds.min(most).max(1),
    }
}

fn in_field<F: Field + 'static>(
    search: &VertexSearch,
    weight: u64,
    integers: bool,
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
        Method::Zero if integers => {
            let terminal = IntegerDictionary::terminal(&search.arrangement, control);
            // A product and a division of big integers.
            let products = (search.limbs * search.limbs) as u64;
            Box::new(cobases::<_, F>(search, terminal, 300 + products))
        }
        Method::Zero => {
            let terminal = Dictionary::<F>::terminal(&search.arrangement, control);
            Box::new(cobases::<_, F>(search, terminal, 4 * weight))
        }
    }
}
