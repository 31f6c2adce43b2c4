//! Decodes streams to weights: all of them, or any range.
//!
//! A range of a stream needs the path and cell bits of the Hadamard blocks that it touches only: at
//! most two blocks of 1024 weights beyond the range.

use std::ops::Range;

use crate::codec::format::layout::Layout;
use crate::codec::format::streams::{Cursor, Streams};
use crate::codec::kernels::decode::{BLOCK, DecodePlans, Memory, StreamCodes, levels};
use crate::codec::kernels::hadamard::{Incoherence, closure};
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::team::{SHARED_FROM, Team, share};
use crate::{Control, Result, SimdLevel};

/// The constant inputs of decoding, shared by all threads.
pub(in crate::codec) struct Decoder<'a> {
    streams: &'a Streams,
    pub layout: Layout,
    pub incoherence: Option<Incoherence>,
    pub plans: DecodePlans,
    pub simd: SimdLevel,
    pub restore: PowerOfTwo,
}

/// Memory of one thread.
#[derive(Default)]
pub(in crate::codec) struct DecodeBuffers {
    codes: Memory,
    values: Vec<f32>,
}

impl<'a> Decoder<'a> {
    /// A decoder of a tensor of this shape.
    pub fn new(streams: &'a Streams, shape: &[usize], simd: SimdLevel) -> Result<Self> {
        let layout = Layout::new(shape);
        Ok(Self {
            streams,
            layout,
            incoherence: streams
                .seed
                .map(|seed| Incoherence::new(simd, seed, layout.longest())),
            plans: DecodePlans::new(streams.codes()?, &streams.rates)?,
            simd,
            restore: PowerOfTwo::new(streams.exponent.into()),
        })
    }

    /// A cursor at a stream.
    pub fn cursor(&self, stream: usize) -> Cursor<'a> {
        Cursor::before(self.streams, self.layout, stream)
    }

    /// Stream number `index` of the `count` streams of each row, for some rows.
    pub fn streams(
        &self,
        rows: Range<usize>,
        index: usize,
        count: usize,
    ) -> impl Iterator<Item = (usize, Option<StreamCodes<'a>>)> {
        let mut cursor = self.cursor(rows.start * count + index);
        rows.enumerate().map(move |(i, _)| {
            // Skip the other streams of a row.
            for _ in 1..if i == 0 { 1 } else { count } {
                cursor.next();
            }
            cursor.next()
        })
    }

    /// The scale of a stream.
    pub fn scale(&self, stream: usize) -> f32 {
        self.streams.grid.scale(self.streams.scales[stream])
    }

    /// Decode the weights of a range of flat C-order indices into `out`.
    pub fn decode<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        if range.len() < SHARED_FROM {
            return self.decode_alone(range, out, control);
        }
        self.decode_shared(range.clone(), out, team, control)?;
        self.mend(range, out);
        Ok(())
    }

    /// Overwrite the weights that are stored exactly.
    fn mend<T: Element>(&self, range: Range<usize>, out: &mut [T]) {
        for (place, value) in self.streams.exceptions.within(range) {
            out[place] = T::from_f64(value);
        }
    }

    fn decode_shared<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        let chain_of = |weight| self.layout.chain_of(self.layout.stream_of(weight));
        let runs: Vec<Range<usize>> = (chain_of(range.start)..=chain_of(range.end - 1))
            .map(|chain| self.layout.chain_weights(chain))
            .map(|chain| chain.start.max(range.start)..chain.end.min(range.end))
            .collect();
        let parts = crate::team::split_mut(out, runs.iter().map(Range::len)).into_iter();
        let decode = |workspace: &mut DecodeBuffers, (out, run): (&mut [T], &Range<usize>)| {
            self.decode_run(run.clone(), out, workspace, control)
        };
        share(team, parts.zip(&runs), DecodeBuffers::default, decode)
    }

    /// [`decode`](Self::decode) on the calling thread.
    pub fn decode_alone<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        self.decode_run(range.clone(), out, &mut DecodeBuffers::default(), control)?;
        self.mend(range, out);
        Ok(())
    }

    fn decode_run<T: Element>(
        &self,
        range: Range<usize>,
        mut out: &mut [T],
        workspace: &mut DecodeBuffers,
        control: &Control,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut cursor = self.cursor(self.layout.stream_of(range.start));
        while !out.is_empty() {
            control.check()?;
            let stream = self.layout.stream(cursor.stream());
            let from = stream.start.max(range.start);
            let to = stream.end.min(range.end);
            let part;
            (part, out) = out.split_at_mut(to - from);
            self.decode_next(&mut cursor, from..to, workspace, part);
            control.advance(part.len() as u64);
        }
        Ok(())
    }

    /// Decode weights of the cursor's next stream, given as flat indices.
    fn decode_next<T: Element>(
        &self,
        cursor: &mut Cursor<'_>,
        weights: Range<usize>,
        workspace: &mut DecodeBuffers,
        out: &mut [T],
    ) {
        let (index, source) = cursor.next();
        let Some(source) = source else {
            return out.fill(T::default());
        };
        let (scale, n) = (self.scale(index), cursor.coded_length(index));
        let stream = self.layout.stream(index);
        match &self.streams.mask {
            None => {
                let within = weights.start - stream.start..weights.end - stream.start;
                self.decode_part(source, scale, n, within, workspace, out);
            }
            Some(mask) => {
                let before = mask.count(stream.start..weights.start);
                let within = before..before + mask.count(weights.clone());
                let mut coded = vec![T::default(); within.len()];
                self.decode_part(source, scale, n, within, workspace, &mut coded);
                mask.spread(weights, &coded, out);
            }
        }
    }

    /// Decode some columns of some rows of a matrix with rows of `row_len`, in C order.
    pub fn decode_columns<T: Element>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        row_len: usize,
        workspace: &mut DecodeBuffers,
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let wanted = rows.start * row_len..rows.end * row_len;
        if wanted.is_empty() || columns.is_empty() {
            return Ok(());
        }
        if columns.len() == row_len {
            return self.decode_run(wanted, out, workspace, control);
        }
        let mut cursor = self.cursor(self.layout.stream_of(wanted.start));
        let mut shared = Vec::new();
        while cursor.stream() < self.layout.len() {
            let stream = self.layout.stream(cursor.stream());
            if stream.start >= wanted.end {
                break;
            }
            control.check()?;
            // If rows share a stream, the wanted parts of the stream are decoded in one go.
            let first = stream.start.max(wanted.start) / row_len;
            let last = (stream.end.min(wanted.end) - 1) / row_len;
            let part = |row: usize| {
                let start = row * row_len;
                let from = (start + columns.start).max(stream.start);
                from..(start + columns.end).min(stream.end).max(from)
            };
            let within = part(first).start..part(last).end;
            if within.is_empty() {
                // This piece of the row has none of the columns.
                cursor.next();
                continue;
            }
            let place = (first - rows.start) * columns.len();
            if first == last {
                let from = place + within.start - first * row_len - columns.start;
                let out = &mut out[from..from + within.len()];
                self.decode_next(&mut cursor, within, workspace, out);
                continue;
            }
            shared.resize(within.len(), T::default());
            self.decode_next(&mut cursor, within.clone(), workspace, &mut shared);
            let rows = out[place..].chunks_exact_mut(columns.len());
            for (row, out) in (first..=last).zip(rows) {
                let part = part(row);
                let out = &mut out[part.start - row * row_len - columns.start..][..part.len()];
                out.copy_from_slice(&shared[part.start - within.start..][..part.len()]);
            }
        }
        Ok(())
    }

    /// The exact weights among these columns of these rows, with their places.
    pub fn exact_columns(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        row_len: usize,
    ) -> impl Iterator<Item = (usize, f64)> {
        let all = self
            .streams
            .exceptions
            .within(rows.start * row_len..rows.end * row_len);
        all.filter_map(move |(place, value)| {
            let (row, column) = (place / row_len, place % row_len);
            let place = row * columns.len() + column.wrapping_sub(columns.start);
            columns.contains(&column).then_some((place, value))
        })
    }

    /// Decode the weights `within` a stream of `n` weights.
    fn decode_part<T: Element>(
        &self,
        source: StreamCodes<'_>,
        scale: f32,
        n: usize,
        within: Range<usize>,
        workspace: &mut DecodeBuffers,
        out: &mut [T],
    ) {
        let needed = match &self.incoherence {
            Some(_) => closure(n, within.clone()),
            None => within.clone(),
        };
        // Codes are read from a multiple of the lanes on; small Hadamard blocks may begin between two
        // multiples.
        let start = needed.start / BLOCK * BLOCK;
        let count = needed.end - start;
        let padded = count.next_multiple_of(BLOCK);
        if workspace.values.len() < padded {
            workspace.values.resize(padded, 0.0);
        }
        let values = &mut workspace.values[..padded];
        let codes = workspace
            .codes
            .load(self.simd, &self.plans, source, start, needed.end);
        levels(self.simd, &codes, 0, values);
        let values = &mut values[needed.start - start..count];
        self.simd.run(
            #[inline(always)]
            || {
                for value in values.iter_mut() {
                    *value *= scale;
                }
            },
        );
        if let Some(incoherence) = &self.incoherence {
            incoherence.inverse_part(values, needed.start, n);
        }
        let values = &values[within.start - needed.start..][..within.len()];
        T::restore(values, self.restore, self.simd, out);
    }
}
