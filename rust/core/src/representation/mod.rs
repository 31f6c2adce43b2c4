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
//! Row (1, x) of a V-representation is a vertex, (0, r) a ray, or a line where it is a linearity.
//! In a V-representation that lrs writes, n is `*****`.
//!
//! Data flows one way: [`tokens`] (bytes → words with line and column) → [`number`] (a word → an exact
//! number) → [`read`] (words → a [`Representation`]). [`write`] writes vertices.
//!
//! The reader does not trust its input. It allocates for what it has read, never for what a header
//! announces. Digits and exponents of numbers are bounded, so memory is bounded by a multiple of the
//! file's size. Input that cdd and lrs read in different ways is an error (for example a line with more
//! entries than a row has: lrs takes them for the next row, cdd does not).

pub mod number;
pub mod read;
pub mod tokens;
pub mod write;

pub use read::read;

use number::{Number, Rational};

/// The kind of a representation.
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
    /// Some are not 64-bit integers.
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
    /// The lines after `end`, and the options that this reader ignores, unchanged.
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

    /// Append a number. If it is not a 64-bit integer, all entries become rationals.
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
