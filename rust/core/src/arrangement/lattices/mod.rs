//! Lattices of integer points, and their short bases.
//!
//! * [`cut`] restricts a saturated lattice to a hyperplane, in machine integers; [`line`](fn@line) and
//!   [`lines`] do so for the lines of a plane, in doubles.
//! * [`reduced`] is the algorithm of Lenstra, Lenstra and Lovász, in big integers.
//!
//! This room uses `arithmetic`.

mod lll;
mod saturated;

pub use lll::reduced;
pub use saturated::{LINES, cut, line, lines, longest};
