//! Keeps rows that are entirely zero exactly zero, such as padding rows of an embedding table.
//!
//! A zero row that consists of whole streams has no codes and costs nothing. If a stream has parts of
//! several rows, decoded zeros would have errors like any other weights. There the weights of zero rows
//! are masked, or stored as exact weights, whichever takes fewer bytes. Tensors without such rows are
//! not affected.

use rayon::prelude::*;

use crate::codec::format::axes::Axes;
use crate::codec::format::exceptions::Exceptions;
use crate::codec::format::layout::{Layout, trailing_run};
use crate::codec::format::mask::Mask;
use crate::codec::format::streams::Streams;
use crate::codec::format::tensor::Energy;
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::codec::operations::decoder::Decoder;
use crate::simd::SimdLevel;
use crate::team::CurrentPool;
use crate::{Control, ErrorKind, Result};

/// In a tensor of more than two axes, a row is the shortest run of trailing axes with at least this
/// many weights. Shorter runs, such as the width of a convolution kernel, are too often zero by chance.
const SHORTEST: usize = 16;

/// How the zero rows of a tensor are kept.
pub(super) enum Kept {
    /// By the codes alone: there are no zero rows, or their streams are entirely zero.
    ByCodes,
    /// A mask.
    Masked(Mask),
    /// Exact weights.
    Apart(Exceptions),
}

impl Kept {
    /// Choose how to keep the zero rows of these weights, which are stored in this layout.
    pub fn new<T: Element>(
        weights: &[T],
        shape: &[usize],
        axes: Axes,
        layout: &Layout,
        control: &Control,
    ) -> Result<Self> {
        let row = trailing_run(shape, SHORTEST);
        let in_order = axes == Axes::InOrder;
        if row == 0 || row == weights.len() || in_order && layout.streams_a_row(row).is_some() {
            return Ok(Self::ByCodes);
        }
        let zero: Vec<bool> = weights.par_chunks(row).map(is_zero).collect();
        if !zero.contains(&true) {
            return Ok(Self::ByCodes);
        }
        let rows = zero.len();
        let is_kept = |at: usize| match axes {
            Axes::InOrder => zero[at / row],
            Axes::Swapped => zero[at % rows],
        };
        let streams: Vec<usize> = match axes {
            // A stream runs across the rows, so it may have weights of every zero row.
            Axes::Swapped => (0..layout.len()).collect(),
            Axes::InOrder => {
                let of_row = |number: usize| {
                    let first = layout.stream_of(number * row);
                    first..layout.stream_of(number * row + row - 1) + 1
                };
                let zeros = (0..rows).filter(|number| zero[*number]);
                let mut streams: Vec<usize> = zeros.flat_map(of_row).collect();
                streams.dedup();
                streams.retain(|stream| !is_zero(&weights[layout.stream(*stream)]));
                streams
            }
        };
        if streams.is_empty() {
            return Ok(Self::ByCodes);
        }
        let places = || {
            let all = streams.iter().flat_map(|stream| layout.stream(*stream));
            all.filter(|at| is_kept(*at))
        };
        // A product leaves out masked columns if rows are whole streams; exact weights would force it
        // to decode.
        let columns = !in_order && layout.streams_a_row(rows).is_some();
        match Mask::new(layout, is_kept, control) {
            // An exact weight takes at least one byte for its place.
            Ok(mask)
                if columns || mask.stored().len() <= places().count() * (1 + T::DTYPE.size()) =>
            {
                return Ok(Self::Masked(mask));
            }
            // The mask expands too much: exact weights are used.
            Err(error) if error.kind() != ErrorKind::TooLarge => return Err(error),
            _ => {}
        }
        Ok(Self::Apart(Exceptions::zeros(places().collect(), T::DTYPE)))
    }

    /// Bytes that it takes.
    pub fn nbytes(&self) -> usize {
        match self {
            Self::ByCodes => 0,
            Self::Masked(mask) => mask.stored().len(),
            Self::Apart(exceptions) => exceptions.nbytes(),
        }
    }

    /// The mask and the exact weights.
    pub fn split(self) -> (Option<Mask>, Exceptions) {
        match self {
            Self::ByCodes => (None, Exceptions::default()),
            Self::Masked(mask) => (Some(mask), Exceptions::default()),
            Self::Apart(exceptions) => (None, exceptions),
        }
    }
}

fn is_zero<T: Element>(weights: &[T]) -> bool {
    weights.iter().all(|weight| weight.to_f64() == 0.0)
}

/// Add exact zeros to a tensor without exact weights, and subtract the errors of their codes from its
/// error.
pub(super) fn put_apart(
    zeros: Exceptions,
    streams: &mut Streams,
    shape: &[usize],
    energy: &mut Energy,
    control: &Control,
) -> Result<()> {
    if zeros.is_empty() {
        return Ok(());
    }
    let decoder = Decoder::new(streams, shape, SimdLevel::in_use()?)?;
    // Energies are those of the weights divided by 2^exponent.
    let normalise = PowerOfTwo::new(-i32::from(streams.exponent));
    let mut missed = 0.0;
    for run in zeros.runs() {
        let mut decoded = vec![0f64; run.len()];
        decoder.decode(run, &mut decoded, &CurrentPool, control)?;
        let squares = decoded.iter().map(|value| normalise.times(*value).powi(2));
        missed += squares.sum::<f64>();
    }
    energy.error = (energy.error - missed).max(0.0);
    streams.exceptions = zeros;
    Ok(())
}
