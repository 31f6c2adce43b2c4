//! What a search has found: vertices in lowest terms and in one order, and their incidences.
//!
//! * [`Points`] are homogeneous coordinates in words, as a search finds them; [`Vertices`] are those of
//!   an arrangement, as narrow as all of them allow.
//! * [`sorted`] brings points into lexicographic order, in buckets that fit a cache.
//! * [`incidence`](fn@incidence) tells which hyperplanes contain which vertices, [`signs`](fn@signs) on which side
//!   of all others they lie.
//! * [`advise`] asks the system for huge pages.
//!
//! This room uses `arithmetic` and `input`.

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
