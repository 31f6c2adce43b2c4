//! The vertices that a search has found, in lowest terms and sorted, and their incidences.
//!
//! * [`Points`] has homogeneous coordinates in words, as a search finds them. [`Vertices`] has those of an
//!   arrangement, in 64 bits if all of them fit.
//! * [`sorted`] sorts points lexicographically, in buckets that fit a cache.
//! * [`incidence`](fn@incidence) finds which hyperplanes contain which vertices. [`signs`](fn@signs) finds on
//!   which side of every hyperplane they lie.
//! * [`advise`] asks the operating system for huge pages.
//!
//! This room uses `arithmetic`, `input` and `jobs`.

mod buckets;
mod incidence;
mod order;
mod pages;
mod point_order;
mod signs;
mod vertex;

pub use incidence::incidence;
pub use order::{BUCKET, sorted};
pub use pages::advise;
pub use signs::signs;
pub use vertex::{Coordinates, Points, Vertices};
