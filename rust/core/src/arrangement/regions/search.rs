//! The search of the regions, level by level.

use std::collections::HashSet;

use num_bigint::BigInt;
use rayon::prelude::*;

use super::cone::{Scratch, direction, step};
use super::cut::Lift;
use super::exact::{Exact, dot};
use super::flat_part::FlatPart;
use super::level::{Level, Numbers, Threads};
use super::short_point;
use crate::arrangement::arithmetic::integer;
use crate::arrangement::input::Arrangement;
use crate::arrangement::jobs::{Job, Limits, Wanted};
use crate::arrangement::output::Coordinates;
use crate::arrangement::search::share;
use crate::{Control, Result};

/// Vertices that a thread takes at a time.
const CHUNK: usize = 256;

/// Some regions of an arrangement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// For each region the sign of every hyperplane, a·x − b, at its points: −1 or 1.
    pub signs: Vec<i8>,
    /// A point inside each region: d numerators and a positive denominator, in lowest terms.
    pub points: Coordinates,
    /// Whether each region is bounded.
    pub bounded: Vec<bool>,
    width: usize,
}

impl Block {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            signs: Vec::new(),
            points: Coordinates::Small(Vec::new()),
            bounded: Vec::new(),
            width: dimension + 1,
        }
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.bounded.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bounded.is_empty()
    }

    /// The points as big integers.
    pub fn big_points(&self) -> impl Iterator<Item = Vec<BigInt>> + '_ {
        (0..self.len()).map(|region| {
            let part = region * self.width..(region + 1) * self.width;
            match &self.points {
                Coordinates::Small(numbers) => {
                    numbers[part].iter().map(|x| BigInt::from(*x)).collect()
                }
                Coordinates::Big(numbers) => numbers[part].to_vec(),
            }
        })
    }

    fn push_point<N: Exact>(&mut self, point: &[N]) {
        if let Coordinates::Small(numbers) = &mut self.points {
            let at = numbers.len();
            for x in point {
                match x.to_word() {
                    Some(x) => numbers.push(x),
                    None => break,
                }
            }
            if numbers.len() == at + point.len() {
                return;
            }
            numbers.truncate(at);
            self.points = Coordinates::Big(numbers.iter().map(|x| (*x).into()).collect());
        }
        if let Coordinates::Big(numbers) = &mut self.points {
            numbers.extend(point.iter().map(Exact::to_big));
        }
    }

    /// The same regions, with the signs of these hyperplanes among `all`; those of the others are 0.
    pub(super) fn spread(mut self, hyperplanes: &[usize], all: usize) -> Self {
        let mut signs = vec![0; self.len() * all];
        for region in 0..self.len() {
            for (at, hyperplane) in hyperplanes.iter().enumerate() {
                signs[region * all + hyperplane] = self.signs[region * hyperplanes.len() + at];
            }
        }
        self.signs = signs;
        self
    }

    pub(super) fn add(&mut self, other: Self) {
        self.signs.extend(other.signs);
        self.bounded.extend(other.bounded);
        match (&mut self.points, other.points) {
            (Coordinates::Small(numbers), Coordinates::Small(more)) => numbers.extend(more),
            (Coordinates::Big(numbers), Coordinates::Big(more)) => numbers.extend(more),
            (Coordinates::Big(numbers), Coordinates::Small(more)) => {
                numbers.extend(more.into_iter().map(BigInt::from));
            }
            (Coordinates::Small(numbers), Coordinates::Big(more)) => {
                let all = numbers.iter().map(|x| BigInt::from(*x)).chain(more);
                self.points = Coordinates::Big(all.collect());
            }
        }
    }
}

/// Signs as bits.
fn packed(signs: &[i8]) -> Box<[u64]> {
    signs
        .chunks(64)
        .map(|signs| {
            let bits = signs.iter().enumerate();
            bits.fold(0, |word, (at, sign)| word | u64::from(*sign > 0) << at)
        })
        .collect()
}

/// A search of the regions of an arrangement, which gives them block by block.
#[derive(Debug)]
pub struct RegionSearch {
    dimension: usize,
    levels: Vec<Level>,
    /// The signs of the regions that meet f = +M; `None` if no region is bounded.
    above: Option<HashSet<Box<[u64]>>>,
    threads: Threads,
    /// The level that comes next, and what is left of its search.
    at: usize,
    jobs: Vec<Job>,
}

impl RegionSearch {
    /// Prepare a search. The vertices are visited twice for it, and the regions of d − 1 dimensions once.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and those of
    /// [`SimdLevel::in_use`](crate::SimdLevel::in_use).
    pub fn new(arrangement: &Arrangement, control: &Control) -> Result<Self> {
        let whole = FlatPart::new(arrangement, &[])?;
        Self::of_part(whole, arrangement.dimension(), Threads::All, control)
    }

    /// The faces of an arrangement that are open in a flat: the regions of what the other hyperplanes cut
    /// out of it. The search knows the hyperplanes that do not contain the flat, in their order.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn on_flat(
        arrangement: &Arrangement,
        basis: &[u32],
        threads: Threads,
        control: &Control,
    ) -> Result<Self> {
        let part = FlatPart::new(arrangement, basis)?;
        Self::of_part(part, arrangement.dimension(), threads, control)
    }

    fn of_part(
        part: FlatPart,
        dimension: usize,
        threads: Threads,
        control: &Control,
    ) -> Result<Self> {
        let search = Self::of_level(
            part.rows,
            part.dimension,
            part.lift,
            part.spanning,
            threads,
            control,
        )?;
        Ok(Self {
            dimension,
            ..search
        })
    }

    /// A search of rows whose normals span R^`dimension`, which does not say what is bounded.
    pub(super) fn of_rows(
        rows: Vec<Vec<BigInt>>,
        dimension: usize,
        threads: Threads,
        control: &Control,
    ) -> Result<Self> {
        let entry = |row: usize, column: usize| BigInt::from(u8::from(row == column));
        let lift = (0..dimension)
            .map(|row| (0..=dimension).map(|column| entry(row, column)).collect())
            .collect();
        Self::of_level(
            rows,
            dimension,
            Lift {
                rows: lift,
                divisor: BigInt::from(1),
            },
            false,
            threads,
            control,
        )
    }

    fn of_level(
        rows: Vec<Vec<BigInt>>,
        dimension: usize,
        lift: Lift,
        flags: bool,
        threads: Threads,
        control: &Control,
    ) -> Result<Self> {
        let first = Level::new(rows, dimension, lift, threads, control)?;
        let mut above = None;
        if flags {
            let mut signs = HashSet::new();
            if dimension > 0 {
                let (rows, _) = first.above();
                let hyperplanes = rows.len();
                let search = Self::of_rows(rows, dimension - 1, threads, control)?;
                let found = search.whole(control)?;
                if hyperplanes > 0 {
                    signs.extend(found.signs.chunks_exact(hyperplanes).map(packed));
                }
            }
            above = Some(signs);
        }
        let mut levels = vec![first];
        for free in (0..dimension).rev() {
            let (rows, lift) = levels[levels.len() - 1].below();
            levels.push(Level::new(rows, free, lift, threads, control)?);
        }
        Ok(Self {
            dimension,
            levels,
            above,
            threads,
            at: 0,
            jobs: vec![Job::whole()],
        })
    }

    /// All regions, in an order that depends on the hyperplanes alone.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub fn whole(&self, control: &Control) -> Result<Block> {
        let mut all = Block::new(self.dimension);
        let wanted = Wanted {
            coordinates: true,
            all_flats: false,
        };
        for (at, level) in self.levels.iter().enumerate() {
            let vertices = self.threads.run(&level.search, wanted, control)?;
            all.add(self.at_vertices(at, &vertices.numbers, control)?);
        }
        Ok(all)
    }

    /// The regions of about `vertices` more vertices; `None` at the end. Each region comes once; which
    /// come first depends on the threads.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only. After an error regions may be lost.
    pub fn next_block(&mut self, vertices: u64, control: &Control) -> Result<Option<Block>> {
        let wanted = Wanted {
            coordinates: true,
            all_flats: false,
        };
        while let Some(level) = self.levels.get(self.at) {
            let limits = Limits::new(Some(vertices), None);
            let jobs = std::mem::take(&mut self.jobs);
            let (found, left) = share::run(&level.search, jobs, wanted, &limits, control)?;
            control.check()?;
            let block = self.at_vertices(self.at, &found.numbers, control)?;
            self.jobs = left;
            if self.jobs.is_empty() {
                self.at += 1;
                self.jobs = vec![Job::whole()];
            }
            if !block.is_empty() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// The regions on which the function of a level is least at one of these vertices.
    fn at_vertices(&self, at: usize, numbers: &[u64], control: &Control) -> Result<Block> {
        let level = &self.levels[at];
        // Points of a lower level have long coordinates, and the regions there are wide.
        let top = self.levels[0]
            .short
            .as_ref()
            .filter(|_| self.levels[0].is_the_space());
        let (limbs, width) = (level.search.limbs(), level.dimension + 1);
        let chunk = |vertices: &[u64]| {
            let mut block = Block::new(self.dimension);
            let mut workspace = Workspace::default();
            for vertex in vertices.chunks_exact(width * limbs) {
                control.check()?;
                at_vertex(
                    level,
                    top,
                    vertex,
                    limbs,
                    &mut block,
                    &mut workspace,
                    control,
                )?;
            }
            if let (0, Some(above)) = (at, &self.above) {
                let hyperplanes = level.rows.len();
                if hyperplanes == 0 {
                    block.bounded.fill(true);
                } else {
                    let signs = block.signs.chunks_exact(hyperplanes).map(packed);
                    let bounded = signs.map(|signs| !above.contains(&signs));
                    block.bounded = bounded.collect();
                }
            }
            Ok(block)
        };
        let mut all = Block::new(self.dimension);
        let parts = numbers.par_chunks(width * limbs * CHUNK);
        let blocks = match self.threads {
            Threads::All => parts.map(chunk).collect::<Result<Vec<_>>>()?,
            Threads::One => vec![chunk(numbers)?],
        };
        for block in blocks {
            all.add(block);
        }
        Ok(all)
    }
}

/// Memory of a thread, for each type of integers.
#[derive(Debug, Default)]
struct Workspace {
    small: Place<i64>,
    medium: Place<i128>,
    big: Place<BigInt>,
}

/// A vertex, and what is worked out there.
#[derive(Debug)]
struct Place<N> {
    vertex: Vec<N>,
    /// a·v − b times the vertex' denominator, for each hyperplane.
    values: Vec<N>,
    /// The hyperplanes through it.
    through: Vec<usize>,
    short: Vec<i64>,
    scratch: Scratch<N>,
}

impl<N> Default for Place<N> {
    fn default() -> Self {
        Self {
            vertex: Vec::new(),
            values: Vec::new(),
            through: Vec::new(),
            short: Vec::new(),
            scratch: Scratch::default(),
        }
    }
}

/// Add the regions on which the level's function is least at this vertex.
fn at_vertex(
    level: &Level,
    top: Option<&short_point::Rows>,
    words: &[u64],
    limbs: usize,
    block: &mut Block,
    workspace: &mut Workspace,
    control: &Control,
) -> Result<()> {
    // The narrowest integers first; a vertex at which they overflow is done again in wider ones.
    if limbs == 1 {
        if let Some(numbers) = &level.small {
            let place = &mut workspace.small;
            place.vertex.clear();
            place.vertex.extend(words.iter().map(|x| *x as i64));
            if cones_at(level, top, numbers, place, block, control)? {
                return Ok(());
            }
        }
        if let Some(numbers) = &level.medium {
            let place = &mut workspace.medium;
            place.vertex.clear();
            place
                .vertex
                .extend(words.iter().map(|x| i128::from(*x as i64)));
            if cones_at(level, top, numbers, place, block, control)? {
                return Ok(());
            }
        }
    }
    let place = &mut workspace.big;
    place.vertex = words.chunks_exact(limbs).map(integer).collect();
    if limbs > 1 {
        super::exact::reduce(&mut place.vertex);
    }
    cones_at(level, top, &level.big, place, block, control)?;
    Ok(())
}

/// Add the regions on which the level's function is least at a vertex. False if a number overflows; then
/// nothing is added.
fn cones_at<N: Exact>(
    level: &Level,
    top: Option<&short_point::Rows>,
    numbers: &Numbers<N>,
    place: &mut Place<N>,
    block: &mut Block,
    control: &Control,
) -> Result<bool> {
    let (signs, regions) = (block.signs.len(), block.bounded.len());
    if look(level, numbers, place).is_none() {
        return Ok(false);
    }
    let added = if place.through.len() == level.dimension {
        let normal = |at: &usize| &numbers.rows[at * (level.dimension + 1)..][..level.dimension];
        let normals: Vec<&[N]> = place.through.iter().map(normal).collect();
        direction(&normals, &numbers.function, &mut place.scratch)
            .and_then(|()| add(level, top, numbers, place, block))
    } else {
        let mut normals: Vec<u32> = place.through.iter().map(|n| level.normal_of[*n]).collect();
        normals.sort_unstable();
        let function = &level.big.function;
        let found = level
            .cones
            .directions(&normals, &level.normals, function, control)?;
        found.iter().try_for_each(|direction| {
            place.scratch.direction = direction.iter().map(N::of).collect::<Option<_>>()?;
            add(level, top, numbers, place, block)
        })
    };
    if added.is_none() {
        block.signs.truncate(signs);
        block.bounded.truncate(regions);
        let points = regions * block.width;
        match &mut block.points {
            Coordinates::Small(numbers) => numbers.truncate(points),
            Coordinates::Big(numbers) => numbers.truncate(points),
        }
    }
    Ok(added.is_some())
}

/// Find the hyperplanes through a vertex, and on which side of it the others lie.
fn look<N: Exact>(level: &Level, numbers: &Numbers<N>, place: &mut Place<N>) -> Option<()> {
    let dimension = level.dimension;
    place.values.clear();
    place.through.clear();
    let (numerators, denominator) = place.vertex.split_at(dimension);
    for (number, row) in numbers.rows.chunks_exact(dimension + 1).enumerate() {
        let side = row[dimension].times(&denominator[0])?;
        let value = dot(&row[..dimension], numerators)?.minus(&side)?;
        if value.sign() == 0 {
            place.through.push(number);
        }
        place.values.push(value);
    }
    Some(())
}

/// Add the region that begins at a vertex in the direction that was found.
fn add<N: Exact>(
    level: &Level,
    top: Option<&short_point::Rows>,
    numbers: &Numbers<N>,
    place: &mut Place<N>,
    block: &mut Block,
) -> Option<()> {
    let (rows, dimension) = (&numbers.rows, level.dimension);
    let direction = &place.scratch.direction;
    let start = block.signs.len();
    for (row, value) in rows.chunks_exact(dimension + 1).zip(&place.values) {
        let sign = match value.sign() {
            0 => dot(&row[..dimension], direction)?.sign(),
            sign => sign,
        };
        block.signs.push(sign);
    }
    if let (Some(short), Some(small)) = (&level.short, &level.small) {
        let (values, signs) = (&place.values, &block.signs[start..]);
        let found = short.point(values, &place.vertex, direction, signs, &mut place.short);
        let lifted = found.and_then(|()| lift(small, dimension, &place.short));
        if let Some(point) = lifted {
            block.push_point(&point);
            block.bounded.push(false);
            return Some(());
        }
    }
    let point = step(rows, &place.values, &place.vertex, direction)?;
    let lifted = lift(numbers, dimension, &point)?;
    let shorter = top.filter(|_| lifted.iter().any(|x| x.to_word().is_none()));
    let shorter = shorter.and_then(|top| {
        let lifted: Vec<BigInt> = lifted.iter().map(Exact::to_big).collect();
        top.near(&lifted, &block.signs[start..], &mut place.short)
    });
    match shorter {
        Some(()) => block.push_point(&place.short),
        None => block.push_point(&lifted),
    }
    block.bounded.push(false);
    Some(())
}

/// A point of a level in the coordinates of the space.
fn lift<N: Exact>(numbers: &Numbers<N>, dimension: usize, point: &[N]) -> Option<Vec<N>> {
    let (denominator, numerators) = point.split_last()?;
    let mut lifted = Vec::with_capacity(numbers.lift.len() + 1);
    for row in &numbers.lift {
        let constant = row[dimension].times(denominator)?;
        lifted.push(dot(&row[..dimension], numerators)?.plus(&constant)?);
    }
    lifted.push(denominator.times(&numbers.divisor)?);
    if numbers.divisor != N::one() {
        super::exact::reduce(&mut lifted);
    }
    Some(lifted)
}
