//! Any bytes as a stored tensor and as a tensor's parts: no panic, no hang, no allocation that the
//! bytes do not pay for, and what is accepted can be decoded and stored again.
//!
//! Run it with `make fuzz`. The checksum is set right first, because no fuzzer would find it.

#![no_main]

use hypercomp_core::Control;
use hypercomp_core::codec::CompressedTensor;
use hypercomp_core::team::Alone;
use libfuzzer_sys::fuzz_target;

/// Weights that are decoded: more would be the same again.
const DECODED: usize = 1 << 12;

fn check(tensor: &CompressedTensor) {
    let again = CompressedTensor::from_bytes(&tensor.to_bytes()).expect("what is written is read");
    assert_eq!(&again.to_bytes(), &tensor.to_bytes());
    let parts = CompressedTensor::from_parts(tensor.to_parts(), true).expect("so are its parts");
    assert_eq!(&parts.to_bytes(), &tensor.to_bytes());
    let len = tensor.len().min(DECODED);
    let mut out = vec![0f32; len];
    for start in [0, tensor.len() - len] {
        tensor
            .decompress_by(&Alone, start..start + len, &mut out, &Control::new())
            .expect("any codes are weights");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(body) = data.len().checked_sub(4) else {
        return;
    };
    let mut bytes = data[..body].to_vec();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    match CompressedTensor::from_bytes(&bytes) {
        Ok(tensor) => check(&tensor),
        Err(error) => assert!(!error.message().is_empty() && error.message().len() < 1000),
    }
});
