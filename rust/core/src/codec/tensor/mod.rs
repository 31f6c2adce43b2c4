//! A compressed tensor: what is kept of it, how it is made, and how it is read back.

mod bytes;
mod decode;
mod encode;
mod exceptions;
mod feedback;
mod fit;
mod flat;
mod goal;
mod input;
mod parts;
mod placement;
mod product;
mod purse;
mod rows;
mod sections;
mod stored_order;
mod streams;
mod zero_rows;

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

use decode::Decoder;
pub use encode::TrellisParams;
pub use exceptions::Exceptions;
pub use feedback::SecondMoment;
pub use goal::Goal;
pub use parts::Parts;
pub use placement::{CodesAt, Placement};
pub use product::Linear;
pub use stored_order::Axes;
pub use streams::Streams;

use super::element::{Dtype, Element, PowerOfTwo};
use super::winding::{Winding, WindingParams};
use crate::team::{CurrentPool, Team};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// How a tensor is to be coded.
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// Path and cell bits of a shift register (the default).
    Trellis(TrellisParams),
    /// The published method: one trajectory code for each group of weights.
    Winding(WindingParams),
}

impl Codec {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Trellis(params) => params.validate(),
            Self::Winding(params) => params.validate(),
        }
    }
}

/// The stored form of the weights.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Every weight is zero, or there is none.
    Zeros,
    /// The weights' own little-endian bytes: of fewer than ten weights, for which the header alone
    /// outweighs them, and of tensors that the winding cannot hold within its error limit.
    Raw(Vec<u8>),
    /// Trellis codes.
    Trellis(Box<Streams>),
    /// Trajectory codes of the published method.
    Winding(Winding),
}

/// Sums that tell how much of the signal was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    /// Σ w², in the tensor's own normalisation.
    pub signal: f64,
    /// Σ (w − ŵ)², in the same.
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
    shape: Vec<usize>,
    axes: Axes,
    dtype: Dtype,
    energy: Energy,
    payload: Payload,
}

/// The most axes a stored shape may have.
pub const MAX_AXES: usize = 64;

/// Cut `slice` into consecutive pieces of these lengths.
fn split_mut<T>(mut slice: &mut [T], lengths: impl Iterator<Item = usize>) -> Vec<&mut [T]> {
    lengths
        .map(|length| {
            slice
                .split_off_mut(..length)
                .expect("the lengths add up to the slice")
        })
        .collect()
}

/// Number of weights of a shape, or an error where it does not fit this machine.
fn weight_count(shape: &[usize]) -> Result<usize> {
    // An axis of length 0 must not hide that the others overflow: nobody can index such a tensor.
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
    /// Compress `weights`, the C-order elements of a tensor of this shape.
    ///
    /// The result depends on the weights, the shape and the codec alone, not on the number of
    /// threads or the machine. Time O(n·2^W) for the trellis, O(n) for the winding.
    pub fn compress<T: Element>(
        weights: &[T],
        shape: &[usize],
        codec: &Codec,
        control: &Control,
    ) -> Result<Self> {
        if weight_count(shape)? != weights.len() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("shape {shape:?} does not have {} weights", weights.len()),
            ));
        }
        let exponent = super::element::exponent(weights, control)?;
        // Before anything else, so that a bad argument passes not even where there is nothing to do.
        codec.validate()?;
        let (payload, energy) = match (exponent, codec) {
            (None, _) => (Payload::Zeros, Energy::default()),
            (Some(_), _) if weights.len() < LEAST => kept_as_it_is(weights),
            (Some(exponent), Codec::Trellis(params)) => {
                let (streams, energy) = goal::reach(weights, shape, exponent, params, control)?;
                (Payload::Trellis(Box::new(streams)), energy)
            }
            (Some(exponent), Codec::Winding(params)) => {
                winding_payload(weights, exponent, params, control)?
            }
        };
        Ok(Self::plain(shape, T::DTYPE, payload, energy))
    }

    /// A tensor that is stored in the order of its axes.
    fn plain(shape: &[usize], dtype: Dtype, payload: Payload, energy: Energy) -> Self {
        Self {
            shape: shape.to_vec(),
            axes: Axes::InOrder,
            dtype,
            // As it will be stored, so that a tensor that was stored and read is the same.
            energy: Energy {
                signal: f64::from(energy.signal as f32),
                error: f64::from(energy.error as f32),
            },
            payload,
        }
    }

    /// Decode into `out`, which must have as many elements as the tensor, in C order.
    ///
    /// The same bits for any number of threads, on any machine. O(n).
    pub fn decompress<T: Element>(&self, out: &mut [T], control: &Control) -> Result<()> {
        self.decompress_range(0..self.len(), out, control)
    }

    /// Decode the weights of a range of flat C-order indices.
    ///
    /// The same bits as in the whole tensor. O(length): a trellis decodes at most the Hadamard blocks
    /// that the range touches, up to 2048 weights more at either end, and finds their codes in time
    /// in proportion to the streams of a chain. Where axes are stored the other way round, those are
    /// the blocks of every stored row that the range has an element of.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a range that is not within the tensor, or unless `out` has
    /// its length; [`ErrorKind::Cancelled`] through `control`.
    pub fn decompress_range<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        self.decompress_by(&CurrentPool, range, out, control)
    }

    /// The same by a team.
    pub fn decompress_by<T: Element>(
        &self,
        team: &dyn Team,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        self.check_range(&range, out.len())?;
        if self.axes == Axes::Swapped {
            return self.decompress_swapped(team, range, out, control);
        }
        match &self.payload {
            Payload::Zeros => out.fill(T::default()),
            Payload::Raw(bytes) => {
                let size = self.dtype.size();
                copy_raw(
                    &bytes[range.start * size..range.end * size],
                    self.dtype,
                    out,
                );
            }
            Payload::Trellis(streams) => {
                let decoder = Decoder::new(streams, &self.shape, SimdLevel::in_use()?)?;
                decoder.decode(range, out, team, control)?;
            }
            Payload::Winding(winding) => winding.decode_as(range, out, team, control)?,
        }
        Ok(())
    }

    fn check_range(&self, range: &Range<usize>, places: usize) -> Result<()> {
        let why = if range.start > range.end || range.end > self.len() {
            format!("weights {range:?}: the tensor has 0..{}", self.len())
        } else if places != range.len() {
            format!("an output of {places} elements for {} weights", range.len())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, why))
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements it was made from.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// What was kept.
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

fn winding_payload<T: Element>(
    weights: &[T],
    exponent: i32,
    params: &WindingParams,
    control: &Control,
) -> Result<(Payload, Energy)> {
    let narrow: Vec<f32> = weights.par_iter().map(|w| w.to_f64() as f32).collect();
    if narrow.par_iter().any(|w| w.is_infinite()) {
        return Ok(kept_as_it_is(weights));
    }
    let winding = Winding::encode(&narrow, params, control)?;
    let energy = winding_energy(&winding, weights, exponent, control)?;
    // The published program keeps a tensor as it is when its error exceeds a limit; ours is the
    // one beyond which the codes say less than nothing.
    if energy.error >= energy.signal {
        return Ok(kept_as_it_is(weights));
    }
    Ok((Payload::Winding(winding), energy))
}

/// Weights decoded and compared between two looks at the stop flag.
const COMPARED: usize = 1 << 15;

fn winding_energy<T: Element>(
    winding: &Winding,
    weights: &[T],
    exponent: i32,
    control: &Control,
) -> Result<Energy> {
    let normalise = PowerOfTwo::new(-exponent);
    let chunks = weights.par_chunks(COMPARED).enumerate();
    let energies = chunks.map_init(Vec::new, |decoded, (chunk, weights)| {
        control.check()?;
        decoded.resize(weights.len(), 0.0);
        let start = chunk * COMPARED;
        winding.decode_range(start..start + weights.len(), decoded)?;
        let mut energy = Energy::default();
        for (weight, value) in weights.iter().zip(decoded.iter()) {
            let (weight, value) = (weight.to_f64(), f64::from(*value));
            energy.signal += normalise.times(weight).powi(2);
            energy.error += normalise.times(weight - value).powi(2);
        }
        Ok(energy)
    });
    // Summed in the order of the weights, whatever order the threads finished in.
    Ok(energies.collect::<Result<Vec<_>>>()?.into_iter().sum())
}

/// Tensors of fewer weights are kept as they are, as in the published program.
const LEAST: usize = 10;

fn kept_as_it_is<T: Element>(weights: &[T]) -> (Payload, Energy) {
    let mut bytes = Vec::with_capacity(weights.len() * T::DTYPE.size());
    for weight in weights {
        weight.push_le(&mut bytes);
    }
    (Payload::Raw(bytes), Energy::default())
}

/// The weights of a type whose little-endian bytes these are, as many as there is place for.
fn copy_raw<T: Element>(bytes: &[u8], dtype: Dtype, out: &mut [T]) {
    fn read<const N: usize, T: Element>(bytes: &[u8], out: &mut [T], value: fn([u8; N]) -> f64) {
        for (place, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *place = T::from_f64(value(*chunk));
        }
    }
    match dtype {
        Dtype::F32 => read(bytes, out, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => read(bytes, out, f64::from_le_bytes),
        Dtype::F16 => read(bytes, out, |b| f16::from_le_bytes(b).into()),
        Dtype::Bf16 => read(bytes, out, |b| bf16::from_le_bytes(b).into()),
    }
}
