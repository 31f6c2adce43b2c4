//! From weights to a compressed tensor.

mod bit_budget;
mod compress;
mod encoder;
mod feedback;
mod fit;
mod goal;
mod params;
pub mod rate;
mod raw;
pub mod scoring;
mod tile_search;
mod zero_rows;

pub use compress::Codec;
pub use feedback::SecondMoment;
pub use params::{Goal, TrellisParams};
