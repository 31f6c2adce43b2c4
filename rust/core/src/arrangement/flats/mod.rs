//! Reverse search over flats: each flat once, and so each vertex once.
//!
//! * [`walk`](mod@walk) is the search, for any flat that implements the trait [`Flat`].
//! * [`IntegerFlat`] keeps a flat in machine integers, on a lattice basis, and its planes by
//!   [`planes`](super::planes).
//! * [`ResidueFlat`] keeps a flat modulo a prime and on an exact basis, for long numbers.
//! * [`FieldFlat`] keeps a flat in a field, for numbers of any size.
//!
//! This room uses `arithmetic`, `input`, `lattices`, `coordinates`, `planes` and `jobs`.

mod in_field;
mod in_integers;
mod in_residues;
mod residue_rows;
pub mod walk;

pub use in_field::{FieldFlat, FieldScratch};
pub use in_integers::{IntegerFlat, IntegerScratch, Matrix};
pub use in_residues::{LongMatrix, ResidueFlat, ResidueScratch};
pub use walk::{Flat, Levels};
