//! A compressed matrix times vectors, without the matrix.
//!
//! A stream's weights are w = s·T⁻¹·q, with levels q, a scale s and the orthonormal transform T. So
//! w·x = s·q·(T·x): the vectors are transformed once, and each row costs its levels and one
//! multiply-add for each of them and each vector. The levels never leave the first-level cache, or,
//! for a single vector, the registers.
//!
//! That asks for rows that are whole streams, and for weights that are their codes alone. Streams that
//! join short rows, zeros and exact weights that are kept apart, and tensors that hold no trellis codes
//! go through decoded weights instead, sixteen rows at a time, by the same kernel.
//!
//! Every result is one thread's work in one order, and each order is that of
//! [`product`](crate::codec::product): the results are the same bits for any number of threads, any
//! machine and any other vectors in the batch.

mod transposed;

use std::ops::Range;

use super::decode::Decoder;
use super::flat::Flat;
use super::{Axes, CompressedTensor, Payload};
use crate::codec::decode::{ALONE, BLOCK, Codes, Memory, Unit, dot, lane_sum, levels};
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::product::{BATCH, PANEL, ROWS, Sums, accumulate};
use crate::team::{Alone, CurrentPool, Team, share};
use crate::{Control, Error, ErrorKind, Result};

/// What a linear layer is applied to: y = W·x + b for each vector x of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a, T> {
    /// The vectors, in C order.
    pub x: &'a [T],
    /// How many they are.
    pub batch: usize,
    /// b, if anything is to be added.
    pub bias: Option<&'a [T]>,
    /// Whether it is y = Wᵀ·x + b instead: what takes a gradient back through the layer.
    pub transposed: bool,
}

impl CompressedTensor {
    /// y = W·x for the matrix W of shape (rows, columns) and each vector x of a batch: `x` has
    /// (batch, columns) values in C order, `out` (batch, rows).
    ///
    /// In `f32`, within its rounding of decompressing and multiplying; the same bits for any number
    /// of threads, any machine, and whatever else is in the batch. O(rows·columns·(batch + 10)),
    /// memory O((rows + columns)·batch). A NaN or an infinity among a vector's values may spread to
    /// all of its results.
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
        self.matmul_on(Unit::detect(), &CurrentPool, x, batch, out, control)
    }

    /// The same on a vector unit that the machine has, by a team.
    pub fn matmul_on(
        &self,
        unit: Unit,
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
        self.linear_on(unit, team, linear, out, control)
    }

    /// A linear layer: vectors and results of any element type, with a bias, or transposed.
    ///
    /// Computed in `f32` and rounded once to the type; a result beyond its range is infinite.
    /// Otherwise as [`matmul`](Self::matmul), which says what is refused.
    pub fn linear_on<T: Element>(
        &self,
        unit: Unit,
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
        // What is stored the other way round is multiplied the other way round.
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
        let matrix = Matrix::new(self, unit, rows, columns)?;
        let batches = x
            .chunks(BATCH * inputs)
            .zip(out.chunks_mut(BATCH * outputs));
        for (x, out) in batches {
            match transposed {
                false => matrix.times(x, bias, out, team, control)?,
                true => matrix.transposed_times(x, bias, out, team, control)?,
            }
        }
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Where a row's factors come from.
enum Source<'a> {
    /// Levels of whole streams.
    Streams(Box<Decoder<'a>>),
    /// Weights.
    Flat(Flat<'a>),
}

/// A matrix to be multiplied by some batches.
struct Matrix<'a> {
    source: Source<'a>,
    unit: Unit,
    rows: usize,
    columns: usize,
    /// The columns of each of a row's streams; one of all columns where there are only weights.
    segments: Vec<Range<usize>>,
    /// What every result is to be multiplied by.
    restore: PowerOfTwo,
}

/// A batch as the kernels read it: for each segment its panels one after the other, in a panel the
/// vectors, each filled up with zeros to a multiple of [`BLOCK`].
struct Vectors {
    batch: usize,
    values: Vec<f32>,
}

/// Memory of one thread.
#[derive(Default)]
struct Workspace {
    codes: [Memory; ROWS],
    levels: Vec<f32>,
    sums: Vec<Sums>,
    /// Results by row and vector.
    totals: Vec<f32>,
}

impl<'a> Matrix<'a> {
    fn new(tensor: &'a CompressedTensor, unit: Unit, rows: usize, columns: usize) -> Result<Self> {
        if let Payload::Trellis(streams) = &tensor.payload {
            let decoder = Decoder::new(streams, &tensor.stored_shape(), unit)?;
            let by_codes_alone = streams.mask.is_none() && streams.exceptions.is_empty();
            if let Some(pieces) = decoder.layout.streams_a_row(columns)
                && by_codes_alone
            {
                return Ok(Self {
                    segments: (0..pieces).map(|i| decoder.layout.stream(i)).collect(),
                    restore: decoder.restore,
                    source: Source::Streams(Box::new(decoder)),
                    unit,
                    rows,
                    columns,
                });
            }
        }
        let whole = 0..columns;
        Ok(Self {
            source: Source::Flat(Flat::new(tensor, unit)?),
            unit,
            rows,
            columns,
            segments: vec![whole],
            restore: PowerOfTwo::new(0),
        })
    }

    /// What becomes of a total.
    fn result<T: Element>(&self, total: f32, bias: Option<&T>) -> T {
        let value = self.restore.times(f64::from(total)) as f32;
        T::nearest(match bias {
            Some(bias) => value + bias.to_f64() as f32,
            None => value,
        })
    }

    /// Multiply a batch of at most [`BATCH`].
    fn times<T: Element>(
        &self,
        x: &[T],
        bias: Option<&[T]>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        let vectors = self.transformed(x);
        let mut blocks: Vec<Vec<&mut [T]>> = Vec::new();
        blocks.resize_with(self.rows.div_ceil(ROWS), || {
            Vec::with_capacity(vectors.batch)
        });
        for results in out.chunks_mut(self.rows) {
            for (block, results) in blocks.iter_mut().zip(results.chunks_mut(ROWS)) {
                block.push(results);
            }
        }
        let times = |workspace: &mut Workspace, (block, mut out): (usize, Vec<&mut [T]>)| {
            control.check()?;
            let first = block * ROWS;
            let rows = first..(first + ROWS).min(self.rows);
            control.advance((rows.len() * self.columns) as u64);
            self.rows_times(rows, &vectors, workspace, control)?;
            for (v, out) in out.iter_mut().enumerate() {
                for (r, out) in out.iter_mut().enumerate() {
                    let total = workspace.totals[r * vectors.batch + v];
                    *out = self.result(total, bias.map(|bias| &bias[first + r]));
                }
            }
            Ok(())
        };
        let team = if self.rows * x.len() < ALONE {
            &Alone
        } else {
            team
        };
        let blocks = blocks.into_iter().enumerate();
        share(team, blocks, Workspace::default, times)
    }

    /// The batch in the basis of the rows' factors.
    fn transformed<T: Element>(&self, x: &[T]) -> Vectors {
        let batch = x.len() / self.columns;
        let padded = |segment: &Range<usize>| segment.len().next_multiple_of(BLOCK);
        let floats = self.segments.iter().map(padded).sum::<usize>() * batch;
        let mut values = vec![0.0; floats];
        let mut image = Vec::new();
        for (v, x) in x.chunks(self.columns).enumerate() {
            let mut rest = &mut values[..];
            for segment in &self.segments {
                image.clear();
                T::widen(&x[segment.clone()], self.unit, &mut image);
                if let Source::Streams(decoder) = &self.source
                    && let Some(incoherence) = &decoder.incoherence
                {
                    incoherence.forward(&mut image);
                }
                for part in image.chunks(PANEL) {
                    let len = part.len().next_multiple_of(BLOCK);
                    let panel;
                    (panel, rest) = rest.split_at_mut(len * batch);
                    panel[v * len..][..part.len()].copy_from_slice(part);
                }
            }
        }
        Vectors { batch, values }
    }

    /// The totals of at most [`ROWS`] rows.
    fn rows_times(
        &self,
        rows: Range<usize>,
        vectors: &Vectors,
        workspace: &mut Workspace,
        control: &Control,
    ) -> Result<()> {
        workspace.totals.clear();
        workspace.totals.resize(rows.len() * vectors.batch, 0.0);
        match &self.source {
            Source::Streams(decoder) if vectors.batch == 1 => {
                self.streams_times_one(decoder, rows, &vectors.values, workspace);
                Ok(())
            }
            Source::Streams(decoder) => {
                self.streams_times(decoder, rows, vectors, workspace);
                Ok(())
            }
            Source::Flat(flat) => self.weights_times(flat, rows, vectors, workspace, control),
        }
    }

    fn streams_times_one(
        &self,
        decoder: &Decoder<'_>,
        rows: Range<usize>,
        x: &[f32],
        workspace: &mut Workspace,
    ) {
        let mut cursor = decoder.cursor(rows.start * self.segments.len());
        for total in &mut workspace.totals {
            let mut rest = x;
            for segment in &self.segments {
                let part;
                (part, rest) = rest.split_at(segment.len().next_multiple_of(BLOCK));
                let (stream, source) = cursor.next();
                if let Some(source) = source {
                    let memory = &mut workspace.codes[0];
                    let codes = memory.load(&decoder.plans, source, 0, segment.len());
                    *total += decoder.scale(stream) * dot(self.unit, &codes, part);
                }
            }
        }
    }

    fn streams_times(
        &self,
        decoder: &Decoder<'_>,
        rows: Range<usize>,
        vectors: &Vectors,
        workspace: &mut Workspace,
    ) {
        let mut rest = &vectors.values[..];
        for (i, segment) in self.segments.iter().enumerate() {
            let mut scales = [0.0; ROWS];
            let mut codes: [Option<Codes<'_>>; ROWS] = [const { None }; ROWS];
            let memories = workspace.codes.iter_mut().zip(&mut codes).zip(&mut scales);
            for (row, ((memory, codes), scale)) in rows.clone().zip(memories) {
                let (stream, source) = decoder.cursor(row * self.segments.len() + i).next();
                *scale = decoder.scale(stream);
                *codes = source.map(|source| memory.load(&decoder.plans, source, 0, segment.len()));
            }
            workspace.sums.clear();
            workspace.sums.resize(workspace.totals.len(), [0.0; BLOCK]);
            for from in (0..segment.len()).step_by(PANEL) {
                let len = (segment.len() - from).min(PANEL).next_multiple_of(BLOCK);
                workspace.levels.resize(ROWS * PANEL, 0.0);
                let factors = &mut workspace.levels[..rows.len() * len];
                for (codes, factors) in codes.iter().zip(factors.chunks_exact_mut(len)) {
                    match codes {
                        Some(codes) => levels(self.unit, codes, from, factors),
                        None => factors.fill(0.0),
                    }
                }
                let panel;
                (panel, rest) = rest.split_at(len * vectors.batch);
                accumulate(self.unit, len, factors, panel, &mut workspace.sums);
            }
            let totals = workspace.totals.chunks_exact_mut(vectors.batch);
            let sums = workspace.sums.chunks_exact(vectors.batch);
            for ((totals, sums), scale) in totals.zip(sums).zip(scales) {
                self.unit.run(|| {
                    for (total, sums) in totals.iter_mut().zip(sums) {
                        *total += scale * lane_sum(sums);
                    }
                });
            }
        }
    }

    fn weights_times(
        &self,
        flat: &Flat<'_>,
        rows: Range<usize>,
        vectors: &Vectors,
        workspace: &mut Workspace,
        control: &Control,
    ) -> Result<()> {
        workspace.sums.clear();
        workspace.sums.resize(workspace.totals.len(), [0.0; BLOCK]);
        let mut rest = &vectors.values[..];
        // Short rows are decoded together, as they share streams; of long ones a panel each.
        let mut weights = Vec::new();
        let together = self.columns <= PANEL;
        if together {
            weights.resize(rows.len() * self.columns, 0.0);
            flat.fill(rows.start * self.columns, &mut weights, control)?;
        }
        for from in (0..self.columns).step_by(PANEL) {
            let count = (self.columns - from).min(PANEL);
            let len = count.next_multiple_of(BLOCK);
            workspace.levels.clear();
            workspace.levels.resize(rows.len() * len, 0.0);
            for (r, factors) in workspace.levels.chunks_exact_mut(len).enumerate() {
                let factors = &mut factors[..count];
                if together {
                    factors.copy_from_slice(&weights[r * count..][..count]);
                } else {
                    flat.fill((rows.start + r) * self.columns + from, factors, control)?;
                }
            }
            let panel;
            (panel, rest) = rest.split_at(len * vectors.batch);
            accumulate(
                self.unit,
                len,
                &workspace.levels,
                panel,
                &mut workspace.sums,
            );
        }
        for (total, sums) in workspace.totals.iter_mut().zip(&workspace.sums) {
            *total = lane_sum(sums);
        }
        Ok(())
    }
}
