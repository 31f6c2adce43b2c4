//! The search of the regions, level by level.

use std::collections::HashSet;

use num_bigint::BigInt;
use rayon::prelude::*;

use super::block::Block;
use super::cone::{Scratch, direction};
use super::cut::Lift;
use super::flat_part::FlatPart;
use super::inside::Inside;
use super::level::{Level, Numbers, Threads};
use super::short_point::Proposal;
use crate::arrangement::arithmetic::exact::{Exact, dot, reduce};
use crate::arrangement::arithmetic::integer;
use crate::arrangement::input::Arrangement;
use crate::arrangement::jobs::{Job, Limits, Wanted};
use crate::arrangement::search::share;
use crate::{Control, Result};

/// Vertices that a thread takes at a time, and hyperplanes that it evaluates between two looks at the stop flag.
const CHUNK: usize = 256;

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
    /// Whether each region gets a point inside.
    points: bool,
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
        let whole = FlatPart::new(arrangement, &[], control)?;
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
        let part = FlatPart::new(arrangement, basis, control)?;
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

    /// A search of rows whose normals span R^`dimension`, which finds the signs of the regions and nothing else.
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
        let lift = Lift {
            rows: lift,
            divisor: BigInt::from(1),
        };
        let search = Self::of_level(rows, dimension, lift, false, threads, control)?;
        Ok(Self {
            points: false,
            ..search
        })
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
        // The regions around a single vertex are cones.
        let cones = dimension > 0 && first.vertices == 1;
        if flags && !cones {
            let mut signs = HashSet::new();
            if dimension > 0 {
                let (rows, _) = first.above(control)?;
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
            let (rows, lift) = levels[levels.len() - 1].below(control)?;
            levels.push(Level::new(rows, free, lift, threads, control)?);
        }
        Ok(Self {
            dimension,
            levels,
            above,
            threads,
            points: true,
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
        let first = &self.levels[0];
        let points = self.points.then(|| Inside {
            level,
            space: first.is_the_space().then_some(&first.short),
            is_first: at == 0,
        });
        let (limbs, width) = (level.search.limbs(), level.dimension + 1);
        let chunk = |vertices: &[u64]| {
            let mut block = Block::new(self.dimension);
            let mut workspace = Workspace::default();
            for vertex in vertices.chunks_exact(width * limbs) {
                control.check()?;
                let at = Vertex {
                    level,
                    points: points.as_ref(),
                    words: vertex,
                    limbs,
                };
                at.add_regions(&mut block, &mut workspace, control)?;
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
    proposal: Proposal,
}

/// A vertex, and what is worked out there.
#[derive(Debug)]
struct Place<N> {
    vertex: Vec<N>,
    /// a·v − b times the vertex' denominator, for each hyperplane.
    values: Vec<N>,
    /// The hyperplanes through it.
    through: Vec<usize>,
    scratch: Scratch<N>,
}

impl<N> Default for Place<N> {
    fn default() -> Self {
        Self {
            vertex: Vec::new(),
            values: Vec::new(),
            through: Vec::new(),
            scratch: Scratch::default(),
        }
    }
}

/// A vertex of a level as it was found.
struct Vertex<'a> {
    level: &'a Level,
    points: Option<&'a Inside<'a>>,
    words: &'a [u64],
    limbs: usize,
}

impl Vertex<'_> {
    /// Add the regions on which the level's function is least at this vertex. The narrowest integers come
    /// first. Where they overflow, it is done again in wider ones.
    fn add_regions(
        &self,
        block: &mut Block,
        workspace: &mut Workspace,
        control: &Control,
    ) -> Result<()> {
        let Workspace {
            small,
            medium,
            big,
            proposal,
        } = workspace;
        let level = self.level;
        if let Some(numbers) = &level.small
            && self.read(&mut small.vertex)
            && self.cones(numbers, small, proposal, block, control)?
        {
            return Ok(());
        }
        if let Some(numbers) = &level.medium
            && self.read(&mut medium.vertex)
            && self.cones(numbers, medium, proposal, block, control)?
        {
            return Ok(());
        }
        big.vertex = self.words.chunks_exact(self.limbs).map(integer).collect();
        if self.limbs > 1 {
            reduce(&mut big.vertex);
        }
        self.cones(&level.big, big, proposal, block, control)?;
        // Big integers do not overflow, so a vertex without regions is one at which the caller has cancelled.
        control.check()
    }

    /// Read the coordinates. False if some do not fit. Those of several words may not be in lowest terms.
    fn read<N: Exact>(&self, out: &mut Vec<N>) -> bool {
        out.clear();
        let coordinates = self.words.chunks_exact(self.limbs);
        out.extend(coordinates.map_while(N::of_words));
        out.len() == self.level.dimension + 1
    }

    /// Add the regions on which the level's function is least at the vertex. False if a number overflows, or if
    /// the caller has cancelled; then nothing is added.
    fn cones<N: Exact>(
        &self,
        numbers: &Numbers<N>,
        place: &mut Place<N>,
        proposal: &mut Proposal,
        block: &mut Block,
        control: &Control,
    ) -> Result<bool> {
        let level = self.level;
        let (signs, regions) = (block.signs.len(), block.bounded.len());
        if look(level, numbers, place, control).is_none() {
            return Ok(false);
        }
        let added = if place.through.len() == level.dimension {
            let width = level.dimension + 1;
            let normal = |at: &usize| &numbers.rows[at * width..][..level.dimension];
            let normals: Vec<&[N]> = place.through.iter().map(normal).collect();
            direction(&normals, &numbers.function, &mut place.scratch, control)
                .and_then(|()| add(self.points, numbers, place, proposal, block))
        } else {
            let mut normals: Vec<u32> = place.through.iter().map(|n| level.normal_of[*n]).collect();
            normals.sort_unstable();
            let function = &level.big.function;
            let found = level
                .cones
                .directions(&normals, &level.normals, function, control)?;
            found.iter().try_for_each(|direction| {
                place.scratch.direction = direction.iter().map(N::of).collect::<Option<_>>()?;
                add(self.points, numbers, place, proposal, block)
            })
        };
        if added.is_none() {
            block.signs.truncate(signs);
            block.bounded.truncate(regions);
            block.points.truncate(regions);
        }
        Ok(added.is_some())
    }
}

/// Find the hyperplanes through a vertex, and on which side of it the others lie.
fn look<N: Exact>(
    level: &Level,
    numbers: &Numbers<N>,
    place: &mut Place<N>,
    control: &Control,
) -> Option<()> {
    let dimension = level.dimension;
    place.values.clear();
    place.through.clear();
    let (numerators, denominator) = place.vertex.split_at(dimension);
    for (number, row) in numbers.rows.chunks_exact(dimension + 1).enumerate() {
        if number % CHUNK == CHUNK - 1 {
            control.check().ok()?;
        }
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
    points: Option<&Inside<'_>>,
    numbers: &Numbers<N>,
    place: &Place<N>,
    proposal: &mut Proposal,
    block: &mut Block,
) -> Option<()> {
    let direction = &place.scratch.direction;
    let start = block.signs.len();
    let rows = numbers.rows.chunks_exact(place.vertex.len());
    for (row, value) in rows.zip(&place.values) {
        let sign = match value.sign() {
            0 => dot(&row[..direction.len()], direction)?.sign(),
            sign => sign,
        };
        block.signs.push(sign);
    }
    if let Some(points) = points {
        let signs = &block.signs[start..];
        let begin = (&place.vertex[..], &place.values[..], &direction[..]);
        points.push(numbers, begin, signs, proposal, &mut block.points)?;
    }
    block.bounded.push(false);
    Some(())
}
