//! Intersections of hyperplanes: the lattice of flats, its Möbius function, the characteristic polynomial.
//!
//! * [`Lattice`] has every flat with its closure and its Möbius value.
//! * [`characteristic_polynomial`] sums the Möbius values; [`count_regions`] evaluates it (Zaslavsky).
//! * [`skeleton`](fn@skeleton) is the graph of the vertices and edges.
//! * [`Restriction`] is the arrangement that the hyperplanes cut out on a flat, in a field.
//!
//! This room uses `arithmetic` and `input`.

mod lattice;
mod polynomial;
mod restriction;
mod skeleton;

pub use lattice::{Flat, Lattice};
pub use polynomial::{characteristic_polynomial, count_regions};
pub use restriction::Restriction;
pub use skeleton::{Skeleton, skeleton};
