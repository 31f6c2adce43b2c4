//! Homogeneous coordinates of vertices, in words.
//!
//! * [`Coprime`] computes the vertices on lines in lowest terms, if each coordinate is one word.
//! * [`PointBasis`] computes linear combinations of a few points, if coordinates have several words.
//! * [`Space`] converts the coordinates of the search to those of the user's space.
//!
//! This room uses `arithmetic`.

mod coprime;
mod point_basis;
mod space;

pub use coprime::Coprime;
pub use point_basis::PointBasis;
pub use space::Space;
