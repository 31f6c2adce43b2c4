//! The distribution of points to buckets, by their first coordinate as a double.

use rayon::prelude::*;

use super::pages;
use super::point_order::PointOrder;
use crate::Result;
use crate::arrangement::jobs::out_of_memory;

/// The most buckets. With more, the cache could not hold the line that is written in each bucket.
pub const BUCKETS: usize = 1 << 9;

/// The number of pieces for each thread. With one piece, all threads would wait for the slowest.
const PIECES: usize = 2;

/// The distribution of the points of some pieces to buckets.
struct Buckets {
    /// The bucket of each cell of a [`Window`]. A bucket has some neighbouring cells.
    of_cell: Vec<u16>,
    /// The number of points in each bucket.
    sizes: Vec<usize>,
    /// For each piece and each bucket, the place of the first point of this piece in this bucket.
    starts: Vec<Vec<usize>>,
}

impl Buckets {
    /// Buckets of about `bucket` points, from the number of points in each cell for each piece.
    fn new(counts: &[Vec<u32>], bucket: usize) -> Self {
        let mut of_cell = vec![0u16; Window::CELLS];
        let mut sizes = vec![0usize];
        let mut starts = vec![vec![0usize]; counts.len()];
        for (cell, of_cell) in of_cell.iter_mut().enumerate() {
            if sizes[sizes.len() - 1] >= bucket {
                sizes.push(0);
                starts.iter_mut().for_each(|shares| shares.push(0));
            }
            let last = sizes.len() - 1;
            *of_cell = last as u16;
            for (shares, counts) in starts.iter_mut().zip(counts) {
                shares[last] += counts[cell] as usize;
                sizes[last] += counts[cell] as usize;
            }
        }
        // Replace the number of points of each piece in each bucket by the place of the first.
        let mut end = 0;
        for bucket in 0..sizes.len() {
            for shares in &mut starts {
                (shares[bucket], end) = (end, end + shares[bucket]);
            }
        }
        Self {
            of_cell,
            sizes,
            starts,
        }
    }

    fn of(&self, cell: u16) -> usize {
        usize::from(self.of_cell[usize::from(cell)])
    }
}

impl PointOrder<'_> {
    /// The cell of each point, and the number of points in each cell.
    fn cells(&self, window: &Window) -> (Vec<u16>, Vec<u32>) {
        let mut counts = vec![0; Window::CELLS];
        let cells = (0..self.numbers.len() / self.stride()).map(|at| {
            let cell = window.cell(self.approximate(at as u32, 0));
            counts[usize::from(cell)] += 1;
            cell
        });
        (cells.collect(), counts)
    }

    /// Sort points into buckets in place, and return the number of points in each bucket.
    ///
    /// Each bucket has a filled part at its start. A step takes the point at the present place, and swaps it
    /// with the first point after the filled part of its bucket, which grows by one. The present place runs
    /// over a bucket in order, so no step depends on the result of the step before. The loop repeats until
    /// the bucket is filled.
    pub(super) fn exchange(&self, numbers: &mut [u64], bucket: usize) -> Vec<usize> {
        let stride = self.stride();
        let order = PointOrder { numbers, ..*self };
        let (mut cells, counts) = order.cells(&Window::around(&order));
        let buckets = Buckets::new(&[counts], bucket);
        let starts = &buckets.starts[0];
        let mut next = starts.clone();
        for (bucket, size) in buckets.sizes.iter().enumerate() {
            let end = starts[bucket] + size;
            while next[bucket] < end {
                for at in next[bucket]..end {
                    let to = &mut next[buckets.of(cells[at])];
                    swap(numbers, at, *to, stride);
                    cells.swap(at, *to);
                    *to += 1;
                }
            }
        }
        buckets.sizes
    }

    /// The points of all parts, bucket by bucket, and the number of points in each bucket.
    pub(super) fn gather(
        &self,
        parts: &[Vec<u64>],
        bucket: usize,
    ) -> Result<(Vec<u64>, Vec<usize>)> {
        let stride = self.stride();
        let words = parts.iter().map(Vec::len).sum::<usize>();
        let length = (words / stride).div_ceil(PIECES * rayon::current_num_threads()) * stride;
        let pieces: Vec<PointOrder<'_>> = parts
            .iter()
            .flat_map(|part| part.chunks(length))
            .map(|numbers| PointOrder { numbers, ..*self })
            .collect();
        let largest = pieces.iter().max_by_key(|piece| piece.numbers.len());
        let window = Window::around(largest.unwrap_or(self));
        let (cells, counts): (Vec<_>, Vec<_>) =
            pieces.par_iter().map(|piece| piece.cells(&window)).unzip();
        let mut buckets = Buckets::new(&counts, bucket);
        let mut gathered: Vec<u64> = Vec::new();
        gathered
            .try_reserve_exact(words)
            .map_err(|_| out_of_memory(words))?;
        pages::advise(&gathered);
        let target = Target(gathered.as_mut_ptr());
        let starts = std::mem::take(&mut buckets.starts);
        pieces
            .par_iter()
            .zip(cells)
            .zip(starts)
            .for_each(|((piece, cells), mut next)| {
                let target = &target;
                for (cell, point) in cells.iter().zip(piece.numbers.chunks_exact(stride)) {
                    let next = &mut next[buckets.of(*cell)];
                    for (k, word) in point.iter().enumerate() {
                        // SAFETY: each piece has a range of places in each bucket. The ranges are disjoint,
                        // lie within the vector, and have as many places as the same cells were counted.
                        // So no other thread writes here, and the place is within the vector.
                        unsafe { target.0.add(*next * stride + k).write(*word) };
                    }
                    *next += 1;
                }
            });
        // SAFETY: the room was reserved, and the ranges of all pieces together are the whole vector.
        unsafe { gathered.set_len(words) };
        Ok((gathered, buckets.sizes))
    }
}

/// Exchange two points.
#[inline(always)]
fn swap(numbers: &mut [u64], one: usize, other: usize, stride: usize) {
    let (low, high) = (one.min(other), one.max(other));
    if low < high {
        let (head, tail) = numbers.split_at_mut(high * stride);
        let head = &mut head[low * stride..][..stride];
        for (x, y) in head.iter_mut().zip(tail) {
            std::mem::swap(x, y);
        }
    }
}

/// The vector into which threads write. Each has its own places.
struct Target(*mut u64);

// SAFETY: this is only an address. Each use states why no other thread writes to the same place.
unsafe impl Sync for Target {}

/// The cells in which doubles are counted. For each sign there are 2⁷ cells for each of 2⁶ powers of two.
/// Numbers beyond these powers are counted in the cells at the ends.
struct Window {
    lowest: u64,
}

impl Window {
    const CELLS: usize = 1 << 14;
    const HALF: u64 = 1 << 13;
    /// The number of low bits of a double that do not matter for its cell.
    const BELOW: u32 = 52 - 7;

    /// A window around the median of the magnitudes of some first coordinates.
    fn around(order: &PointOrder<'_>) -> Self {
        let count = order.numbers.len() / order.stride();
        let mut sizes: Vec<u64> = (0..count)
            .step_by((count / 256).max(1))
            .map(|at| order.approximate(at as u32, 0).abs().to_bits() >> Self::BELOW)
            .filter(|size| *size > 0)
            .collect();
        sizes.sort_unstable();
        let median = sizes.get(sizes.len() / 2).copied().unwrap_or_default();
        Self {
            lowest: median.saturating_sub(Self::HALF / 2),
        }
    }

    /// The cell of a double. Larger doubles have the same cell or a larger one.
    #[inline]
    fn cell(&self, value: f64) -> u16 {
        let size = (value.abs().to_bits() >> Self::BELOW).saturating_sub(self.lowest);
        let size = size.min(Self::HALF - 1);
        let cell = if value < 0.0 {
            Self::HALF - 1 - size
        } else {
            Self::HALF + size
        };
        cell as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cells_rise(a: f64, b: f64, lowest in 0u64..1 << 20) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            let window = Window { lowest };
            prop_assert!((a <= b) <= (window.cell(a) <= window.cell(b)));
        }
    }
}
