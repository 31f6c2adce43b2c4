//! All flats with their Möbius values, dimension by dimension.
//!
//! The flats of an arrangement, ordered by reversed inclusion, form a meet-semilattice in which every
//! interval below a flat is a geometric lattice. The Möbius value μ(F) of a flat F of codimension k has
//! the sign (−1)^k. Its magnitude follows from Weisner's theorem (R. P. Stanley, *Enumerative
//! Combinatorics 1*, corollary 3.9.3, and *An Introduction to Hyperplane Arrangements*, section 2.4):
//! for any hyperplane H through F,
//!
//! |μ(F)| = Σ |μ(G)| over the flats G of one dimension more that contain F and do not lie in H.
//!
//! Here H is the first hyperplane through F. So each level is computed from the one above it: every flat G
//! adds its value to the flats F in G whose first hyperplane does not contain G. Every F gets at least one
//! term: a basis of F that contains H, without H, is the basis of such a G.
//!
//! **Exact.** All tests are zero tests of minors, in a field that Hadamard's bound allows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;

use super::restriction::{Bits, Restriction, Scratch};
use crate::arrangement::arithmetic::{
    Field, Mersenne61, Mersenne127, Mersenne521, Mersenne1279, Mersenne3217, Mersenne9689,
    Mersenne19937, Rational,
};
use crate::arrangement::input::{Arithmetic, Arrangement, Bound};
use crate::{Control, Error, ErrorKind, Result};

/// The number of flats that a thread takes at a time.
const CHUNK: usize = 256;

/// A flat of an arrangement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flat {
    /// The hyperplanes that contain the flat, as bits.
    pub closure: Box<[u64]>,
    /// Hyperplanes with independent normals whose intersection is the flat.
    pub basis: Vec<u32>,
    /// |μ(F)|.
    pub mobius: u128,
}

impl Flat {
    /// The numbers of the hyperplanes that contain the flat, rising.
    pub fn hyperplanes(&self) -> impl Iterator<Item = u32> + '_ {
        ones(&self.closure)
    }
}

/// The numbers of the bits that are set, rising.
pub(super) fn ones(bits: &[u64]) -> impl Iterator<Item = u32> + '_ {
    bits.iter().enumerate().flat_map(|(at, word)| {
        let mut word = *word;
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(64 * at as u32 + bit)
        })
    })
}

/// The flats of an arrangement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lattice {
    /// Dimension d of the space.
    pub dimension: usize,
    /// The flats of codimension 0, 1, …, each sorted by their bases.
    pub levels: Vec<Vec<Flat>>,
}

impl Lattice {
    /// All flats of dimension `least` or more.
    ///
    /// A flat takes O(n/64 + d) words of memory, and O(n·(d + log n)) operations in the field.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]; [`ErrorKind::TooLarge`] if a Möbius value has more than 128 bits.
    pub fn new(arrangement: &Arrangement, least: usize, control: &Control) -> Result<Self> {
        let mut levels = Vec::new();
        in_cheapest_field(
            arrangement,
            &mut Levels {
                least,
                levels: &mut levels,
            },
            control,
        )?;
        Ok(Self {
            dimension: arrangement.dimension(),
            levels,
        })
    }
}

/// A computation on the levels that runs in any field.
pub(super) trait Visitor {
    fn visit<F: Field>(&mut self, whole: Restriction<F>, control: &Control) -> Result<()>;
}

/// Run a visitor in the cheapest field in which every test is exact.
pub(super) fn in_cheapest_field(
    arrangement: &Arrangement,
    visitor: &mut impl Visitor,
    control: &Control,
) -> Result<()> {
    fn run<F: Field>(a: &Arrangement, visitor: &mut impl Visitor, c: &Control) -> Result<()> {
        visitor.visit(Restriction::<F>::whole(a, c)?, c)
    }
    match Bound::of(arrangement.rows(), arrangement.dimension(), control)?.arithmetic() {
        Arithmetic::Mersenne61 => run::<Mersenne61>(arrangement, visitor, control),
        Arithmetic::Mersenne127 => run::<Mersenne127>(arrangement, visitor, control),
        Arithmetic::Mersenne521 => run::<Mersenne521>(arrangement, visitor, control),
        Arithmetic::Mersenne1279 => run::<Mersenne1279>(arrangement, visitor, control),
        Arithmetic::Mersenne3217 => run::<Mersenne3217>(arrangement, visitor, control),
        Arithmetic::Mersenne9689 => run::<Mersenne9689>(arrangement, visitor, control),
        Arithmetic::Mersenne19937 => run::<Mersenne19937>(arrangement, visitor, control),
        Arithmetic::Rational => run::<Rational>(arrangement, visitor, control),
    }
}

/// The first level, which has only the whole space.
pub(super) fn top<F: Field>(whole: &Restriction<F>) -> Vec<Flat> {
    vec![Flat {
        closure: vec![0; whole.len().div_ceil(64)].into(),
        basis: Vec::new(),
        mobius: 1,
    }]
}

struct Levels<'a> {
    least: usize,
    levels: &'a mut Vec<Vec<Flat>>,
}

impl Visitor for Levels<'_> {
    fn visit<F: Field>(&mut self, whole: Restriction<F>, control: &Control) -> Result<()> {
        let mut level = top(&whole);
        for _ in self.least..whole.dimension() {
            let next = next_level(&whole, &level, control)?;
            self.levels.push(std::mem::replace(&mut level, next));
            if level.is_empty() {
                return Ok(());
            }
        }
        self.levels.push(level);
        Ok(())
    }
}

/// Computes restrictions to flats that come in the order of their bases. It keeps the restrictions to all
/// prefixes of the present basis, because the next basis usually begins with some of them.
pub(super) struct Path<'a, F> {
    whole: &'a Restriction<F>,
    basis: Vec<u32>,
    restrictions: Vec<Restriction<F>>,
    scratch: Scratch<F>,
}

impl<'a, F: Field> Path<'a, F> {
    pub(super) fn new(whole: &'a Restriction<F>) -> Self {
        Self {
            whole,
            basis: Vec::new(),
            restrictions: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// The restriction to the flat with this basis.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) only.
    pub(super) fn go_to(&mut self, basis: &[u32], control: &Control) -> Result<&Restriction<F>> {
        let common = self.basis.iter().zip(basis).take_while(|(a, b)| a == b);
        let common = common.count();
        self.basis.truncate(common);
        self.restrictions.truncate(common);
        for hyperplane in &basis[common..] {
            let at = self.restrictions.last().unwrap_or(self.whole);
            // The members of a basis are independent, so each cuts the flat of those before it properly.
            let class = at.class_of(*hyperplane).unwrap_or_default();
            let next = at.on(class, &mut self.scratch, control)?;
            self.restrictions.push(next);
            self.basis.push(*hyperplane);
        }
        Ok(self.restrictions.last().unwrap_or(self.whole))
    }
}

/// Whether a flat adds its Möbius value to the smaller flat that a class with this first member cuts out.
pub(super) fn counts(flat: &Flat, first: u32) -> bool {
    flat.hyperplanes().next().is_none_or(|h| first < h)
}

type Found = HashMap<Bits, (u128, Vec<u32>)>;

/// The next level: the flats of one dimension less.
pub(super) fn next_level<F: Field>(
    whole: &Restriction<F>,
    level: &[Flat],
    control: &Control,
) -> Result<Vec<Flat>> {
    let found = level
        .par_chunks(CHUNK)
        .map(|flats| {
            let mut path = Path::new(whole);
            let mut found = Found::new();
            for flat in flats {
                control.check()?;
                let classes = path.go_to(&flat.basis, control)?;
                for (class, first) in classes.first().iter().enumerate() {
                    if !counts(flat, *first) {
                        continue;
                    }
                    let members = classes.members(class);
                    let closure = flat.closure.iter().zip(members).map(|(x, y)| x | y);
                    let mut basis = flat.basis.clone();
                    basis.push(*first);
                    add(&mut found, closure.collect(), flat.mobius, basis)?;
                }
            }
            Ok(found)
        })
        .try_reduce(Found::new, |mut a, mut b| {
            if a.len() < b.len() {
                std::mem::swap(&mut a, &mut b);
            }
            for (closure, (mobius, basis)) in b {
                add(&mut a, closure, mobius, basis)?;
            }
            Ok(a)
        })?;
    let mut flats: Vec<Flat> = found
        .into_iter()
        .map(|(closure, (mobius, basis))| Flat {
            closure,
            basis,
            mobius,
        })
        .collect();
    flats.par_sort_unstable_by(|a, b| a.basis.cmp(&b.basis));
    Ok(flats)
}

/// Add to the Möbius value of a flat. Of the bases of the flat, keep the first in lexicographic order, so
/// that the result does not depend on the order of the calls.
fn add(found: &mut Found, closure: Bits, mobius: u128, basis: Vec<u32>) -> Result<()> {
    match found.entry(closure) {
        Entry::Vacant(entry) => {
            entry.insert((mobius, basis));
        }
        Entry::Occupied(mut entry) => {
            let (sum, least) = entry.get_mut();
            *sum = sum.checked_add(mobius).ok_or_else(|| {
                Error::new(
                    ErrorKind::TooLarge,
                    "a Möbius value has more than 128 bits: only smaller values are supported",
                )
            })?;
            if basis < *least {
                *least = basis;
            }
        }
    }
    Ok(())
}
