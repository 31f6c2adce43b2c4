//! The arrangement that is searched: its hyperplanes, bounds on their minors, and better coordinates.
//!
//! * [`Arrangement`] has the distinct hyperplanes of rational rows, as primitive integer rows.
//! * [`Bound`] bounds every minor by Hadamard's inequality. It determines the cheapest [`Arithmetic`] in
//!   which every zero test is exact.
//! * [`Frame`] gives coordinates in which the rows are short.
//!
//! This room uses `arithmetic` and `lattices`.

mod bound;
mod frame;
mod hyperplanes;

pub use bound::{Arithmetic, Bound};
pub use frame::Frame;
pub(super) use hyperplanes::coprime;
pub use hyperplanes::{Arrangement, MOST_ENTRIES, dyadic};
