//! Matrices whose transpose is stored: the codes run along the first axis.
//!
//! Feedback coding needs all outputs of one input after the other, while a linear layer's weight has
//! the shape (outputs, inputs). So the transpose is stored. Reading gives weights in the tensor's own
//! order: bands of stored rows are decoded, a few rows at a time, and transposed in tiles that stay in
//! the first-level cache. A product needs no transposition: it is the transposed product of the stored
//! matrix.

use std::ops::Range;

use super::decoder::{DecodeBuffers, Decoder};
use crate::codec::format::tensor::{CompressedTensor, Payload};
use crate::codec::numbers::element::Element;
use crate::team::{Alone, SHARED_FROM, Team, share};
use crate::{Control, Result, SimdLevel};

/// Inputs of a piece of work.
const BAND: usize = 256;
/// Inputs that are decoded and transposed at a time.
const TOGETHER: usize = 32;
/// Outputs that are decoded at a time: whole Hadamard blocks of whole pieces of a row.
const OUTPUTS: usize = 4096;
/// Outputs of a tile: a cache line of `f32`.
const TILE: usize = 16;

/// A run of elements of a row of the tensor, which begins at an input.
struct RowPart<'o, T> {
    input: usize,
    out: &'o mut [T],
}

impl CompressedTensor {
    /// Decode a range of a tensor whose axes are swapped. The range is within the tensor.
    pub(in crate::codec) fn decompress_swapped<T: Element>(
        &self,
        team: &dyn Team,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let (Payload::Trellis(streams), &[_, inputs]) = (&self.payload, &self.shape[..]) else {
            unreachable!("only matrices of codes are stored the other way round");
        };
        if range.is_empty() {
            return Ok(());
        }
        let decoder = Decoder::new(streams, &self.stored_shape(), SimdLevel::in_use()?)?;
        let rows = range.start / inputs..(range.end - 1) / inputs + 1;
        let first = range.start % inputs;
        // A part of a single row begins at its own input.
        let columns = match rows.len() {
            1 => first..first + range.len(),
            _ => 0..inputs,
        };
        let bands = bands(out, inputs, first, &columns);
        let team = if range.len() < SHARED_FROM {
            &Alone
        } else {
            team
        };
        let turn = |workspace: &mut TurningBuffers<T>,
                    (from, mut parts): (usize, Vec<RowPart<'_, T>>)| {
            let inputs = from..(from + BAND).min(columns.end);
            workspace.band(
                &decoder,
                self.shape[0],
                rows.start,
                inputs,
                &mut parts,
                control,
            )
        };
        let new = || TurningBuffers {
            decoding: DecodeBuffers::default(),
            values: Vec::new(),
        };
        share(team, bands.into_iter(), new, turn)
    }
}

/// Cut rows of the output into bands of [`BAND`] inputs. The first row begins at input `first`. Returns
/// for each band its first input and its part of every row.
fn bands<'o, T>(
    mut out: &'o mut [T],
    inputs: usize,
    first: usize,
    columns: &Range<usize>,
) -> Vec<(usize, Vec<RowPart<'o, T>>)> {
    let starts = columns.clone().step_by(BAND);
    let mut bands: Vec<(usize, Vec<RowPart<'o, T>>)> = starts.map(|at| (at, Vec::new())).collect();
    let mut from = first;
    while !out.is_empty() {
        let to = inputs.min(from + out.len());
        for (start, parts) in &mut bands {
            let input = (*start).max(from);
            let end = (*start + BAND).min(columns.end).min(to).max(input);
            let part;
            (part, out) = out.split_at_mut(end - input);
            parts.push(RowPart { input, out: part });
        }
        from = 0;
    }
    bands
}

/// Memory of one thread.
struct TurningBuffers<T> {
    decoding: DecodeBuffers,
    values: Vec<T>,
}

impl<T: Element> TurningBuffers<T> {
    /// Decode a band of inputs for the outputs from `first` on, one for each part.
    fn band(
        &mut self,
        decoder: &Decoder<'_>,
        outputs: usize,
        first: usize,
        inputs: Range<usize>,
        parts: &mut [RowPart<'_, T>],
        control: &Control,
    ) -> Result<()> {
        let end = first + parts.len();
        let mut from = first;
        while from < end {
            let columns = from..(from / OUTPUTS * OUTPUTS + OUTPUTS).min(end);
            let parts = &mut parts[from - first..columns.end - first];
            for start in inputs.clone().step_by(TOGETHER) {
                let rows = start..(start + TOGETHER).min(inputs.end);
                // All of it is overwritten, so old values may stay.
                self.values.resize(rows.len() * columns.len(), T::default());
                decoder.decode_columns(
                    rows.clone(),
                    columns.clone(),
                    outputs,
                    &mut self.decoding,
                    &mut self.values,
                    control,
                )?;
                let exact = decoder.exact_columns(rows.clone(), columns.clone(), outputs);
                for (place, value) in exact {
                    self.values[place] = T::from_f64(value);
                }
                self.turn(rows, parts);
            }
            from = columns.end;
        }
        Ok(())
    }

    /// Transpose decoded inputs to their places.
    fn turn(&self, inputs: Range<usize>, parts: &mut [RowPart<'_, T>]) {
        let width = parts.len();
        let mut tile = [[T::default(); TOGETHER]; TILE];
        for (at, parts) in parts.chunks_mut(TILE).enumerate() {
            let column = at * TILE;
            // If a row's length is a power of two, the cache lines of a column fall into the same set.
            // So each line is read once, as a whole.
            for (i, row) in self.values.chunks_exact(width).enumerate() {
                for (tile, value) in tile.iter_mut().zip(&row[column..column + parts.len()]) {
                    tile[i] = *value;
                }
            }
            for (tile, part) in tile.iter().zip(parts) {
                let end = part.input + part.out.len();
                let from = inputs.start.max(part.input);
                let to = inputs.end.min(end);
                if from < to {
                    part.out[from - part.input..to - part.input]
                        .copy_from_slice(&tile[from - inputs.start..to - inputs.start]);
                }
            }
        }
    }
}
