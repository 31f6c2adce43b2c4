//! The loops that take the time. Each has a portable form, which defines it, and a twin for each vector
//! unit with the same bits.

pub mod decode;
pub(in crate::codec) mod feedback_tile;
pub mod hadamard;
pub mod product;
pub mod viterbi;
