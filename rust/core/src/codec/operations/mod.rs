//! Operations on a compressed tensor: decompression, lookup of rows, products.

pub(in crate::codec) mod decoder;
mod decompress;
pub(in crate::codec) mod flat;
mod lookup;
mod multiply;
mod swapped;

pub use multiply::Linear;
