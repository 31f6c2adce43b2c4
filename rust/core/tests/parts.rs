//! A compressed tensor taken apart and put together again, and parts that do not belong together.

use bytes::Bytes;
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, Parts, Payload, TrellisParams};
use hypercomp_core::{Control, ErrorKind};
use proptest::prelude::*;

/// Weights that are deterministic and not smooth.
fn weights(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| (i as f32 * 0.731).sin() * (1.0 + (i % 17) as f32))
        .collect()
}

fn compress(weights: &[f32], shape: &[usize], codec: &Codec) -> CompressedTensor {
    CompressedTensor::compress(weights, shape, codec, &Control::new()).unwrap()
}

fn trellis(bits: f64) -> Codec {
    Codec::Trellis(TrellisParams::new(bits, 8, Some(1)))
}

/// One of everything that can be in a compressed tensor.
fn samples() -> Vec<CompressedTensor> {
    let plain = weights(3 * 130);
    let mut sparse = plain.clone();
    sparse[..130].fill(0.0);
    sparse.iter_mut().step_by(3).for_each(|w| *w = 0.0);
    let everything = Codec::Trellis(TrellisParams {
        keep_zeros: true,
        max_error: Some(1.0),
        ..TrellisParams::new(5.0, 8, None)
    });
    vec![
        compress(&sparse, &[3, 130], &everything),
        compress(&plain, &[3, 130], &trellis(4.0)),
        compress(&plain, &[3, 130], &trellis(2.7)),
        compress(
            &sparse,
            &[3, 130],
            &Codec::Trellis(TrellisParams {
                code_set: CodeSet::SECOND,
                keep_zeros: true,
                ..TrellisParams::new(3.3, 10, None)
            }),
        ),
        compress(&plain, &[3, 130], &Codec::Winding(WindingParams::default())),
        compress(&plain[..4], &[2, 2], &trellis(4.0)),
        compress(&[0.0; 20], &[20], &trellis(4.0)),
    ]
}

fn decoded(tensor: &CompressedTensor) -> Vec<f32> {
    let mut out = vec![0.0; tensor.len()];
    tensor.decompress(&mut out, &Control::new()).unwrap();
    out
}

#[test]
fn parts_put_together_are_the_tensor() {
    for tensor in samples() {
        let parts = tensor.to_parts();
        let again = CompressedTensor::from_parts(parts.clone(), true).unwrap();
        assert_eq!(again, tensor);
        assert_eq!(again.to_bytes(), tensor.to_bytes());
        assert_eq!(again.to_parts(), parts);
        assert_eq!(decoded(&again), decoded(&tensor));
    }
}

#[test]
fn planes_are_lent_and_not_copied() {
    let tensor = compress(&weights(64 * 512), &[64, 512], &trellis(4.0));
    let parts = tensor.to_parts();
    let path = parts.parts["path"].as_ptr();
    let again = CompressedTensor::from_parts(parts, false).unwrap();
    let Payload::Trellis(streams) = again.payload() else {
        panic!("not a trellis");
    };
    assert_eq!(streams.path.as_ptr(), path);
}

#[test]
fn a_missing_shorter_longer_or_unknown_part_is_an_error() {
    for tensor in samples() {
        let whole = tensor.to_parts();
        let refused = |parts: Parts| {
            let error = CompressedTensor::from_parts(parts, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Format);
            error.message().to_owned()
        };
        for (name, bytes) in &whole.parts {
            let mut parts = whole.clone();
            parts.parts.remove(name);
            assert!(refused(parts).contains(name.as_str()));
            for wrong in [bytes.slice(1..), [bytes.as_ref(), &[0]].concat().into()] {
                let mut parts = whole.clone();
                let told = format!("\"bytes\":{}", bytes.len());
                parts.parts.insert(name.clone(), wrong.clone());
                assert!(refused(parts.clone()).contains(name.as_str()));
                // The description agrees with the wrong length; the codec's numbers do not.
                let name = format!("\"{name}\":{{");
                let at = parts.description.rfind(&name).unwrap() + name.len();
                let agreeing = parts.description[at..].replacen(
                    &told,
                    &format!("\"bytes\":{}", wrong.len()),
                    1,
                );
                parts.description.replace_range(at.., &agreeing);
                refused(parts);
            }
        }
        let mut parts = whole.clone();
        parts.parts.insert("more".into(), Bytes::new());
        assert!(refused(parts).contains("more"));
    }
}

#[test]
fn an_altered_part_is_found_where_asked() {
    for tensor in samples() {
        let whole = tensor.to_parts();
        for (name, bytes) in &whole.parts {
            let mut altered = bytes.to_vec();
            altered[0] ^= 1;
            let mut parts = whole.clone();
            parts.parts.insert(name.clone(), altered.into());
            let error = CompressedTensor::from_parts(parts, true).unwrap_err();
            assert!(error.message().contains(name.as_str()), "{error:?}");
        }
    }
}

#[test]
fn no_altered_byte_makes_it_panic() {
    let decode = |parts: Parts| {
        if let Ok(read) = CompressedTensor::from_parts(parts, false)
            && read.len() < 1 << 20
        {
            decoded(&read);
        }
    };
    for tensor in samples() {
        let whole = tensor.to_parts();
        for at in 0..whole.description.len() {
            for with in ["", "0", "9", "-", "99", "\"", "}", "null"] {
                let mut parts = whole.clone();
                parts.description.replace_range(at..=at, with);
                decode(parts);
            }
        }
        for (name, bytes) in &whole.parts {
            for bit in 0..8 * bytes.len() {
                let mut altered = bytes.to_vec();
                altered[bit / 8] ^= 1 << (bit % 8);
                let mut parts = whole.clone();
                parts.parts.insert(name.clone(), altered.into());
                decode(parts);
            }
        }
    }
}

proptest! {
    #[test]
    fn apart_and_together_is_the_same(rows in 0usize..5, row in 0usize..400, bits in 0.5f64..8.5) {
        let tensor = compress(&weights(rows * row), &[rows, row], &trellis(bits));
        let again = CompressedTensor::from_parts(tensor.to_parts(), true).unwrap();
        prop_assert_eq!(&again, &tensor);
        prop_assert_eq!(decoded(&again), decoded(&tensor));
    }
}
