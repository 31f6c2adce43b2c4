//! Encodes a tensor: a survey, then one search per number of categories.
//!
//! Work is cut into chunks of fixed size for any number of threads, and the results of chunks are
//! summed in order. So the bytes are the same for any number of threads.

use rayon::prelude::*;

use super::coder::GroupCoder;
use super::codes::PackedCodes;
use super::params::{CHUNK, WindingParams, with_group};
use super::survey::{Survey, group};
use super::winding::Winding;
use crate::{Control, Result};

impl Winding {
    /// Encode finite weights. Without weights the result is empty.
    ///
    /// The same bytes for any number of threads (rayon's current pool). O(n) for each number of
    /// categories tried. `control` is advanced by n.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for parameters that are not accepted,
    /// [`ErrorKind::Cancelled`] through `control`.
    pub fn encode(weights: &[f32], params: &WindingParams, control: &Control) -> Result<Self> {
        params.validate()?;
        if weights.is_empty() {
            return Ok(Self::empty(params));
        }
        with_group!(params, encode_groups(weights, params, control))
    }

    fn empty(params: &WindingParams) -> Self {
        Self {
            params: params.clone(),
            len: 0,
            centre: vec![0.0; params.group],
            farthest: vec![0.0; params.group],
            classes: 0,
            codes: PackedCodes::pack(&[]),
        }
    }
}

/// Encode finite weights, at least one, with validated parameters.
fn encode_groups<const K: usize>(
    weights: &[f32],
    params: &WindingParams,
    control: &Control,
) -> Result<Winding> {
    let mut search = GroupSearch::<K> {
        weights,
        params,
        control,
        survey: Survey::of(weights, params.side, control)?,
        codes: vec![0; weights.len().div_ceil(K)],
    };
    let classes = search.settle()?;
    Ok(Winding {
        params: params.clone(),
        len: weights.len(),
        centre: search.survey.centre.to_vec(),
        farthest: search.survey.farthest.to_vec(),
        classes,
        codes: PackedCodes::pack(&search.codes),
    })
}

/// The searches over one tensor. They run one after the other and write to the same codes.
struct GroupSearch<'a, const K: usize> {
    weights: &'a [f32],
    params: &'a WindingParams,
    control: &'a Control,
    survey: Survey<K>,
    codes: Vec<u32>,
}

/// Which groups a search looks at.
#[derive(Clone, Copy, PartialEq)]
enum Which {
    All,
    Outside,
}

/// Sums of |weight − decoded weight| over the groups inside and outside the cube.
#[derive(Clone, Copy, Default)]
struct Errors {
    inside: f64,
    outside: f64,
}

impl<const K: usize> GroupSearch<'_, K> {
    /// Find M, and store the codes for it. M is the first of 1..=class_max whose mean absolute error is
    /// within the threshold, or else the lowest one with the least error. It is 0 if no group is
    /// outside the cube.
    ///
    /// A group inside the cube has the same code for every M, so only the first search encodes it.
    fn settle(&mut self) -> Result<u32> {
        if !self.survey.outside {
            self.search(0, Which::All)?;
            return Ok(0);
        }
        let Errors { inside, outside } = self.search(1, Which::All)?;
        let mut least = (outside, 1);
        let mut present = 1;
        let good =
            |outside: f64| (inside + outside) / self.weights.len() as f64 <= self.params.threshold;
        while !good(least.0) && present < self.params.class_max {
            present += 1;
            let outside = self.search(present, Which::Outside)?.outside;
            if outside < least.0 {
                least = (outside, present);
            }
        }
        if present != least.1 {
            self.search(least.1, Which::Outside)?;
        }
        Ok(least.1)
    }

    /// Write the codes of the groups looked at, for `classes` categories.
    fn search(&mut self, classes: u32, which: Which) -> Result<Errors> {
        let Survey {
            centre,
            farthest,
            padding,
            ..
        } = self.survey;
        let coder = GroupCoder::<K>::new(self.params, &centre, &farthest, classes);
        let chunks = self
            .weights
            .par_chunks(CHUNK * K)
            .zip(self.codes.par_chunks_mut(CHUNK));
        let errors = chunks.map(|(weights, codes)| {
            self.control.check()?;
            if which == Which::All {
                self.control.advance(weights.len() as u64);
            }
            Ok(search_chunk(&coder, weights, padding, which, codes))
        });
        let errors = errors.collect::<Result<Vec<_>>>()?;
        Ok(errors.iter().fold(Errors::default(), |sum, chunk| Errors {
            inside: sum.inside + chunk.inside,
            outside: sum.outside + chunk.outside,
        }))
    }
}

fn search_chunk<const K: usize>(
    coder: &GroupCoder<K>,
    weights: &[f32],
    padding: f32,
    which: Which,
    codes: &mut [u32],
) -> Errors {
    let mut errors = Errors::default();
    for (weights, code) in weights.chunks(K).zip(codes) {
        let offset = coder.offset(&group(weights, padding));
        let inside = coder.inside(&offset);
        if inside && which == Which::Outside {
            continue;
        }
        let category = if inside { 0 } else { coder.outside(&offset) };
        let (nearest, decoded) = coder.encode(&offset, category);
        *code = nearest;
        // The padding has no error: `zip` ends with the weights.
        let error: f64 = weights
            .iter()
            .zip(decoded)
            .map(|(w, d)| (f64::from(*w) - f64::from(d)).abs())
            .sum();
        if inside {
            errors.inside += error;
        } else {
            errors.outside += error;
        }
    }
    errors
}
