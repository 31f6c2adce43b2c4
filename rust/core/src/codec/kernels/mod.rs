//! The loops that take most of the time. Each has a portable form, which defines the result, and a form
//! for each vector unit that gives the same bits.

pub mod activations;
#[cfg(target_arch = "x86_64")]
mod byte_vectors;
pub mod decode;
pub(in crate::codec) mod feedback_tile;
pub mod hadamard;
pub mod product;
pub mod tiles;
#[cfg(test)]
mod tiles_tests;
pub mod viterbi;
