//! The order in which the axes of a tensor are stored.

use crate::Result;
use crate::codec::numbers::input::malformed;

/// How a tensor's axes lie in its stored form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axes {
    /// In their order.
    #[default]
    InOrder,
    /// Of two, the second first.
    Swapped,
}

impl Axes {
    /// The stored axes, by their numbers in the tensor; empty where they lie in their order.
    pub fn numbers(self) -> &'static [u8] {
        match self {
            Self::InOrder => &[],
            Self::Swapped => &[1, 0],
        }
    }

    /// From such numbers, as they were read with a shape; `codes` says whether there are trellis codes,
    /// which alone have an order of their own.
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
