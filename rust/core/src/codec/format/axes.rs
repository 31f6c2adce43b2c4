//! The order in which the axes of a tensor are stored.

use crate::Result;
use crate::codec::numbers::input::malformed;

/// The order of a tensor's axes in its stored form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axes {
    /// The order of the tensor.
    #[default]
    InOrder,
    /// The second of two axes comes first: the transpose is stored.
    Swapped,
}

impl Axes {
    /// The stored axes as numbers of the tensor's axes; empty if they have the tensor's order.
    pub fn numbers(self) -> &'static [u8] {
        match self {
            Self::InOrder => &[],
            Self::Swapped => &[1, 0],
        }
    }

    /// From stored numbers, for a tensor of this shape. `codes` says whether the tensor has trellis
    /// codes; only these may have swapped axes.
    pub(in crate::codec) fn from_numbers(
        numbers: &[u8],
        shape: &[usize],
        codes: bool,
    ) -> Result<Self> {
        match numbers {
            [1, 0] if codes && shape.len() == 2 => Ok(Self::Swapped),
            _ => Err(malformed(format!(
                "axes {numbers:?}: [1, 0] is accepted, for a matrix of trellis codes"
            ))),
        }
    }

    /// The lengths of the stored axes.
    pub fn stored(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::InOrder => shape.to_vec(),
            Self::Swapped => shape.iter().rev().copied().collect(),
        }
    }
}
