//! How a tensor is cut into streams and chains.
//!
//! A *stream* is a run of weights that is transformed together, with one scale and one rate. As a rule
//! it is a row: the shortest run of trailing axes, without the first axis, with at least [`SHORT_ROW`]
//! weights. So a stream is a row of a linear layer, or a whole filter of a convolution. A long row is
//! cut into several streams, because the rate of a tensor is an average over its streams. If all axes
//! but the first together are short, rows are joined, because every stream stores a scale.
//!
//! A *chain* is a run of consecutive streams that are searched together: the register starts at 0 and
//! continues from one stream to the next. A start costs about W bits, because the first weights have
//! fewer states to choose from. Chains are long enough to make this cost negligible. A tensor of 32,768
//! weights or more still has eight, so that threads can share the work.

use std::ops::Range;

/// Rows shorter than this are joined with their neighbours in C order.
const SHORT_ROW: usize = 128;
/// Joined rows make streams of at least this many weights. The last stream has the rest.
const JOINED: usize = 512;
/// The longest stream is a power of two within these bounds, and at most one part in this many of
/// the tensor: a step of half a bit in one stream is then less than 0.01 bit of the whole.
const LONGEST: (usize, usize) = (1024, 16384);
const PARTS: usize = 50;
/// Pieces of long rows are multiples of the largest Hadamard block, if the rows are long enough.
const GRAIN: usize = 1024;
/// Bounds of the least number of weights in a chain; within them the tensor gets about the number of
/// chains below.
const CHAIN: (usize, usize) = (4096, 32768);
const CHAINS: usize = 8;

/// The streams of a tensor, in C order: `rows` of `row_len` weights, each cut into `pieces` of
/// `piece` weights, the last of which ends where the row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    rows: usize,
    row_len: usize,
    pieces: usize,
    piece: usize,
    chain: usize,
}

impl Layout {
    /// The layout of a tensor of this shape; a scalar is one row of one weight.
    pub fn new(shape: &[usize]) -> Self {
        let weights: usize = shape.iter().product();
        if weights == 0 {
            return Self {
                rows: 0,
                row_len: 0,
                pieces: 1,
                piece: 1,
                chain: 1,
            };
        }
        let row = trailing_run(shape, SHORT_ROW);
        let (rows, row_len, pieces, piece) = if row < SHORT_ROW {
            let piece = row * JOINED.div_ceil(row);
            (1, weights, (weights / piece).max(1), piece)
        } else {
            let longest = ((weights / PARTS).max(1).ilog2() as usize)
                .clamp(LONGEST.0.ilog2() as usize, LONGEST.1.ilog2() as usize);
            let longest = 1 << longest;
            let grain = GRAIN.min(longest / 4);
            let piece = match row.div_ceil(longest) {
                1 => row,
                pieces => row.div_ceil(pieces).next_multiple_of(grain),
            };
            (weights / row, row, row.div_ceil(piece), piece)
        };
        let target = (weights / CHAINS).clamp(CHAIN.0, CHAIN.1);
        Self {
            rows,
            row_len,
            pieces,
            piece,
            chain: target.div_ceil(piece),
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

    /// Number of chains.
    pub fn chains(&self) -> usize {
        self.len().div_ceil(self.chain)
    }

    /// The streams of chain `index`.
    pub fn chain(&self, index: usize) -> Range<usize> {
        let start = index * self.chain;
        start..(start + self.chain).min(self.len())
    }

    /// The chain of stream `index`.
    pub fn chain_of(&self, index: usize) -> usize {
        index / self.chain
    }

    /// The number of streams in a row of `columns` weights; `None` unless every row consists of whole
    /// streams.
    pub fn streams_a_row(&self, columns: usize) -> Option<usize> {
        (self.row_len == columns).then_some(self.pieces)
    }

    /// The weights of stream `index`, as flat C-order indices.
    pub fn stream(&self, index: usize) -> Range<usize> {
        let (row, piece) = match self.pieces {
            // The most frequent case. It is separate because a division would take longer than the rest
            // of this function.
            1 => (index, 0),
            pieces => (index / pieces, index % pieces),
        };
        let start = row * self.row_len;
        let end = if piece + 1 == self.pieces {
            self.row_len
        } else {
            (piece + 1) * self.piece
        };
        start + piece * self.piece..start + end
    }

    /// The stream that has the weight of this flat C-order index.
    pub fn stream_of(&self, weight: usize) -> usize {
        let (row, at) = (weight / self.row_len, weight % self.row_len);
        row * self.pieces + (at / self.piece).min(self.pieces - 1)
    }

    /// The weights of all streams of a chain, as flat C-order indices.
    pub fn chain_weights(&self, index: usize) -> Range<usize> {
        let streams = self.chain(index);
        self.stream(streams.start).start..self.stream(streams.end - 1).end
    }

    /// The lengths of all streams in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + use<> {
        let layout = *self;
        (0..layout.len()).map(move |i| layout.stream(i).len())
    }

    /// The length of the longest stream.
    pub fn longest(&self) -> usize {
        self.lengths().take(self.pieces).max().unwrap_or(0)
    }
}

/// The number of weights in the shortest run of trailing axes, without the first axis, that has at
/// least `least`. If no run is long enough, the number in all axes but the first.
pub fn trailing_run(shape: &[usize], least: usize) -> usize {
    let Some((last, others)) = shape.split_last() else {
        return 1;
    };
    let mut row = *last;
    for axis in others.iter().skip(1).rev() {
        if row >= least {
            break;
        }
        row *= axis;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streams_and_chains_cover_every_weight_once_and_in_order(
            shape in proptest::collection::vec(0usize..60, 0..4),
            last in 0usize..40_000,
        ) {
            let mut shape = shape;
            shape.push(last);
            prop_assume!(shape.iter().product::<usize>() < 1 << 24);
            let layout = Layout::new(&shape);
            let mut next = (0, 0);
            for chain in 0..layout.chains() {
                let streams = layout.chain(chain);
                prop_assert_eq!(streams.start, next.0);
                prop_assert_eq!(layout.chain_weights(chain).start, next.1);
                for i in streams.clone() {
                    prop_assert_eq!(layout.chain_of(i), chain);
                    let stream = layout.stream(i);
                    prop_assert_eq!(stream.start, next.1);
                    prop_assert!(!stream.is_empty() && stream.len() <= LONGEST.1.max(2 * JOINED));
                    prop_assert!(stream.len() <= layout.longest());
                    prop_assert_eq!(layout.stream_of(stream.start), i);
                    prop_assert_eq!(layout.stream_of(stream.end - 1), i);
                    next.1 = stream.end;
                }
                prop_assert_eq!(layout.chain_weights(chain).end, next.1);
                next.0 = streams.end;
            }
            prop_assert_eq!(next, (layout.len(), shape.iter().product::<usize>()));
        }
    }

    #[test]
    fn rows_are_kept_joined_or_cut() {
        let lengths = |shape: &[usize]| Layout::new(shape).lengths().collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [1]);
        assert_eq!(lengths(&[3]), [3]);
        assert_eq!(lengths(&[2, 384]), [384, 384]);
        // A filter is a row.
        assert_eq!(lengths(&[2, 64, 3, 3]), [576, 576]);
        assert_eq!(lengths(&[64, 4, 3, 3]), [540, 540, 540, 684]);
        assert_eq!(lengths(&[1, 3000]), [1024, 1024, 952]);
        assert_eq!(lengths(&[4096, 11008])[..2], [11008, 11008]);
        assert_eq!(lengths(&[100, 20_000])[..3], [10240, 9760, 10240]);
        assert_eq!(lengths(&[513, 1]), [513]);
        assert_eq!(lengths(&[0, 7]), [0usize; 0]);
    }

    #[test]
    fn rows_are_whole_streams_or_not() {
        let of = |shape: &[usize]| Layout::new(shape).streams_a_row(*shape.last().unwrap());
        assert_eq!(of(&[7, 384]), Some(1));
        assert_eq!(of(&[100, 20_000]), Some(2));
        assert_eq!(of(&[64, 100]), None);
        assert_eq!(of(&[1, 100]), Some(1));
    }

    #[test]
    fn chains_are_long_and_many() {
        let of = |shape: &[usize]| {
            (
                Layout::new(shape).chains(),
                Layout::new(shape).chain(0).len(),
            )
        };
        assert_eq!(of(&[384, 384]), (8, 48));
        assert_eq!(of(&[4096, 4096]), (512, 8));
        assert_eq!(of(&[8, 1000]), (2, 5));
    }
}
