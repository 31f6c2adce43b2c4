//! Tensors for the tests of decoding and of products.

use hypercomp_core::Control;
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, TrellisParams};
use proptest::prelude::*;

/// Weights of many magnitudes, with rows of zeros.
pub fn weights(shape: &[usize], mut state: u64) -> Vec<f32> {
    let row = shape.last().copied().unwrap_or(1).max(1);
    (0..shape.iter().product::<usize>())
        .map(|i| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            let size = [1.0, 0.1, 0.0, 3.0, 0.01][i / row % 5];
            // Zeros alone and in rows, for masks.
            let kept = f32::from(u8::from(state >> 61 != 0));
            kept * size * uniform * uniform * uniform
        })
        .collect()
}

/// A tensor, compressed.
pub fn compress<T: Element>(weights: &[T], shape: &[usize], codec: &Codec) -> CompressedTensor {
    CompressedTensor::compress(weights, shape, codec, &Control::new()).unwrap()
}

/// All of its weights.
pub fn decompress<T: Element>(tensor: &CompressedTensor) -> Vec<T> {
    let mut out = vec![T::default(); tensor.len()];
    tensor.decompress(&mut out, &Control::new()).unwrap();
    out
}

/// Little-endian bytes.
pub fn bytes<T: Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|v| v.push_le(&mut bytes));
    bytes
}

/// Codecs of all kinds and rates.
pub fn codecs() -> impl Strategy<Value = Codec> {
    let window = prop_oneof![Just(8u32), Just(10), Just(12)];
    prop_oneof![
        4 => (0.5f64..8.5, window, any::<Option<u64>>(), any::<bool>(), any::<bool>()).prop_map(
            |(bits, window, seed, keep_zeros, tiles)| {
                // Which are zero takes a bit at the most, and its tables in small tensors.
                let bits = if keep_zeros { bits.max(2.0) } else { bits };
                let params = TrellisParams::new(bits, window, seed);
                let code_set = if tiles { CodeSet::SECOND } else { CodeSet::FIRST };
                Codec::Trellis(TrellisParams { keep_zeros, code_set, ..params })
            }
        ),
        1 => (1usize..5).prop_map(|group| {
            Codec::Winding(WindingParams { group, samples: 200, ..WindingParams::default() })
        }),
    ]
}
