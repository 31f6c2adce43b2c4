//! The streams of a tensor as trellis codes: planes of path bits and of cells, and a scale each.

use rayon::prelude::*;

use super::Energy;
use crate::codec::bitstream::pack;
use crate::codec::element::{Element, PowerOfTwo};
use crate::codec::hadamard::Incoherence;
use crate::codec::layout::Layout;
use crate::codec::scale::{ScaleGrid, ZERO_ROW};
use crate::codec::trellis::Trellis;
use crate::codec::viterbi::{Lanes, Search, SearchTables};
use crate::{Control, Result};

/// Trellis codes of all streams of a tensor (see [`Layout`]).
#[derive(Clone, Debug, PartialEq)]
pub struct TrellisRows {
    /// The weights were divided by 2^exponent.
    pub exponent: i16,
    /// k.
    pub bits: u32,
    /// W.
    pub window: u32,
    /// Of the signs.
    pub seed: u64,
    /// What the scale numbers mean.
    pub grid: ScaleGrid,
    /// The scale number of each stream.
    pub scales: Vec<u8>,
    /// Path bits, each stream padded to a whole byte.
    pub path: Vec<u8>,
    /// Cells of k − 1 bits, each stream padded to a whole byte.
    pub cells: Vec<u8>,
}

/// Cut `slice` into consecutive pieces of these lengths.
fn split_mut<T>(mut slice: &mut [T], lengths: impl Iterator<Item = usize>) -> Vec<&mut [T]> {
    lengths
        .map(|length| {
            slice
                .split_off_mut(..length)
                .expect("the lengths add up to the slice")
        })
        .collect()
}

/// Cut `slice` into consecutive pieces of these lengths.
fn split<T>(mut slice: &[T], lengths: impl Iterator<Item = usize>) -> Vec<&[T]> {
    lengths
        .map(|length| {
            slice
                .split_off(..length)
                .expect("the lengths add up to the slice")
        })
        .collect()
}

/// Bytes of the path and of the cell plane of all streams together, or `None` beyond `usize`.
pub fn plane_lens(trellis: &Trellis, layout: &Layout) -> Option<(usize, usize)> {
    layout.lengths().try_fold((0usize, 0usize), |sum, length| {
        let (path, cells) = trellis.plane_lens(length);
        Some((sum.0.checked_add(path)?, sum.1.checked_add(cells)?))
    })
}

/// Sums over a stream, from which its best scale and its error follow.
#[derive(Clone, Copy, Default)]
struct Fit {
    /// Σ w².
    weights: f64,
    /// Σ w·level.
    product: f64,
    /// Σ level².
    levels: f64,
}

impl Fit {
    fn of(weights: &[f32], levels: &[i16]) -> Self {
        let mut fit = Self::default();
        for (w, q) in weights.iter().zip(levels) {
            let (w, q) = (f64::from(*w), f64::from(*q));
            fit.weights += w * w;
            fit.product += w * q;
            fit.levels += q * q;
        }
        fit
    }

    /// The scale that leaves the least error, where that is not negative.
    fn scale(&self) -> f64 {
        self.product / self.levels
    }

    /// Σ (w − scale·level)².
    fn error(&self, scale: f64) -> f64 {
        (self.weights - 2.0 * scale * self.product + scale * scale * self.levels).max(0.0)
    }
}

/// One stream's places in the result.
struct Places<'a> {
    index: usize,
    scale: &'a mut u8,
    path: &'a mut [u8],
    cells: &'a mut [u8],
}

impl TrellisRows {
    /// Search every stream of `weights`, which are below 2^`exponent` in magnitude.
    pub(super) fn encode<T: Element>(
        weights: &[T],
        shape: &[usize],
        exponent: i32,
        (bits, window, seed): (u32, u32, u64),
        control: &Control,
    ) -> Result<(Self, Energy)> {
        let trellis = Trellis::pinned(bits, window)?;
        let layout = Layout::new(shape);
        let normalise = PowerOfTwo::new(-exponent);
        let load = |index: usize, row: &mut Vec<f32>| {
            row.clear();
            let stream = &weights[layout.stream(index)];
            row.extend(stream.iter().map(|w| normalise.times(w.to_f64()) as f32));
        };
        let wanted = wanted_scales(&layout, trellis.code.deviation, load, control)?;
        let (smallest, largest) = wanted
            .iter()
            .filter(|&&s| s > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), &s| {
                (low.min(s), high.max(s))
            });
        let grid = ScaleGrid::spanning(smallest.min(largest), largest);

        let (path_len, cells_len) =
            plane_lens(trellis, &layout).expect("the planes are smaller than the weights");
        let mut scales = vec![0; layout.len()];
        let (mut path, mut cells) = (vec![0; path_len], vec![0; cells_len]);
        let path_lens = layout.lengths().map(|n| trellis.plane_lens(n).0);
        let cells_lens = layout.lengths().map(|n| trellis.plane_lens(n).1);
        let places: Vec<Places<'_>> = scales
            .iter_mut()
            .zip(split_mut(&mut path, path_lens))
            .zip(split_mut(&mut cells, cells_lens))
            .enumerate()
            .map(|(index, ((scale, path), cells))| Places {
                index,
                scale,
                path,
                cells,
            })
            .collect();

        let tables = SearchTables::new(trellis, Lanes::detect());
        let incoherence = Incoherence::new(seed, layout.longest());
        let energies: Vec<Result<Energy>> = places
            .into_par_iter()
            .map_init(
                || (Search::new(&tables), Vec::new(), Vec::new()),
                |(search, row, targets), places| {
                    load(places.index, row);
                    incoherence.forward(row);
                    let first = grid.nearest(wanted[places.index]);
                    if wanted[places.index] == 0.0 {
                        *places.scale = ZERO_ROW;
                        return Ok(Energy::default());
                    }
                    let inverse = 1.0 / grid.scale(first);
                    targets.clear();
                    targets.extend(row.iter().map(|w| tables.target(w * inverse)));
                    search.run(targets, control)?;
                    let fit = Fit::of(row, &search.levels);
                    *places.scale = if fit.product > 0.0 {
                        grid.nearest(fit.scale())
                    } else {
                        // A stream so short that no path went its way: zeros are nearer.
                        ZERO_ROW
                    };
                    pack(&search.path, 1, places.path);
                    pack(&search.cells, bits - 1, places.cells);
                    control.advance(row.len() as u64);
                    let scale = grid.scale(*places.scale);
                    Ok(Energy {
                        signal: fit.weights,
                        error: fit.error(scale.into()),
                    })
                },
            )
            .collect();
        // Summed in stream order, whatever order the threads finished in.
        let energy = energies.into_iter().sum::<Result<Energy>>()?;
        let rows = Self {
            exponent: exponent as i16,
            bits,
            window,
            seed,
            grid,
            scales,
            path,
            cells,
        };
        Ok((rows, energy))
    }

    /// Decode all streams into `out`, the C-order elements of a tensor of this shape.
    pub(super) fn decode<T: Element>(
        &self,
        shape: &[usize],
        out: &mut [T],
        control: &Control,
    ) -> Result<()> {
        let trellis = Trellis::pinned(self.bits, self.window)?;
        let layout = Layout::new(shape);
        let incoherence = Incoherence::new(self.seed, layout.longest());
        let restore = PowerOfTwo::new(self.exponent.into());
        let path = split(
            &self.path,
            layout.lengths().map(|n| trellis.plane_lens(n).0),
        );
        let cells = split(
            &self.cells,
            layout.lengths().map(|n| trellis.plane_lens(n).1),
        );
        split_mut(out, layout.lengths())
            .into_par_iter()
            .enumerate()
            .try_for_each_init(Vec::new, |row, (index, out)| {
                control.check()?;
                row.clear();
                row.resize(out.len(), 0.0f32);
                if self.scales[index] != ZERO_ROW {
                    let scale = self.grid.scale(self.scales[index]);
                    trellis.decode(path[index], cells[index], scale, row);
                    incoherence.inverse(row);
                }
                for (place, value) in out.iter_mut().zip(row.iter()) {
                    *place = T::from_f64(restore.times(f64::from(*value)));
                }
                control.advance(out.len() as u64);
                Ok(())
            })
    }
}

/// The first scale of each stream, rms / `deviation`; the transform keeps the rms. Zero for a
/// stream of zeros, and for one so small beside the others that `f32` has no place for it.
fn wanted_scales(
    layout: &Layout,
    deviation: f32,
    load: impl Fn(usize, &mut Vec<f32>) + Sync,
    control: &Control,
) -> Result<Vec<f64>> {
    (0..layout.len())
        .into_par_iter()
        .map_init(Vec::new, |row, index| {
            control.check()?;
            load(index, row);
            let energy: f64 = row.iter().map(|w| f64::from(*w).powi(2)).sum();
            Ok((energy / row.len() as f64).sqrt() / f64::from(deviation))
        })
        .collect()
}
