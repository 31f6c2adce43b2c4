//! How a tensor is cut into streams, the unit that is transformed, scaled and searched on its own.
//!
//! A stream is a row (the last axis) wherever that is sensible. A long row is cut, because the
//! trace-back of the search needs memory in proportion to a stream. Short rows are joined, because
//! each stream pays for a scale and for a start in which the register is not yet free.

use std::ops::Range;

/// Rows shorter than this are joined with their neighbours in C order.
const SHORT_ROW: usize = 128;
/// Joined rows make streams of at least this many weights; the last stream takes what is left over.
const JOINED: usize = 512;
/// Rows longer than this are cut.
const LONG_ROW: usize = 16384;
/// Cut rows make streams of about this many weights, in multiples of [`GRAIN`].
const PIECE: usize = 8192;
/// The largest Hadamard block, so that pieces of a long row stay divisible by it.
const GRAIN: usize = 1024;

/// The streams of a tensor, in C order: `rows` of `row_len` weights, each cut into `pieces` of
/// `piece` weights, the last of which ends where the row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    rows: usize,
    row_len: usize,
    pieces: usize,
    piece: usize,
}

impl Layout {
    /// The layout of a tensor of this shape; a scalar is one row of one weight.
    pub fn new(shape: &[usize]) -> Self {
        let weights: usize = shape.iter().product();
        let row = shape.last().copied().unwrap_or(1);
        if weights == 0 {
            return Self {
                rows: 0,
                row_len: 0,
                pieces: 1,
                piece: 1,
            };
        }
        if row < SHORT_ROW {
            let piece = row * JOINED.div_ceil(row);
            return Self {
                rows: 1,
                row_len: weights,
                pieces: (weights / piece).max(1),
                piece,
            };
        }
        let (pieces, piece) = if row > LONG_ROW {
            let piece = row.div_ceil(row.div_ceil(PIECE)).next_multiple_of(GRAIN);
            (row.div_ceil(piece), piece)
        } else {
            (1, row)
        };
        Self {
            rows: weights / row,
            row_len: row,
            pieces,
            piece,
        }
    }

    /// Number of streams.
    pub fn len(&self) -> usize {
        self.rows * self.pieces
    }

    /// Whether there is nothing to code.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weights of stream `index`, as flat C-order indices.
    pub fn stream(&self, index: usize) -> Range<usize> {
        let (row, piece) = (index / self.pieces, index % self.pieces);
        let start = row * self.row_len;
        let end = if piece + 1 == self.pieces {
            self.row_len
        } else {
            (piece + 1) * self.piece
        };
        start + piece * self.piece..start + end
    }

    /// The lengths of all streams in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + use<> {
        let layout = *self;
        (0..layout.len()).map(move |i| layout.stream(i).len())
    }

    /// The longest stream.
    pub fn longest(&self) -> usize {
        self.lengths().take(self.pieces).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_cover_every_weight_once_and_in_order(rows in 0usize..40, row in 0usize..40_000) {
            let layout = Layout::new(&[rows, row]);
            let mut next = 0;
            for i in 0..layout.len() {
                let stream = layout.stream(i);
                prop_assert_eq!(stream.start, next);
                prop_assert!(!stream.is_empty() && stream.len() <= LONG_ROW);
                next = stream.end;
            }
            prop_assert_eq!(next, rows * row);
        }
    }

    #[test]
    fn rows_are_kept_joined_or_cut() {
        let lengths = |shape: &[usize]| Layout::new(shape).lengths().collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [1]);
        assert_eq!(lengths(&[3]), [3]);
        assert_eq!(lengths(&[2, 384]), [384, 384]);
        assert_eq!(lengths(&[64, 4, 3, 3]), [513, 513, 513, 765]);
        assert_eq!(lengths(&[1, 20_000]), [7168, 7168, 5664]);
        assert_eq!(lengths(&[513, 1]), [513]);
        assert_eq!(lengths(&[0, 7]), []);
    }
}
