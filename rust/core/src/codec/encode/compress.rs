//! From weights to a compressed tensor, by either codec.

use rayon::prelude::*;

use super::goal;
use super::params::TrellisParams;
use super::raw::{LEAST, kept_as_it_is};
use crate::codec::format::tensor::{CompressedTensor, Energy, Payload, weight_count};
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::codec::published::{Winding, WindingParams};
use crate::{Control, Error, ErrorKind, Result};

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

impl CompressedTensor {
    /// Compress `weights`, the C-order elements of a tensor of this shape.
    ///
    /// The result depends on the weights, the shape and the codec alone, not on the number of
    /// threads or the machine. Time O(n·2^W) for the trellis, O(n) for the published codec.
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
        let exponent = crate::codec::numbers::element::exponent(weights, control)?;
        // First, so that a bad argument is an error even if the tensor is empty.
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
    // The published program stores a tensor uncompressed if its error exceeds a limit. The limit here
    // is the energy of the signal: beyond it, zeros would be better than the codes.
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
