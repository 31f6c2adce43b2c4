//! Numbers and how they lie in bytes: float types, fields of bits, numbers of variable length.

pub mod bitstream;
pub mod element;
pub mod gaussian;
pub(in crate::codec) mod input;
