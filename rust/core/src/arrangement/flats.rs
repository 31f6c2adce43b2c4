//! Reverse search over flats: the Zero rule without the dictionaries of a degenerate arrangement.
//!
//! A *flat* is a non-empty intersection of hyperplanes. Hyperplanes are numbered; the *greedy
//! basis* of a flat takes those that contain it from the largest number down and keeps the
//! independent ones. It is the cobasis in which the Zero rule ends among all cobases of that flat.
//! The parent of a flat is the flat of its greedy basis without its smallest member.
//!
//! **Children.** Let G be a flat whose greedy basis has the smallest member m (m = ∞ for the whole
//! space). For j < m with H_j meeting G properly, G ∩ H_j is a child of G if and only if no i > j
//! outside the closure of G cuts G in the same flat. *If*: the hyperplanes that contain G ∩ H_j are
//! those that contain G and those that cut G there, none of which exceeds j < m; so greed takes the
//! basis of G first and then j. *Only if*: with such an i > j, greed would take i, or something
//! larger, before j. Hence each flat is reached from its one parent and from nowhere else: every
//! flat, so every vertex, is visited exactly once, and no visited vertex is ever stored.
//!
//! **Restricted rows.** The hyperplanes are kept as rows on the flat: the hyperplanes of the basis
//! have been eliminated, rows that cut the flat nowhere are dropped, and rows that cut it in the
//! same place are merged into the one of the largest number. So a row is a child if and only if
//! its number is below m. Rows are scaled to a leading 1, and a pivot on that leading 1 is free of
//! divisions; the factor that was taken out is remembered, as the product of the true pivots is
//! the determinant of the basis.
//!
//! **Rank.** Below a flat of dimension r only rows with smaller numbers are ever used again, so
//! there is no vertex below unless those have rank r on it. Without this test, inputs with hardly
//! more hyperplanes than dimensions would cost 2^d flats for one vertex.
//!
//! **The last level.** A line is cut by each row at one point; all points come from one batch
//! inversion.
//!
//! Source: the Zero rule is that of arXiv 2401.16675; the search over flats is this project's.

use rayon::prelude::*;

use super::field::{Field, invert_all};
use super::input::Arrangement;
use crate::{Control, Result};

/// Levels of the search tree whose subtrees are shared out to threads; two give far more subtrees
/// than threads, and the subtrees below keep one workspace each.
const SHARED_LEVELS: usize = 2;

/// A flat with the arrangement restricted to it.
#[derive(Clone, Debug)]
struct Flat<F> {
    /// Dimension r of the flat.
    free: usize,
    /// The smallest member of the greedy basis.
    smallest: u32,
    /// Number of each row, rising.
    numbers: Vec<u32>,
    /// r coefficients, the first that is not 0 being 1, and the right-hand side, for each row.
    rows: Vec<F>,
    /// What each row was divided by.
    factors: Vec<F>,
    /// Each coordinate of the space as r coefficients and a constant on the flat.
    place: Vec<F>,
    /// Of the greedy basis, up to its sign.
    determinant: F,
}

/// Memory that a restriction needs on the way.
#[derive(Debug)]
struct Scratch<F> {
    leads: Vec<F>,
    products: Vec<F>,
    order: Vec<u32>,
}

impl<F> Scratch<F> {
    fn new() -> Self {
        Self {
            leads: Vec::new(),
            products: Vec::new(),
            order: Vec::new(),
        }
    }
}

impl<F: Field> Flat<F> {
    fn empty() -> Self {
        Self {
            free: 0,
            smallest: 0,
            numbers: Vec::new(),
            rows: Vec::new(),
            factors: Vec::new(),
            place: Vec::new(),
            determinant: F::one(),
        }
    }

    /// The whole space.
    fn whole(arrangement: &Arrangement) -> Self {
        let dimension = arrangement.dimension();
        let mut flat = Self::empty();
        flat.free = dimension;
        flat.smallest = u32::MAX;
        for (number, row) in arrangement.rows().iter().enumerate() {
            flat.numbers.push(number as u32);
            flat.rows.extend(row.iter().map(F::from_integer));
        }
        flat.factors = vec![F::one(); flat.numbers.len()];
        for coordinate in 0..dimension {
            flat.place.extend(
                (0..=dimension).map(|c| if c == coordinate { F::one() } else { F::zero() }),
            );
        }
        flat.normalise(&mut Scratch::new());
        flat
    }

    fn row(&self, at: usize) -> &[F] {
        let stride = self.free + 1;
        &self.rows[at * stride..(at + 1) * stride]
    }

    /// Rows that may make children: those numbered below the basis.
    fn candidates(&self) -> usize {
        self.numbers.partition_point(|&n| n < self.smallest)
    }

    /// The child that row `at` cuts out, into `child`.
    fn restrict(&self, at: usize, child: &mut Self, scratch: &mut Scratch<F>) {
        let chosen = self.row(at);
        let pivot = leading(chosen);
        let stride = self.free + 1;
        child.free = self.free - 1;
        child.smallest = self.numbers[at];
        child.determinant = self.determinant.times(&self.factors[at]);
        child.numbers.clear();
        child.rows.clear();
        child.factors.clear();
        child.place.clear();
        for (other, row) in self.rows.chunks_exact(stride).enumerate() {
            let start = child.rows.len();
            eliminate(row, chosen, pivot, &mut child.rows);
            if child.rows[start..start + child.free].iter().all(F::is_zero) {
                child.rows.truncate(start);
                continue;
            }
            child.numbers.push(self.numbers[other]);
            child.factors.push(self.factors[other].clone());
        }
        for coordinate in self.place.chunks_exact(stride) {
            // x = v·y + u with y_p = β − …, so the constant changes the other way.
            let factor = &coordinate[pivot];
            for (c, value) in coordinate.iter().enumerate().filter(|(c, _)| *c != pivot) {
                child.place.push(if c == self.free {
                    value.plus(&factor.times(&chosen[c]))
                } else {
                    value.minus_product(factor, &chosen[c])
                });
            }
        }
        child.normalise(scratch);
    }

    /// Scale every row to a leading 1, and merge rows that cut the flat in the same place.
    fn normalise(&mut self, scratch: &mut Scratch<F>) {
        let stride = self.free + 1;
        scratch.leads.clear();
        for (row, factor) in self.rows.chunks_exact(stride).zip(&mut self.factors) {
            let lead = row[leading(row)].clone();
            *factor = factor.times(&lead);
            scratch.leads.push(lead);
        }
        invert_all(&mut scratch.leads, &mut scratch.products);
        for (row, inverse) in self.rows.chunks_exact_mut(stride).zip(&scratch.leads) {
            let lead = leading(row);
            row[lead] = F::one();
            for value in &mut row[lead + 1..] {
                *value = value.times(inverse);
            }
        }
        self.merge(&mut scratch.order);
    }

    /// Of equal rows, keep that of the largest number.
    fn merge(&mut self, order: &mut Vec<u32>) {
        order.clear();
        order.extend(0..self.numbers.len() as u32);
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            self.row(a).cmp(self.row(b)).then(b.cmp(&a))
        });
        order.dedup_by(|later, kept| self.row(*later as usize) == self.row(*kept as usize));
        if order.len() == self.numbers.len() {
            return;
        }
        order.sort_unstable();
        let stride = self.free + 1;
        for (to, &from) in order.iter().enumerate() {
            let from = from as usize;
            self.numbers[to] = self.numbers[from];
            self.factors.swap(to, from);
            for c in 0..stride {
                self.rows.swap(to * stride + c, from * stride + c);
            }
        }
        self.numbers.truncate(order.len());
        self.factors.truncate(order.len());
        self.rows.truncate(order.len() * stride);
    }

    /// Whether the candidates have full rank, without which no vertex lies below.
    fn reaches_a_vertex(&self) -> bool {
        let stride = self.free + 1;
        let mut echelon: Vec<(usize, Vec<F>)> = Vec::with_capacity(self.free);
        for row in self.rows.chunks_exact(stride).take(self.candidates()) {
            if echelon.len() == self.free {
                break;
            }
            let mut row = row[..self.free].to_vec();
            for (pivot, other) in &echelon {
                // Both sides of the difference multiplied through: no division, no inversion.
                let (ours, theirs) = (row[*pivot].clone(), &other[*pivot]);
                if !ours.is_zero() {
                    for (value, by) in row.iter_mut().zip(other) {
                        *value = value.times(theirs).minus_product(&ours, by);
                    }
                }
            }
            if let Some(pivot) = row.iter().position(|x| !x.is_zero()) {
                echelon.push((pivot, row));
            }
        }
        echelon.len() == self.free
    }

    /// Append the vertices on this line.
    fn push_vertices(&self, out: &mut Vec<F::Coordinate>) {
        let mut point = Vec::with_capacity(self.place.len() / 2);
        for at in 0..self.candidates() {
            let parameter = &self.row(at)[1];
            point.clear();
            let coordinates = self.place.chunks_exact(2);
            point.extend(coordinates.map(|c| c[1].plus(&c[0].times(parameter))));
            let determinant = self.determinant.times(&self.factors[at]);
            F::push_vertex(&point, &determinant, out);
        }
    }
}

/// Place of the first coefficient that is not 0; restricted rows have one.
fn leading<F: Field>(row: &[F]) -> usize {
    row.iter().position(|x| !x.is_zero()).unwrap_or_default()
}

/// Append `row` − row[pivot]·`chosen` without its entry at `pivot`.
fn eliminate<F: Field>(row: &[F], chosen: &[F], pivot: usize, out: &mut Vec<F>) {
    let factor = &row[pivot];
    out.extend((0..row.len()).filter(|c| *c != pivot).map(|c| {
        if factor.is_zero() {
            row[c].clone()
        } else {
            row[c].minus_product(factor, &chosen[c])
        }
    }));
}

/// Every vertex once, numerators and denominator one after the other, in the order of the search.
pub fn search<F: Field>(
    arrangement: &Arrangement,
    control: &Control,
) -> Result<Vec<F::Coordinate>> {
    let whole = Flat::<F>::whole(arrangement);
    if whole.free == 0 {
        // The space is a point, the empty intersection.
        let mut vertex = Vec::new();
        F::push_vertex(&[], &F::one(), &mut vertex);
        return Ok(vertex);
    }
    shared(&whole, SHARED_LEVELS, control)
}

/// The vertices below `flat`, whose children are shared out to the threads.
fn shared<F: Field>(
    flat: &Flat<F>,
    levels: usize,
    control: &Control,
) -> Result<Vec<F::Coordinate>> {
    if levels == 0 || flat.free == 1 {
        let mut out = Vec::new();
        let mut below: Vec<Flat<F>> = (1..flat.free).map(|_| Flat::empty()).collect();
        visit(flat, &mut below, &mut Scratch::new(), &mut out, control)?;
        return Ok(out);
    }
    let subtrees = (0..flat.candidates())
        .into_par_iter()
        .map(|at| {
            control.check()?;
            let mut child = Flat::empty();
            flat.restrict(at, &mut child, &mut Scratch::new());
            if child.reaches_a_vertex() {
                shared(&child, levels - 1, control)
            } else {
                Ok(Vec::new())
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(subtrees.concat())
}

/// Depth first below `flat`, with one flat of workspace for each level.
fn visit<F: Field>(
    flat: &Flat<F>,
    below: &mut [Flat<F>],
    scratch: &mut Scratch<F>,
    out: &mut Vec<F::Coordinate>,
    control: &Control,
) -> Result<()> {
    let Some((child, below)) = below.split_first_mut() else {
        flat.push_vertices(out);
        control.advance(flat.candidates() as u64);
        return Ok(());
    };
    for at in 0..flat.candidates() {
        control.check()?;
        flat.restrict(at, child, scratch);
        if child.reaches_a_vertex() {
            visit(child, below, scratch, out, control)?;
        }
    }
    Ok(())
}
