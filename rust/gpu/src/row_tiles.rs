//! Rows by their rates, in the tiles of rows that a block multiplies.

use crate::abi;

/// The order of the rows, and tiles of up to [`abi::TILE_ROWS`] rows of one rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowTiles {
    /// The rows, by rate.
    pub order: Vec<u32>,
    /// The tiles, in this order.
    pub tiles: Vec<abi::RowTile>,
}

impl RowTiles {
    /// The tiles of rows that are one stream each.
    pub fn new(streams: &[abi::Stream]) -> Self {
        let rate = |row: &u32| streams[*row as usize].half_bits;
        let mut order: Vec<u32> = (0..streams.len() as u32).collect();
        order.sort_by_key(rate);
        let mut first = 0;
        let mut tiles = Vec::new();
        for rows in order.chunk_by(|a, b| rate(a) == rate(b)) {
            for rows in rows.chunks(abi::TILE_ROWS) {
                tiles.push(abi::RowTile {
                    first,
                    rows: rows.len() as u16,
                    half_bits: rate(&rows[0]).into(),
                });
                first += rows.len() as u32;
            }
        }
        Self { order, tiles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_rows_of_one_rate() {
        let of = |half_bits| abi::Stream {
            half_bits,
            ..abi::Stream::default()
        };
        let streams: Vec<abi::Stream> = (0..40)
            .map(|row| of(if row % 2 == 0 { 8 } else { 6 }))
            .collect();
        let tiles = RowTiles::new(&streams);
        let said: Vec<_> = tiles
            .tiles
            .iter()
            .map(|t| (t.first, t.rows, t.half_bits))
            .collect();
        assert_eq!(said, [(0, 16, 6), (16, 4, 6), (20, 16, 8), (36, 4, 8)]);
        assert_eq!(tiles.order[..3], [1, 3, 5]);
        assert_eq!(tiles.order[20..23], [0, 2, 4]);
    }
}
