//! Which streams are coded together, and the number and variance of the weights of each.

use std::ops::Range;

use rayon::prelude::*;

use super::ldl::Factor;
use super::vectors::Vectors;
use crate::codec::encode::fit::dot;
use crate::codec::encode::rate::Source;
use crate::codec::format::layout::Layout;
use crate::codec::numbers::element::Element;
use crate::{Control, Result};

/// Vectors whose targets are computed together.
const TOGETHER: usize = 64;

/// Streams that are coded before the next target is known: the pieces of one vector, or one stream of
/// several vectors.
#[derive(Clone, Debug)]
pub struct Step {
    pub inputs: Range<usize>,
    pub streams: Range<usize>,
}

/// The steps of a layout whose rows are vectors of `outputs` weights.
pub fn steps(layout: &Layout, outputs: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut input, mut first) = (0, 0);
    for stream in 0..layout.len() {
        let end = layout.stream(stream).end;
        if end.is_multiple_of(outputs) {
            steps.push(Step {
                inputs: input..end / outputs,
                streams: first..stream + 1,
            });
            (input, first) = (end / outputs, stream + 1);
        }
    }
    steps
}

/// Blocks of about [`TOGETHER`] inputs.
pub fn blocks(steps: &[Step]) -> Vec<&[Step]> {
    let mut blocks = Vec::new();
    let mut rest = steps;
    while let Some(first) = rest.first() {
        let fits = |step: &&Step| step.inputs.end - first.inputs.start <= TOGETHER;
        let count = rest.iter().take_while(fits).count().max(1);
        let block;
        (block, rest) = rest.split_at(count);
        blocks.push(block);
    }
    blocks
}

/// The weight of a squared error in the vectors of a step: the mean of D over its inputs, plus the
/// contribution of earlier errors to later ones within the step, which are not fed back.
fn weight(factor: &Factor, inputs: &Range<usize>) -> f64 {
    let of = |from: usize| -> f64 {
        let later =
            (from + 1..inputs.end).map(|to| factor.pivot(to) * factor.feedback(from, to).powi(2));
        factor.pivot(from) + later.sum::<f64>()
    };
    inputs.clone().map(of).sum::<f64>() / inputs.len() as f64
}

/// Number and variance of the unmasked weights of each stream.
pub fn sources<T: Element>(
    vectors: &Vectors<'_, T>,
    layout: &Layout,
    lengths: &[usize],
    blocks: &[&[Step]],
    factor: &Factor,
    control: &Control,
) -> Result<Vec<Source>> {
    let of_block = |weights: &mut Vec<f32>, block: &&[Step]| {
        control.check()?;
        let first = block[0].inputs.start;
        vectors.load(first..block[block.len() - 1].inputs.end, weights);
        let mut sources = Vec::new();
        for step in *block {
            let weight = weight(factor, &step.inputs);
            for stream in step.streams.clone() {
                let at = layout.stream(stream);
                let origin = first * vectors.outputs;
                let values = &weights[at.start - origin..at.end - origin];
                let len = lengths[stream];
                sources.push(Source {
                    len,
                    // Masked weights are zeros, so they may stay in the sum.
                    variance: dot(values, values) / len.max(1) as f64,
                    weight,
                });
            }
        }
        Ok(sources)
    };
    let sources = blocks.par_iter().map_init(Vec::new, of_block);
    Ok(sources.collect::<Result<Vec<_>>>()?.concat())
}
