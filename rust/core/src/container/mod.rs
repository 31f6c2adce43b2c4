//! Compressed tensors in safetensors files.
//!
//! A file has the length of its header in eight bytes, the header in JSON, and the bytes of the tensors
//! one after the other (<https://huggingface.co/docs/safetensors>). A compressed tensor is a set of
//! ordinary entries: its parts and its description, whose names begin with the tensor's name (see
//! `docs/format.md`). So any tool that reads safetensors can open, list and map such a file.
//!
//! No input is trusted. The length of a header is checked against the file before it is read. Offsets
//! must cover the file without gap or overlap. Entries are grouped by name, and the groups are checked
//! against the descriptions before any part is read.

mod contents;
mod header;

pub use contents::{Contents, DESCRIPTION, Group, PARTS, part_name};
pub use header::{Header, LENGTH, Tensor, dtype_from_name, header_length};
pub use safetensors::Dtype;
