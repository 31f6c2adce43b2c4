//! Where the codes of every stream are, for other decoders (the GPU).

use std::ops::Range;

use super::layout::Layout;
use super::streams::{Cursor, Streams};

/// The place of a stream's codes, and its constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// Its weights, as flat C-order indices.
    pub weights: Range<usize>,
    /// The number of these weights that have codes.
    pub coded: usize,
    /// Where its codes begin; `None` for a stream of zeros.
    pub codes: Option<CodesAt>,
    /// The factor of the levels.
    pub scale: f32,
}

/// Where codes begin, in bits of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodesAt {
    /// Half bits a weight.
    pub rate: u8,
    /// In the path plane.
    pub path_bit: usize,
    /// Number of path bits of the same chain before that. Before the chain the register reads zeros.
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
