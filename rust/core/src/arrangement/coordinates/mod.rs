//! Homogeneous coordinates of vertices, in words.
//!
//! * [`Coprime`] computes the vertices on lines in lowest terms, if each coordinate is one word.
//! * [`PointBasis`] computes linear combinations of a few points, if coordinates have several words.
//! * [`NullBasis`] has the points of a flat in integers of many words.
//! * [`Space`] converts the coordinates of the search to those of the user's space.
//!
//! This room uses `arithmetic`.

mod coprime;
mod null_basis;
mod point_basis;
mod space;

pub use coprime::Coprime;
pub use null_basis::{NullBasis, RowValues};
pub use point_basis::PointBasis;
pub use space::Space;
