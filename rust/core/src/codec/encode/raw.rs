//! Weights that are stored as they are.

use crate::codec::format::tensor::{Energy, Payload};
use crate::codec::numbers::element::Element;

/// Tensors of fewer weights are stored as they are, as in the published program.
pub(super) const LEAST: usize = 10;

pub(super) fn kept_as_it_is<T: Element>(weights: &[T]) -> (Payload, Energy) {
    let mut bytes = Vec::with_capacity(weights.len() * T::DTYPE.size());
    for weight in weights {
        weight.push_le(&mut bytes);
    }
    (Payload::Raw(bytes), Energy::default())
}
