//! A compressed tensor in memory.

use super::axes::Axes;
use super::streams::Streams;
use crate::codec::numbers::element::Dtype;
use crate::codec::published::Winding;
use crate::{Error, ErrorKind, Result};

/// The stored form of the weights.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Every weight is zero, or there are no weights.
    Zeros,
    /// The weights' own little-endian bytes. This is used for fewer than ten weights, where the header
    /// would be larger than the codes, and for tensors that the published codec cannot hold within its
    /// error limit.
    Raw(Vec<u8>),
    /// Trellis codes.
    Trellis(Box<Streams>),
    /// Trajectory codes of the published method.
    Winding(Winding),
}

/// Energies of the signal and of the error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    /// Σ w², in the tensor's own normalisation.
    pub signal: f64,
    /// Σ (w − ŵ)², in the same normalisation.
    pub error: f64,
}

impl Energy {
    /// 10·log₁₀(signal/error) in dB; +∞ where nothing was lost.
    pub fn sqnr_db(self) -> f64 {
        if self.error == 0.0 {
            f64::INFINITY
        } else {
            10.0 * (self.signal / self.error).log10()
        }
    }
}

impl std::iter::Sum for Energy {
    fn sum<I: Iterator<Item = Self>>(energies: I) -> Self {
        energies.fold(Self::default(), |sum, energy| Self {
            signal: sum.signal + energy.signal,
            error: sum.error + energy.error,
        })
    }
}

/// A tensor as codes.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressedTensor {
    pub(in crate::codec) shape: Vec<usize>,
    pub(in crate::codec) axes: Axes,
    pub(in crate::codec) dtype: Dtype,
    pub(in crate::codec) energy: Energy,
    pub(in crate::codec) payload: Payload,
}

/// The most axes a stored shape may have.
pub const MAX_AXES: usize = 64;

/// Number of weights of a shape, or an error where it does not fit this machine.
pub(in crate::codec) fn weight_count(shape: &[usize]) -> Result<usize> {
    // Axes of length 0 count as 1 here: the product of the others must not overflow either, or indices
    // of such a tensor would.
    let bound = shape
        .iter()
        .try_fold(1usize, |product, &axis| product.checked_mul(axis.max(1)))
        .filter(|&product| shape.len() <= MAX_AXES && product <= isize::MAX as usize / 8);
    match bound {
        Some(_) => Ok(shape.iter().product()),
        None => Err(Error::new(
            ErrorKind::TooLarge,
            format!("shape {shape:?}: at most {MAX_AXES} axes and 2^60 weights"),
        )),
    }
}

impl CompressedTensor {
    /// A tensor that is stored in the order of its axes.
    pub(in crate::codec) fn plain(
        shape: &[usize],
        dtype: Dtype,
        payload: Payload,
        energy: Energy,
    ) -> Self {
        Self {
            shape: shape.to_vec(),
            axes: Axes::InOrder,
            dtype,
            // Rounded as it is stored, so that a tensor is equal after storing and reading.
            energy: Energy {
                signal: f64::from(energy.signal as f32),
                error: f64::from(energy.error as f32),
            },
            payload,
        }
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The order of the axes in the stored form.
    pub fn axes(&self) -> Axes {
        self.axes
    }

    /// Lengths of the axes in the order in which they are stored.
    pub fn stored_shape(&self) -> Vec<usize> {
        self.axes.stored(&self.shape)
    }

    /// The type of the elements it was made from.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The stored weights.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Signal to quantisation noise, as the encoder measured it before rounding to the dtype.
    pub fn sqnr_db(&self) -> f64 {
        self.energy.sqnr_db()
    }
}
