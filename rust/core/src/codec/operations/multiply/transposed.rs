//! A transposed product: y = Wᵀ·x, without decompressing W.
//!
//! With row r's weights w_r = s_r·T⁻¹·q_r (levels q, scale s, orthonormal transform T) it is y = T⁻¹·Σ
//! x_r·s_r·q_r: rows of levels are added, each times one factor, and the sum for each vector is
//! transformed back once.
//!
//! The matrix is cut into pieces: some rows of one segment. Threads share the pieces. Every piece has
//! its own sums, and the sums of all pieces are added in the order of the rows. The division into
//! pieces depends on the matrix alone, so results have the same bits for any number of threads, on any
//! machine, and with any other vectors in the batch. Within a piece the kernel takes one group of rows
//! at a time, in parts of [`WIDTH`] columns, whose levels stay in the first-level cache.
//!
//! For 16-bit vectors, rows with near enough integer levels are added in integers: the factors of a
//! group become integers with one unit, like a stretch of columns in the product with the matrix
//! itself. A vector whose factors in a group cannot be scaled (see [`Scale::within`]) is multiplied in
//! floats in that group.

use std::ops::Range;

use super::{Matrix, RowSource};
use crate::codec::kernels::decode::integer::{PAIR, Scale};
use crate::codec::kernels::decode::{Codes, Memory, integer, levels};
use crate::codec::kernels::product::add_rows;
use crate::codec::kernels::product::integer::{self as integer_product, GROUP, column};
use crate::codec::numbers::element::Element;
use crate::codec::operations::decoder::Decoder;
use crate::codec::operations::flat::StoredWeights;
use crate::team::{Alone, SHARED_FROM, Team, share};
use crate::{Control, Result};

/// The most vectors that are multiplied at a time. Every piece has sums for each vector.
pub(super) const BATCH: usize = 16;
/// Rows that are added to float sums at a time. The sums are loaded and stored once for all of these
/// rows.
const TOGETHER: usize = 8;
/// Columns of a group whose levels are decoded at a time.
const WIDTH: usize = 1024;
/// Weights of a piece, unless a segment would then have more than [`PIECES`] pieces.
const PIECE: usize = 1 << 19;
/// The most pieces of a segment.
const PIECES: usize = 32;

/// Some rows of a segment, and their sums: for each vector one sum a column, padded to a multiple of
/// [`PAIR`]. Empty if nothing was added.
struct Piece {
    rows: Range<usize>,
    segment: usize,
    floats: Vec<f32>,
    /// In the order of [`column`].
    integers: Vec<f32>,
}

/// Memory of one thread.
struct TransposedBuffers {
    codes: [Memory; GROUP],
    /// Levels of a group.
    integers: Vec<i16>,
    /// Levels or weights of [`TOGETHER`] rows.
    rows: Vec<f32>,
}

impl TransposedBuffers {
    fn new() -> Self {
        Self {
            codes: Default::default(),
            integers: vec![0; GROUP * WIDTH],
            rows: vec![0.0; TOGETHER * WIDTH],
        }
    }
}

/// A row of a group.
struct Row<'m> {
    /// Its place in the group.
    place: usize,
    scale: f32,
    /// The factor of its integer levels.
    integer_unit: f32,
    codes: Codes<'m>,
}

/// A vector's factors for the rows of a group.
struct Factors {
    /// The factors of rows that are added in integers, an even number; empty if there are none.
    integers: Vec<i16>,
    unit: f32,
    /// The factors of the other rows; 0 for rows that are not added here.
    floats: Vec<f32>,
    any_floats: bool,
}

impl Matrix<'_> {
    /// Multiply a batch by the transposed matrix.
    pub(super) fn transposed_times<T: Element>(
        &self,
        x: &[T],
        bias: Option<&[T]>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        let mut wide = Vec::with_capacity(x.len());
        T::widen(x, self.simd, &mut wide);
        let team: &dyn Team = if self.columns * x.len() < SHARED_FROM {
            &Alone
        } else {
            team
        };
        let mut pieces = self.pieces();
        share(
            team,
            pieces.iter_mut(),
            TransposedBuffers::new,
            |workspace, piece| {
                for first in piece.rows.clone().step_by(GROUP) {
                    control.check()?;
                    let rows = first..(first + GROUP).min(piece.rows.end);
                    control.advance((rows.len() * self.segments[piece.segment].len()) as u64);
                    match &self.source {
                        RowSource::Streams(decoder) => {
                            self.add_group(decoder, rows, &wide, piece, workspace)
                        }
                        RowSource::StoredWeights(flat) => self.add_weights(
                            flat,
                            rows,
                            &wide,
                            piece,
                            &mut workspace.rows,
                            control,
                        )?,
                    }
                }
                Ok(())
            },
        )?;
        self.finish(&pieces, bias, out);
        Ok(())
    }

    /// All pieces, those of a segment in the order of the rows.
    fn pieces(&self) -> Vec<Piece> {
        let rows = (PIECE / self.columns)
            .max(self.rows.div_ceil(PIECES))
            .max(1)
            .next_multiple_of(GROUP);
        let segments = 0..self.segments.len();
        let pieces = segments.flat_map(|segment| {
            (0..self.rows).step_by(rows).map(move |first| Piece {
                rows: first..(first + rows).min(self.rows),
                segment,
                floats: Vec::new(),
                integers: Vec::new(),
            })
        });
        pieces.collect()
    }

    /// Add up to [`GROUP`] rows of levels to the sums of their piece.
    fn add_group(
        &self,
        decoder: &Decoder<'_>,
        rows: Range<usize>,
        x: &[f32],
        piece: &mut Piece,
        workspace: &mut TransposedBuffers,
    ) {
        let columns = self.segments[piece.segment].len();
        let streams = decoder.streams(rows.clone(), piece.segment, self.segments.len());
        let (mut whole, mut others) = (Vec::with_capacity(GROUP), Vec::new());
        for (place, ((stream, source), memory)) in streams.zip(&mut workspace.codes).enumerate() {
            let Some(source) = source else {
                continue;
            };
            let codes = memory.load(self.simd, &decoder.plans, source, 0, columns);
            let scale = decoder.scale(stream);
            let row = Row {
                place,
                scale,
                integer_unit: decoder.plans.integer_unit(source.rate),
                codes,
            };
            match self.near.is_some_and(|near| near.has(stream)) {
                true => whole.push(row),
                false => others.push(row),
            }
        }
        let vectors = x.chunks_exact(self.rows).map(|x| &x[rows.clone()]);
        let factors: Vec<Factors> = vectors.map(|x| Factors::new(x, &whole, &others)).collect();
        if factors.iter().any(|factors| !factors.integers.is_empty()) {
            self.add_integers(columns, &whole, &factors, piece, &mut workspace.integers);
        }
        if factors.iter().any(|factors| factors.any_floats) {
            whole.append(&mut others);
            self.add_floats(columns, &whole, &factors, piece, &mut workspace.rows);
        }
    }

    fn add_integers(
        &self,
        columns: usize,
        rows: &[Row<'_>],
        factors: &[Factors],
        piece: &mut Piece,
        memory: &mut [i16],
    ) {
        let padded = columns.next_multiple_of(PAIR);
        piece.integers.resize(padded * factors.len(), 0.0);
        for from in (0..padded).step_by(WIDTH) {
            let len = (padded - from).min(WIDTH);
            let made = &mut memory[..rows.len().next_multiple_of(2) * len];
            for (i, made) in made.chunks_exact_mut(len).enumerate() {
                match rows.get(i) {
                    Some(row) => integer::levels(self.simd, &row.codes, from, made),
                    None => made.fill(0),
                }
            }
            let sums = piece.integers.chunks_exact_mut(padded);
            for (factors, sums) in factors.iter().zip(sums) {
                if !factors.integers.is_empty() {
                    let sums = &mut sums[from..from + len];
                    integer_product::add_rows(
                        self.simd,
                        made,
                        &factors.integers,
                        factors.unit,
                        sums,
                    );
                }
            }
        }
    }

    fn add_floats(
        &self,
        columns: usize,
        rows: &[Row<'_>],
        factors: &[Factors],
        piece: &mut Piece,
        memory: &mut [f32],
    ) {
        let padded = columns.next_multiple_of(PAIR);
        piece.floats.resize(padded * factors.len(), 0.0);
        for from in (0..padded).step_by(WIDTH) {
            let len = (padded - from).min(WIDTH);
            for (i, rows) in rows.chunks(TOGETHER).enumerate() {
                let made = &mut memory[..rows.len() * len];
                for (row, made) in rows.iter().zip(made.chunks_exact_mut(len)) {
                    levels(self.simd, &row.codes, from, made);
                }
                let sums = piece.floats.chunks_exact_mut(padded);
                for (factors, sums) in factors.iter().zip(sums) {
                    if factors.any_floats {
                        let factors = &factors.floats[i * TOGETHER..][..rows.len()];
                        add_rows(self.simd, made, factors, &mut sums[from..from + len]);
                    }
                }
            }
        }
    }

    /// Add up to [`GROUP`] rows of weights to the sums of their piece.
    fn add_weights(
        &self,
        flat: &StoredWeights<'_>,
        rows: Range<usize>,
        x: &[f32],
        piece: &mut Piece,
        memory: &mut [f32],
        control: &Control,
    ) -> Result<()> {
        let padded = self.columns.next_multiple_of(PAIR);
        piece.floats.resize(padded * (x.len() / self.rows), 0.0);
        for from in (0..self.columns).step_by(WIDTH) {
            let columns = (self.columns - from).min(WIDTH);
            let len = columns.next_multiple_of(PAIR);
            for first in rows.clone().step_by(TOGETHER) {
                let count = (rows.end - first).min(TOGETHER);
                let made = &mut memory[..count * len];
                for (i, made) in made.chunks_exact_mut(len).enumerate() {
                    let start = (first + i) * self.columns + from;
                    let (weights, rest) = made.split_at_mut(columns);
                    flat.fill(start, weights, control)?;
                    rest.fill(0.0);
                }
                let sums = piece.floats.chunks_exact_mut(padded);
                for (x, sums) in x.chunks_exact(self.rows).zip(sums) {
                    let factors = &x[first..first + count];
                    add_rows(self.simd, made, factors, &mut sums[from..from + len]);
                }
            }
        }
        Ok(())
    }

    /// Results from the sums of all pieces.
    fn finish<T: Element>(&self, pieces: &[Piece], bias: Option<&[T]>, out: &mut [T]) {
        let (mut floats, mut integers, mut image) = (Vec::new(), Vec::new(), Vec::new());
        for (v, out) in out.chunks_exact_mut(self.columns).enumerate() {
            for pieces in pieces.chunk_by(|a, b| a.segment == b.segment) {
                let segment = &self.segments[pieces[0].segment];
                let padded = segment.len().next_multiple_of(PAIR);
                self.total(
                    pieces.iter().map(|piece| &piece.floats),
                    v,
                    padded,
                    &mut floats,
                );
                self.total(
                    pieces.iter().map(|piece| &piece.integers),
                    v,
                    padded,
                    &mut integers,
                );
                image.clone_from(&floats);
                for (i, sum) in integers.iter().enumerate() {
                    image[column(i)] += sum;
                }
                image.truncate(segment.len());
                if let RowSource::Streams(decoder) = &self.source
                    && let Some(incoherence) = &decoder.incoherence
                {
                    incoherence.inverse(&mut image);
                }
                for (column, total) in segment.clone().zip(&image) {
                    out[column] = self.result(*total, bias.map(|bias| &bias[column]));
                }
            }
        }
    }

    /// The sums of all pieces for vector `v`, in order.
    fn total<'s>(
        &self,
        pieces: impl Iterator<Item = &'s Vec<f32>>,
        v: usize,
        padded: usize,
        total: &mut Vec<f32>,
    ) {
        total.clear();
        total.resize(padded, 0.0);
        for sums in pieces.filter(|sums| !sums.is_empty()) {
            let sums = &sums[v * padded..][..padded];
            self.simd.run(
                #[inline(always)]
                || {
                    for (total, sum) in total.iter_mut().zip(sums) {
                        *total += sum;
                    }
                },
            );
        }
    }
}

impl Factors {
    /// The factors of a vector in a group, of which the `whole` rows have integer levels.
    fn new(x: &[f32], whole: &[Row<'_>], others: &[Row<'_>]) -> Self {
        let factor = |row: &Row<'_>| x[row.place] * row.scale;
        let floats: Vec<f32> = whole.iter().chain(others).map(factor).collect();
        let of_integers = floats.iter().zip(whole);
        let integers: Vec<f32> = of_integers
            .map(|(factor, row)| factor * row.integer_unit)
            .collect();
        let (mut sum, mut largest) = (0.0, 0.0f32);
        for factor in &integers {
            sum += factor.abs();
            largest = largest.max(factor.abs());
        }
        match Scale::within(sum, largest) {
            Some(scale) if !whole.is_empty() => {
                let rest = &floats[whole.len()..];
                let mut integers: Vec<i16> = integers.iter().map(|f| scale.integer(*f)).collect();
                integers.resize(whole.len().next_multiple_of(2), 0);
                Self {
                    integers,
                    unit: scale.unit,
                    any_floats: !rest.is_empty(),
                    floats: [&vec![0.0; whole.len()], rest].concat(),
                }
            }
            _ => Self {
                integers: Vec::new(),
                unit: 0.0,
                any_floats: !floats.is_empty(),
                floats,
            },
        }
    }
}
