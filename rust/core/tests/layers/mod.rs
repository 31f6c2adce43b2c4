//! Linear layers for the tests of products.

use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::{CompressedTensor, Linear};
use hypercomp_core::team::CurrentPool;
use hypercomp_core::{Control, SimdLevel};

/// A layer's results.
pub fn layer<T: Element>(
    tensor: &CompressedTensor,
    simd: SimdLevel,
    x: &[T],
    batch: usize,
    bias: Option<&[T]>,
    transposed: bool,
) -> Vec<T> {
    let outputs = tensor.shape()[usize::from(transposed)];
    let mut out = vec![T::nearest(f32::NAN); batch * outputs];
    let linear = Linear {
        x,
        batch,
        bias,
        transposed,
    };
    tensor
        .linear_on(simd, &CurrentPool, linear, &mut out, &Control::new())
        .unwrap();
    out
}

/// Values as those of another type.
pub fn of<T: Element>(values: &[f32]) -> Vec<T> {
    values.iter().map(|v| T::nearest(*v)).collect()
}
