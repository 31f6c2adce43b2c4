//! The search of a stream in tiles.

use crate::codec::kernels::tiles::order::{STEPS, TILE, TileOrder};
use crate::codec::kernels::viterbi::{SearchTables, ViterbiSearch, closed_register};
use crate::{Control, Result};

/// Memory of the search, and the levels that it found.
#[derive(Debug, Default)]
pub(super) struct TileSearch {
    targets: Vec<i16>,
    cells: Vec<u8>,
    tile_levels: Vec<f32>,
    levels: Vec<f32>,
}

impl TileSearch {
    /// Search the codes of a stream's values, and append its tiles to `codes`.
    pub fn search(
        &mut self,
        search: &mut ViterbiSearch,
        tables: &SearchTables<'_>,
        scale: f32,
        values: &[f32],
        codes: &mut Vec<u8>,
        control: &Control,
    ) -> Result<()> {
        let code = &tables.trellis().code;
        let order = TileOrder {
            half_bits: code.half_bits,
        };
        let inverse = 1.0 / scale;
        self.levels.clear();
        for values in values.chunks(TILE) {
            self.targets.clear();
            let targets = values.iter().map(|value| tables.target(value * inverse));
            self.targets.extend(targets);
            // Weights that do not exist, up to a whole lane.
            self.targets.resize(values.len().next_multiple_of(STEPS), 0);
            search.closed_chain(tables, &self.targets, control)?;
            let mut register = closed_register(&search.path, code.window);
            tables.choose(
                &mut register,
                &search.path,
                &self.targets,
                &mut self.cells,
                &mut self.tile_levels,
            );
            order.write(&search.path, &self.cells, codes);
            self.levels.extend(&self.tile_levels[..values.len()]);
        }
        Ok(())
    }

    /// The levels of the values, as a decoder computes them.
    pub fn levels(&self) -> &[f32] {
        &self.levels
    }
}
