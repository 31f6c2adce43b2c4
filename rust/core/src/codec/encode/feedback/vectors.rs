//! The weights of a layer as vectors, one for each input, for inputs on either axis.

use std::ops::Range;

use crate::codec::format::axes::Axes;
use crate::codec::numbers::element::{Element, PowerOfTwo};

/// Inputs and outputs that are transposed at a time: whole cache lines of both.
const INPUTS: usize = 64;
const OUTPUTS: usize = 16;

/// The weights of a layer.
pub struct Vectors<'a, T> {
    /// In C order.
    pub weights: &'a [T],
    pub inputs: usize,
    pub outputs: usize,
    /// The order of the two axes.
    pub axes: Axes,
    pub normalise: PowerOfTwo,
}

impl<T: Element> Vectors<'_, T> {
    /// Lengths of the weights' axes.
    pub fn shape(&self) -> [usize; 2] {
        match self.axes {
            Axes::InOrder => [self.inputs, self.outputs],
            Axes::Swapped => [self.outputs, self.inputs],
        }
    }

    /// The vectors of some inputs, normalised.
    pub fn load(&self, inputs: Range<usize>, out: &mut Vec<f32>) {
        out.clear();
        let value = |weight: &T| self.normalise.times(weight.to_f64()) as f32;
        if self.axes == Axes::InOrder {
            let weights = inputs.start * self.outputs..inputs.end * self.outputs;
            out.extend(self.weights[weights].iter().map(value));
            return;
        }
        out.resize(inputs.len() * self.outputs, 0.0);
        let starts = inputs.clone().step_by(INPUTS);
        for (from, out) in starts.zip(out.chunks_mut(INPUTS * self.outputs)) {
            self.turn(from..(from + INPUTS).min(inputs.end), out);
        }
    }

    /// Transpose at most [`INPUTS`] columns of the weights into rows.
    fn turn(&self, inputs: Range<usize>, out: &mut [f32]) {
        let mut tile = [[0.0; OUTPUTS]; INPUTS];
        for (at, rows) in self.weights.chunks(OUTPUTS * self.inputs).enumerate() {
            // If a row's length is a power of two, the cache lines of a column fall into the same set.
            // So each line is read and written once, as a whole.
            for (place, row) in rows.chunks_exact(self.inputs).enumerate() {
                for (tile, weight) in tile.iter_mut().zip(&row[inputs.clone()]) {
                    tile[place] = self.normalise.times(weight.to_f64()) as f32;
                }
            }
            let (from, count) = (at * OUTPUTS, rows.len() / self.inputs);
            for (tile, out) in tile.iter().zip(out.chunks_exact_mut(self.outputs)) {
                out[from..from + count].copy_from_slice(&tile[..count]);
            }
        }
    }
}
