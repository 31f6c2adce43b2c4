//! Files of polyhedra: H-representations (`.ine`) and V-representations (`.ext`), the formats of
//! Fukuda's cdd and Avis' lrs.
//!
//! ```text
//! a name, and comments after a * or a #
//! H-representation
//! linearity k i_1 … i_k
//! begin
//! n d+1 rational
//! b −A
//! end
//! options
//! ```
//!
//! Row (b, c) of an H-representation says b + c·x ≥ 0, with equality where the row is a linearity.
//! Row (1, x) of a V-representation is a vertex, (0, r) a ray, or a line where it is a linearity. A row
//! (c, x) with another c > 0 is the vertex x/c. In a V-representation that lrs writes, n is `*****`.
//!
//! Entries are read one after the other, as cdd and lrs do: where lines end does not matter between
//! `begin` and `end`. A second representation in a file, as `cddexec --repall` prints it, is not read.
//!
//! Data flows one way: [`tokens`] (bytes → words with line and column) → [`number`] (a word → an exact
//! number) → [`read`] (words → a [`Representation`]). [`write`] writes vertices.
//!
//! The reader is for files from anywhere. It stores what it has read and nothing on the word of a
//! header; and numbers are bounded in digits and exponent, so memory is bounded by a multiple of the
//! file's size.

pub mod number;
pub mod read;
pub mod tokens;
pub mod write;

pub use read::read;

use number::{Number, Rational};

use crate::{Error, ErrorKind, Result};

/// Which side of a polyhedron is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Inequalities and equations.
    H,
    /// Vertices, rays and lines.
    V,
}

/// The entries of a matrix, in the narrowest type that holds all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All are integers of 64 bits.
    Integers(Vec<i64>),
    /// All are fractions of two, in lowest terms with positive denominators: numerators and denominators.
    Ratios(Vec<i64>, Vec<i64>),
    /// Some are not.
    Rationals(Vec<Rational>),
}

/// A polyhedron as read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Representation {
    /// H or V.
    pub kind: Kind,
    /// The first line before `begin` that is neither a comment nor an option; empty if there is none.
    pub name: String,
    /// d + 1.
    pub columns: usize,
    /// Row after row.
    pub entries: Entries,
    /// Numbers of the rows that are equations or lines, from 0, in rising order.
    pub linearity: Vec<usize>,
    /// Whether the file has the word `nonnegative`, which means x ≥ 0; these rows are not among the
    /// entries.
    pub nonnegative: bool,
    /// The lines after `end`, and options before `begin` that this reader does not act on, as they stand.
    pub options: Vec<String>,
}

impl Entries {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(x) | Self::Ratios(x, _) => x.len(),
            Self::Rationals(x) => x.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Append a number, widening what is there if it is no such number.
    fn push(&mut self, value: Number) -> Result<()> {
        match (&mut *self, value) {
            (Self::Integers(x), Number::Integer(value)) => push(x, value),
            (Self::Ratios(x, y), Number::Integer(value)) => {
                push(x, value).and_then(|()| push(y, 1))
            }
            (Self::Ratios(x, y), Number::Small(numerator, denominator)) => {
                push(x, numerator).and_then(|()| push(y, denominator))
            }
            (Self::Rationals(x), value) => push(x, value.into()),
            (Self::Integers(x), value @ Number::Small(..)) => {
                let ones = vec![1; x.len()];
                *self = Self::Ratios(std::mem::take(x), ones);
                self.push(value)
            }
            (Self::Integers(_) | Self::Ratios(..), value @ Number::Rational(_)) => {
                *self = Self::Rationals(std::mem::take(self).into_rationals());
                self.push(value)
            }
        }
    }

    /// The entries as fractions of any size.
    pub fn into_rationals(self) -> Vec<Rational> {
        match self {
            Self::Integers(x) => x.into_iter().map(|x| Number::Integer(x).into()).collect(),
            Self::Ratios(x, y) => {
                let pairs = x.into_iter().zip(y);
                pairs.map(|(n, d)| Number::Small(n, d).into()).collect()
            }
            Self::Rationals(x) => x,
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::Integers(Vec::new())
    }
}

/// Append, or say that there is no memory.
fn push<T>(entries: &mut Vec<T>, value: T) -> Result<()> {
    if entries.len() == entries.capacity() && entries.try_reserve(1).is_err() {
        return Err(Error::new(
            ErrorKind::OutOfMemory,
            format!("no memory for more than {} entries", entries.len()),
        ));
    }
    entries.push(value);
    Ok(())
}
