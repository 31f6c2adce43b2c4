//! A compressed matrix times vectors, without decompressing the matrix.
//!
//! A stream's weights are w = s·T⁻¹·q, with levels q, a scale s and the orthonormal transform T. So w·x
//! = s·q·(T·x). The vectors are transformed once. Each row costs the decoding of its levels, and one
//! multiply-add for each level and vector. The levels never leave the first-level cache, or, for a
//! single vector, the registers.
//!
//! This requires rows that are whole streams, and weights that all come from codes. Columns that the
//! mask has zero in every row are left out of the product. Other tensors are decoded to weights,
//! sixteen rows at a time, and multiplied by the same kernel: tensors whose streams join short rows,
//! with other masks, with exact weights, or without trellis codes.
//!
//! One thread computes each result, in the order of [`product`](crate::codec::kernels::product). So
//! results have the same bits for any number of threads, on any machine, and with any other vectors in
//! the batch.

mod near;
mod rows;
mod transposed;
mod vectors;

use std::ops::Range;

use super::decoder::Decoder;
use super::flat::StoredWeights;
use crate::codec::format::axes::Axes;
use crate::codec::format::streams::NearStreams;
use crate::codec::format::tensor::{CompressedTensor, Payload};
use crate::codec::kernels::product::BATCH;
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::team::{CurrentPool, Team};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// The input of a linear layer: y = W·x + b for each vector x of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a, T> {
    /// The vectors, in C order.
    pub x: &'a [T],
    /// The number of vectors.
    pub batch: usize,
    /// b, if the layer has a bias.
    pub bias: Option<&'a [T]>,
    /// Whether to compute y = Wᵀ·x + b instead, as back-propagation through the layer does.
    pub transposed: bool,
}

impl CompressedTensor {
    /// y = W·x for the matrix W of shape (rows, columns) and each vector x of a batch: `x` has
    /// (batch, columns) values in C order, `out` (batch, rows).
    ///
    /// Computed in `f32`; the result differs from decompressing and multiplying by rounding only. The
    /// same bits for any number of threads, on any machine, and with any other vectors in the batch.
    /// O(rows·columns·(batch + 10)), memory O((rows + columns)·batch). A NaN or an infinity among a
    /// vector's values may spread to all of its results.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless the tensor has two axes and the lengths fit;
    /// [`ErrorKind::Cancelled`] through `control`.
    pub fn matmul(
        &self,
        x: &[f32],
        batch: usize,
        out: &mut [f32],
        control: &Control,
    ) -> Result<()> {
        self.matmul_on(SimdLevel::in_use()?, &CurrentPool, x, batch, out, control)
    }

    /// [`matmul`](Self::matmul) with a level of vector instructions and a team of threads.
    pub fn matmul_on(
        &self,
        simd: SimdLevel,
        team: &dyn Team,
        x: &[f32],
        batch: usize,
        out: &mut [f32],
        control: &Control,
    ) -> Result<()> {
        let linear = Linear {
            x,
            batch,
            bias: None,
            transposed: false,
        };
        self.linear_on(simd, team, linear, out, control)
    }

    /// A linear layer: vectors and results of any element type, with a bias, or transposed.
    ///
    /// Computed in `f32` and rounded once to the type; a result beyond its range is infinite. Vectors
    /// of 16 bits are multiplied in integers by the rows whose integer levels are near enough to their
    /// levels: the error is at least 50 dB below the product of the norms. The first such call finds
    /// these rows. Otherwise as [`matmul`](Self::matmul), with the same errors.
    pub fn linear_on<T: Element>(
        &self,
        simd: SimdLevel,
        team: &dyn Team,
        linear: Linear<'_, T>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let stored = self.stored_shape();
        let [rows, columns] = stored[..] else {
            return Err(invalid(format!(
                "a product with a tensor of shape {:?}: one of two axes, (rows, columns), is accepted",
                self.shape
            )));
        };
        let Linear { x, batch, bias, .. } = linear;
        // If the transpose is stored, the other product of the stored matrix is computed.
        let transposed = linear.transposed != (self.axes() == Axes::Swapped);
        let (inputs, outputs) = match transposed {
            false => (columns, rows),
            true => (rows, columns),
        };
        for (what, got, axis) in [
            ("vectors", x.len(), inputs),
            ("results", out.len(), outputs),
        ] {
            if batch.checked_mul(axis) != Some(got) {
                return Err(invalid(format!(
                    "{what} of {got} values for a batch of {batch} and a matrix of shape {:?}",
                    self.shape
                )));
            }
        }
        if let Some(bias) = bias
            && bias.len() != outputs
        {
            return Err(invalid(format!(
                "a bias of {} values for {outputs} results",
                bias.len()
            )));
        }
        if out.is_empty() {
            return Ok(());
        }
        if x.is_empty() {
            for out in out.chunks_mut(outputs) {
                match bias {
                    Some(bias) => out.copy_from_slice(bias),
                    None => out.fill(T::default()),
                }
            }
            return Ok(());
        }
        let mut matrix = Matrix::new(self, simd, rows, columns)?;
        if T::DTYPE.size() == 2 {
            matrix.look_for_integers(self, team, control)?;
        }
        let together = match linear.transposed {
            false => BATCH,
            true => transposed::BATCH,
        };
        let batches = x
            .chunks(together * inputs)
            .zip(out.chunks_mut(together * outputs));
        for (x, out) in batches {
            match (transposed, matrix.kept) {
                (false, None) => matrix.times(x, bias, out, team, control)?,
                (true, None) => matrix.transposed_times(x, bias, out, team, control)?,
                (false, Some(kept)) => {
                    matrix.times(&chosen(x, columns, kept), bias, out, team, control)?;
                }
                (true, Some(kept)) => {
                    let few = bias.map(|bias| chosen(bias, columns, kept));
                    let mut made = vec![T::default(); out.len() / columns * kept.len()];
                    matrix.transposed_times(x, few.as_deref(), &mut made, team, control)?;
                    let pairs = out.chunks_mut(columns).zip(made.chunks(kept.len()));
                    for (out, made) in pairs {
                        match bias {
                            Some(bias) => out.copy_from_slice(bias),
                            None => out.fill(T::default()),
                        }
                        for (column, value) in kept.iter().zip(made) {
                            out[*column] = *value;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The elements of the `kept` columns, of rows with `columns` elements.
fn chosen<T: Element>(rows: &[T], columns: usize, kept: &[usize]) -> Vec<T> {
    let rows = rows.chunks(columns);
    rows.flat_map(|row| kept.iter().map(|column| row[*column]))
        .collect()
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// The source of a row's factors.
enum RowSource<'a> {
    /// Levels of whole streams.
    Streams(Box<Decoder<'a>>),
    /// Decoded weights.
    StoredWeights(StoredWeights<'a>),
}

/// A matrix to be multiplied by some batches.
struct Matrix<'a> {
    source: RowSource<'a>,
    simd: SimdLevel,
    rows: usize,
    /// Number of columns that are multiplied.
    columns: usize,
    /// The columns that are multiplied, if a mask has the others zero in every row.
    kept: Option<&'a [usize]>,
    /// The columns of each stream of a row; one segment of all columns for decoded weights.
    segments: Vec<Range<usize>>,
    /// The power of two that restores the tensor's normalisation; every result is multiplied by it.
    restore: PowerOfTwo,
    /// The streams that may be multiplied by integer vectors.
    near: Option<&'a NearStreams>,
}

impl<'a> Matrix<'a> {
    fn new(
        tensor: &'a CompressedTensor,
        simd: SimdLevel,
        rows: usize,
        columns: usize,
    ) -> Result<Self> {
        if let Payload::Trellis(streams) = &tensor.payload {
            let decoder = Decoder::new(streams, &tensor.stored_shape(), simd)?;
            let kept = match &streams.mask {
                Some(mask) => mask.columns(rows, columns).filter(|kept| !kept.is_empty()),
                None => None,
            };
            let by_codes_alone = streams.mask.is_none() || kept.is_some();
            if let Some(pieces) = decoder.layout.streams_a_row(columns)
                && by_codes_alone
                && streams.exceptions.is_empty()
            {
                let place = |column: usize| match kept {
                    Some(kept) => kept.partition_point(|kept| *kept < column),
                    None => column,
                };
                let streams = (0..pieces).map(|i| decoder.layout.stream(i));
                return Ok(Self {
                    segments: streams.map(|s| place(s.start)..place(s.end)).collect(),
                    restore: decoder.restore,
                    near: None,
                    source: RowSource::Streams(Box::new(decoder)),
                    simd,
                    rows,
                    columns: kept.map_or(columns, <[usize]>::len),
                    kept,
                });
            }
        }
        let whole = 0..columns;
        Ok(Self {
            source: RowSource::StoredWeights(StoredWeights::new(tensor, simd)?),
            simd,
            rows,
            columns,
            kept: None,
            segments: vec![whole],
            restore: PowerOfTwo::new(0),
            near: None,
        })
    }

    /// Find the streams that are multiplied in integers.
    fn look_for_integers(
        &mut self,
        tensor: &'a CompressedTensor,
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        if let (RowSource::Streams(decoder), Payload::Trellis(streams)) =
            (&self.source, &tensor.payload)
        {
            let near = near::near(streams, decoder, team, control)?;
            self.near = near.any.then_some(near);
        }
        Ok(())
    }

    /// The result that a total gives.
    fn result<T: Element>(&self, total: f32, bias: Option<&T>) -> T {
        let value = self.restore.times(f64::from(total)) as f32;
        T::nearest(match bias {
            Some(bias) => value + bias.to_f64() as f32,
            None => value,
        })
    }
}
