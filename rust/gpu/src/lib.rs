//! The host path of compressed tensors on CUDA devices.
//!
//! Nothing here is linked against CUDA, and the driver is opened at the first call. On a machine
//! without a driver every call returns an error that says so.

pub mod abi;
mod converted;
pub mod device;
pub mod dlpack;
mod driver;
mod error;
mod image;
mod kernel;
mod level_bytes;
pub mod memory;
mod module;
mod offsets;
mod prepared;
mod row_tiles;
mod tables;
mod tile_tables;

pub use device::{Device, Stream, close_all, count};
pub use driver::{SYMBOLS, cuda_version};
pub use error::{Error, ErrorKind, Result};
pub use image::STAMP;
pub use kernel::Float;
pub use prepared::{Lent, PreparedTensor, Span, Vectors, stream_table};
pub use tables::Tables;
