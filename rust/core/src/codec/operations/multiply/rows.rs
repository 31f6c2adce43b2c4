//! Rows times vectors: y = W·x.
//!
//! Threads share the rows. A single vector is multiplied while a row's levels are decoded, in
//! registers. For several vectors, the levels of sixteen rows are written to memory that stays in the
//! first-level cache, some columns at a time. Integer vectors are multiplied in integers by the rows
//! with near enough integer levels. Which path a row takes depends on its codes and on the vector
//! alone.

use std::ops::Range;

use super::vectors::{BatchVectors, Integers, Scales};
use super::{Matrix, RowSource};
use crate::codec::kernels::decode::{BLOCK, Codes, Memory, dot, integer, lane_sum, levels};
use crate::codec::kernels::product::{self, PANEL, ROWS, Sums, accumulate};
use crate::codec::kernels::tiles::{self, TileCodes, TileMemory};
use crate::codec::numbers::element::Element;
use crate::codec::operations::decoder::Decoder;
use crate::codec::operations::flat::StoredWeights;
use crate::team::{Alone, SHARED_FROM, Team, share};
use crate::{Control, Result};

/// The least number of products in a piece of work for a thread.
const PIECE: usize = 1 << 18;

/// Memory of one thread.
#[derive(Default)]
struct RowBuffers {
    codes: [Memory; ROWS],
    levels: Vec<f32>,
    integers: Vec<i16>,
    sums: Vec<Sums>,
    /// Products of rows in tiles, by row and vector.
    products: Vec<f32>,
    tiles: TileMemory,
    /// Results by row and vector.
    totals: Vec<f32>,
}

/// A row's codes in a segment, and their scale.
struct Row<'m> {
    scale: f32,
    codes: Codes<'m>,
    /// Its place among the rows that are multiplied together.
    place: usize,
    in_integers: bool,
}

impl Row<'_> {
    /// Its codes, if they are in tiles.
    fn tiles(&self) -> Option<TileCodes<'_>> {
        match &self.codes {
            Codes::Chain(_) => None,
            Codes::Tiles(codes) => Some(*codes),
        }
    }
}

impl Matrix<'_> {
    /// Multiply a batch of at most [`BATCH`](product::BATCH).
    pub(super) fn times<T: Element>(
        &self,
        x: &[T],
        bias: Option<&[T]>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        let images = self.images(x);
        let scales: Vec<Scales> = images
            .chunks(self.columns)
            .map(|image| {
                // `None` if no stream is multiplied in integers, as with 32-bit vectors.
                self.near.and_then(|_| self.scales(image))
            })
            .collect();
        // Runs of vectors that can be integers alternate with runs that cannot.
        let mut first = 0;
        for scales in scales.chunk_by(|a, b| a.is_some() == b.is_some()) {
            let run = first..first + scales.len();
            first = run.end;
            let images = &images[run.start * self.columns..run.end * self.columns];
            let vectors = self.vectors(images, scales);
            let out = &mut out[run.start * self.rows..run.end * self.rows];
            self.times_vectors(&vectors, bias, out, team, control)?;
        }
        Ok(())
    }

    fn times_vectors<T: Element>(
        &self,
        vectors: &BatchVectors,
        bias: Option<&[T]>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        let batch = vectors.batch;
        let height = match batch {
            1 => PIECE.div_ceil(self.columns).next_multiple_of(ROWS),
            _ => ROWS,
        };
        let times = |workspace: &mut RowBuffers, (block, mut out): (usize, Vec<&mut [T]>)| {
            control.check()?;
            let first = block * height;
            let rows = first..(first + height).min(self.rows);
            control.advance((rows.len() * self.columns) as u64);
            self.rows_times(rows, vectors, workspace, control)?;
            for (v, out) in out.iter_mut().enumerate() {
                for (r, out) in out.iter_mut().enumerate() {
                    let total = workspace.totals[r * batch + v];
                    *out = self.result(total, bias.map(|bias| &bias[first + r]));
                }
            }
            Ok(())
        };
        let team = if self.rows * self.columns * batch < SHARED_FROM {
            &Alone
        } else {
            team
        };
        if batch == 1 {
            let blocks = out.chunks_mut(height).map(|out| vec![out]).enumerate();
            return share(team, blocks, RowBuffers::default, times);
        }
        let mut blocks: Vec<Vec<&mut [T]>> = Vec::new();
        blocks.resize_with(self.rows.div_ceil(height), || Vec::with_capacity(batch));
        for results in out.chunks_mut(self.rows) {
            for (block, results) in blocks.iter_mut().zip(results.chunks_mut(height)) {
                block.push(results);
            }
        }
        share(
            team,
            blocks.into_iter().enumerate(),
            RowBuffers::default,
            times,
        )
    }

    /// The totals of some rows: at most [`ROWS`] if there are several vectors.
    fn rows_times(
        &self,
        rows: Range<usize>,
        vectors: &BatchVectors,
        workspace: &mut RowBuffers,
        control: &Control,
    ) -> Result<()> {
        workspace.totals.clear();
        workspace.totals.resize(rows.len() * vectors.batch, 0.0);
        match &self.source {
            RowSource::Streams(decoder) if vectors.batch == 1 => {
                self.streams_times_one(decoder, rows, vectors, workspace);
                Ok(())
            }
            RowSource::Streams(decoder) => {
                self.streams_times(decoder, rows, vectors, workspace);
                Ok(())
            }
            RowSource::StoredWeights(flat) => {
                self.weights_times(flat, rows, vectors, workspace, control)
            }
        }
    }

    fn streams_times_one(
        &self,
        decoder: &Decoder<'_>,
        rows: Range<usize>,
        vectors: &BatchVectors,
        workspace: &mut RowBuffers,
    ) {
        let mut cursor = decoder.cursor(rows.start * self.segments.len());
        for total in &mut workspace.totals {
            let mut floats = &vectors.floats[..];
            let mut integers = vectors.integers.as_ref().map(Integers::all);
            for segment in &self.segments {
                let (stream, source) = cursor.next();
                let x = integers.as_mut().map(|x| x.take(segment.len()));
                let padded = segment.len().next_multiple_of(BLOCK).min(floats.len());
                let part;
                (part, floats) = floats.split_at(padded);
                let Some(source) = source else {
                    continue;
                };
                let memory = &mut workspace.codes[0];
                let codes = memory.load(self.simd, &decoder.plans, source, 0, segment.len());
                let scale = decoder.scale(stream);
                *total += match x {
                    Some(x) if self.near.is_some_and(|near| near.has(stream)) => {
                        scale
                            * decoder.plans.integer_unit(source.rate)
                            * integer::dot(self.simd, &codes, x)
                    }
                    _ => scale * dot(self.simd, &codes, part),
                };
            }
        }
    }

    fn streams_times(
        &self,
        decoder: &Decoder<'_>,
        rows: Range<usize>,
        vectors: &BatchVectors,
        workspace: &mut RowBuffers,
    ) {
        let RowBuffers {
            codes: memories,
            levels,
            integers,
            sums,
            products,
            tiles: tile_memory,
            totals,
        } = workspace;
        let mut floats = &vectors.floats[..];
        let mut in_integers = vectors.integers.as_ref().map(Integers::all);
        for (i, segment) in self.segments.iter().enumerate() {
            let mut loaded = Vec::with_capacity(ROWS);
            let streams = decoder.streams(rows.clone(), i, self.segments.len());
            for (place, ((stream, source), memory)) in streams.zip(&mut *memories).enumerate() {
                let Some(source) = source else {
                    continue;
                };
                let codes = memory.load(self.simd, &decoder.plans, source, 0, segment.len());
                let in_integers =
                    vectors.integers.is_some() && self.near.is_some_and(|near| near.has(stream));
                let unit = match in_integers {
                    true => decoder.plans.integer_unit(source.rate),
                    false => 1.0,
                };
                loaded.push(Row {
                    scale: decoder.scale(stream) * unit,
                    in_integers,
                    codes,
                    place,
                });
            }
            let batch = vectors.batch;
            if let Some(x) = &mut in_integers {
                let x = x.take_batch(segment.len(), batch);
                let rows: Vec<&Row<'_>> = loaded.iter().filter(|row| row.in_integers).collect();
                let codes: Vec<TileCodes<'_>> = rows.iter().filter_map(|row| row.tiles()).collect();
                products.resize(codes.len() * batch, 0.0);
                tiles::products(self.simd, &codes, x, tile_memory, products);
                let tiled = rows.iter().filter(|row| row.tiles().is_some());
                for (row, products) in tiled.zip(products.chunks_exact(batch)) {
                    let totals = &mut totals[row.place * batch..][..batch];
                    for (total, product) in totals.iter_mut().zip(products) {
                        *total += row.scale * product;
                    }
                }
                let rows: Vec<&Row<'_>> =
                    rows.into_iter().filter(|r| r.tiles().is_none()).collect();
                self.sum_integers(segment.len(), &rows, x, batch, integers, sums);
                add_totals(&rows, sums, batch, totals);
            }
            let padded = segment.len().next_multiple_of(BLOCK) * batch;
            let part;
            (part, floats) = floats.split_at(padded.min(floats.len()));
            let rows: Vec<&Row<'_>> = loaded.iter().filter(|row| !row.in_integers).collect();
            self.sum_floats(segment.len(), &rows, part, batch, levels, sums);
            add_totals(&rows, sums, batch, totals);
        }
    }

    /// The sums of rows of `len` columns and a batch of integer vectors.
    fn sum_integers(
        &self,
        len: usize,
        rows: &[&Row<'_>],
        x: integer::Activations<'_>,
        batch: usize,
        levels: &mut Vec<i16>,
        sums: &mut Vec<Sums>,
    ) {
        sums.clear();
        sums.resize(rows.len() * batch, [0.0; BLOCK]);
        if rows.is_empty() {
            return;
        }
        levels.resize(ROWS * integer::STRETCH, 0);
        let mut rest = x.values;
        for (from, units) in (0..len)
            .step_by(integer::STRETCH)
            .zip(x.units.chunks(batch))
        {
            let len = (len - from)
                .min(integer::STRETCH)
                .next_multiple_of(integer::PAIR);
            let levels = &mut levels[..rows.len() * len];
            for (row, levels) in rows.iter().zip(levels.chunks_exact_mut(len)) {
                integer::levels(self.simd, &row.codes, from, levels);
            }
            let stretch;
            (stretch, rest) = rest.split_at(len * batch);
            product::integer::accumulate(self.simd, len, levels, stretch, units, sums);
        }
    }

    /// The sums of rows of `len` columns and a batch of vectors.
    fn sum_floats(
        &self,
        len: usize,
        rows: &[&Row<'_>],
        mut x: &[f32],
        batch: usize,
        factors: &mut Vec<f32>,
        sums: &mut Vec<Sums>,
    ) {
        sums.clear();
        sums.resize(rows.len() * batch, [0.0; BLOCK]);
        if rows.is_empty() {
            return;
        }
        factors.resize(ROWS * PANEL, 0.0);
        for from in (0..len).step_by(PANEL) {
            let len = (len - from).min(PANEL).next_multiple_of(BLOCK);
            let factors = &mut factors[..rows.len() * len];
            for (row, factors) in rows.iter().zip(factors.chunks_exact_mut(len)) {
                levels(self.simd, &row.codes, from, factors);
            }
            let panel;
            (panel, x) = x.split_at(len * batch);
            accumulate(self.simd, len, factors, panel, sums);
        }
    }

    fn weights_times(
        &self,
        flat: &StoredWeights<'_>,
        rows: Range<usize>,
        vectors: &BatchVectors,
        workspace: &mut RowBuffers,
        control: &Control,
    ) -> Result<()> {
        workspace.sums.clear();
        workspace.sums.resize(workspace.totals.len(), [0.0; BLOCK]);
        let mut rest = &vectors.floats[..];
        // Short rows are decoded together, because they share streams; of long rows one panel is
        // decoded at a time.
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
                self.simd,
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

/// Add the sums of some rows, times their scales, to their totals.
fn add_totals(rows: &[&Row<'_>], sums: &[Sums], batch: usize, totals: &mut [f32]) {
    for (row, sums) in rows.iter().zip(sums.chunks_exact(batch)) {
        let totals = &mut totals[row.place * batch..][..batch];
        for (total, sums) in totals.iter_mut().zip(sums) {
            *total += row.scale * lane_sum(sums);
        }
    }
}
