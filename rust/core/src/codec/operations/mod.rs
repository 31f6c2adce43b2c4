//! What is done with a compressed tensor: decompression, rows that are looked up, products.

pub(in crate::codec) mod decoder;
mod decompress;
pub(in crate::codec) mod flat;
mod lookup;
mod multiply;
mod swapped;

pub use multiply::Linear;
