//! Homogeneous coordinates of vertices, in words.
//!
//! * [`Coprime`] makes the vertices of a line where each coordinate is one word, in lowest terms.
//! * [`PointBasis`] makes sums of multiples of a few points where coordinates have several words.
//! * [`Space`] takes coordinates of the search to those of the space that was given.
//!
//! This room uses `arithmetic`.

mod coprime;
mod point_basis;
mod space;

pub use coprime::Coprime;
pub use point_basis::PointBasis;
pub use space::Space;
