//! A batch of vectors in the order in which the kernels read it.
//!
//! Vectors are transformed to the basis of the rows' factors, as floats. Those of 16 bits are then also
//! converted to integers, for the rows that have integer levels. A vector that is not finite, or near
//! the ends of the float range, stays in floats for all rows. So the result for a vector depends on
//! that vector alone.

use super::{Matrix, RowSource};
use crate::codec::kernels::decode::BLOCK;
use crate::codec::kernels::decode::integer::{ActivationOrder, Activations, STRETCH, Scale};
use crate::codec::kernels::product::PANEL;
use crate::codec::numbers::element::Element;

/// A batch in the basis of the rows' factors.
pub(super) struct BatchVectors {
    pub batch: usize,
    /// For each segment its panels of [`PANEL`] columns, one after the other. A panel has the vectors
    /// one after the other, each padded with zeros to a multiple of [`BLOCK`]. Empty if no row needs
    /// it.
    pub floats: Vec<f32>,
    pub integers: Option<Integers>,
}

/// For each segment its stretches, one after the other; where codes are in tiles, a segment is one
/// stretch. A stretch has the vectors one after the other.
pub(super) struct Integers {
    /// The values of each vector, padded with zeros to a whole number of the order's groups.
    pub values: Vec<i16>,
    /// One unit for each vector of a stretch.
    pub units: Vec<f32>,
    /// The sum of the values of each vector of a stretch.
    pub sums: Vec<i32>,
    /// The order for several vectors, or the one for the product of a single vector, which is also that
    /// for several where codes are in tiles.
    pub order: ActivationOrder,
}

impl Integers {
    /// All activations of a single vector.
    pub fn all(&self) -> Activations<'_> {
        Activations {
            values: &self.values,
            units: &self.units,
            sums: &self.sums,
            order: self.order,
        }
    }
}

/// The scales of a vector's stretches; `None` if it has to stay in floats.
pub(super) type Scales = Option<Vec<Scale>>;

impl Matrix<'_> {
    /// Vectors in the basis of the rows' factors, one after the other.
    pub(super) fn images<T: Element>(&self, x: &[T]) -> Vec<f32> {
        let mut images = Vec::with_capacity(x.len());
        T::widen(x, self.simd, &mut images);
        if let RowSource::Streams(decoder) = &self.source
            && let Some(incoherence) = &decoder.incoherence
        {
            for image in images.chunks_mut(self.columns) {
                for segment in &self.segments {
                    incoherence.forward(&mut image[segment.clone()]);
                }
            }
        }
        images
    }

    /// The scales of the stretches of a transformed vector.
    pub(super) fn scales(&self, image: &[f32]) -> Scales {
        let segments = self.segments.iter().map(|segment| &image[segment.clone()]);
        match self.is_tiled() {
            true => segments
                .map(|segment| Scale::of_bytes(self.simd, segment))
                .collect(),
            false => segments
                .flat_map(|segment| segment.chunks(STRETCH))
                .map(|stretch| Scale::of(self.simd, stretch))
                .collect(),
        }
    }

    /// Whether the rows' codes are in tiles.
    fn is_tiled(&self) -> bool {
        matches!(&self.source, RowSource::Streams(decoder) if decoder.plans.is_tiled())
    }

    /// Transformed vectors in the order of the kernels: all have scales, or none has.
    pub(super) fn vectors(&self, images: &[f32], scales: &[Scales]) -> BatchVectors {
        let in_integers = scales.iter().all(Option::is_some);
        BatchVectors {
            batch: scales.len(),
            floats: match in_integers && self.near.is_some_and(|near| near.all) {
                true => Vec::new(),
                false => self.in_panels(images),
            },
            integers: in_integers.then(|| self.in_stretches(images, scales)),
        }
    }

    fn in_panels(&self, images: &[f32]) -> Vec<f32> {
        let batch = images.len() / self.columns;
        let padded = |len: usize| len.next_multiple_of(BLOCK);
        let floats: usize = self.segments.iter().map(|s| padded(s.len())).sum();
        let mut values = vec![0.0; floats * batch];
        let mut rest = &mut values[..];
        for segment in &self.segments {
            for from in segment.clone().step_by(PANEL) {
                let columns = from..(from + PANEL).min(segment.end);
                for image in images.chunks(self.columns) {
                    let place;
                    (place, rest) = rest.split_at_mut(padded(columns.len()));
                    place[..columns.len()].copy_from_slice(&image[columns.clone()]);
                }
            }
        }
        values
    }

    fn in_stretches(&self, images: &[f32], scales: &[Scales]) -> Integers {
        let order = match &self.source {
            RowSource::Streams(decoder) if scales.len() == 1 || self.is_tiled() => {
                ActivationOrder::of_dot(self.simd, &decoder.plans)
            }
            _ => ActivationOrder::Pairs,
        };
        let padded: usize = self
            .segments
            .iter()
            .map(|s| s.len().next_multiple_of(order.group()))
            .sum();
        let mut values = Vec::with_capacity(padded * scales.len());
        let (mut units, mut sums) = (Vec::new(), Vec::new());
        let mut stretch = 0;
        for segment in &self.segments {
            let length = order.stretch().min(segment.len());
            for from in segment.clone().step_by(length) {
                let columns = from..(from + length).min(segment.end);
                for (image, scales) in images.chunks(self.columns).zip(scales.iter().flatten()) {
                    let scale = scales[stretch];
                    let start = values.len();
                    scale.append_pairs(self.simd, &image[columns.clone()], &mut values);
                    sums.push(values[start..].iter().map(|value| i32::from(*value)).sum());
                    order.arrange(&mut values, start);
                    units.push(scale.unit);
                }
                stretch += 1;
            }
        }
        Integers {
            values,
            units,
            sums,
            order,
        }
    }
}
