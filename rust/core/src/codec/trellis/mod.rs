//! The trellis codes: constants, state map, levels, and the plain decoder.

pub mod byte_levels;
pub mod code;
pub mod code_set;
mod constants;
pub mod integer_levels;
pub mod tables;
#[cfg(test)]
mod tests;

pub use byte_levels::ByteLevels;
pub use code::{Axis, Code, HALF_BITS, LevelCurve, StateMap, TableAxis, Winding, scaled_shape};
pub use code_set::{CodeSet, PinnedCode, WindowCodes};
pub use tables::Trellis;
