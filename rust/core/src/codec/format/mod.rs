//! A compressed tensor and its stored form; `docs/format.md` is the description.

pub(in crate::codec) mod axes;
pub(in crate::codec) mod bytes;
pub(in crate::codec) mod exceptions;
pub mod layout;
pub mod mask;
mod parts;
pub(in crate::codec) mod placement;
pub mod scale;
pub(in crate::codec) mod sections;
pub mod streams;
pub mod tensor;
mod version;

pub use axes::Axes;
pub use exceptions::Exceptions;
pub use parts::Parts;
pub use placement::{CodesAt, Placement};
pub use streams::Streams;
pub use tensor::{CompressedTensor, Payload};
pub use version::FormatVersion;
