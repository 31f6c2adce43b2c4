//! Decodes codes to weights.
//!
//! A code is one of (U + 1)·(M + 1) groups: some thousands at the published parameters. If many more
//! codes are to be decoded, a table of all groups is computed first, and decoding a code costs a bit
//! field and a load. Otherwise each group is computed when it is needed. Both ways give the same
//! weights.

use std::ops::Range;

use super::coder::GroupCoder;
use super::codes::PackedCodes;
use super::params::{CHUNK, with_group};
use super::winding::Winding;
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::team::{Alone, CurrentPool, SHARED_FROM, Team, share};
use crate::{Control, Error, ErrorKind, Result, SimdLevel};

/// The most groups in a table: a megabyte at K = 4.
const TABLED: usize = 1 << 16;
/// A table is worth it for at least this many decoded groups per entry. Computing a group takes eight
/// times as long as looking it up.
const WORTH: usize = 2;

impl Winding {
    /// Decode all weights, in C order. `control` is advanced by n.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless `out` has [`len`](Self::len) places,
    /// [`ErrorKind::Cancelled`] through `control`.
    pub fn decode(&self, out: &mut [f32], control: &Control) -> Result<()> {
        self.decode_as(0..self.len, out, &CurrentPool, control)
    }

    /// Decode the weights of a range of flat C-order indices, rounded to any type of weights.
    /// O(length), wherever it starts. `control` is advanced by the length.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a range that is not within the tensor or unless `out` has
    /// its length, [`ErrorKind::Cancelled`] through `control`.
    pub fn decode_as<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        self.check_range(&range, out.len())?;
        with_group!(
            self.params,
            decode_all(self, range.start, out, team, control)
        )
    }

    /// Decode the weights of a range of flat C-order indices on the calling thread. O(length),
    /// wherever it starts.
    ///
    /// # Errors
    /// As [`decode_as`](Self::decode_as), without [`ErrorKind::Cancelled`].
    pub fn decode_range(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.check_range(&range, out.len())?;
        with_group!(self.params, decode_some(self, range.start, out));
        Ok(())
    }

    /// A function that fills a slice with the weights from an index on; it is prepared for many calls.
    pub(in crate::codec) fn filler(&self) -> Filler<'_> {
        with_group!(self.params, filler(self))
    }

    fn check_range(&self, range: &Range<usize>, places: usize) -> Result<()> {
        let why = if range.start > range.end || range.end > self.len {
            format!("weights {range:?}: the tensor has 0..{}", self.len)
        } else if places != range.len() {
            format!("{places} places for {} weights", range.len())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, why))
    }
}

/// How the groups of one tensor are decoded.
struct Groups<'w, const K: usize> {
    codes: &'w PackedCodes,
    coder: GroupCoder<K>,
    /// The group of every code; empty without a table.
    table: Vec<[f32; K]>,
}

impl<'w, const K: usize> Groups<'w, K> {
    /// Prepare to decode about this many weights.
    fn new(winding: &'w Winding, weights: usize) -> Self {
        let coder = winding.coder::<K>();
        let (points, classes) = (winding.params.samples + 1, winding.classes + 1);
        let entries = points as usize * classes as usize;
        let table = if entries <= TABLED && weights / K >= WORTH * entries {
            (0..points * classes)
                .map(|code| coder.decode(code))
                .collect()
        } else {
            Vec::new()
        };
        Self {
            codes: &winding.codes,
            coder,
            table,
        }
    }

    /// The weights from index `start` on.
    fn fill(&self, start: usize, out: &mut [f32]) {
        let before = out.len().min((K - start % K) % K);
        let (head, rest) = out.split_at_mut(before);
        if before > 0 {
            let weights = self.coder.decode(self.codes.get(start / K));
            head.copy_from_slice(&weights[start % K..][..before]);
        }
        let first = start.div_ceil(K);
        let (whole, tail) = rest.as_chunks_mut::<K>();
        if self.table.is_empty() {
            for (out, code) in whole.iter_mut().zip(self.codes.from(first)) {
                *out = self.coder.decode(code);
            }
        } else {
            for (out, code) in whole.iter_mut().zip(self.codes.from(first)) {
                *out = self.table[code as usize];
            }
        }
        if !tail.is_empty() {
            let weights = self.coder.decode(self.codes.get(first + whole.len()));
            tail.copy_from_slice(&weights[..tail.len()]);
        }
    }
}

/// Decode the weights from index `start` on, in parallel.
fn decode_all<const K: usize>(
    winding: &Winding,
    start: usize,
    out: &mut [impl Element],
    team: &dyn Team,
    control: &Control,
) -> Result<()> {
    let groups = Groups::<K>::new(winding, out.len());
    let (simd, one) = (SimdLevel::in_use()?, PowerOfTwo::new(0));
    let decode = |values: &mut Vec<f32>, (chunk, out): (usize, &mut [_])| {
        control.check()?;
        values.resize(out.len(), 0.0);
        groups.fill(start + chunk * CHUNK * K, values);
        Element::restore(values, one, simd, out);
        control.advance(out.len() as u64);
        Ok(())
    };
    let team = if out.len() < SHARED_FROM {
        &Alone
    } else {
        team
    };
    let chunks = out.chunks_mut(CHUNK * K).enumerate();
    share(team, chunks, Vec::new, decode)
}

/// Decode the weights from index `start` on.
fn decode_some<const K: usize>(winding: &Winding, start: usize, out: &mut [f32]) {
    Groups::<K>::new(winding, out.len()).fill(start, out);
}

/// Fills a slice with the weights from an index on.
pub type Filler<'w> = Box<dyn Fn(usize, &mut [f32]) + Sync + 'w>;

/// The [`Filler`] of all weights.
fn filler<const K: usize>(winding: &Winding) -> Filler<'_> {
    let groups = Groups::<K>::new(winding, winding.len);
    Box::new(move |start, out| groups.fill(start, out))
}
