//! Codes back to weights.
//!
//! A code stands for one of (U + 1)·(M + 1) groups, some thousands at the published parameters. Where
//! many more are to be decoded, all of them are worked out first, and decoding is a field of bits
//! and a load; else each is worked out as it comes. The weights are the same.

use super::coder::Coder;
use super::codes::Codes;
use super::{CHUNK, Winding};
use crate::codec::numbers::element::{Element, PowerOfTwo};
use crate::team::SHARED_FROM;
use crate::team::{Alone, Team, share};
use crate::{Control, Result, SimdLevel};

/// The most groups that are tabled: a megabyte at K = 4.
const TABLED: usize = 1 << 16;
/// Groups to be decoded for each one in the table; working one out takes eight times as long as
/// looking it up.
const WORTH: usize = 2;

/// How the groups of one tensor are decoded.
struct Groups<'w, const K: usize> {
    codes: &'w Codes,
    coder: Coder<K>,
    /// The group of every code; empty where they are not tabled.
    table: Vec<[f32; K]>,
}

impl<'w, const K: usize> Groups<'w, K> {
    /// For about this many weights.
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
pub fn decode_all<const K: usize>(
    winding: &Winding,
    start: usize,
    out: &mut [impl Element],
    team: &dyn Team,
    control: &Control,
) -> Result<()> {
    let groups = Groups::<K>::new(winding, out.len());
    let (unit, one) = (SimdLevel::in_use()?, PowerOfTwo::new(0));
    let decode = |values: &mut Vec<f32>, (chunk, out): (usize, &mut [_])| {
        control.check()?;
        values.resize(out.len(), 0.0);
        groups.fill(start + chunk * CHUNK * K, values);
        Element::restore(values, one, unit, out);
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
pub fn decode_some<const K: usize>(winding: &Winding, start: usize, out: &mut [f32]) {
    Groups::<K>::new(winding, out.len()).fill(start, out);
}

/// Fills a slice with the weights from an index on.
pub type Filler<'w> = Box<dyn Fn(usize, &mut [f32]) + Sync + 'w>;

/// The [`Filler`] of all weights.
pub fn filler<const K: usize>(winding: &Winding) -> Filler<'_> {
    let groups = Groups::<K>::new(winding, winding.len);
    Box::new(move |start, out| groups.fill(start, out))
}
