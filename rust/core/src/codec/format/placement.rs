//! Where the codes of every stream are, for a decoder that is not this one.

use std::ops::Range;

use super::layout::Layout;
use super::streams::{Cursor, Streams};

/// The codes of a stream, and what they mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// Its weights, as flat C-order indices.
    pub weights: Range<usize>,
    /// How many of them have codes.
    pub coded: usize,
    /// Where its codes begin; `None` for a stream of zeros.
    pub codes: Option<CodesAt>,
    /// What levels are multiplied by.
    pub scale: f32,
}

/// Where codes begin, in bits of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodesAt {
    /// Half bits a weight.
    pub rate: u8,
    /// In the path plane.
    pub path_bit: usize,
    /// Path bits of the same chain before that; the register reads zeros before those.
    pub history: usize,
    /// In the cell plane.
    pub cell_bit: usize,
}

impl Streams {
    /// The placement of every stream, in C order. O(streams), and O(weights/64) with a mask.
    pub fn placements(&self, layout: &Layout) -> Vec<Placement> {
        if layout.is_empty() {
            return Vec::new();
        }
        let mut cursor = Cursor::before(self, *layout, 0);
        (0..layout.len())
            .map(|_| {
                let (stream, source) = cursor.next();
                Placement {
                    weights: layout.stream(stream),
                    coded: cursor.coded_length(stream),
                    codes: source.map(|source| CodesAt {
                        rate: source.rate,
                        path_bit: source.path_bit,
                        history: source.path_bit - 8 * source.chain,
                        cell_bit: source.cell_bit,
                    }),
                    scale: self.grid.scale(self.scales[stream]),
                }
            })
            .collect()
    }
}
