//! A tensor's trajectory codes with their parameters.

use super::coder::{Decoding, GroupCoder};
use super::codes::PackedCodes;
use super::params::{WindingParams, with_group};

/// A tensor's codes, with the parameters that decode them.
///
/// # Example
/// ```
/// use hypercomp_core::Control;
/// use hypercomp_core::codec::{Winding, WindingParams};
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
    pub(super) params: WindingParams,
    pub(super) len: usize,
    pub(super) centre: Vec<f32>,
    pub(super) farthest: Vec<f32>,
    pub(super) classes: u32,
    pub(super) codes: PackedCodes,
}

impl Winding {
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

    /// The constants of decoding.
    pub fn decoding(&self) -> Decoding {
        with_group!(self.params, decoding(self))
    }

    /// The parameters of encoding.
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

    /// The coder of this tensor; K must be that of the parameters.
    pub(super) fn coder<const K: usize>(&self) -> GroupCoder<K> {
        let place = |values: &[f32]| std::array::from_fn(|i| values[i]);
        let (centre, farthest) = (place(&self.centre), place(&self.farthest));
        GroupCoder::new(&self.params, &centre, &farthest, self.classes)
    }
}

fn decoding<const K: usize>(winding: &Winding) -> Decoding {
    winding.coder::<K>().decoding()
}
