//! The trellis codes: their constants, where the state map places a weight, and the levels.

pub mod code;
pub mod constants;
pub mod integer_levels;
pub mod tables;

pub use code::{Axis, Code, HALF_BITS};
pub use tables::Trellis;
