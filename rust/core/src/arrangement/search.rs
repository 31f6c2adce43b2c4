//! A search: what it runs in, and the running of its jobs.
//!
//! Flats are kept in the narrowest integers that hold them: doubles' integers, then 128 bits, then
//! residues modulo a prime beyond Hadamard's bound or fractions. A subtree whose numbers outgrow one is
//! done again in the next, from its root; as nothing of it has been reported, nothing is reported
//! twice.

use std::sync::{Arc, OnceLock};

use num_bigint::BigInt;

use super::bound::{Arithmetic, Bound};
use super::dictionary::Dictionary;
use super::estimate::{Random, probe_cobases, probe_flats};
use super::field::{Field, Rational};
use super::flats::{Flat, Scratch};
use super::frame::Frame;
use super::input::Arrangement;
use super::job::{Harvest, Job, Limits, Meter, Walk, Wanted};
use super::mersenne::{Mersenne61, Mersenne127};
use super::restriction::{Desk, Matrix, Restriction};
use super::space::Space;
use super::vertex::push_integer;
use super::walk;
use super::wide::{Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689, Mersenne19937};
use super::word::Word;
use super::zero_lanes::{self, Residue50};
use super::{Method, zero_rule};
use crate::{Control, Result, SimdLevel};

/// A search of an arrangement, ready to run jobs.
#[derive(Clone, Debug)]
pub struct Search {
    arrangement: Arc<Arrangement>,
    method: Method,
    simd: SimdLevel,
    limbs: usize,
    tiers: Vec<Tier>,
}

/// One arithmetic that a search can run in.
#[derive(Clone, Debug)]
enum Tier {
    Narrow(Arc<Matrix<i64>>),
    Wide(Arc<Matrix<i128>>),
    /// The Zero rule modulo a prime below 2⁵⁰.
    Lanes,
    Field(Arithmetic),
}

/// Runs jobs in one arithmetic.
trait Runner: Send {
    fn run(&mut self, job: Job, walk: &mut Walk<'_>);
    /// Let long steps look at this stop flag.
    fn attend(&mut self, control: &Control);
    /// One probe of the size of its tree.
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64>;
    /// What a unit of work costs here.
    fn weight(&self) -> u64;
}

/// A walk over flats in one arithmetic, with its workspace.
struct Flats<F: walk::Flat> {
    whole: F,
    levels: Vec<F>,
    desk: F::Desk,
    weight: u64,
}

impl<F> Flats<F>
where
    F: walk::Flat,
{
    fn new(whole: F, desk: F::Desk, weight: u64) -> Self {
        let levels = (0..whole.free()).map(|_| F::empty()).collect();
        Self {
            whole,
            levels,
            desk,
            weight,
        }
    }
}

impl<F> Runner for Flats<F>
where
    F: walk::Flat + Send,
    F::Desk: Send,
{
    fn run(&mut self, job: Job, walk: &mut Walk<'_>) {
        walk::run(&self.whole, &mut self.levels, job, &mut self.desk, walk);
    }
    fn attend(&mut self, control: &Control) {
        F::attend(&mut self.desk, control);
    }
    fn probe(&mut self, random: &mut Random, control: &Control) -> Result<f64> {
        probe_flats(
            &self.whole,
            &mut self.levels,
            &mut self.desk,
            random,
            control,
        )
    }
    fn weight(&self) -> u64 {
        self.weight
    }
}

fn integer_flats<W: Word>(simd: SimdLevel, matrix: &Arc<Matrix<W>>, weight: u64) -> Box<dyn Runner>
where
    Restriction<W>: walk::Flat<Desk = Desk<W>>,
{
    let whole = Restriction::whole(matrix);
    Box::new(Flats::new(whole, Desk::new(simd, matrix.clone()), weight))
}

/// A walk in a field.
struct Cobases<F> {
    arrangement: Arc<Arrangement>,
    terminal: Option<Dictionary<F>>,
}

impl<F: Field> Runner for Cobases<F> {
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

/// A walk over cobases in vector lanes.
struct CobasesInLanes(SimdLevel, Cobases<Residue50>);

impl Runner for CobasesInLanes {
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

impl Search {
    /// Prepare a search on the level that is in use.
    ///
    /// # Errors
    /// Those of [`SimdLevel::in_use`].
    pub fn new(arrangement: Arrangement, method: Method) -> Result<Self> {
        Ok(Self::on(SimdLevel::in_use()?, arrangement, method))
    }

    /// Prepare a search on this level.
    pub fn on(simd: SimdLevel, arrangement: Arrangement, method: Method) -> Self {
        let bound = Bound::of(arrangement.rows(), arrangement.dimension());
        let arithmetic = bound.arithmetic();
        let mut tiers = Vec::new();
        if method == Method::Flats && arrangement.dimension() >= 2 {
            tiers.extend(machine_tiers(simd, &arrangement, &bound));
        }
        let in_lanes = bound.is_below(zero_lanes::PRIME) && zero_lanes::is_worthwhile(simd);
        if method == Method::Zero && in_lanes {
            tiers.push(Tier::Lanes);
        } else {
            tiers.push(Tier::Field(arithmetic));
        }
        Self {
            limbs: bound.coordinate_limbs(),
            arrangement: Arc::new(arrangement),
            method,
            simd,
            tiers,
        }
    }

    /// The same search in one field only, which the caller knows to be sufficient: the plain twin
    /// of the others.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_field(
        arrangement: Arrangement,
        method: Method,
        arithmetic: Arithmetic,
    ) -> Result<Self> {
        Ok(Self {
            tiers: vec![Tier::Field(arithmetic)],
            ..Self::new(arrangement, method)?
        })
    }

    /// What is searched.
    pub fn arrangement(&self) -> &Arrangement {
        &self.arrangement
    }

    /// How.
    pub fn method(&self) -> Method {
        self.method
    }

    /// 64-bit words of each coordinate.
    pub fn limbs(&self) -> usize {
        self.limbs
    }

    /// Estimates of the number of vertices, or of cobases for the Zero rule, whose mean is that
    /// number; `probes` of them, independent of each other.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn probes(&self, probes: usize, seed: u64, control: &Control) -> Result<Vec<f64>> {
        let mut random = Random::new(seed);
        if self.arrangement.dimension() == 0 {
            return Ok(vec![1.0; probes]);
        }
        let Some(tier) = self.tiers.last() else {
            return Ok(Vec::new());
        };
        let mut runner = self.runner(tier, control);
        (0..probes)
            .map(|_| runner.probe(&mut random, control))
            .collect()
    }

    fn runner(&self, tier: &Tier, control: &Control) -> Box<dyn Runner> {
        match tier {
            Tier::Narrow(matrix) => integer_flats(self.simd, matrix, 1),
            Tier::Wide(matrix) => integer_flats(self.simd, matrix, 8),
            Tier::Lanes => Box::new(CobasesInLanes(self.simd, self.cobases(control))),
            Tier::Field(arithmetic) => match arithmetic {
                Arithmetic::Mersenne61 => self.in_a::<Mersenne61>(8, control),
                Arithmetic::Mersenne127 => self.in_a::<Mersenne127>(16, control),
                Arithmetic::Mersenne521 => self.in_a::<Mersenne521>(1 << 7, control),
                Arithmetic::Mersenne1279 => self.in_a::<Mersenne1279>(1 << 9, control),
                Arithmetic::Mersenne3217 => self.in_a::<Mersenne3217>(1 << 12, control),
                Arithmetic::Mersenne9689 => self.in_a::<Mersenne9689>(1 << 15, control),
                Arithmetic::Mersenne19937 => self.in_a::<Mersenne19937>(1 << 17, control),
                Arithmetic::Rational => self.in_a::<Rational>(1 << 18, control),
            },
        }
    }

    fn cobases<F: Field>(&self, control: &Control) -> Cobases<F> {
        Cobases {
            arrangement: self.arrangement.clone(),
            terminal: Dictionary::terminal(&self.arrangement, control),
        }
    }

    fn in_a<F: Field + 'static>(&self, weight: u64, control: &Control) -> Box<dyn Runner>
    where
        F::Coordinate: Into<BigInt>,
    {
        match self.method {
            Method::Flats => Box::new(Flats::new(
                Flat::<F>::whole(&self.arrangement, control),
                Scratch::new(control.clone()),
                weight,
            )),
            Method::Zero => Box::new(self.cobases::<F>(control)),
        }
    }
}

/// The searches in machine integers, in coordinates that make them short.
fn machine_tiers(simd: SimdLevel, arrangement: &Arrangement, bound: &Bound) -> Vec<Tier> {
    let (dimension, limbs) = (arrangement.dimension(), bound.coordinate_limbs());
    // Coordinates of one word are in lowest terms, which other coordinates than the space's are not.
    let frame = (limbs > 1).then(|| Frame::of(arrangement)).flatten();
    let frame = frame.map(|frame| (Bound::of(&frame.rows, dimension), frame));
    // With a little gained, going from one to the other costs more.
    let framed = frame.filter(|(other, _)| other.bits() * 4 < bound.bits() * 3);
    let (bound, rows, map) = match &framed {
        Some((bound, frame)) => (bound, &frame.rows[..], Some(&frame.map[..])),
        None => (bound, arrangement.rows(), None),
    };
    let space = Space::new(simd, dimension + 1, limbs, map);
    let minors_fit = bound.arithmetic() == Arithmetic::Mersenne61;
    let narrow = Matrix::new(rows, dimension + 1, minors_fit, &space);
    let mut tiers: Vec<Tier> = narrow
        .into_iter()
        .map(|m| Tier::Narrow(Arc::new(m)))
        .collect();
    if bound.limbs() <= 6 {
        let wide = Matrix::new(rows, dimension + 1, minors_fit, &space);
        tiers.extend(wide.map(|m| Tier::Wide(Arc::new(m))));
    }
    tiers
}

/// A thread's part in a search: its workspaces, made when first needed.
pub struct Worker<'a> {
    search: &'a Search,
    runners: Vec<OnceLock<Box<dyn Runner>>>,
}

impl<'a> Worker<'a> {
    /// A worker without workspaces yet.
    pub fn new(search: &'a Search) -> Self {
        Self {
            search,
            runners: search.tiers.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// Run one job for `work` units or so: what was found is added to `harvest`, and what is left
    /// comes back as jobs.
    pub fn run(
        &mut self,
        job: Job,
        wanted: Wanted,
        work: u64,
        limits: &Limits,
        control: &Control,
        harvest: &mut Harvest,
    ) -> Vec<Job> {
        let search = self.search;
        let mut walk = Walk {
            meter: Meter::new(control, limits, work),
            wanted,
            limbs: search.limbs,
            harvest: std::mem::take(harvest),
            path: Vec::new(),
            remaining: Vec::new(),
            outgrown: Vec::new(),
        };
        if search.arrangement.dimension() == 0 {
            point(job, &mut walk);
        } else {
            let mut jobs = vec![job];
            for (tier, runner) in search.tiers.iter().zip(&mut self.runners) {
                runner.get_or_init(|| search.runner(tier, control));
                let Some(runner) = runner.get_mut() else {
                    break;
                };
                if control.check().is_err() {
                    // A workspace whose making was stopped is not to be used.
                    walk.remaining.append(&mut jobs);
                    break;
                }
                runner.attend(control);
                walk.meter.weight = runner.weight();
                for job in jobs.drain(..) {
                    if walk.meter.stopped() {
                        walk.remaining.push(job);
                    } else {
                        runner.run(job, &mut walk);
                    }
                }
                jobs = std::mem::take(&mut walk.outgrown);
                if jobs.is_empty() {
                    break;
                }
            }
        }
        *harvest = walk.harvest;
        // What the last arithmetic did not do was stopped in the middle of a step.
        walk.remaining.append(&mut walk.outgrown);
        walk.remaining
    }
}

/// The space is a point, the empty intersection, and that is a vertex.
fn point(job: Job, walk: &mut Walk<'_>) {
    if job.from > 0 {
        return;
    }
    if walk.meter.reserve(1) == 0 {
        walk.remaining.push(job);
        return;
    }
    walk.harvest.vertices += 1;
    walk.harvest.cobases += 1;
    if walk.wanted.coordinates {
        push_integer(&1.into(), walk.limbs, &mut walk.harvest.numbers);
    }
}
