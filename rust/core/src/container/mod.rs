//! Compressed tensors in the files of the field: safetensors.
//!
//! A file is eight bytes that say how long its header is, the header in JSON, and the tensors' bytes
//! one after the other (<https://huggingface.co/docs/safetensors>). A compressed tensor is ordinary
//! entries of such a file: its parts and its description, named after it; `docs/format.md` has the
//! names. Any tool of the field can open, list and map the result.
//!
//! Nothing read is trusted. A header is bounded by the file before it is read, its offsets must cover
//! the file without gap or overlap, and entries are grouped by names that are checked against
//! descriptions before a byte of a part is asked for.

mod contents;
mod header;

pub use contents::{Contents, DESCRIPTION, Group, PARTS, part_name};
pub use header::{Header, LENGTH, Tensor, dtype_from_name, header_length};
pub use safetensors::Dtype;
