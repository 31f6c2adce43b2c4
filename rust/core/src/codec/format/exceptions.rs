//! Weights that are stored exactly beside the codes, because the error of their codes would exceed a
//! bound.

use crate::Result;
use crate::codec::numbers::element::{Dtype, Element};
use crate::codec::numbers::input::{Input, malformed, push_number};
use half::{bf16, f16};

/// Exact weights with their places, in rising order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exceptions {
    /// Flat C-order indices.
    places: Vec<usize>,
    /// The weights' own little-endian bytes, one after the other.
    values: Vec<u8>,
    /// The type of the values.
    dtype: Dtype,
}

impl Exceptions {
    /// The weights whose decoded value differs by more than `bound`, and the sum of the squares of
    /// these differences.
    pub fn beyond<T: Element>(weights: &[T], decoded: &[T], bound: f64) -> (Self, f64) {
        let mut exceptions = Self::default();
        let mut squares = 0.0;
        for (place, (w, d)) in weights.iter().zip(decoded).enumerate() {
            let error = (w.to_f64() - d.to_f64()).abs();
            if error > bound {
                exceptions.dtype = T::DTYPE;
                exceptions.places.push(place);
                w.push_le(&mut exceptions.values);
                squares += error * error;
            }
        }
        (exceptions, squares)
    }

    /// Exact zeros at these places, which must be in rising order.
    pub fn zeros(places: Vec<usize>, dtype: Dtype) -> Self {
        let values = vec![0; places.len() * dtype.size()];
        Self {
            places,
            values,
            dtype,
        }
    }

    /// The union with other exact weights of the same tensor, at other places.
    pub fn and(self, others: Self) -> Self {
        if self.is_empty() || others.is_empty() {
            return if self.is_empty() { others } else { self };
        }
        let size = self.dtype.size();
        let pairs = |e: &Self| {
            let values = e.values.chunks_exact(size).map(<[u8]>::to_vec);
            e.places.iter().copied().zip(values).collect::<Vec<_>>()
        };
        let mut all = pairs(&self);
        all.extend(pairs(&others));
        all.sort_unstable_by_key(|(place, _)| *place);
        let (places, values): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Self {
            places,
            values: values.concat(),
            dtype: self.dtype,
        }
    }

    /// The places, as ranges of consecutive indices.
    pub fn runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let runs = self.places.chunk_by(|place, next| place + 1 == *next);
        runs.map(|run| run[0]..run[0] + run.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of exact weights.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The exact weights in `range`, with their places relative to its start.
    pub fn within(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = (usize, f64)> {
        let first = self.places.partition_point(|place| *place < range.start);
        let last = self.places.partition_point(|place| *place < range.end);
        let start = range.start;
        (first..last).map(move |i| {
            let at = i * self.dtype.size();
            let value = value(&self.values[at..at + self.dtype.size()], self.dtype);
            (self.places[i] - start, value)
        })
    }

    /// Bytes of the stored form.
    pub fn nbytes(&self) -> usize {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes.len()
    }

    /// Append the stored form: their number, the gaps between places, the values.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_number(self.places.len() as u64, out);
        let mut next = 0;
        for place in &self.places {
            push_number((place - next) as u64, out);
            next = place + 1;
        }
        out.extend(&self.values);
    }

    /// Read what [`write`](Self::write) wrote, for a tensor of `weights` weights.
    pub(in crate::codec) fn read(
        input: &mut Input<'_>,
        dtype: Dtype,
        weights: usize,
    ) -> Result<Self> {
        let count = input.length("the number of exact weights")?;
        // A gap takes at least one byte.
        if count > input.rest().len() {
            return Err(malformed(format!(
                "truncated: {count} exact weights in {} bytes",
                input.rest().len()
            )));
        }
        let mut places = Vec::with_capacity(count);
        let mut next = 0usize;
        for _ in 0..count {
            let gap = input.length("the place of an exact weight")?;
            let place = next
                .checked_add(gap)
                .filter(|place| *place < weights)
                .ok_or_else(|| {
                    malformed(format!("an exact weight beyond the {weights} there are"))
                })?;
            places.push(place);
            next = place + 1;
        }
        let values = input.take(count * dtype.size(), "the exact weights")?;
        for (place, bytes) in places.iter().zip(values.chunks_exact(dtype.size())) {
            if !value(bytes, dtype).is_finite() {
                return Err(malformed(format!(
                    "the exact weight at index {place} is not finite"
                )));
            }
        }
        Ok(Self {
            places,
            values: values.to_vec(),
            dtype,
        })
    }
}

/// A weight from its own bytes.
fn value(bytes: &[u8], dtype: Dtype) -> f64 {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("as many bytes as the dtype has")
    }
    match dtype {
        Dtype::F32 => f32::from_le_bytes(array(bytes)).into(),
        Dtype::F64 => f64::from_le_bytes(array(bytes)),
        Dtype::F16 => f16::from_le_bytes(array(bytes)).into(),
        Dtype::Bf16 => bf16::from_le_bytes(array(bytes)).into(),
    }
}
