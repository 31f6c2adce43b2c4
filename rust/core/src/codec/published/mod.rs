//! The method as published: one code for K consecutive weights (arXiv 2409.00592).
//!
//! # The scheme
//! A tensor, flattened in C order and padded with its mean to a multiple of K, is a cloud of groups
//! in R^K. Around its mean c lies a cube of side l, which the irrational winding of the paper fills
//! with U samples, in steps of (l/m^K, …, l/m², l/m) modulo l, m = ⌈U^(1/K)⌉. Sample θ is
//!
//! ```text
//! (c − l/2) + (θ·l/m^K, θ·l/m^(K−1), …, θ·l/m) mod l,   θ = 0..U−1
//! ```
//!
//! which has index θ + 1; index 0 is c. The paper and its program have K = 2, steps l/m² and l/m.
//! For other K the slopes go on as powers of m, so that the winding passes every cell of an
//! m × … × m grid once before it returns: K = 1 is the uniform grid of U levels.
//!
//! A group in the closed cube has category 0. One outside is pulled towards c, by the factor of its
//! `category`, and pushed back by it when decoded. A group's code is the index of the nearest
//! sample + (U + 1)·category, in as many bits as the tensor's largest code needs. How many
//! categories there are is settled by trial: the first number of 1..=class_max whose mean absolute
//! error is within the threshold, else the one with the least.
//!
//! # Why the nearest sample is the nearest
//! Written in base m, the digits of θ choose the coordinates one after the other, each from an
//! arithmetic progression; a branch-and-bound over the digits drops only what the coordinates chosen
//! already put farther away than a known sample. `orbit` has the argument, which includes
//! rounding and ties (lowest index). A group costs O(2^K), whatever U is: no tree, no table.
//!
//! # Speed
//! At K = 2 the search is some 400 instructions a pair, hardly any of them a jump that can be
//! mispredicted. Groups inside the cube are searched once, those outside once for every number of
//! categories tried.
//!
//! Data flows one way: `params` → `survey` (centre, farthest) → `encode` (a `coder` per
//! number of categories: `category`, `orbit`) → `codes` → `stored`.

mod category;
mod coder;
mod codes;
mod decode;
mod encode;
mod orbit;
mod params;
mod stored;
mod survey;

use std::ops::Range;

use crate::codec::numbers::element::Element;
use crate::team::{CurrentPool, Team};
use crate::{Control, Error, ErrorKind, Result};
use coder::Coder;
pub use coder::Decoding;
use codes::Codes;
pub(in crate::codec) use decode::Filler;
use decode::{decode_all, decode_some, filler};
pub use params::WindingParams;

/// Groups searched or decoded between two looks at the stop flag, well under a millisecond; a
/// multiple of eight, so that chunks of packed codes end on whole bytes.
const CHUNK: usize = 4096;

/// A tensor's codes, with what decodes them.
///
/// # Example
/// ```
/// use hypercomp_core::Control;
/// use hypercomp_core::codec::winding::{Winding, WindingParams};
///
/// let weights: Vec<f32> = (0..1000).map(|i| 0.045 * (i as f32).sin()).collect();
/// let control = Control::new();
/// let winding = Winding::encode(&weights, &WindingParams::default(), &control)?;
/// // 1601 points in the square are 11 bits for two weights, and the points are l/m apart.
/// assert_eq!(winding.bits_per_code(), 11);
/// let mut decoded = vec![0.0; winding.len()];
/// winding.decode(&mut decoded, &control)?;
/// assert!(weights.iter().zip(&decoded).all(|(w, d)| (w - d).abs() < 0.1 / 40.0));
///
/// let mut bytes = Vec::new();
/// winding.to_bytes(&mut bytes);
/// assert_eq!(Winding::from_bytes(&bytes)?, winding);
/// # Ok::<(), hypercomp_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Winding {
    params: WindingParams,
    len: usize,
    centre: Vec<f32>,
    farthest: Vec<f32>,
    classes: u32,
    codes: Codes,
}

/// Call a function that is generic over K with the K of the parameters, which are validated.
macro_rules! with_group {
    ($params:expr, $call:ident($($argument:expr),*)) => {
        match $params.group {
            1 => $call::<1>($($argument),*),
            2 => $call::<2>($($argument),*),
            3 => $call::<3>($($argument),*),
            _ => $call::<4>($($argument),*),
        }
    };
}

impl Winding {
    /// Encode finite weights. No weights make an empty result.
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
            codes: Codes::pack(&[]),
        }
    }

    /// Decode all weights, in C order. `control` is advanced by n.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] unless `out` has [`len`](Self::len) places,
    /// [`ErrorKind::Cancelled`] through `control`.
    pub fn decode(&self, out: &mut [f32], control: &Control) -> Result<()> {
        self.decode_as(0..self.len, out, &CurrentPool, control)
    }

    /// Decode the weights of a range of flat C-order indices, rounded to any type of weights.
    /// O(length), wherever it starts. `control` is advanced by the length.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a range that is not within the tensor or unless `out` has
    /// its length, [`ErrorKind::Cancelled`] through `control`.
    pub fn decode_as<T: Element>(
        &self,
        range: Range<usize>,
        out: &mut [T],
        team: &dyn Team,
        control: &Control,
    ) -> Result<()> {
        self.check_range(&range, out.len())?;
        with_group!(
            self.params,
            decode_all(self, range.start, out, team, control)
        )
    }

    /// Decode the weights of a range of flat C-order indices on the calling thread. O(length),
    /// wherever it starts.
    ///
    /// # Errors
    /// As [`decode_as`](Self::decode_as), of which there is nothing to cancel.
    pub fn decode_range(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.check_range(&range, out.len())?;
        with_group!(self.params, decode_some(self, range.start, out));
        Ok(())
    }

    /// What fills a slice with the weights from an index on, for many calls.
    pub(in crate::codec) fn filler(&self) -> Filler<'_> {
        with_group!(self.params, filler(self))
    }

    fn check_range(&self, range: &Range<usize>, places: usize) -> Result<()> {
        let why = if range.start > range.end || range.end > self.len {
            format!("weights {range:?}: the tensor has 0..{}", self.len)
        } else if places != range.len() {
            format!("{places} places for {} weights", range.len())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidArgument, why))
    }

    /// Append the stored form, [`nbytes`](Self::nbytes) bytes; `docs/format.md` has its fields.
    pub fn to_bytes(&self, out: &mut Vec<u8>) {
        stored::write(self, out);
    }

    /// Read the stored form; all of `bytes` must be it.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] for anything that [`to_bytes`](Self::to_bytes) does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        stored::read(bytes)
    }

    /// Bytes of the stored form.
    pub fn nbytes(&self) -> usize {
        stored::header_len(self.params.group) + self.codes.bytes().len()
    }

    /// n, the weights.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no weights.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The code of every group, in order: index of the sample + (U + 1)·category.
    pub fn codes(&self) -> impl Iterator<Item = u64> {
        self.codes.iter().map(u64::from)
    }

    /// The packed codes: first code and most significant bit first.
    pub fn packed(&self) -> &[u8] {
        self.codes.bytes()
    }

    /// What decodes them.
    pub fn decoding(&self) -> Decoding {
        with_group!(self.params, decoding(self))
    }

    /// What the tensor was encoded with.
    pub fn params(&self) -> &WindingParams {
        &self.params
    }

    /// c, the mean of the groups: K values.
    pub fn center(&self) -> &[f32] {
        &self.centre
    }

    /// The group farthest from c, which sets the reach of the last category: K values.
    pub fn farthest(&self) -> &[f32] {
        &self.farthest
    }

    /// M, the categories of the groups outside the cube; 0 when none is.
    pub fn classes(&self) -> u32 {
        self.classes
    }

    /// Bits a code, that is for K weights.
    pub fn bits_per_code(&self) -> u32 {
        self.codes.bits()
    }

    /// The coder of this tensor, whose K must be the parameters'.
    fn coder<const K: usize>(&self) -> Coder<K> {
        let place = |values: &[f32]| std::array::from_fn(|i| values[i]);
        let (centre, farthest) = (place(&self.centre), place(&self.farthest));
        Coder::new(&self.params, &centre, &farthest, self.classes)
    }
}

fn decoding<const K: usize>(winding: &Winding) -> Decoding {
    winding.coder::<K>().decoding()
}

fn encode_groups<const K: usize>(
    weights: &[f32],
    params: &WindingParams,
    control: &Control,
) -> Result<Winding> {
    let encoded = encode::encode::<K>(weights, params, control)?;
    Ok(Winding {
        params: params.clone(),
        len: weights.len(),
        centre: encoded.survey.centre.to_vec(),
        farthest: encoded.survey.farthest.to_vec(),
        classes: encoded.classes,
        codes: Codes::pack(&encoded.codes),
    })
}
