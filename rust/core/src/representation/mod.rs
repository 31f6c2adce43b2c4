//! Polyhedra as the field stores them: H-representations (`.ine`) and V-representations (`.ext`),
//! the formats of Fukuda's cdd and Avis' lrs.
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
//! Row (1, x) of a V-representation is a vertex, (0, r) a ray, or a line where it is a linearity.
//! In a V-representation that lrs writes, n is `*****`.
//!
//! Data flows one way: [`tokens`] (bytes → words that know their line and column) → [`number`] (a
//! word → an exact number) → [`read`] (words → a [`Representation`]). [`write`] is the way back for
//! vertices.
//!
//! The reader is for files from anywhere. It stores what it has read and nothing on the word of a
//! header; numbers are bounded in digits and exponent, so memory is bounded by a multiple of the
//! file's size; and what cdd and lrs read in different ways (a line with more entries than a row: lrs
//! takes them for the next row, cdd does not) is an error, not a guess.

pub mod number;
pub mod read;
pub mod tokens;
pub mod write;

pub use read::read;

use number::{Number, Rational};

/// Which side of a polyhedron is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Inequalities and equations.
    H,
    /// Vertices, rays and lines.
    V,
}

/// The entries of a matrix, as narrow as all of them allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All are integers of 64 bits.
    Integers(Vec<i64>),
    /// Some are not.
    Rationals(Vec<Rational>),
}

/// A polyhedron as read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Representation {
    /// H or V.
    pub kind: Kind,
    /// The first line that is no comment and no option, if there is one before `begin`.
    pub name: String,
    /// d + 1.
    pub columns: usize,
    /// Row after row.
    pub entries: Entries,
    /// Rows that are equations or lines, from 0, rising.
    pub linearity: Vec<usize>,
    /// Whether x ≥ 0 was said by the word `nonnegative`; those rows are not among the entries.
    pub nonnegative: bool,
    /// The lines after `end`, and what options this reader does not act on, as they stand.
    pub options: Vec<String>,
}

impl Entries {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(x) => x.len(),
            Self::Rationals(x) => x.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Append a number, widening what is there if it is no integer of 64 bits.
    fn push(&mut self, value: Number) {
        match (&mut *self, value) {
            (Self::Integers(x), Number::Integer(value)) => x.push(value),
            (Self::Rationals(x), Number::Integer(value)) => {
                x.push(Rational::from_integer(value.into()));
            }
            (Self::Rationals(x), Number::Rational(value)) => x.push(value),
            (Self::Integers(x), Number::Rational(value)) => {
                let wide = x.drain(..).map(|x| Rational::from_integer(x.into()));
                let mut wide: Vec<_> = wide.collect();
                wide.push(value);
                *self = Self::Rationals(wide);
            }
        }
    }
}
