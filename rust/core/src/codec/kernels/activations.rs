//! Vectors as integers, in the orders in which kernels read them, and the sizes that kernels share.

use std::ops::Range;

/// Weights that are decoded at a time in chains. At every rate they take whole bytes of both planes.
pub const BLOCK: usize = 16;
/// Weights whose integer levels are computed at a time.
pub const PAIR: usize = 2 * BLOCK;
/// Weights that the byte kernels of chains decode at once, from the beginning of any block on.
pub const CHUNK: usize = 256;
/// Weights of a whole tile.
pub const TILE: usize = 512;
/// The most columns of a chain whose products are summed in integers: a whole number of pairs.
pub const STRETCH: usize = 1024;

/// The order of the values of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationOrder {
    /// [`PAIR`] after [`PAIR`]; weights j and 16 + j lie beside each other.
    Pairs,
    /// [`CHUNK`] after [`CHUNK`]; within a chunk, weight s of all lanes for each s in turn.
    Chunks,
    /// [`TILE`] after [`TILE`]; within a tile, weight s of all lanes for each s in turn.
    Tiles,
    /// The same; of each 32 lanes, the even ones come before the odd ones.
    TilesByParity,
    /// As [`Tiles`](Self::Tiles), with the upper bytes of all lanes before the lower bytes.
    TilesOfBytes,
}

impl ActivationOrder {
    /// Columns in a group; the last group is padded with zeros.
    pub fn group(self) -> usize {
        match self {
            Self::Pairs => PAIR,
            Self::Chunks => CHUNK,
            Self::Tiles | Self::TilesByParity | Self::TilesOfBytes => TILE,
        }
    }

    /// The most columns that share a unit.
    pub fn stretch(self) -> usize {
        match self {
            Self::Pairs | Self::Chunks => STRETCH,
            // Sums of whole streams are exact.
            Self::Tiles | Self::TilesByParity | Self::TilesOfBytes => usize::MAX,
        }
    }
}

/// A vector as integers: the values of each stretch, and the stretch's unit.
#[derive(Clone, Copy, Debug)]
pub struct Activations<'a> {
    /// A whole number of groups; zeros after the last weight.
    pub values: &'a [i16],
    /// The unit of each stretch (see [`Scale`](super::decode::integer::Scale)).
    pub units: &'a [f32],
    /// The sum of the values of each stretch.
    pub sums: &'a [i32],
    /// The order of the values within a stretch.
    pub order: ActivationOrder,
}

impl<'a> Activations<'a> {
    /// Split off the first `len` columns, which end with a stretch; the rest stays.
    pub fn take(&mut self, len: usize) -> Self {
        self.take_batch(len, 1)
    }

    /// The same for `batch` vectors that are interleaved by stretches.
    pub fn take_batch(&mut self, len: usize, batch: usize) -> Self {
        let (values, units, sums);
        (values, self.values) = self
            .values
            .split_at(len.next_multiple_of(self.order.group()) * batch);
        let stretches = len.div_ceil(self.order.stretch()) * batch;
        (units, self.units) = self.units.split_at(stretches);
        (sums, self.sums) = self.sums.split_at(stretches);
        Self {
            values,
            units,
            sums,
            order: self.order,
        }
    }
}

/// Cut `count` into as few parts of at most `most` as there can be, none much smaller than another.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "kernels for x86-64 alone")
)]
pub(super) fn even_parts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |i| i * count / parts..(i + 1) * count / parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even() {
        assert_eq!(even_parts(8, 6).collect::<Vec<_>>(), [0..4, 4..8]);
        assert_eq!(even_parts(0, 6).count(), 0);
        let sizes: Vec<usize> = even_parts(64, 6).map(|part| part.len()).collect();
        assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (11, 64));
        assert!(sizes.iter().all(|size| (5..=6).contains(size)));
    }
}
