//! A transposed product: y = Wᵀ·x, without W.
//!
//! With row r's weights w_r = s_r·T⁻¹·q_r (levels q, scale s, orthonormal transform T) it is
//! y = T⁻¹·Σ x_r·s_r·q_r: levels are added up with one factor each, and each vector's sum is
//! transformed back once.
//!
//! Columns are cut into [`PANEL`]s, whose sums stay in a first- or second-level cache while all rows
//! pass by; any part of a row can be decoded alone, so threads share the panels out. A sum has its
//! rows in order: the results are the same bits for any number of threads, any machine and any other
//! vectors in the batch.

use std::ops::Range;

use super::super::streams::Cursor;
use super::{Matrix, Source};
use crate::codec::decode::{ALONE, BLOCK, Memory, Unit, levels};
use crate::codec::element::Element;
use crate::codec::product::PANEL;
use crate::team::{Alone, Team, share};
use crate::{Control, Result};

/// Rows that are added to a sum at a time: it is loaded and stored once for all of them.
const TOGETHER: usize = 4;

/// The columns of a segment that are summed by one thread, and their sums for each vector.
struct Panel<'s> {
    segment: usize,
    /// The first of its columns in the segment.
    from: usize,
    columns: usize,
    /// `columns`, filled up to a multiple of [`BLOCK`], for each vector.
    sums: &'s mut [f32],
}

/// Memory of one thread.
struct Workspace {
    codes: Memory,
    /// Levels or weights of [`TOGETHER`] rows.
    rows: Vec<f32>,
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
        let batch = x.len() / self.rows;
        let mut factors = Vec::with_capacity(x.len());
        T::widen(x, self.unit, &mut factors);
        let mut sums = vec![0.0; self.padded_columns() * batch];
        let team: &dyn Team = if self.columns * x.len() < ALONE {
            &Alone
        } else {
            team
        };
        let new = || Workspace {
            codes: Memory::default(),
            rows: vec![0.0; TOGETHER * PANEL],
        };
        let panels = self.panels(&mut sums, batch).into_iter();
        share(team, panels, new, |workspace, panel| {
            self.sum_rows(&factors, panel, workspace, control)
        })?;
        self.finish(&sums, bias, out);
        Ok(())
    }

    /// Columns of all panels, each filled up to a multiple of [`BLOCK`].
    fn padded_columns(&self) -> usize {
        let padded = |segment: &Range<usize>| segment.len().next_multiple_of(BLOCK);
        self.segments.iter().map(padded).sum()
    }

    fn panels<'s>(&self, mut sums: &'s mut [f32], batch: usize) -> Vec<Panel<'s>> {
        let mut panels = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            for from in (0..segment.len()).step_by(PANEL) {
                let columns = (segment.len() - from).min(PANEL);
                let own;
                (own, sums) = sums.split_at_mut(columns.next_multiple_of(BLOCK) * batch);
                panels.push(Panel {
                    segment: index,
                    from,
                    columns,
                    sums: own,
                });
            }
        }
        panels
    }

    /// Add up all rows of a panel.
    fn sum_rows(
        &self,
        factors: &[f32],
        panel: Panel<'_>,
        workspace: &mut Workspace,
        control: &Control,
    ) -> Result<()> {
        let len = panel.columns.next_multiple_of(BLOCK);
        let mut cursor = match &self.source {
            Source::Streams(decoder) => Some(decoder.cursor(0)),
            Source::Flat(_) => None,
        };
        let Workspace { codes, rows } = workspace;
        let rows = &mut rows[..TOGETHER * len];
        for first in (0..self.rows).step_by(TOGETHER) {
            control.check()?;
            let count = (self.rows - first).min(TOGETHER);
            control.advance((count * panel.columns) as u64);
            // Where there are fewer rows, the others are zeros and not what was there before: that
            // might be an infinity, by which even a factor of 0 gives no 0.
            rows.fill(0.0);
            let mut scales = [0.0; TOGETHER];
            let places = rows.chunks_exact_mut(len).zip(&mut scales).take(count);
            for (i, (row, scale)) in places.enumerate() {
                *scale = match &mut cursor {
                    Some(cursor) => self.levels_of_next(cursor, &panel, codes, row),
                    None => self.weights_of(first + i, &panel, row, control)?,
                };
            }
            self.add_together(first..first + count, factors, scales, rows, panel.sums);
        }
        Ok(())
    }

    /// The levels of a panel in the next row, and their scale.
    fn levels_of_next(
        &self,
        cursor: &mut Cursor<'_>,
        panel: &Panel<'_>,
        codes: &mut Memory,
        row: &mut [f32],
    ) -> f32 {
        let mut scale = 0.0;
        for segment in 0..self.segments.len() {
            let (stream, source) = cursor.next();
            if segment == panel.segment
                && let Source::Streams(decoder) = &self.source
                && let Some(source) = source
            {
                let to = panel.from + panel.columns;
                let codes = codes.load(self.unit, &decoder.plans, source, panel.from, to);
                levels(self.unit, &codes, 0, row);
                scale = decoder.scale(stream);
            }
        }
        scale
    }

    /// The weights of a panel in a row, whose scale is 1.
    fn weights_of(
        &self,
        row: usize,
        panel: &Panel<'_>,
        out: &mut [f32],
        control: &Control,
    ) -> Result<f32> {
        if let Source::Flat(flat) = &self.source {
            let start = row * self.columns + panel.from;
            flat.fill(start, &mut out[..panel.columns], control)?;
        }
        Ok(1.0)
    }

    /// Add up to [`TOGETHER`] rows, times each vector's factors, to its sums.
    fn add_together(
        &self,
        rows: Range<usize>,
        x: &[f32],
        scales: [f32; TOGETHER],
        levels: &[f32],
        sums: &mut [f32],
    ) {
        let len = levels.len() / TOGETHER;
        for (x, sums) in x.chunks_exact(self.rows).zip(sums.chunks_exact_mut(len)) {
            let mut factors = [0.0; TOGETHER];
            for ((factor, x), scale) in factors.iter_mut().zip(&x[rows.clone()]).zip(scales) {
                *factor = x * scale;
            }
            match self.unit {
                Unit::Portable => add_times(levels, factors, sums),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the unit is only chosen where the machine has it.
                Unit::Avx2 => unsafe { add_times_avx2(levels, factors, sums) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Unit::Avx512 | Unit::Vbmi => unsafe { add_times_avx512(levels, factors, sums) },
            }
        }
    }

    /// Results from the sums of all panels.
    fn finish<T: Element>(&self, sums: &[f32], bias: Option<&[T]>, out: &mut [T]) {
        let batch = out.len() / self.columns;
        let mut image = Vec::new();
        for (v, out) in out.chunks_exact_mut(self.columns).enumerate() {
            let mut rest = sums;
            for segment in &self.segments {
                image.clear();
                for from in (0..segment.len()).step_by(PANEL) {
                    let columns = (segment.len() - from).min(PANEL);
                    let len = columns.next_multiple_of(BLOCK);
                    let panel;
                    (panel, rest) = rest.split_at(len * batch);
                    image.extend_from_slice(&panel[v * len..][..columns]);
                }
                if let Source::Streams(decoder) = &self.source
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
}

/// [`add_times`] in 256-bit vectors.
///
/// # Safety
/// The machine has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_times_avx2(rows: &[f32], factors: [f32; TOGETHER], sums: &mut [f32]) {
    add_times(rows, factors, sums);
}

/// [`add_times`] in 512-bit vectors.
///
/// # Safety
/// The machine has AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f")]
unsafe fn add_times_avx512(rows: &[f32], factors: [f32; TOGETHER], sums: &mut [f32]) {
    add_times(rows, factors, sums);
}

/// Add rows, each times its factor, to a sum.
///
/// Always inline, and not by [`Unit::run`]: a fused multiply-add is an instruction only where the
/// unit's features are known for certain, and a call of a function elsewhere (thirty times slower).
#[inline(always)]
fn add_times(rows: &[f32], factors: [f32; TOGETHER], sums: &mut [f32]) {
    let row = |i: usize| rows[i * sums.len()..][..sums.len()].as_chunks::<BLOCK>().0;
    let [a, b, c, d] = [row(0), row(1), row(2), row(3)];
    let [fa, fb, fc, fd] = factors;
    let sums = sums.as_chunks_mut::<BLOCK>().0;
    for ((((sums, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let mut sum = *sums;
        add_block(&mut sum, a, fa);
        add_block(&mut sum, b, fb);
        add_block(&mut sum, c, fc);
        add_block(&mut sum, d, fd);
        *sums = sum;
    }
}

/// One vector of a row.
#[inline(always)]
fn add_block(sum: &mut [f32; BLOCK], row: &[f32; BLOCK], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum = value.mul_add(factor, *sum);
    }
}
